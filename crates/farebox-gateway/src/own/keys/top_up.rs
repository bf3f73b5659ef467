//! An invoice that pays for somebody's key. Whoever asks learns nothing about the key.
//!
//! Anybody may ask, and whoever does not hold the key must not keep its holder from paying: a
//! stranger has few invoices for one key in an hour, all strangers together have less than there is
//! room for, and each invoice expires. What is paid is credited, whoever asked for it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use farebox_core::KeyHash;
use farebox_http::body_budget::Holder;
use farebox_http::client_addr::AddressPrefix;
use farebox_http::limits::{ChallengeLimits, ChallengeRates, Rate, RetryAfter};
use farebox_ledger::TopUpBy;
use serde_json::Value;

use super::order::Order;
use super::{KeyPaths, check_sold, deposit};
use crate::access_log::Exchange;
use crate::arrival::Arrival;
use crate::plan::Plan;
use crate::refusal::{KeyFault, Refusal};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// How many invoices a stranger gets for one key in an hour.
const PER_STRANGER: u32 = 6;
/// How many invoices for keys one client gets in an hour, all keys together: each is remembered
/// until its node calls it unpaid for good, or for a week, and there is room for so many only.
const PER_CLIENT: u32 = 120;
/// The same for everybody; the limits on challenges bound it before.
const FOR_ALL: u32 = u32::MAX;

/// What keeps invoices for keys from being asked for without end.
pub(crate) struct KeyDesk {
    clients: ChallengeLimits,
    strangers: ChallengeLimits,
}

impl KeyDesk {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            clients: hourly(PER_CLIENT, now),
            strangers: hourly(PER_STRANGER, now),
        }
    }

    /// Takes one invoice, for a new key or a known one, from a client's share.
    pub(super) fn take(&self, holder: Holder) -> Result<(), RetryAfter> {
        self.clients.try_take(holder, Instant::now())
    }

    fn take_of_stranger(&self, client: IpAddr, key: KeyHash) -> Result<(), RetryAfter> {
        let stranger = Holder::Stranger(AddressPrefix::of(client));
        self.strangers.try_take_for(stranger, key, Instant::now())
    }
}

fn hourly(count: u32, now: Instant) -> ChallengeLimits {
    let rate = |count| Rate::of(count, HOUR, count);
    let rates = ChallengeRates {
        per_prefix: rate(count),
        global: rate(FOR_ALL),
    };
    ChallengeLimits::new(rates, now)
}

impl KeyPaths {
    pub(super) async fn top_up(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        presented: Option<KeyHash>,
        arrival: Arrival,
    ) -> Result<Value, Refusal> {
        check_sold(plan)?;
        let order = Order::parse(&self.read_keys_body(exchange, arrival).await?)?;
        let amount = order.amount()?;
        let (Some(id), None) = (order.id, order.note) else {
            return Err(KeyFault::Body.into());
        };
        if let Some(key) = presented {
            // Whoever sends along what is no key is a stranger like others.
            let holder = self.paywall.keys.holder(key, exchange.client).await;
            exchange.holder = holder.unwrap_or(exchange.holder);
        }
        self.take_challenge(exchange)?;
        let known = self.paywall.ledger.key_by_public_id(&id).await?;
        let view = known.ok_or(KeyFault::NoSuchKey)?;
        let by = if presented == Some(view.key) {
            TopUpBy::Holder
        } else {
            self.desk.take_of_stranger(exchange.client, view.key)?;
            TopUpBy::Stranger
        };
        let holder = exchange.holder;
        let invoice = self.invoice(plan, &view, by, holder, amount).await?;
        Ok(deposit(&view, &invoice))
    }
}
