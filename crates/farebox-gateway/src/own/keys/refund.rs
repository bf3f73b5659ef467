//! What is left on a key goes back to whoever holds it: the key itself asks, and never a child.
//!
//! The same rules, limits and words as for tokens. A key that expired may ask; one that the
//! operator revoked is the operator's to pay back.

use farebox_core::KeyHash;
use farebox_ledger::KeyView;
use farebox_paywall::payout::{RefundError, Source};
use http::{Method, Response};

use super::KeyPaths;
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::own::refund::{ReadWish, SHOWN, told};
use crate::plan::Plan;
use crate::refusal::{KeyFault, Refusal};

/// Where refunds of keys are asked for, and where they stand.
const PLACE: &str = "/.farebox/keys/refund";

impl KeyPaths {
    pub(super) async fn refund_key(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        key: KeyHash,
        arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        self.let_in(exchange)?;
        let _permit = self.refunds.start(key.account())?;
        let view = self.paywall.ledger.key(key).await?;
        let view = view.ok_or(KeyFault::Unknown)?;
        if view.parent.is_some() {
            return Err(KeyFault::Child.into());
        }
        // What was paid for it a moment ago is on it, too.
        self.credit_waiting(plan, key).await?;
        if arrival.parts.method == Method::GET {
            return self.show_refunds_of_key(&view).await;
        }
        let wish = ReadWish::take(arrival, &self.bodies.of(exchange.holder)).await?;
        self.begin_refund_of_key(key, wish).await
    }

    async fn begin_refund_of_key(
        &self,
        key: KeyHash,
        wish: ReadWish,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let payouts = self.refunds.payouts()?;
        let view = payouts.refund(wish.of(Source::Key(key))?).await?;
        told::begun(&view, PLACE)
    }

    async fn show_refunds_of_key(&self, key: &KeyView) -> Result<Response<AnswerBody>, Refusal> {
        let rules = self.refunds.payouts()?.rules();
        let (ledger, account) = (&self.paywall.ledger, key.key.account());
        ledger.flush().await.map_err(RefundError::from)?;
        let left = ledger.refundable(account).await;
        let left = left.map_err(RefundError::from)?;
        let refunds = ledger.payouts_of(account, SHOWN).await;
        let refunds = refunds.map_err(RefundError::from)?;
        let mut standing = told::standing(&rules, left.as_ref(), None, &refunds);
        standing["id"] = key.public_id.as_str().into();
        Ok(super::super::json(standing.to_string()))
    }
}
