//! Limits on challenges, each of which costs a node an invoice, and on other questions.
//!
//! Strangers have a bucket for each address prefix and one for all of them; those who paid have one for
//! each account and another one for all, which strangers cannot empty.
//!
//! The buckets of single clients live in a table of fixed size that is addressed by a keyed hash, much like a
//! count-min sketch. A map with eviction would need either unbounded memory or a rule for whom to
//! forget, and whoever is forgotten starts again with a full bucket: an attacker with many
//! addresses would empty the memory and refill its own buckets. Here nobody is ever forgotten.
//! Each client has [`CELLS_PER_CLIENT`] cells that it may share with others, and its bucket is
//! the fuller one of them. Sharing can only make a bucket emptier than a private one would be,
//! never fuller, and hits an innocent client only if all its cells are shared with greedy ones,
//! which nobody can aim for without the key.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Rate, RetryAfter, Scale};
use crate::body_budget::Holder;

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 64;

/// Buckets in one shard; with eight bytes each the table has 1 MiB, touched only as it is used.
const CELLS_PER_SHARD: usize = 2048;

/// In how many cells the use of one client is recorded.
const CELLS_PER_CLIENT: usize = 2;

type Cells = [usize; CELLS_PER_CLIENT];

/// How many challenges are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeRates {
    /// For the strangers of one address prefix, and for one account.
    pub per_prefix: Rate,
    /// For all strangers together, and as much again for all who paid.
    pub global: Rate,
}

/// Buckets of challenges, per client and for all, in flat memory.
pub struct ChallengeLimits {
    rates: ChallengeRates,
    scale: Scale,
    keyed: RandomState,
    shards: Box<[Shard]>,
    strangers_full_at: AtomicU64,
    payers_full_at: AtomicU64,
}

/// Kept on a cache line of its own, so that neighbours do not slow each other down.
#[repr(align(64))]
struct Shard(Mutex<Box<[u64]>>);

impl ChallengeLimits {
    /// Full buckets. `now` only has to lie before every later instant.
    #[must_use]
    pub fn new(rates: ChallengeRates, now: Instant) -> Self {
        let shard = |_| Shard(Mutex::new(vec![0; CELLS_PER_SHARD].into()));
        Self {
            rates,
            scale: Scale::from(now),
            keyed: RandomState::new(),
            shards: (0..SHARDS).map(shard).collect(),
            strangers_full_at: AtomicU64::new(0),
            payers_full_at: AtomicU64::new(0),
        }
    }

    /// Takes one challenge from a client's share. A refusal takes nothing: a client over its limit
    /// does not drain the bucket of all, and an empty bucket of all costs no client its own.
    ///
    /// # Errors
    /// [`RetryAfter`] says when it is worth asking again.
    pub fn try_take(&self, holder: Holder, now: Instant) -> Result<(), RetryAfter> {
        self.try_take_for(holder, (), now)
    }

    /// The same from its share of something alone, such as challenges for one key.
    ///
    /// # Errors
    /// As of [`try_take`](Self::try_take).
    pub fn try_take_for(
        &self,
        holder: Holder,
        what: impl Hash,
        now: Instant,
    ) -> Result<(), RetryAfter> {
        let now = self.scale.at(now);
        let (mut buckets, cells) = self.buckets((holder, what));
        let full_at = self.rates.per_prefix.take(fullest(&buckets, cells), now)?;
        self.take_from_all(holder, now)?;
        for cell in cells {
            buckets[cell] = buckets[cell].max(full_at);
        }
        Ok(())
    }

    /// Whether [`try_take`](Self::try_take) would take one now. Takes nothing.
    ///
    /// # Errors
    /// As of [`try_take`](Self::try_take).
    pub fn check(&self, holder: Holder, now: Instant) -> Result<(), RetryAfter> {
        let now = self.scale.at(now);
        let all = self.all_full_at(holder).load(Ordering::Relaxed);
        let (buckets, cells) = self.buckets((holder, ()));
        self.rates.global.take(all, now)?;
        let own = fullest(&buckets, cells);
        self.rates.per_prefix.take(own, now).map(drop)
    }

    const fn all_full_at(&self, holder: Holder) -> &AtomicU64 {
        match holder {
            Holder::Stranger(_) => &self.strangers_full_at,
            Holder::Payer(_) => &self.payers_full_at,
        }
    }

    fn take_from_all(&self, holder: Holder, now: u64) -> Result<(), RetryAfter> {
        let take = |full_at| self.rates.global.take(full_at, now);
        let (order, all) = (Ordering::Relaxed, self.all_full_at(holder));
        all.fetch_update(order, order, |full_at| take(full_at).ok())
            .or_else(take)
            .map(drop)
    }

    /// The buckets of the shard of a client, and which of them are its own: different bits of one
    /// keyed hash.
    fn buckets(&self, client: impl Hash) -> (MutexGuard<'_, Box<[u64]>>, Cells) {
        let bits = self.keyed.hash_one(client).to_le_bytes();
        let part = |low: usize, modulus: usize| {
            usize::from(u16::from_le_bytes([bits[low], bits[low + 1]])) % modulus
        };
        let Shard(shard) = &self.shards[part(0, SHARDS)];
        let buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        (buckets, [2, 4].map(|low| part(low, CELLS_PER_SHARD)))
    }
}

fn fullest(buckets: &[u64], cells: Cells) -> u64 {
    let own = cells.iter().map(|&cell| buckets[cell]);
    own.min().unwrap_or(u64::MAX)
}
