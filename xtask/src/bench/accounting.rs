//! Whether the ledger has exactly what was served: speed that loses a msat is worth nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::closed_loop;
use super::farebox::{DEBIT, Gateway, PASS};
use super::report::Report;
use super::units::thousands;

/// The price of one request on the route with a balance, in msat.
const PRICE: u64 = 1;
/// Settlements are queued before the last byte leaves, and committed a moment later.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
const REVENUE: &str = "revenue:debit";

/// The tokens that the generators use, and what was served for them.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) passes: Vec<String>,
    pub(crate) balances: Vec<String>,
    served: u64,
}

impl Books {
    /// Buys a token of each kind for every connection.
    pub(crate) fn open(gateway: &Gateway) -> Result<Self> {
        let buy = |path| (0..closed_loop::CONNECTIONS).map(move |_| gateway.buy(path));
        let passes = buy(PASS).collect::<Result<_>>().context("buying passes")?;
        let balances = buy(DEBIT)
            .collect::<Result<_>>()
            .context("buying balances")?;
        Ok(Self {
            passes,
            balances,
            served: 0,
        })
    }

    /// So many requests were answered for money.
    pub(crate) fn add(&mut self, served: u64) {
        self.served += served;
    }

    /// Compares with the ledger.
    pub(crate) fn check(&self, after: &str, gateway: &Gateway, report: &mut Report) -> Result<()> {
        let owed = self.served * PRICE;
        let give_up_at = Instant::now() + SETTLED_AFTER;
        let mut taken = revenue(gateway)?;
        while taken != owed && Instant::now() < give_up_at {
            std::thread::sleep(Duration::from_millis(100));
            taken = revenue(gateway)?;
        }
        let msat = |amount: u64| format!("{} msat", thousands(amount));
        report.demand(
            &format!("debits after the {after}"),
            &msat(taken),
            &format!("= {} served", msat(owed)),
            taken == owed,
        );
        Ok(())
    }
}

/// What the route with a balance has earned so far.
fn revenue(gateway: &Gateway) -> Result<u64> {
    let balance = gateway.admin("/admin/v1/ledger/trial-balance")?;
    find(&balance, REVENUE).with_context(|| format!("no {REVENUE} in {balance}"))
}

/// The balance of a house account, wherever the answer lists it.
fn find(value: &Value, account: &str) -> Option<u64> {
    match value {
        Value::Object(fields) => {
            let direct = fields.get(account).and_then(Value::as_u64);
            let is_named = fields.values().any(|field| field == account);
            let named = || fields.values().find_map(Value::as_u64).filter(|_| is_named);
            direct
                .or_else(named)
                .or_else(|| fields.values().find_map(|field| find(field, account)))
        }
        Value::Array(items) => items.iter().find_map(|item| find(item, account)),
        _ => None,
    }
}
