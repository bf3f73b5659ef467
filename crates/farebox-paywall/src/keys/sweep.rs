//! Payments for keys that nobody asks about.
//!
//! Most backends tell of settlements by themselves; of the others only who uses a key asks, and
//! whoever tops up a key that still has money may not use it for long. So every invoice is asked
//! about once more when it can no longer be paid, long before it is forgotten: what was paid is
//! credited, whoever paid and whoever looks. What can never be paid is forgotten once the
//! node says so: there is room for so many invoices only, and strangers would fill it for nothing.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use farebox_core::{PaymentHash, UnixMillis};
use farebox_http::body_budget::Holder;
use farebox_ledger::{LedgerError, PendingDeposit};
use farebox_lightning::backends::Backends;
use tokio::time::MissedTickBehavior;

use super::deposit::Deposits;
use crate::settled::Paid;

/// How often invoices that expired are looked for.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// How long after its expiry an invoice is asked about: what was under way then has ended.
const AFTER: Duration = Duration::from_secs(5 * 60);
/// How long after its expiry an invoice is forgotten of which the node says then that it can never
/// be paid: far more than their clocks differ.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);
/// The pause between two of them: the node has more to do.
const PAUSE: Duration = Duration::from_millis(20);

/// Those that were asked about when they were over, or long over, and that nobody called paid. That
/// stays so, but for what other backends may know: whoever was missing then may be back after a
/// reload.
#[derive(Default)]
struct Unpaid {
    said_by: Weak<Backends>,
    asked: HashSet<(PaymentHash, Age)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Age {
    Over,
    LongOver,
}

/// Goes on until it is dropped. `backends` gives those that are sold by at the moment.
pub async fn sweep(deposits: Arc<Deposits>, backends: impl Fn() -> Option<Arc<Backends>>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unpaid = Unpaid::default();
    loop {
        ticks.tick().await;
        if let Err(error) = deposits.sweep(&backends, &mut unpaid).await {
            tracing::warn!(%error, "invoices for prepaid keys cannot be looked at; later again");
        }
    }
}

impl Deposits {
    async fn sweep(
        &self,
        backends: &impl Fn() -> Option<Arc<Backends>>,
        unpaid: &mut Unpaid,
    ) -> Result<(), LedgerError> {
        let known = self.pending.known();
        let waiting = self.settled.ledger.pending_deposits().await?;
        self.pending.update(&known, &waiting);
        let known: HashSet<_> = waiting.iter().map(|it| it.payment_hash).collect();
        unpaid.asked.retain(|(hash, _)| known.contains(hash));
        let now = self.clock.now();
        for pending in &waiting {
            let Some(age) = age(pending, now) else {
                continue;
            };
            let backends = backends();
            unpaid.heed(backends.as_ref());
            let hash = pending.payment_hash;
            let holder = Holder::Payer(pending.key.account());
            if unpaid.asked.contains(&(hash, age)) {
                continue;
            }
            match self
                .credit_if_paid(backends.as_deref(), pending, holder)
                .await?
            {
                Paid::Never if age == Age::LongOver => {
                    self.settled.ledger.forget_unpaid(hash).await?;
                }
                Paid::Never | Paid::No | Paid::Untold => drop(unpaid.asked.insert((hash, age))),
                Paid::Yes(_) => tracing::info!(
                    payment.hash = %hash,
                    "a prepaid key was paid for, and nobody had asked"
                ),
                Paid::Unknown => {}
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
            self.said_by = asked;
            self.asked.clear();
        }
    }
}

/// None where it can still be paid, or could a moment ago.
fn age(pending: &PendingDeposit, now: UnixMillis) -> Option<Age> {
    if pending.expires_at.plus(FORGET_AFTER) <= now {
        Some(Age::LongOver)
    } else {
        (pending.expires_at.plus(AFTER) <= now).then_some(Age::Over)
    }
}

#[cfg(test)]
mod tests;
