//! What became of a claim's invoice, for the page that waits for it.
//!
//! Asking consumes nothing and tells nothing to whoever has no claim: a stranger gets the same
//! answer for every invoice there is or is not.

use std::sync::Arc;
use std::time::Duration;

use farebox_http::limits::{NoPlace, Places};
use farebox_paywall::claim::Claim;
use farebox_paywall::settled::{LookUpFor, Paid};
use http::Response;
use serde_json::json;
use tokio::time::Instant;

use super::Claims;
use super::visit::Visit;
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::outcome::Outcome;
use crate::own;
use crate::plan::{Plan, Route};
use crate::refusal::{Refusal, RequestError};

/// How long a question may wait for a payment.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a node is asked meanwhile that does not tell by itself.
const BETWEEN_LOOKUPS: Duration = Duration::from_secs(2);
/// How often one that does is asked all the same: its line may be down.
const BETWEEN_REASSURANCES: Duration = Duration::from_secs(8);
/// How many questions may wait at the same time, each client's in its share; others are answered as it
/// stands.
const MAX_WAITERS: u64 = 2048;

/// The questions that wait.
pub(crate) type Waiters = Arc<Places>;

impl Claims {
    /// Answers a question for the state of a claim: at once with `farebox-claim-status: now`, or
    /// with any other word as soon as it is paid or over, and after [`PATIENCE`] in any case.
    pub(crate) async fn status(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        route: &Route,
        visit: &Visit,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let claim = self
            .claim_asked_for(exchange, route, visit)
            .ok_or(RequestError::NoClaim)?;
        let waiter = visit
            .waits
            .then(|| self.waiters.take(MAX_WAITERS, exchange.holder, 1));
        let patience = match waiter {
            Some(Ok(_)) => PATIENCE,
            Some(Err(NoPlace)) | None => Duration::ZERO,
        };
        let paid = tokio::select! {
            paid = self.outcome(plan, exchange, &claim, patience) => paid?,
            () = self.drain.draining() => Paid::No,
        };
        exchange.outcome = Outcome::Free;
        Ok(self.report(&claim, paid))
    }

    /// Waits until the claim is paid, over, or patience is at its end.
    async fn outcome(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        claim: &Claim,
        patience: Duration,
    ) -> Result<Paid, Refusal> {
        let give_up_at = Instant::now() + patience;
        let pause = match &plan.payments.node {
            Some(node) if node.all_watch() => BETWEEN_REASSURANCES,
            _ => BETWEEN_LOOKUPS,
        };
        loop {
            let paid = self
                .paid(plan, exchange, claim, LookUpFor::Question)
                .await?;
            let left = give_up_at.saturating_duration_since(Instant::now());
            let over = self.paywall.clock.now() >= claim.expires_at();
            if matches!(paid, Paid::Yes(_) | Paid::Never | Paid::Untold) || over || left.is_zero() {
                return Ok(paid);
            }
            let hash = claim.token.payment_hash;
            let told = self.paywall.settled.settlements.wait(hash, left.min(pause));
            told.await;
        }
    }

    fn report(&self, claim: &Claim, paid: Paid) -> Response<AnswerBody> {
        let now = self.paywall.clock.now();
        let left = claim.expires_at().since(now).as_secs();
        let state = match paid {
            Paid::Yes(_) => "paid",
            Paid::Never => "canceled",
            Paid::No | Paid::Untold | Paid::Unknown if claim.expires_at() <= now => "expired",
            Paid::No => "open",
            Paid::Untold => "untold",
            Paid::Unknown => "unknown",
        };
        let report = json!({ "state": state, "expires_in": left });
        own::json(report.to_string())
    }
}
