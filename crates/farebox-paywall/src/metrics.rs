//! What is counted of challenges and of the nodes that make invoices.

use farebox_http::counted::CountersBy;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters that whoever holds a copy counts up.
#[derive(Clone, Debug, Default)]
pub struct PaymentCounters {
    challenges: CountersBy<&'static str>,
    refused_challenges: Counter,
    node_failures: Counter,
    repeated_payment_hashes: Counter,
}

impl PaymentCounters {
    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let challenges = self.challenges.clone();
        registry.register("challenges", "Challenges by payment method", challenges);
        let counters = [
            (
                "challenges_refused",
                "Challenges answered without an invoice because a limit was reached",
                &self.refused_challenges,
            ),
            (
                "node_failures",
                "Invoices the Lightning backend did not make",
                &self.node_failures,
            ),
            (
                "repeated_payment_hashes",
                "Invoices refused because their payment hash was used before",
                &self.repeated_payment_hashes,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }

    /// A challenge was made.
    pub fn challenged(&self) {
        let by_method = self.challenges.get_or_create(&[("method", "l402")]);
        by_method.inc();
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
