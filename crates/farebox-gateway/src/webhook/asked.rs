//! The price that a webhook says before a call, and whom to ask afterwards what it came to.

use std::future::Future;
use std::sync::Arc;

use farebox_core::{Clock, Msat};
use farebox_http::drain::DrainSignal;

use super::Webhook;
use super::ask::AskError;
use super::message::{Said, SettleQuestion};
use crate::access_log::Exchange;
use crate::arrival::Arrival;
use crate::gauge::Unsaid;
use crate::gauge::webhook::{AskCharge, Asking, Call};
use crate::plan::Route;
use crate::price::{Quote, UpTo};
use crate::refusal::{PriceError, Refusal};
use crate::sale::{Offer, Sale};
use crate::worker::Worker;

/// A call that its webhook will be asked about.
struct Inquiry {
    webhook: Arc<Webhook>,
    worker: usize,
    clock: Arc<dyn Clock>,
    drain: DrainSignal,
    request_id: String,
    route: String,
    at_most: Msat,
}

impl Worker {
    /// Asks what a request costs, after its body was read.
    pub(crate) async fn ask_price(
        &self,
        exchange: &Exchange,
        (route, sale): (&Route, &Sale),
        webhook: &Arc<Webhook>,
        arrival: &Arrival,
    ) -> Result<Quote, Refusal> {
        let said = webhook.quote(self.index, exchange, route, arrival).await;
        let said = said.and_then(|said| match said {
            Said::AtMost(_) if matches!(sale.offer, Offer::Quoted(_)) => Err(AskError::NotExact),
            said => Ok(said),
        });
        match said {
            Ok(Said::Exactly(price)) if price.is_zero() => Ok(Quote::Free),
            Ok(Said::Exactly(price)) => Ok(Quote::Fixed(price)),
            Ok(Said::AtMost(most)) => Ok(Quote::UpTo(self.up_to(exchange, route, webhook, most))),
            Ok(Said::Refused(reason)) => Err(PriceError::Declined(reason).into()),
            Err(error) => Err(PriceError::Untold(error.into()).into()),
        }
    }

    fn up_to(
        &self,
        exchange: &Exchange,
        route: &Route,
        webhook: &Arc<Webhook>,
        at_most: Msat,
    ) -> UpTo {
        let inquiry = Inquiry {
            webhook: Arc::clone(webhook),
            worker: self.index,
            clock: Arc::clone(&self.shared.clock),
            drain: self.shared.drain.clone(),
            request_id: exchange.request_id.to_string(),
            route: route.name.as_str().to_owned(),
            at_most,
        };
        let unsaid = match webhook.rules.missing {
            Unsaid::Hold => at_most,
            Unsaid::Observed | Unsaid::Nothing => Msat::ZERO,
        };
        UpTo {
            gauge: Box::new(Asking::new(inquiry, unsaid)),
            at_most,
            rate: None,
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
                charge = self.webhook.charge(self.worker, &question, now) => charge,
                () = self.drain.cut() => None,
            };
            drop(open);
            charge
        }
    }
}
