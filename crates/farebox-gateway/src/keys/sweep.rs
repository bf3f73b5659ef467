//! Payments for keys that nobody asks about.
//!
//! Most backends tell of settlements by themselves; of the others only who uses a key asks, and
//! whoever tops up a key that still has money may not use it for long. So every invoice is asked
//! about once more when it can no longer be paid, long before it is forgotten: what was paid is
//! credited, whoever paid and whoever looks.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use farebox_core::PaymentHash;
use farebox_ledger::{LedgerError, PendingDeposit};
use farebox_lightning::backends::Backends;
use tokio::time::MissedTickBehavior;

use super::deposit::Credited;
use crate::worker::Worker;

/// How often invoices that expired are looked for.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// How long after its expiry an invoice is asked about: what was under way then has ended.
const AFTER: Duration = Duration::from_secs(5 * 60);
/// The pause between two of them: the node has more to do.
const PAUSE: Duration = Duration::from_millis(20);

/// Those of which the node said that they were not paid. That stays so, but for what other
/// backends may know: whoever was missing when it was asked may be back after a reload.
#[derive(Default)]
struct Unpaid {
    said_by: Weak<Backends>,
    hashes: HashSet<PaymentHash>,
}

/// Goes on until it is dropped.
pub(crate) async fn sweep(worker: Arc<Worker>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unpaid = Unpaid::default();
    loop {
        ticks.tick().await;
        if let Err(error) = worker.sweep(&mut unpaid).await {
            tracing::warn!(%error, "invoices for prepaid keys cannot be looked at; later again");
        }
    }
}

impl Worker {
    async fn sweep(&self, unpaid: &mut Unpaid) -> Result<(), LedgerError> {
        let waiting = self.shared.ledger.pending_deposits().await?;
        let known: HashSet<_> = waiting.iter().map(|it| it.payment_hash).collect();
        unpaid.hashes.retain(|hash| known.contains(hash));
        let now = self.shared.clock.now();
        let is_over = |pending: &&PendingDeposit| pending.expires_at.plus(AFTER) <= now;
        for pending in waiting.iter().filter(is_over) {
            let plan = self.shared.plan.load_full();
            unpaid.heed(plan.node.as_ref());
            if unpaid.hashes.contains(&pending.payment_hash) {
                continue;
            }
            match self.credit_if_paid(&plan, pending).await? {
                Credited::NotPaid => drop(unpaid.hashes.insert(pending.payment_hash)),
                Credited::Yes => tracing::info!(
                    payment.hash = %pending.payment_hash,
                    "a prepaid key was paid for, and nobody had asked"
                ),
                Credited::Unknown => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

impl Unpaid {
    /// Forgets what others said than these.
    fn heed(&mut self, backends: Option<&Arc<Backends>>) {
        let asked = backends.map_or_else(Weak::new, Arc::downgrade);
        if !Weak::ptr_eq(&asked, &self.said_by) {
            self.hashes.clear();
            self.said_by = asked;
        }
    }
}

#[cfg(test)]
mod tests;
