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
use crate::refusal::{KeyFault, PaymentError, Refusal, RequestError};

/// How many children are listed at once.
const PAGE: u32 = 100;

/// Which children are listed.
pub(super) struct Page {
    /// Those that were opened after the one with this cursor.
    after: u64,
    /// So many.
    limit: u32,
}

impl Page {
    /// Reads it off a query: `after` and `limit`, of which a page has a hundred at most.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, RequestError> {
        let mut page = Self {
            after: 0,
            limit: PAGE,
        };
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let number = value
                .parse()
                .ok()
                .filter(|number| i64::try_from(*number).is_ok());
            match (&*name, number) {
                ("after", Some(number)) => page.after = number,
                ("limit", Some(number @ 1..)) => {
                    page.limit = u32::try_from(number).unwrap_or(PAGE).min(PAGE);
                }
                _ => return Err(RequestError::BadPage),
            }
        }
        Ok(page)
    }
}

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
        let view = self.open_child(plan, exchange, open).await?;
        let mut made = json!(keys::describe(&view));
        made["key"] = secret.reveal().into();
        Ok(made)
    }

    /// Whoever just paid for a key need not have used it before it has children.
    async fn open_child(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        open: OpenChild,
    ) -> Result<KeyView, Refusal> {
        let ledger = &self.paywall.ledger;
        let mut child = ledger.open_child(open.clone()).await.map_err(too_large)?;
        if child == Opened::Inactive {
            self.credit_waiting(plan, exchange, open.parent).await?;
            child = ledger.open_child(open).await?;
        }
        opened(child)
    }

    pub(super) async fn show_children(
        &self,
        parent: KeyHash,
        Page { after, limit }: Page,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let ledger = &self.paywall.ledger;
        ledger.flush().await?;
        let children = ledger.children(parent, after, limit).await?;
        let is_full = u32::try_from(children.len()).is_ok_and(|count| count == limit);
        let next = children.last().filter(|_| is_full).map(|it| it.cursor);
        let told: Vec<_> = children.iter().map(keys::describe).collect();
        let mut listed = json!({ "children": told });
        if let Some(next) = next {
            listed["next"] = next.into();
        }
        Ok(super::super::json(listed.to_string()))
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
