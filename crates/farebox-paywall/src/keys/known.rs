//! Which prepaid keys were paid for: asked before a key counts as a payer, so that nobody is one by
//! inventing names, or by ordering keys.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farebox_core::KeyHash;
use farebox_http::client_addr::AddressPrefix;
use farebox_http::limits::{ChallengeLimits, ChallengeRates, Rate};
use farebox_ledger::Ledger;
use lru::LruCache;

use crate::error::{Error, KeyFault};

/// How many keys are remembered without asking the ledger.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();
/// How many keys that do not exist the clients of one address prefix may present in a second, and
/// at once after a rest.
const UNKNOWN_OF_A_PREFIX: (u32, u32) = (10, 100);
/// The same for all clients together: as many as the ledger's readers can look for.
const UNKNOWN_OF_ALL: (u32, u32) = (10_000, 20_000);

/// The keys that were paid for, as they were found in the ledger. One that was revoked since stays
/// among them: the ledger refuses it.
pub struct KnownKeys {
    ledger: Ledger,
    found: Mutex<LruCache<KeyHash, ()>>,
    unknown: ChallengeLimits,
}

impl KnownKeys {
    /// None is known yet.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        let rate = |(count, burst): (u32, u32)| {
            let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
            Rate::new(
                at_least_one(count),
                Duration::from_secs(1),
                at_least_one(burst),
            )
        };
        let rates = ChallengeRates {
            per_prefix: rate(UNKNOWN_OF_A_PREFIX),
            global: rate(UNKNOWN_OF_ALL),
        };
        Self {
            ledger,
            found: Mutex::new(LruCache::new(REMEMBERED)),
            unknown: ChallengeLimits::new(rates, Instant::now()),
        }
    }

    /// Whether a key that `client` presents was ever paid for. A child's parent was.
    ///
    /// # Errors
    /// There is no such key; too many that do not exist came from there; or the ledger does not
    /// answer.
    pub async fn is_funded(&self, key: KeyHash, client: IpAddr) -> Result<bool, Error> {
        if self.found().get(&key).is_some() {
            return Ok(true);
        }
        let prefix = AddressPrefix::of(client);
        self.unknown.check(prefix, Instant::now())?;
        if let Some(view) = self.ledger.key(key).await? {
            let is_funded = view.funded_at.is_some() || view.parent.is_some();
            if is_funded {
                self.found().put(key, ());
            }
            return Ok(is_funded);
        }
        // Taken of the limit only now, as whoever has a key should not pay for those who guess.
        let _ = self.unknown.try_take(prefix, Instant::now());
        Err(KeyFault::Unknown.into())
    }

    fn found(&self) -> MutexGuard<'_, LruCache<KeyHash, ()>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
