//! The price that a webhook says before a call, and whom to ask afterwards what it came to.
//!
//! The hold stays open until the webhook has said it. When it does not, or there is no more time to
//! ask, the seller's choice is charged; the same is recorded when the answer begins, for a recovery.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use farebox_core::{Clock, HoldId, Msat};
use farebox_http::drain::DrainSignal;
use farebox_meter::Decimal;
use http::{HeaderMap, StatusCode};

use super::Webhook;
use super::ask::AskError;
use super::message::{Said, SettleQuestion};
use crate::ask::Ask;
use crate::due::Due;
use crate::error::{Error, PriceError};
use crate::gauge::bill::{Bill, End, Measure};
use crate::gauge::finding::{Billed, Finding, OpenHold};
use crate::gauge::{Ending, Form, Gauge, Unsaid};
use crate::sale::Offer;

/// A call that its webhook will be asked about when its answer has ended.
struct Inquiry {
    webhook: Arc<Webhook>,
    thread: usize,
    clock: Arc<dyn Clock>,
    drain: DrainSignal,
    request_id: String,
    route: String,
    at_most: Msat,
    status: StatusCode,
    /// Of the answer's body.
    bytes: u64,
    forwarded_at: Instant,
}

impl Webhook {
    /// What a request costs, after its body was read; none where it costs nothing.
    pub(crate) async fn price(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        clock: &Arc<dyn Clock>,
        drain: &DrainSignal,
    ) -> Result<Option<Due>, Error> {
        let said = self.quote(ask).await.and_then(|said| match said {
            Said::AtMost(_) if matches!(ask.sale.offer, Offer::Quoted(_)) => {
                Err(AskError::NotExact)
            }
            said => Ok(said),
        });
        match said {
            Ok(Said::Exactly(price)) if price.is_zero() => Ok(None),
            Ok(Said::Exactly(price)) => Ok(Some(Due::exactly(price, None))),
            Ok(Said::AtMost(most)) => {
                let inquiry = Inquiry {
                    webhook: Arc::clone(self),
                    thread: ask.thread,
                    clock: Arc::clone(clock),
                    drain: drain.clone(),
                    request_id: ask.request.to_string(),
                    route: ask.route.as_str().to_owned(),
                    at_most: most,
                    status: StatusCode::OK,
                    bytes: 0,
                    forwarded_at: Instant::now(),
                };
                Ok(Some(Due::gauged(most, None, Box::new(inquiry))))
            }
            Ok(Said::Refused(reason)) => Err(PriceError::Declined(reason).into()),
            Err(error) => Err(PriceError::Untold(error.into()).into()),
        }
    }

    /// What is charged where it does not say what a call came to.
    const fn unsaid(&self, at_most: Msat) -> Msat {
        match self.rules.missing {
            Unsaid::Hold => at_most,
            Unsaid::Observed | Unsaid::Nothing => Msat::ZERO,
        }
    }
}

impl Inquiry {
    /// Asks what a call came to whose answer ended so, and how long after it was forwarded.
    async fn ask(&self, hold: HoldId, ending: Ending, after: Duration) -> Option<Msat> {
        let question = SettleQuestion {
            event: "settle",
            request_id: &self.request_id,
            route: &self.route,
            hold: hold.to_string(),
            at_most_msat: self.at_most.get(),
            status: self.status.as_u16(),
            ended: End::from(ending).as_str(),
            bytes: self.bytes,
            millis: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        };
        let now = || self.clock.now();
        tokio::select! {
            charge = self.webhook.charge(self.thread, &question, now) => charge,
            () = self.drain.cut() => None,
        }
    }
}

impl Gauge for Inquiry {
    fn request(&mut self, _: &mut HeaderMap) -> Option<Arc<AtomicU64>> {
        self.forwarded_at = Instant::now();
        None
    }

    fn head(&mut self, status: StatusCode, _: &mut HeaderMap) -> Form {
        self.status = status;
        Form::AsSent { cost: None }
    }

    fn frame(&mut self, data: Bytes) -> Bytes {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        data
    }

    fn progress(&self) -> Option<Msat> {
        Some(self.webhook.unsaid(self.at_most))
    }

    fn bill(self: Box<Self>, ending: Ending) -> Billed {
        let otherwise = unsaid(ending, self.webhook.unsaid(self.at_most));
        let after = self.forwarded_at.elapsed();
        let find = move |hold: OpenHold| {
            // From now on, so that a process that ends waits for the answer too.
            let open = self.drain.enter();
            Finding::new(async move {
                let charge = self.ask(hold.id(), ending, after).await;
                drop(open);
                hold.settle(charge.map(|charge| said(ending, charge)))
            })
        };
        Billed::Open {
            otherwise,
            find: Box::new(find),
        }
    }
}

/// The bill of a call that came to so much.
fn said(ending: Ending, charge: Msat) -> Bill {
    Bill {
        used: used(ending, charge),
        is_excused: false,
        measured: Measure::Quantity(Some(Decimal::from(charge.get()))),
        end: ending.into(),
        complaint: None,
    }
}

/// The bill of a call of which nobody said what it came to.
fn unsaid(ending: Ending, charge: Msat) -> Bill {
    Bill {
        used: used(ending, charge),
        is_excused: false,
        measured: Measure::Quantity(None),
        end: End::CostMissing,
        complaint: Some("the price webhook did not say what a call came to"),
    }
}

/// An answer that broke off and costs nothing was none.
fn used(ending: Ending, charge: Msat) -> Option<Msat> {
    let is_void = charge.is_zero() && ending == Ending::CutByUpstream;
    (!is_void).then_some(charge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_broke_off_and_costs_nothing_is_void() {
        let (free, some) = (Msat::ZERO, Msat::new(7).unwrap());
        for ending in [Ending::Complete, Ending::CutByClient] {
            assert_eq!(said(ending, free).used, Some(free), "{ending:?}");
        }
        assert_eq!(said(Ending::CutByUpstream, free).used, None);
        assert_eq!(said(Ending::CutByUpstream, some).used, Some(some));
        assert_eq!(unsaid(Ending::CutByUpstream, free).used, None);
    }

    #[test]
    fn what_is_not_said_is_an_end_of_its_own_and_the_seller_is_told() {
        let charge = Msat::new(7).unwrap();
        let bill = said(Ending::CutByClient, charge);
        assert_eq!((bill.end, bill.complaint), (End::CutByClient, None));
        let quantity = Measure::Quantity(Some(Decimal::from(7)));
        assert_eq!(bill.measured, quantity);
        let bill = unsaid(Ending::CutByClient, charge);
        assert_eq!((bill.used, bill.end), (Some(charge), End::CostMissing));
        assert!(bill.complaint.is_some());
    }
}
