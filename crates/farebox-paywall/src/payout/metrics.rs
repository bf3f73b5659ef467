//! What is counted of payouts.

use std::time::Duration;

use farebox_core::Msat;
use farebox_http::counted::{CountersBy, counted};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The counters of payouts, of this run of the process; the open ones are those of the store.
pub(super) struct PayoutMetrics {
    pub(super) registry: Registry,
    payouts: CountersBy<&'static str>,
    pub(super) refused: Counter,
    paid_msat: Counter,
    fees_msat: Counter,
    open: Gauge,
    oldest: Gauge,
}

impl PayoutMetrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("farebox");
        let oldest = Gauge::default();
        let metrics = Self {
            payouts: counted(
                &mut registry,
                "payouts",
                "Refunds begun, and how they ended",
            ),
            refused: counted(
                &mut registry,
                "payouts_refused",
                "Refunds that were not begun",
            ),
            paid_msat: counted(&mut registry, "paid_out_msat", "Paid back, in msat"),
            fees_msat: counted(
                &mut registry,
                "payout_fees_msat",
                "What paying back cost, in msat; it came out of the refunds",
            ),
            open: counted(
                &mut registry,
                "payouts_open",
                "Refunds under way or of unknown outcome",
            ),
            oldest: oldest.clone(),
            registry: {
                let help = "How long ago the oldest of them was begun";
                registry.register_with_unit("payout_oldest_open", help, Unit::Seconds, oldest);
                registry
            },
        };
        for state in ["begun", "paid", "failed"] {
            let _ = metrics.payouts.get_or_create(&[("state", state)]);
        }
        metrics
    }

    pub(super) fn begun(&self) {
        self.count("begun");
        self.open.inc();
    }

    pub(super) fn paid(&self, amount: Msat, fee: Msat) {
        self.count("paid");
        self.paid_msat.inc_by(amount.get());
        self.fees_msat.inc_by(fee.get());
    }

    pub(super) fn failed(&self) {
        self.count("failed");
    }

    /// What the store says is open.
    pub(super) fn open(&self, count: usize, oldest: Duration) {
        self.open.set(i64::try_from(count).unwrap_or(i64::MAX));
        let seconds = i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX);
        self.oldest.set(seconds);
    }

    fn count(&self, state: &'static str) {
        self.payouts.get_or_create(&[("state", state)]).inc();
    }
}
