//! Answers kept for a while, so that a retry of a finished request is answered without a second
//! sale and without the upstream.
//!
//! The ledger decides whether a request is such a retry; only then is an answer looked up, under
//! the hold that paid for it, so nobody sees an answer that is not theirs. Whether the answer is one
//! to what the retry asks for is told by what the first request [asked](Asked). An answer is stored
//! when it was sent completely, never in part. Answers and recordings under way draw on one byte
//! budget; where it is used up the oldest answers go first. Nothing here survives a restart: the
//! retry is then told that it was served.

mod asked;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use farebox_core::HoldId;
use http::{HeaderMap, StatusCode};

use crate::body_budget::{ByteBudget, Lease};
pub use asked::{Asked, Differs};

/// The default limit on the number of answers.
pub const DEFAULT_MAX_ANSWERS: usize = 65_536;

const SHARDS: usize = 16;

/// What one header field takes beside its text, roughly, in bytes.
const FIELD_OVERHEAD: usize = 64;

/// What one answer takes beside headers and body, roughly, in bytes.
const ANSWER_OVERHEAD: usize = 256;

/// How much is kept in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Bytes of all answers, kept and being recorded.
    pub total_bytes: usize,
    /// Number of answers kept.
    pub max_answers: usize,
}

/// What a route keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayPolicy {
    /// The longest body that is kept, in bytes.
    pub max_bytes: usize,
    /// For how long.
    pub ttl: Duration,
}

/// An answer as it was sent.
#[derive(Debug)]
pub struct StoredAnswer {
    /// What it is an answer to, beside what the sale knows of its request.
    pub asked: Asked,
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// Its trailer fields.
    pub trailers: Option<HeaderMap>,
}

/// All answers kept at the moment.
pub struct ReplayStore {
    budget: Arc<ByteBudget>,
    max_per_shard: usize,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    answers: HashMap<HoldId, Kept>,
    /// Holds in the order in which their answers came; exactly those in `answers`.
    order: VecDeque<HoldId>,
    /// Holds whose answers are still being recorded although their clients have left.
    finishing: HashSet<HoldId>,
}

struct Kept {
    answer: Arc<StoredAnswer>,
    expires_at: Instant,
    _lease: Lease,
}

/// What is to be kept of an answer that is still to come.
#[derive(Clone, Debug)]
pub struct Keep {
    /// The hold that pays for it.
    pub hold: HoldId,
    /// How long a body, and for how long.
    pub policy: ReplayPolicy,
    /// What its request asks for.
    pub asked: Asked,
}

/// Collects one answer while it streams to its client. Dropped before [`Recorder::finish`], or
/// grown too large, it leaves nothing behind.
pub struct Recorder(Option<Box<Recording>>);

struct Recording {
    store: Arc<ReplayStore>,
    hold: HoldId,
    policy: ReplayPolicy,
    answer: StoredAnswer,
    body: Vec<u8>,
    lease: Lease,
}

/// An answer that is recorded to its end after its client has left. While it lives, a retry has
/// something to wait for.
#[must_use = "a retry waits for the answer only while this lives"]
pub struct Finishing {
    store: Arc<ReplayStore>,
    hold: HoldId,
}

impl Default for ReplayPolicy {
    fn default() -> Self {
        Self {
            max_bytes: 256 * 1024,
            ttl: Duration::from_secs(600),
        }
    }
}

