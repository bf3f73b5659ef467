//! What is counted of challenges and of the nodes that make invoices.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

/// Counters that whoever holds a copy counts up.
#[derive(Clone, Debug, Default)]
pub struct PaymentCounters {
    challenges: Family<MethodLabel, Counter>,
    refused_challenges: Counter,
    node_failures: Counter,
    repeated_payment_hashes: Counter,
}

impl PaymentCounters {
    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "challenges",
            "Challenges by payment method",
            self.challenges.clone(),
        );
        registry.register(
            "challenges_refused",
            "Challenges answered without an invoice because a limit was reached",
            self.refused_challenges.clone(),
        );
        registry.register(
            "node_failures",
            "Invoices the Lightning backend did not make",
            self.node_failures.clone(),
        );
        registry.register(
            "repeated_payment_hashes",
            "Invoices refused because their payment hash was used before",
            self.repeated_payment_hashes.clone(),
        );
    }

    /// A challenge was made.
    pub fn challenged(&self) {
        self.challenges
            .get_or_create(&MethodLabel { method: "l402" })
            .inc();
    }

    /// Somebody asked too often for one.
    pub fn challenge_refused(&self) {
        self.refused_challenges.inc();
    }

    /// A node made no invoice.
    pub fn node_failed(&self) {
        self.node_failures.inc();
    }

    /// A node made an invoice with a payment hash that it had used before.
    pub fn payment_hash_repeated(&self) {
        self.repeated_payment_hashes.inc();
    }
}
