//! `/.farebox/keys`: prepaid keys are bought, topped up and looked after.
//!
//! The key is in the answer beside its first invoice and opens nothing until that is paid, so that
//! neither a lost answer nor a stranger with the invoice matters. Anybody may pay for a key by its
//! public name; only the key itself tells what is on it, and only a parent makes children.

mod children;
mod order;
mod top_up;

pub(crate) use top_up::KeyDesk;

use std::sync::Arc;
use std::time::Instant;

use farebox_core::{KeyHash, Msat};
use farebox_http::body_budget::{Holder, Shares};
use farebox_ledger::{KeyView, LedgerError, Noted, OpenKey, Opened, TopUpBy};
use farebox_lightning::CreatedInvoice;
use farebox_paywall::Paywall;
use farebox_paywall::keys::{self, KeySecret};
use farebox_paywall::payout::Source;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::refund::{RefundDesk, Wish};
use children::Page;
use order::Order;

use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::refusal::{KeyFault, PaymentError, Refusal, RequestError};
use farebox_paywall::credential::{Presented, Reader};

pub(super) const KEYS: &str = "/.farebox/keys";
const SELF: &str = "/self";
const TOP_UP: &str = "/top-up";
const CHILDREN: &str = "/children";
const REFUND: &str = "/refund";
/// Where refunds of keys are asked for, and where they stand.
const KEY_REFUND: &str = "/.farebox/keys/refund";

/// The longest request, in bytes: names of routes and models, up to the ledger's own limits.
const MAX_BODY: usize = 64 * 1024;

/// Answers the paths of prepaid keys.
pub(super) struct KeyPaths {
    pub(super) paywall: Arc<Paywall>,
    /// Bodies of requests in memory.
    pub(super) bodies: Arc<Shares>,
    pub(super) refunds: Arc<RefundDesk>,
    pub(super) desk: KeyDesk,
}

impl KeyPaths {
    pub(super) async fn answer(
        &self,
        reader: &Reader,
        plan: &Plan,
        exchange: &mut Exchange,
        mut arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let headers = &mut arrival.parts.headers;
        let presented = reader.take(headers, &self.paywall.keyring);
        let key = match presented {
            Ok(Presented::Key(key)) => Ok(key),
            Ok(Presented::BadKey(fault)) => Err(fault),
            Ok(_) | Err(_) => Err(KeyFault::Missing),
        };
        let path = arrival.path.clone();
        let method = arrival.parts.method.clone();
        let place = path.strip_prefix(KEYS).unwrap_or_default();
        exchange.outcome = Outcome::Free;
        let made = match (place, &method) {
            ("", &Method::POST) => self.sell_key(plan, exchange, arrival).await?,
            (TOP_UP, &Method::POST) => self.top_up(plan, exchange, key.ok(), arrival).await?,
            (SELF, &Method::GET) => {
                let key = self.let_in(exchange, key).await?;
                return self.show_key(plan, exchange, key).await;
            }
            (REFUND, &(Method::GET | Method::POST)) => {
                let key = self.let_in(exchange, key).await?;
                return self.refund_key(plan, exchange, key, arrival).await;
            }
            (CHILDREN, &Method::GET) => {
                let key = self.let_in(exchange, key).await?;
                let page = Page::parse(arrival.parts.uri.query())?;
                return self.show_children(key, page).await;
            }
            (CHILDREN, &Method::POST) => {
                let key = self.let_in(exchange, key).await?;
                self.make_child(plan, exchange, key, arrival).await?
            }
            ("" | TOP_UP, _) => return Err(RequestError::only(&[Method::POST]).into()),
            (SELF, _) => return Err(RequestError::only(&[Method::GET]).into()),
            (CHILDREN | REFUND, _) => {
                return Err(RequestError::only(&[Method::GET, Method::POST]).into());
            }
            (below, &Method::DELETE) => {
                let key = self.let_in(exchange, key).await?;
                let id = below
                    .strip_prefix(CHILDREN)
                    .and_then(|id| id.strip_prefix('/'));
                return self
                    .revoke_child(key, id.ok_or(RequestError::NoRoute)?)
                    .await;
            }
            _ => return Err(RequestError::NoRoute.into()),
        };
        let mut response = super::json(made.to_string());
        *response.status_mut() = StatusCode::CREATED;
        Ok(response)
    }

    /// A new key and the invoice that makes it good.
    async fn sell_key(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        arrival: Arrival,
    ) -> Result<Value, Refusal> {
        check_sold(plan)?;
        let order = Order::parse(&self.read_keys_body(exchange, arrival).await?)?;
        let amount = order.amount()?;
        if order.id.is_some() {
            return Err(KeyFault::Body.into());
        }
        self.take_challenge(exchange)?;
        let secret = KeySecret::draw().map_err(PaymentError::from)?;
        let open = OpenKey {
            key: secret.hash(),
            public_id: secret.public_id(),
            created_at: self.paywall.clock.now(),
            note: order.note,
        };
        let opened = self.paywall.ledger.open_key(open).await;
        let view = self::opened(opened.map_err(too_large)?)?;
        let (by, holder) = (TopUpBy::Holder, exchange.holder);
        let invoice = self.invoice(plan, &view, by, holder, amount).await?;
        let mut made = deposit(&view, &invoice);
        made["key"] = secret.reveal().into();
        Ok(made)
    }

