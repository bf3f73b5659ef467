//! Whether the ledger has exactly what was served: speed that loses a msat is worth nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::farebox::{DEBIT, Gateway, PASS};
use super::report::Report;
use super::units::thousands;

/// The price of one request on the route with a balance, in msat.
const PRICE: u64 = 1;
/// Settlements are queued before the last byte leaves, and committed a moment later.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
pub(crate) const TRIAL_BALANCE: &str = "/admin/v1/ledger/trial-balance";
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
    pub(crate) fn open(gateway: &Gateway, connections: usize) -> Result<Self> {
        let buy = |path| (0..connections).map(move |_| gateway.buy(path));
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

    /// Compares with the ledger, whose own trial balance has to be right as well.
    pub(crate) fn check(&self, after: &str, gateway: &Gateway, report: &mut Report) -> Result<()> {
        let owed = self.served * PRICE;
        let give_up_at = Instant::now() + SETTLED_AFTER;
        let mut ledger = gateway.admin(TRIAL_BALANCE)?;
        while (revenue(&ledger) != owed || is_busy(&ledger)) && Instant::now() < give_up_at {
            std::thread::sleep(Duration::from_millis(100));
            ledger = gateway.admin(TRIAL_BALANCE)?;
        }
        let (taken, msat) = (revenue(&ledger), |msat| format!("{} msat", thousands(msat)));
        report.demand(
            &format!("debits after the {after}"),
            &msat(taken),
            &format!("= {} served", msat(owed)),
            taken == owed,
        );
        let sound = ledger["sound"] == true && ledger["sum_msat"] == 0 && !is_busy(&ledger);
        report.demand(
            &format!("trial balance after the {after}"),
            if sound { "zero" } else { "unsound" },
            "zero, nothing held",
            sound,
        );
        Ok(())
    }
}

/// What the route with a balance has earned so far.
fn revenue(ledger: &Value) -> u64 {
    ledger["house_msat"][REVENUE].as_u64().unwrap_or(0)
}

/// Whether a request is still being settled.
fn is_busy(ledger: &Value) -> bool {
    ledger["open_holds"] != 0
}
