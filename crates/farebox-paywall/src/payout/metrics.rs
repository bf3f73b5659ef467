//! What is counted of payouts.

use std::time::Duration;

use farebox_core::Msat;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// The counters of payouts, of this run of the process; the open ones are those of the store.
pub(super) struct PayoutMetrics {
    registry: Registry,
    payouts: Family<StateLabel, Counter>,
    refused: Counter,
    paid_msat: Counter,
    fees_msat: Counter,
    open: Gauge,
    oldest: Gauge,
}

impl PayoutMetrics {
    pub(super) fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            payouts: Family::default(),
            refused: Counter::default(),
            paid_msat: Counter::default(),
            fees_msat: Counter::default(),
            open: Gauge::default(),
            oldest: Gauge::default(),
        };
        for state in ["begun", "paid", "failed"] {
            let _ = metrics.payouts.get_or_create(&StateLabel { state });
        }
        Self {
            registry: metrics.register(),
            ..metrics
        }
    }

    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("farebox");
        let payouts = self.payouts.clone();
        registry.register("payouts", "Refunds begun, and how they ended", payouts);
        let refused = self.refused.clone();
        registry.register("payouts_refused", "Refunds that were not begun", refused);
        registry.register(
            "paid_out_msat",
            "Paid back, in msat",
            self.paid_msat.clone(),
        );
        registry.register(
            "payout_fees_msat",
            "What paying back cost, in msat; it came out of the refunds",
            self.fees_msat.clone(),
        );
        registry.register(
            "payouts_open",
            "Refunds under way or of unknown outcome",
            self.open.clone(),
        );
        registry.register_with_unit(
            "payout_oldest_open",
            "How long ago the oldest of them was begun",
            Unit::Seconds,
            self.oldest.clone(),
        );
        registry
    }

    pub(super) const fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn begun(&self) {
        self.count("begun");
        self.open.inc();
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
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
        self.payouts.get_or_create(&StateLabel { state }).inc();
    }
}
