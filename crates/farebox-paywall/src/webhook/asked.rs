//! The price that a webhook says before a call, and whom to ask afterwards what it came to.

use std::future::Future;
use std::sync::Arc;

use farebox_core::{Clock, Msat};
use farebox_http::drain::DrainSignal;

use super::Webhook;
use super::ask::AskError;
use super::message::{Said, SettleQuestion};
use crate::ask::Ask;
use crate::due::Due;
use crate::error::{Error, PriceError};
use crate::gauge::Unsaid;
use crate::gauge::webhook::{AskCharge, Asking, Call};
use crate::sale::Offer;

/// A call that its webhook will be asked about.
struct Inquiry {
    webhook: Arc<Webhook>,
    thread: usize,
    clock: Arc<dyn Clock>,
    drain: DrainSignal,
    request_id: String,
    route: String,
    at_most: Msat,
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
                };
                let gauge = Asking::new(inquiry, self.unsaid(most));
                Ok(Some(Due::gauged(most, None, Box::new(gauge))))
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

impl AskCharge for Inquiry {
    fn ask(self, call: Call) -> impl Future<Output = Option<Msat>> + Send + 'static {
        // From now on, so that a process that ends waits for the answer too.
        let open = self.drain.enter();
        async move {
            let question = SettleQuestion {
                event: "settle",
                request_id: self.request_id,
                route: self.route,
                hold: call.hold.to_string(),
                at_most_msat: self.at_most.get(),
                status: call.status.as_u16(),
                ended: call.end.as_str(),
                bytes: call.bytes,
                millis: call.millis,
            };
            let now = || self.clock.now();
            let charge = tokio::select! {
                charge = self.webhook.charge(self.thread, &question, now) => charge,
                () = self.drain.cut() => None,
            };
            drop(open);
            charge
        }
    }
}
