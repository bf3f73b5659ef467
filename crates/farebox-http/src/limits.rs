//! How much somebody may ask of us: challenges per client, requests per token, places that all share.
//!
//! A refusal here happens before anything is held or made and costs nobody anything. All rates
//! are the generic cell rate algorithm: a bucket is one instant, the one at which it is full
//! again, so that it needs no timer and eight bytes. Instants come in as arguments and are
//! monotonic. No lock is ever held across an await.

mod challenges;
mod places;
mod tokens;

pub use challenges::{ChallengeLimits, ChallengeRates};
pub use places::{Guest, NoPlace, Place, Places};
pub use tokens::{MAX_TRACKED_TOKENS, TokenLimit, TokenLimits, TokenPermit, TokenRefusal};

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// So many per period, and so many at once after a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time for one, in nanoseconds; at least one.
    interval: u64,
    /// How far ahead of now the instant of the full bucket may lie before one more is refused.
    tolerance: u64,
}

/// Refused for now: it is worth asking again after so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many; the next one is possible in {} s", self.as_secs())]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// Whole seconds for the header of that name: rounded up, at least one.
    #[must_use]
    pub fn as_secs(self) -> u64 {
        let partial = u64::from(self.0.subsec_nanos() > 0);
        self.0.as_secs().saturating_add(partial).max(1)
    }
}

impl Rate {
    /// `count` per `period`, of which `burst` may come at once. Intervals are rounded up to the
    /// nanosecond, so that the rate is never exceeded.
    #[must_use]
    pub fn new(count: NonZeroU32, period: Duration, burst: NonZeroU32) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval = period.div_ceil(u64::from(count.get())).max(1);
        Self {
            interval,
            tolerance: interval.saturating_mul(u64::from(burst.get()) - 1),
        }
    }

    /// The same by plain numbers, of which zero counts as one.
    #[must_use]
    pub fn of(count: u32, period: Duration, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self::new(at_least_one(count), period, at_least_one(burst))
    }

    /// Takes one out of the bucket that is full at `full_at`; gives the instant at which it will
    /// be full again. Both are nanoseconds on the scale of `now`.
    fn take(self, full_at: u64, now: u64) -> Result<u64, RetryAfter> {
        let wait = full_at.saturating_sub(now.saturating_add(self.tolerance));
        if wait > 0 {
            return Err(RetryAfter(Duration::from_nanos(wait)));
        }
        Ok(full_at.max(now).saturating_add(self.interval))
    }
}

/// A bucket of somebody who is known by himself. It is full at first.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    scale: Scale,
    full_at: u64,
}

impl Bucket {
    /// A full bucket. `now` only has to lie before every later instant.
    #[must_use]
    pub const fn full(now: Instant) -> Self {
        Self {
            scale: Scale::from(now),
            full_at: 0,
        }
    }

    /// Takes one. A refusal takes nothing.
    ///
    /// # Errors
    /// [`RetryAfter`] says when there is one again.
    pub fn try_take(&mut self, rate: Rate, now: Instant) -> Result<(), RetryAfter> {
        self.full_at = rate.take(self.full_at, self.scale.at(now))?;
        Ok(())
    }
}

/// Nanoseconds since a fixed moment of this process, the scale on which buckets are kept.
#[derive(Clone, Copy, Debug)]
struct Scale {
    zero: Instant,
}

impl Scale {
    const fn from(zero: Instant) -> Self {
        Self { zero }
    }

    fn at(self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.zero).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
