//! Whether the ledger has exactly what was served: speed that loses a msat is worth nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::farebox::Gateway;
use super::report::Report;
use super::units::thousands;

/// Settlements are queued before the last byte leaves, and committed a moment later.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
pub(crate) const TRIAL_BALANCE: &str = "/admin/v1/ledger/trial-balance";

/// What each route ought to have earned by what was served, in msat.
#[derive(Debug, Default)]
pub(crate) struct Books(BTreeMap<&'static str, u64>);

impl Books {
    /// For these routes, which have earned nothing yet.
    pub(crate) fn of(routes: &[&'static str]) -> Self {
        Self(routes.iter().map(|route| (*route, 0)).collect())
    }

    /// So much was served on a route.
    pub(crate) fn add(&mut self, route: &'static str, msat: u64) {
        *self.0.entry(route).or_default() += msat;
    }

    /// Compares with the ledger, route by route; its own trial balance has to be right as well.
    pub(crate) fn check(&self, after: &str, gateway: &Gateway, report: &mut Report) -> Result<()> {
        let give_up_at = Instant::now() + SETTLED_AFTER;
        let mut ledger = gateway.admin(TRIAL_BALANCE)?;
        while !(self.is_exact(&ledger) && ledger["open_holds"] == 0) && Instant::now() < give_up_at
        {
            std::thread::sleep(Duration::from_millis(100));
            ledger = gateway.admin(TRIAL_BALANCE)?;
        }
        let owed = self.owed();
        let taken: u64 = self.0.keys().map(|route| revenue(&ledger, route)).sum();
        report.demand(
            &format!("charges after {after}"),
            format!("{} msat", thousands(taken)),
            &format!("= {} msat served", thousands(owed)),
            self.is_exact(&ledger),
        );
        let sound = ledger["sound"] == true && ledger["sum_msat"] == 0 && ledger["open_holds"] == 0;
        report.demand(
            &format!("trial balance after {after}"),
            if sound { "zero" } else { "unsound" },
            "zero, nothing held",
            sound,
        );
        Ok(())
    }

    /// What all routes together ought to have earned.
    pub(crate) fn owed(&self) -> u64 {
        self.0.values().sum()
    }

    fn is_exact(&self, ledger: &Value) -> bool {
        let mut routes = self.0.iter();
        routes.all(|(route, owed)| revenue(ledger, route) == *owed)
    }
}

/// What a route, by its path, has earned so far.
fn revenue(ledger: &Value, route: &str) -> u64 {
    let account = format!("revenue:{}", &route[1..]);
    ledger["house_msat"][account].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_route_has_to_have_earned_its_own() {
        let mut books = Books::of(&["/paced", "/whole"]);
        let ledger = |paced: u64, whole: u64| json!({ "house_msat": { "revenue:paced": paced, "revenue:whole": whole } });
        assert!(books.is_exact(&json!({})) && !books.is_exact(&ledger(1, 0)));
        books.add("/paced", 3);
        books.add("/paced", 4);
        assert!(books.is_exact(&ledger(7, 0)) && !books.is_exact(&ledger(6, 1)));
    }
}