impl ReplayStore {
    /// An empty store.
    #[must_use]
    pub fn new(limits: ReplayLimits) -> Arc<Self> {
        Arc::new(Self {
            budget: ByteBudget::new(limits.total_bytes),
            max_per_shard: limits.max_answers.div_ceil(SHARDS),
            shards: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// The answer that `hold` paid for, unless it has expired or was never kept.
    #[must_use]
    pub fn find(&self, hold: HoldId, now: Instant) -> Option<Arc<StoredAnswer>> {
        let shard = self.shard(shard_of(hold));
        let kept = shard
            .answers
            .get(&hold)
            .filter(|kept| now < kept.expires_at)?;
        Some(Arc::clone(&kept.answer))
    }

    /// Whether the answer that `hold` paid for is still coming in, without its client.
    #[must_use]
    pub fn is_finishing(&self, hold: HoldId) -> bool {
        self.shard(shard_of(hold)).finishing.contains(&hold)
    }

    /// Starts to record an answer.
    #[must_use]
    pub fn record(
        self: &Arc<Self>,
        keep: Keep,
        status: StatusCode,
        headers: HeaderMap,
    ) -> Recorder {
        let Keep {
            hold,
            policy,
            asked,
        } = keep;
        let size = size_of_fields(&headers) + size_of_fields(asked.fields());
        let answer = StoredAnswer {
            asked,
            status,
            headers,
            body: Bytes::new(),
            trailers: None,
        };
        let (store, lease) = (Arc::clone(self), self.budget.lease());
        let mut recording = Box::new(Recording {
            store,
            hold,
            policy,
            answer,
            body: Vec::new(),
            lease,
        });
        let fits = recording.lease_more(ANSWER_OVERHEAD + size);
        Recorder(fits.then_some(recording))
    }

    /// Forgets the answers that have expired; call it now and then.
    pub fn forget_expired(&self, now: Instant) {
        for index in 0..SHARDS {
            let Shard { answers, order, .. } = &mut *self.shard(index);
            answers.retain(|_, kept| now < kept.expires_at);
            order.retain(|hold| answers.contains_key(hold));
        }
    }

    fn insert(&self, hold: HoldId, kept: Kept) {
        let mut shard = self.shard(shard_of(hold));
        while shard.answers.len() >= self.max_per_shard.max(1) {
            shard.forget_oldest();
        }
        if shard.answers.insert(hold, kept).is_none() {
            shard.order.push_back(hold);
        }
    }

    /// Forgets one old answer, in the first shard from `start` on that has any.
    fn forget_one(&self, start: usize) -> bool {
        (start..start + SHARDS).any(|index| self.shard(index % SHARDS).forget_oldest())
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last byte of a hold's id is random; the first ones are the time.
fn shard_of(hold: HoldId) -> usize {
    usize::from(hold.as_bytes()[15]) % SHARDS
}

fn size_of_fields(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
        .sum()
}

impl Shard {
    fn forget_oldest(&mut self) -> bool {
        let Some(hold) = self.order.pop_front() else {
            return false;
        };
        self.answers.remove(&hold);
        true
    }
}

impl Recording {
    /// Leases `more` bytes, if need be by forgetting old answers.
    fn lease_more(&mut self, more: usize) -> bool {
        while self.lease.grow(more).is_err() {
            if !self.store.forget_one(shard_of(self.hold)) {
                return false;
            }
        }
        true
    }

    fn push(&mut self, data: &[u8]) -> bool {
        let length = self.body.len() + data.len();
        if length > self.policy.max_bytes {
            return false;
        }
        let capacity = self.body.capacity();
        if length > capacity {
            let wanted = length.max(capacity.saturating_mul(2).min(self.policy.max_bytes));
            if !self.lease_more(wanted - capacity) {
                return false;
            }
            self.body.reserve_exact(wanted - self.body.len());
        }
        // Copied, as a slice would keep a read buffer of unknown size alive.
        self.body.extend_from_slice(data);
        true
    }

    fn keep(mut self, now: Instant) {
        let excess = self.body.capacity() - self.body.len();
        self.body.shrink_to_fit();
        self.lease
            .shrink_to(self.lease.bytes().saturating_sub(excess));
        self.answer.body = Bytes::from(self.body);
        let expires_at = now + self.policy.ttl;
        let kept = Kept {
            answer: Arc::new(self.answer),
            expires_at,
            _lease: self.lease,
        };
        self.store.insert(self.hold, kept);
    }
}

impl Recorder {
    /// Records what was sent next of the body.
    pub fn push(&mut self, data: &[u8]) {
        if self
            .0
            .as_mut()
            .is_some_and(|recording| !recording.push(data))
        {
            self.give_up();
        }
    }

    /// Records the trailer fields.
    pub fn push_trailers(&mut self, trailers: &HeaderMap) {
        let Some(recording) = &mut self.0 else { return };
        if recording.lease_more(size_of_fields(trailers)) {
            recording.answer.trailers = Some(trailers.clone());
        } else {
            self.give_up();
        }
    }

    /// Throws the recording away: this answer will not be kept.
    pub fn give_up(&mut self) {
        self.0 = None;
    }

    /// Whether the answer still fits.
    #[must_use]
    pub const fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Says that the answer will be recorded to its end without its client; nothing where it no
    /// longer fits.
    #[must_use]
    pub fn finish_alone(&self) -> Option<Finishing> {
        let Recording { store, hold, .. } = self.0.as_deref()?;
        store.shard(shard_of(*hold)).finishing.insert(*hold);
        Some(Finishing {
            store: Arc::clone(store),
            hold: *hold,
        })
    }

    /// Keeps the answer, now that all of it was sent.
    pub fn finish(self, now: Instant) {
        if let Some(recording) = self.0 {
            recording.keep(now);
        }
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        let mut shard = self.store.shard(shard_of(self.hold));
        shard.finishing.remove(&self.hold);
    }
}

#[cfg(test)]
mod tests;