    async fn invoice(
        &self,
        plan: &Plan,
        view: &KeyView,
        by: TopUpBy,
        holder: Holder,
        amount: Msat,
    ) -> Result<CreatedInvoice, Refusal> {
        let invoices = &self.paywall.invoices;
        let made = invoices.for_key(&plan.payments, view, by, holder, amount);
        let (invoice, noted) = made.await?;
        match noted {
            Noted::Noted => Ok(invoice),
            Noted::UnknownKey => Err(KeyFault::NoSuchKey.into()),
            Noted::Revoked => Err(KeyFault::Revoked.into()),
            Noted::Full => Err(KeyFault::Full.into()),
            Noted::Taken => Err(PaymentError::NameTaken.into()),
        }
    }

    /// What is on a key. What was paid for it in the meantime is credited first.
    async fn show_key(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        key: KeyHash,
    ) -> Result<Response<AnswerBody>, Refusal> {
        self.credit_waiting(plan, exchange, key).await?;
        let ledger = &self.paywall.ledger;
        ledger.flush().await?;
        let view = ledger.key(key).await?.ok_or(KeyFault::Unknown)?;
        let mut told = json!(keys::describe(&view));
        let waiting = ledger.pending_deposits_of(key).await?;
        let waiting = waiting.iter().map(|pending| {
            json!({
                "payment_hash": pending.payment_hash.to_string(),
                "amount_msat": pending.amount.get(),
                "expires_at": pending.expires_at.as_secs(),
            })
        });
        told["deposits_waiting"] = waiting.collect();
        Ok(super::json(told.to_string()))
    }

    /// What is left on a key goes back to whoever holds it: the key itself asks, and never a child. The
    /// same rules, limits and words as for tokens. A key that expired may ask; one that the operator
    /// revoked is the operator's to pay back.
    async fn refund_key(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        key: KeyHash,
        arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (refunds, ledger) = (&self.refunds, &self.paywall.ledger);
        let view = ledger.key(key).await?.ok_or(KeyFault::Unknown)?;
        if view.parent.is_some() {
            return Err(KeyFault::Child.into());
        }
        let _permit = refunds.start(key.account())?;
        // What was paid for it a moment ago is on it, too.
        self.credit_waiting(plan, exchange, key).await?;
        if arrival.parts.method == Method::GET {
            let mut standing = refunds.standing(ledger, key.account(), None).await?;
            standing.told["id"] = view.public_id.into();
            return Ok(super::json(standing.told.to_string()));
        }
        let wish = Wish::take(arrival, &self.bodies.of(exchange.holder)).await?;
        let (source, client) = (Source::Key(key), exchange.client);
        refunds.begin(wish, source, client, KEY_REFUND).await
    }

    async fn read_keys_body(
        &self,
        exchange: &Exchange,
        mut arrival: Arrival,
    ) -> Result<bytes::Bytes, Refusal> {
        let share = self.bodies.of(exchange.holder);
        arrival.take_bytes(MAX_BODY, &share).await
    }

    /// An invoice costs the node as much here as in a challenge.
    fn take_challenge(&self, exchange: &Exchange) -> Result<(), Refusal> {
        let (holder, now) = (exchange.holder, Instant::now());
        let taken = self.paywall.challenges.try_take(holder, now);
        let taken = taken.and_then(|()| self.desk.take(holder));
        taken.map_err(|wait| {
            self.paywall.counters.challenge_refused();
            wait.into()
        })
    }

    async fn credit_waiting(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        key: KeyHash,
    ) -> Result<(), Refusal> {
        let node = plan.payments.node.as_deref();
        let deposits = &self.paywall.deposits;
        Ok(deposits.credit_waiting(node, key, exchange.holder).await?)
    }

    /// Lets a key in that exists, as often as whoever holds it may ask.
    async fn let_in(
        &self,
        exchange: &mut Exchange,
        key: Result<KeyHash, KeyFault>,
    ) -> Result<KeyHash, Refusal> {
        let key = key?;
        exchange.holder = self.paywall.keys.holder(key, exchange.client).await?;
        self.refunds.may_ask(exchange)?;
        Ok(key)
    }
}

/// Whether keys are sold, and our node could tell that one was paid.
fn check_sold(plan: &Plan) -> Result<(), Refusal> {
    let node = plan
        .payments
        .node
        .as_deref()
        .and_then(farebox_lightning::backends::Backends::lookup);
    if plan.server.prepaid_keys && node.is_some() {
        Ok(())
    } else {
        Err(KeyFault::NotSold.into())
    }
}

fn opened(opened: Opened) -> Result<KeyView, Refusal> {
    Err(match opened {
        Opened::Opened(view) | Opened::Exists(view) => return Ok(view),
        Opened::UnknownParent => KeyFault::Unknown,
        Opened::NotParent => KeyFault::NotParent,
        Opened::Inactive => KeyFault::NotFunded,
        Opened::Revoked => KeyFault::Revoked,
        Opened::Full => KeyFault::Full,
        // Two draws of 64 bits were alike: the next one will not be.
        Opened::Taken => return Err(PaymentError::NameTaken.into()),
    }
    .into())
}

fn deposit(view: &KeyView, invoice: &CreatedInvoice) -> Value {
    json!({
        "id": view.public_id,
        "invoice": invoice.bolt11,
        "payment_hash": invoice.payment_hash.to_string(),
        "amount_msat": invoice.amount.get(),
        "expires_at": invoice.expires_at.as_secs(),
    })
}

/// What the ledger finds too long was the client's own text.
fn too_large(error: LedgerError) -> Refusal {
    match error {
        LedgerError::TooLarge => KeyFault::Body.into(),
        error => error.into(),
    }
}
