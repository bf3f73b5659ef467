//! Figures of the running ledger, for metrics. Reading them touches no lock and no store.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use farebox_core::Msat;

use crate::Rail;

/// Upper bounds of the batch size buckets, in commands; the last bucket is open.
pub const BATCH_BOUNDS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Upper bounds of the commit time buckets, in microseconds; the last bucket is open.
pub const COMMIT_BOUNDS_US: [u64; 9] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000];

const BUCKETS: usize = 10;

/// A snapshot of the ledger's figures. Counters count from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerStats {
    /// Holds neither settled nor voided.
    pub open_holds: u64,
    /// Commands waiting for the writer.
    pub queue_depth: u64,
    /// Transactions committed.
    pub batches: u64,
    /// Commands in them.
    pub commands: u64,
    /// Transactions by size; see [`BATCH_BOUNDS`].
    pub batch_sizes: [u64; BUCKETS],
    /// Transactions by the time from the first statement until the disk has them, or until the end
    /// of the commit where nobody waits for the disk; see [`COMMIT_BOUNDS_US`].
    pub commit_times: [u64; BUCKETS],
    /// The sum of those times, in microseconds.
    pub commit_us: u64,
    /// Usage above its hold so far, in msat: what the seller lost.
    pub seller_loss_msat: u64,
    /// Payments credited so far, each once.
    pub claims: u64,
    /// Their amounts, in msat: what came in.
    pub claimed_msat: u64,
    /// How many of them, and how much, came by ecash.
    pub ecash: (u64, u64),
    /// The store failed, and new holds are refused.
    pub refusing: bool,
}

/// The live counters behind [`LedgerStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) open_holds: AtomicU64,
    pub(crate) queue_depth: AtomicU64,
    pub(crate) refusing: AtomicBool,
    seller_loss_msat: AtomicU64,
    claims: AtomicU64,
    claimed_msat: AtomicU64,
    ecash: (AtomicU64, AtomicU64),
    batches: AtomicU64,
    commands: AtomicU64,
    commit_us: AtomicU64,
    batch_sizes: [AtomicU64; BUCKETS],
    commit_times: [AtomicU64; BUCKETS],
}

impl Counters {
    pub(crate) fn committed(&self, commands: usize, took: Duration) {
        let commands = u64::try_from(commands).unwrap_or(u64::MAX);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(commands, Ordering::Relaxed);
        self.commit_us.fetch_add(micros, Ordering::Relaxed);
        count(&self.batch_sizes, &BATCH_BOUNDS, commands);
        count(&self.commit_times, &COMMIT_BOUNDS_US, micros);
    }

    pub(crate) fn claimed(&self, rail: Rail, amount: Msat) {
        let add = |(count, msat): (&AtomicU64, &AtomicU64)| {
            count.fetch_add(1, Ordering::Relaxed);
            msat.fetch_add(amount.get(), Ordering::Relaxed);
        };
        add((&self.claims, &self.claimed_msat));
        if let Rail::Ecash(_) = rail {
            add((&self.ecash.0, &self.ecash.1));
        }
    }

    pub(crate) fn lost(&self, amount: Msat) {
        self.seller_loss_msat
            .fetch_add(amount.get(), Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> LedgerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LedgerStats {
            open_holds: read(&self.open_holds),
            queue_depth: read(&self.queue_depth),
            batches: read(&self.batches),
            commands: read(&self.commands),
            batch_sizes: self.batch_sizes.each_ref().map(read),
            commit_times: self.commit_times.each_ref().map(read),
            commit_us: read(&self.commit_us),
            seller_loss_msat: read(&self.seller_loss_msat),
            claims: read(&self.claims),
            claimed_msat: read(&self.claimed_msat),
            ecash: (read(&self.ecash.0), read(&self.ecash.1)),
            refusing: self.refusing.load(Ordering::Relaxed),
        }
    }
}

fn count(buckets: &[AtomicU64; BUCKETS], bounds: &[u64; BUCKETS - 1], value: u64) {
    let bucket = bounds.partition_point(|bound| *bound < value);
    buckets[bucket].fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_falls_into_that_bounds_bucket() {
        let counters = Counters::default();
        counters.committed(1, Duration::from_micros(100));
        counters.committed(257, Duration::from_secs(1));
        let stats = counters.snapshot();
        assert_eq!((stats.batch_sizes[0], stats.batch_sizes[9]), (1, 1));
        assert_eq!((stats.commit_times[0], stats.commit_times[9]), (1, 1));
        assert_eq!((stats.batches, stats.commands), (2, 258));
    }
}
