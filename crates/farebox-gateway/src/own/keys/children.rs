//! Keys that spend their parent's money, within limits.

use farebox_core::KeyHash;
use farebox_ledger::{KeyView, OpenChild, Opened};
use farebox_paywall::keys::{self, KeySecret, LimitsWish};
use http::Response;
use serde_json::{Value, json};

use super::{KeyPaths, opened, too_large};
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::plan::Plan;
use crate::refusal::{KeyFault, PaymentError, Refusal};

impl KeyPaths {
    /// A new child. If its answer is lost, so is its secret: the parent sees it and deletes it.
    pub(super) async fn make_child(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        parent: KeyHash,
        arrival: Arrival,
    ) -> Result<Value, Refusal> {
        let body = self.read_keys_body(exchange, arrival).await?;
        let wish = LimitsWish::parse(&body).map_err(|_| KeyFault::Body)?;
        let secret = KeySecret::draw().map_err(PaymentError::from)?;
        let open = OpenChild {
            parent,
            child: secret.hash(),
            public_id: secret.public_id(),
            limits: wish.limits,
            created_at: self.paywall.clock.now(),
            note: wish.note,
        };
        let view = self.open_child(plan, open).await?;
        let mut made = json!(keys::describe(&view));
        made["key"] = secret.reveal().into();
        Ok(made)
    }

    /// Whoever just paid for a key need not have used it before it has children.
    async fn open_child(&self, plan: &Plan, open: OpenChild) -> Result<KeyView, Refusal> {
        let ledger = &self.paywall.ledger;
        let mut child = ledger.open_child(open.clone()).await.map_err(too_large)?;
        if child == Opened::Inactive {
            self.credit_waiting(plan, open.parent).await?;
            child = ledger.open_child(open).await?;
        }
        opened(child)
    }

    pub(super) async fn show_children(
        &self,
        parent: KeyHash,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let ledger = &self.paywall.ledger;
        ledger.flush().await?;
        ledger.key(parent).await?.ok_or(KeyFault::Unknown)?;
        let children = ledger.children(parent).await?;
        let told: Vec<_> = children.iter().map(keys::describe).collect();
        Ok(super::super::json(json!({ "children": told }).to_string()))
    }

    pub(super) async fn revoke_child(
        &self,
        parent: KeyHash,
        id: &str,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let ledger = &self.paywall.ledger;
        let child = ledger.key_by_public_id(id).await?;
        let child = child.filter(|child| child.parent == Some(parent));
        let child = child.ok_or(KeyFault::NoSuchKey)?;
        let revoked = ledger.revoke_key(child.key).await?;
        let revoked = revoked.ok_or(KeyFault::NoSuchKey)?;
        Ok(super::super::json(
            json!(keys::describe(&revoked)).to_string(),
        ))
    }
}
