//! Charges for the operator: what was taken, from whom, and what it was made of.

use std::collections::HashMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use farebox_api::{Charge, Charges};
use farebox_core::{HoldId, KeyHash, RouteName, UnixMillis};
use farebox_ledger::{AccountName, ChargeQuery, ChargeView, Ledger, LedgerError};
use farebox_paywall::receipt::receipt;
use serde::Deserialize;

use crate::Shared;
use crate::admin::{limit, payment_hash};
use crate::error::ConsoleError;
use crate::keys::find as find_key;

/// What the public name of a prepaid key begins with.
const KEY_ID: &str = "fk_";

/// Which charges. Instants are in seconds since the Unix epoch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChargesPage {
    account: Option<String>,
    route: Option<String>,
    since: Option<u64>,
    until: Option<u64>,
    before: Option<String>,
    limit: Option<u32>,
}

pub(crate) async fn list(
    State(state): State<Shared>,
    page: Result<Query<ChargesPage>, QueryRejection>,
) -> Result<Json<Charges>, ConsoleError> {
    let Query(page) = page?;
    let limit = limit(page.limit)?;
    let query = page.query(&state).await?;
    let ledger = state.settled().await?;
    let found = ledger.charges(query, limit).await?;
    let mut names = Names::new(ledger);
    let mut charges = Vec::with_capacity(found.charges.len());
    for charge in found.charges {
        charges.push(names.tell(charge).await?);
    }
    let next = found.next.map(|next| next.to_string());
    Ok(Json(Charges { charges, next }))
}

pub(crate) async fn show(
    State(state): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Charge>, ConsoleError> {
    let id = HoldId::parse(&id).map_err(ConsoleError::bad)?;
    let ledger = state.settled().await?;
    let charge = ledger.charge(id).await?.ok_or(ConsoleError::NoCharge)?;
    Ok(Json(Names::new(ledger).tell(charge).await?))
}

impl ChargesPage {
    async fn query(self, state: &Shared) -> Result<ChargeQuery, ConsoleError> {
        let account = match self.account {
            None => None,
            Some(id) if id.starts_with(KEY_ID) => {
                Some(AccountName::Key(find_key(state, &id).await?.key))
            }
            Some(hash) => Some(AccountName::Payer(payment_hash(&hash)?.account())),
        };
        let route = self.route.as_deref().map(RouteName::parse).transpose();
        let before = self.before.as_deref().map(HoldId::parse).transpose();
        let instant = |seconds: u64| UnixMillis::new(seconds.saturating_mul(1_000));
        Ok(ChargeQuery {
            account,
            route: route.map_err(ConsoleError::bad)?,
            since: self.since.map(instant),
            until: self.until.map(instant),
            before: before.map_err(ConsoleError::bad)?,
        })
    }
}

/// The public names of the keys on one page, each looked up once.
struct Names<'a> {
    ledger: &'a Ledger,
    known: HashMap<KeyHash, String>,
}

impl<'a> Names<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            known: HashMap::new(),
        }
    }

    async fn tell(&mut self, charge: ChargeView) -> Result<Charge, LedgerError> {
        let account = match &charge.account {
            AccountName::Payer(hash) => hash.to_string(),
            AccountName::Key(key) => self.of(*key).await?,
            AccountName::House(name) => name.clone(),
        };
        let child = match charge.asker {
            Some(child) => Some(self.of(child).await?),
            None => None,
        };
        Ok(Charge {
            account,
            child,
            receipt: receipt(charge),
        })
    }

    /// A key that is gone has no name but its hash.
    async fn of(&mut self, key: KeyHash) -> Result<String, LedgerError> {
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let view = self.ledger.key(key).await?;
        let name = view.map_or_else(|| key.to_string(), |view| view.public_id);
        self.known.insert(key, name.clone());
        Ok(name)
    }
}
