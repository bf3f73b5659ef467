//! What the seller's webhook says that a call came to. It is asked when the answer has ended.
//!
//! The hold stays open until the webhook has said it. When it does not, or there is no more time to
//! ask, the seller's choice is charged; the same is recorded when the answer begins, for a recovery.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use bytes::Bytes;
use farebox_core::{HoldId, Msat};
use farebox_meter::Decimal;
use http::{HeaderMap, StatusCode};

use super::bill::{Bill, End, Measure};
use super::finding::{Billed, Finding, OpenHold};
use super::{Ending, Form, Gauge};

/// Who can be asked what a call came to.
pub trait AskCharge: Send + Sync + 'static {
    /// Asks, for as long as there is time; gives none where that was not said. What this does before
    /// its future is polled happens while the answer's connection still counts as open.
    fn ask(self, call: Call) -> impl Future<Output = Option<Msat>> + Send + 'static;
}

/// What a call has been, after it was served.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// What is held for it.
    pub hold: HoldId,
    /// Of the answer.
    pub status: StatusCode,
    /// How the answer ended.
    pub end: End,
    /// Of the answer's body.
    pub bytes: u64,
    /// From forwarding to the end.
    pub millis: u64,
}

/// Follows one call that a webhook will be asked about.
pub struct Asking<A> {
    ask: A,
    /// What is charged where the webhook does not say it.
    unsaid: Msat,
    status: StatusCode,
    bytes: u64,
    forwarded_at: Instant,
}

impl<A: AskCharge> Asking<A> {
    /// A call that is charged `unsaid` where nobody says what it came to.
    pub fn new(ask: A, unsaid: Msat) -> Self {
        Self {
            ask,
            unsaid,
            status: StatusCode::OK,
            bytes: 0,
            forwarded_at: Instant::now(),
        }
    }
}

impl<A: AskCharge> Gauge for Asking<A> {
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
        Some(self.unsaid)
    }

    fn bill(self: Box<Self>, ending: Ending) -> Billed {
        let millis = self.forwarded_at.elapsed().as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let otherwise = unsaid(ending, self.unsaid);
        let find = move |open: OpenHold| {
            let answer = self.ask.ask(Call {
                hold: open.id(),
                status: self.status,
                end: end(ending),
                bytes: self.bytes,
                millis,
            });
            Finding::new(async move {
                let found = answer.await.map(|charge| said(ending, charge));
                open.settle(found)
            })
        };
        Billed::Open {
            otherwise,
            find: Box::new(find),
        }
    }
}

const fn end(ending: Ending) -> End {
    match ending {
        Ending::Complete => End::Complete,
        Ending::CutByUpstream => End::CutByUpstream,
        Ending::CutByClient => End::CutByClient,
    }
}

/// The bill of a call that came to so much.
fn said(ending: Ending, charge: Msat) -> Bill {
    Bill {
        used: used(ending, charge),
        measured: Measure::Quantity(Some(Decimal::from(charge.get()))),
        end: end(ending),
        complaint: None,
    }
}

/// The bill of a call of which nobody said what it came to.
fn unsaid(ending: Ending, charge: Msat) -> Bill {
    Bill {
        used: used(ending, charge),
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
