//! Admission of a request that comes with a key: the most it can cost is held on the key's money.

use std::sync::Arc;
use std::time::Instant;

use farebox_core::{Allowance, KeyHash, Msat};
use farebox_ledger::{Admitted, Cost, HoldRequest, KeyRefusal, Once};
use http::Response;

use crate::access_log::Exchange;
use crate::admit::{self, Admission};
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::plan::{Plan, Route};
use crate::price::Quote;
use crate::refusal::{AdmissionError, KeyFault, Refusal};
use crate::sale::Sale;
use crate::serve;
use crate::worker::Worker;

/// One request with a key.
struct Asking<'a> {
    key: KeyHash,
    route: &'a Route,
    sale: &'a Sale,
    once: Option<Once>,
}

impl Worker {
    /// Serves a request that a key pays for, or refuses it.
    pub(crate) async fn serve_for_key(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        (route, sale, mut quote): (&Arc<Route>, &Sale, Quote),
        key: KeyHash,
        mut arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        // Before the body is read: what a key may have in flight bounds the memory it takes too.
        let permit =
            self.shared
                .tokens
                .try_start(&key.account(), route.token_limit, Instant::now())?;
        quote = self
            .ask_for_key(exchange, (route, sale), key, &mut arrival, quote)
            .await?;
        if let Quote::Free = quote {
            let free = Admission::free(Arc::clone(route));
            return self.forward(plan, exchange, free, arrival).await;
        }
        let (once, keeps_answer) = self.once_of(route, &mut arrival).await?;
        let asking = Asking {
            key,
            route,
            sale,
            once,
        };
        let admitted = self
            .admit_key_within_means(plan, exchange, &asking, &mut quote)
            .await?;
        let hold = match admitted {
            Admitted::Held(hold) => hold,
            Admitted::Finished(receipt) => return self.replay(exchange, receipt),
            other => return Err(refused(&other, exchange)),
        };
        let admission = Admission::of_key(Arc::clone(route), hold, keeps_answer, permit);
        let admission = serve::metered(admission, quote, &mut arrival);
        self.forward(plan, exchange, admission, arrival).await
    }

    /// The name under which a retry finds this sale again, and whether its answer may be kept.
    async fn once_of(
        &self,
        route: &Route,
        arrival: &mut Arrival,
    ) -> Result<(Option<Once>, bool), Refusal> {
        let Some(key) = admit::idempotency_key(&arrival.parts.headers) else {
            return Ok((None, false));
        };
        let fingerprint = self.fingerprint(route, false, arrival).await?;
        let once = fingerprint.digest().map(|digest| Once { key, digest });
        Ok((once, fingerprint.is_whole()))
    }

    /// Holds what the request can cost. Where the key has less, payments that wait for it are
    /// looked up first; then the answer may become shorter instead.
    async fn admit_key_within_means(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        asking: &Asking<'_>,
        quote: &mut Quote,
    ) -> Result<Admitted, Refusal> {
        let mut admitted = self.hold_on_key(exchange, asking, quote).await?;
        if lacks_money(&admitted) {
            self.credit_waiting(plan, asking.key).await?;
            admitted = self.hold_on_key(exchange, asking, quote).await?;
        }
        if !matches!(admitted, Admitted::Exhausted) {
            return Ok(admitted);
        }
        let Quote::Metered(_) = &*quote else {
            return Ok(admitted);
        };
        let left = self.free_on_key(asking.key).await?;
        if !quote.lower_to(left).await? {
            return Ok(admitted);
        }
        self.hold_on_key(exchange, asking, quote).await
    }

    async fn hold_on_key(
        &self,
        exchange: &Exchange,
        asking: &Asking<'_>,
        quote: &Quote,
    ) -> Result<Admitted, Refusal> {
        let model = match quote {
            Quote::Metered(metered) => Some(metered.request.model.clone()),
            Quote::Free | Quote::Fixed(_) | Quote::Fiat(..) => None,
            Quote::UpTo(_) | Quote::Unasked => None,
        };
        let request = HoldRequest {
            hold: self.hold_id(exchange.received_at),
            account: asking.key.account(),
            funding: None,
            allowance: Allowance::default(),
            route: asking.route.name.clone(),
            model,
            cost: Cost::Amount(quote.at_most()),
            once: asking.once,
            max_voids: asking.sale.max_voids,
            now: exchange.received_at,
            basis: quote.basis(exchange.received_at),
        };
        Ok(self.shared.ledger.hold(request).await?)
    }

    /// What is neither spent nor held of the money that a key spends: its own, or its parent's.
    async fn free_on_key(&self, key: KeyHash) -> Result<Msat, Refusal> {
        let ledger = &self.shared.ledger;
        let view = ledger.key(key).await?;
        let view = match view.as_ref().and_then(|view| view.parent) {
            Some(parent) => ledger.key(parent).await?,
            None => view,
        };
        let free = view.map(|view| view.balance.saturating_sub(view.held));
        Ok(free.unwrap_or_default())
    }
}

fn lacks_money(admitted: &Admitted) -> bool {
    matches!(
        admitted,
        Admitted::Exhausted | Admitted::Key(KeyRefusal::Inactive)
    )
}

fn refused(admitted: &Admitted, exchange: &Exchange) -> Refusal {
    let fault = match admitted {
        Admitted::InFlight => return AdmissionError::InFlight.into(),
        Admitted::Conflict => return AdmissionError::IdempotencyConflict.into(),
        Admitted::Reserved => return AdmissionError::Reserved.into(),
        Admitted::TooManyVoids => return AdmissionError::TooManyVoids.into(),
        Admitted::Exhausted => KeyFault::UsedUp,
        Admitted::Expired => KeyFault::Expired,
        Admitted::Revoked => KeyFault::Revoked,
        Admitted::Key(refusal) => KeyFault::of(*refusal, exchange.received_at),
        // Never said of a key.
        Admitted::Held(_)
        | Admitted::Finished(_)
        | Admitted::Pass { .. }
        | Admitted::Unclaimed
        | Admitted::TermsMismatch => KeyFault::Unknown,
    };
    Refusal::Key(fault)
}
