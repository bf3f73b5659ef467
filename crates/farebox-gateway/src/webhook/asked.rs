//! One call whose webhook said the most that it can cost: what it was is followed while its answer
//! passes, and what it came to is asked when that has ended.
//!
//! The hold stays open until the webhook has said it. When it does not, or there is no more time to
//! ask, the seller's choice is charged; the same is recorded when the answer begins, for a recovery.

use std::sync::Arc;
use std::time::Instant;

use farebox_core::{Clock, HoldId, Msat};
use farebox_http::drain::{DrainSignal, OpenConnection};
use farebox_ledger::{Hold, VoidReason};
use http::StatusCode;

use super::Webhook;
use super::ask::AskError;
use super::message::{Said, SettleQuestion};
use crate::access_log::Exchange;
use crate::arrival::Arrival;
use crate::by_use::whole;
use crate::gauge::Unsaid;
use crate::gauge::report::{End, SaidLine};
use crate::plan::Route;
use crate::price::Quote;
use crate::refusal::{PriceError, Refusal};
use crate::sale::{Offer, Sale};
use crate::settle::Ending;
use crate::worker::Worker;

/// A call that its webhook will be asked about.
pub(crate) struct Inquiry {
    webhook: Arc<Webhook>,
    worker: usize,
    clock: Arc<dyn Clock>,
    drain: DrainSignal,
    request_id: String,
    route: String,
    pub(crate) at_most: Msat,
    status: StatusCode,
    bytes: u64,
    forwarded_at: Instant,
}

/// A call that has ended, and whose charge is being asked for. Dropping it charges the seller's
/// choice.
pub(crate) struct Owing {
    asked: Box<Inquiry>,
    hold: Option<Hold>,
    ending: Ending,
    millis: u64,
    _open: OpenConnection,
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
            Ok(Said::AtMost(most)) => {
                let asked = self.asked(exchange, route, webhook, most);
                Ok(Quote::Asked(Box::new(asked)))
            }
            Ok(Said::Refused(reason)) => Err(PriceError::Declined(reason).into()),
            Err(error) => Err(PriceError::Untold(error.into()).into()),
        }
    }

    fn asked(
        &self,
        exchange: &Exchange,
        route: &Route,
        webhook: &Arc<Webhook>,
        at_most: Msat,
    ) -> Inquiry {
        Inquiry {
            webhook: Arc::clone(webhook),
            worker: self.index,
            clock: Arc::clone(&self.shared.clock),
            drain: self.shared.drain.clone(),
            request_id: exchange.request_id.to_string(),
            route: route.name.as_str().to_owned(),
            at_most,
            status: StatusCode::OK,
            bytes: 0,
            forwarded_at: Instant::now(),
        }
    }
}

impl Inquiry {
    /// The request leaves now.
    pub(crate) fn forwarded(&mut self) {
        self.forwarded_at = Instant::now();
    }

    pub(crate) const fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }

    pub(crate) const fn saw(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// What is charged where the webhook does not say it.
    pub(crate) fn unsaid(&self) -> Msat {
        match self.webhook.rules.missing {
            Unsaid::Hold => self.at_most,
            Unsaid::Observed | Unsaid::Nothing => Msat::ZERO,
        }
    }

    /// The answer has ended.
    pub(crate) fn ended(self: Box<Self>, hold: Hold, ending: Ending) -> Owing {
        let millis = self.forwarded_at.elapsed().as_millis();
        Owing {
            _open: self.drain.enter(),
            hold: Some(hold),
            ending,
            millis: u64::try_from(millis).unwrap_or(u64::MAX),
            asked: self,
        }
    }
}

impl Owing {
    /// Asks what the call came to, charges that, and writes the request's log line.
    pub(crate) async fn settle(mut self, exchange: Option<Box<Exchange>>) {
        let hold = self.hold.as_ref().map(Hold::id);
        let charge = match hold {
            Some(hold) => self.ask(hold).await,
            None => None,
        };
        let charged = self.charge(charge);
        if let Some(mut exchange) = exchange {
            exchange.said = Some(self.line(charge));
            exchange.finish(self.ending, Some(charged));
        }
    }

    async fn ask(&self, hold: HoldId) -> Option<Msat> {
        let asked = &*self.asked;
        let question = SettleQuestion {
            event: "settle",
            request_id: asked.request_id.clone(),
            route: asked.route.clone(),
            hold: hold.to_string(),
            at_most_msat: asked.at_most.get(),
            status: asked.status.as_u16(),
            ended: self.end().as_str(),
            bytes: asked.bytes,
            millis: self.millis,
        };
        let now = || asked.clock.now();
        tokio::select! {
            charge = asked.webhook.charge(asked.worker, &question, now) => charge,
            () = asked.drain.cut() => None,
        }
    }

    /// Charges what was said, or else the seller's choice. What that is beyond the hold is the
    /// seller's loss.
    fn charge(&mut self, said: Option<Msat>) -> Msat {
        let Some(hold) = self.hold.take() else {
            return Msat::ZERO;
        };
        let used = said.unwrap_or_else(|| self.asked.unsaid());
        let measured = self.line(said).measured();
        if used.is_zero() && self.ending == Ending::CutByUpstream {
            hold.void_with(VoidReason::CutShort, measured);
        } else {
            hold.settle_part_with(used, measured);
        }
        used.min(self.asked.at_most)
    }

    const fn end(&self) -> End {
        match self.ending {
            Ending::Complete => End::Complete,
            Ending::CutByUpstream => End::CutByUpstream,
            Ending::CutByClient | Ending::Open => End::CutByClient,
        }
    }

    fn line(&self, said: Option<Msat>) -> SaidLine {
        const UNSAID: &str = "the price webhook did not say what a call came to";
        let end = said.map_or(End::CostMissing, |_| self.end());
        SaidLine::new(said.map(|charge| whole(charge.get())), end, UNSAID)
    }
}

impl Drop for Owing {
    fn drop(&mut self) {
        self.charge(None);
    }
}
