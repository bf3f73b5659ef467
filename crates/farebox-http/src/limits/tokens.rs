//! Limits on what one token may do at once and in a time, whatever it still has to spend.
//!
//! Only tokens that were verified come here, so every entry was paid for. An entry is needed while
//! a request is in flight or a bucket is not full; entries that say nothing any more are swept out
//! when a shard is full. Should there be none, the bucket nearest to full is forgotten, which gives
//! its token the least it could gain; tokens with a request in flight are never forgotten.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farebox_core::AccountId;

use super::{Rate, RetryAfter, Scale};

/// How many tokens are remembered at most.
pub const MAX_TRACKED_TOKENS: usize = SHARDS * MAX_PER_SHARD;

const SHARDS: usize = 64;
const MAX_PER_SHARD: usize = 1024;

/// When to ask again after too many requests at once: nobody knows how long those take.
const RETRY_WHEN_BUSY: RetryAfter = RetryAfter(Duration::from_secs(1));

/// What a route allows one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenLimit {
    /// Requests in flight at once.
    pub max_concurrent: Option<NonZeroU32>,
    /// Requests in a time.
    pub rate: Option<Rate>,
}

/// Why a token has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// As many requests as allowed are in flight.
    #[error("too many requests with this token are in flight")]
    Concurrency(RetryAfter),
    /// They come faster than allowed.
    #[error("requests with this token come too fast")]
    Rate(RetryAfter),
    /// More tokens have a request in flight than can be kept apart.
    #[error("too many tokens are in use")]
    Crowded(RetryAfter),
}

/// The requests of all tokens.
#[derive(Debug)]
pub struct TokenLimits {
    scale: Scale,
    shards: [Mutex<HashMap<AccountId, Usage>>; SHARDS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    in_flight: u32,
    full_at: u64,
}

/// One request in flight; dropping it ends it.
#[derive(Debug)]
#[must_use = "the request counts as in flight only while the permit lives"]
pub struct TokenPermit(Option<InFlight>);

#[derive(Debug)]
struct InFlight {
    limits: Arc<TokenLimits>,
    token: AccountId,
}

impl TokenRefusal {
    /// When it is worth asking again.
    #[must_use]
    pub const fn retry_after(self) -> RetryAfter {
        match self {
            Self::Concurrency(after) | Self::Rate(after) | Self::Crowded(after) => after,
        }
    }
}

impl TokenLimits {
    /// No requests yet. `now` only has to lie before every later instant.
    #[must_use]
    pub fn new(now: Instant) -> Arc<Self> {
        let shards = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self {
            scale: Scale::from(now),
            shards,
        })
    }

    /// Starts a request with the token of `token`, within what its route allows. A refused request
    /// uses up nothing. A limit changed by a reload holds from the next request on.
    ///
    /// # Errors
    /// [`TokenRefusal`] says which limit, and when to ask again.
    pub fn try_start(
        self: &Arc<Self>,
        token: &AccountId,
        limit: TokenLimit,
        now: Instant,
    ) -> Result<TokenPermit, TokenRefusal> {
        if limit == TokenLimit::default() {
            return Ok(TokenPermit(None));
        }
        let now = self.scale.at(now);
        let mut shard = self.shard(token);
        let mut usage = shard.get(token).copied().unwrap_or_default();
        if limit
            .max_concurrent
            .is_some_and(|max| usage.in_flight >= max.get())
        {
            return Err(TokenRefusal::Concurrency(RETRY_WHEN_BUSY));
        }
        if let Some(rate) = limit.rate {
            usage.full_at = rate.take(usage.full_at, now).map_err(TokenRefusal::Rate)?;
        }
        usage.in_flight = usage.in_flight.saturating_add(1);
        make_room(&mut shard, token, now)?;
        shard.insert(*token, usage);
        Ok(TokenPermit(Some(InFlight {
            limits: Arc::clone(self),
            token: *token,
        })))
    }

    fn shard(&self, token: &AccountId) -> MutexGuard<'_, HashMap<AccountId, Usage>> {
        // A payment hash is a digest: each of its bytes is as good as a hash of it.
        let index = usize::from(token.as_bytes()[0]) % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, token: &AccountId) {
        let mut shard = self.shard(token);
        let Some(usage) = shard.get_mut(token) else {
            return;
        };
        usage.in_flight = usage.in_flight.saturating_sub(1);
        if usage.in_flight == 0 && usage.full_at == 0 {
            shard.remove(token);
        }
    }

    #[cfg(test)]
    pub(super) fn tracked(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum()
    }
}

/// Makes sure that `token` fits into its shard.
fn make_room(
    shard: &mut HashMap<AccountId, Usage>,
    token: &AccountId,
    now: u64,
) -> Result<(), TokenRefusal> {
    if shard.len() < MAX_PER_SHARD || shard.contains_key(token) {
        return Ok(());
    }
    shard.retain(|_, usage| usage.in_flight > 0 || usage.full_at > now);
    if shard.len() < MAX_PER_SHARD {
        return Ok(());
    }
    let idle = shard.iter().filter(|(_, usage)| usage.in_flight == 0);
    let nearest_to_full = idle
        .min_by_key(|(_, usage)| usage.full_at)
        .map(|(token, _)| *token);
    let forgotten = nearest_to_full.ok_or(TokenRefusal::Crowded(RETRY_WHEN_BUSY))?;
    shard.remove(&forgotten);
    Ok(())
}

impl Drop for TokenPermit {
    fn drop(&mut self) {
        if let Some(InFlight { limits, token }) = &self.0 {
            limits.end(token);
        }
    }
}
