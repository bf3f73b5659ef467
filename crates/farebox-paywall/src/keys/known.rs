//! Which prepaid keys were paid for: asked before a key counts as a payer, so that nobody is one by
//! inventing names, or by ordering keys.

use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farebox_core::{AccountId, KeyHash};
use farebox_http::body_budget::Holder;
use farebox_http::client_addr::AddressPrefix;
use farebox_http::limits::{ChallengeLimits, ChallengeRates, Rate};
use farebox_ledger::{Ledger, LedgerError};
use lru::LruCache;

use crate::error::{Error, KeyFault};

/// How many keys are remembered without asking the ledger.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();
/// How many keys that do not exist the clients of one address prefix may present in a second, and
/// at once after a rest.
const UNKNOWN_OF_A_PREFIX: (u32, u32) = (10, 100);
/// The same for all clients together: as many as the ledger's readers can look for.
const UNKNOWN_OF_ALL: (u32, u32) = (10_000, 20_000);

/// How many keys are known to exist at most; of further ones only those that guess nothing are looked for.
const MAX_LISTED: usize = 1_000_000;
/// How often new ones are read, at most.
const LIST_APART: Duration = Duration::from_secs(1);

/// The keys that were paid for, as they were found in the ledger. One that was revoked since stays
/// among them: the ledger refuses it.
pub struct KnownKeys {
    ledger: Ledger,
    found: Mutex<LruCache<KeyHash, KnownKey>>,
    unknown: ChallengeLimits,
    /// Every key there is, so that those who guess lock nobody out. One reads it for all.
    listed: tokio::sync::Mutex<Listed>,
}

/// The names of the keys there are, as far as they were read.
#[derive(Default)]
struct Listed {
    names: HashSet<KeyHash>,
    after: u64,
    read_at: Option<Instant>,
}

/// A key that was paid for, or whose parent was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Which.
    pub key: KeyHash,
    /// The account whose money it spends: of a child its parent's, whose share it takes of everything
    /// that is shared. So a family of keys has no more than one.
    pub purse: AccountId,
}

impl KnownKeys {
    /// None is known yet.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        let rate = |(count, burst)| Rate::of(count, Duration::from_secs(1), burst);
        let rates = ChallengeRates {
            per_prefix: rate(UNKNOWN_OF_A_PREFIX),
            global: rate(UNKNOWN_OF_ALL),
        };
        Self {
            ledger,
            found: Mutex::new(LruCache::new(REMEMBERED)),
            unknown: ChallengeLimits::new(rates, Instant::now()),
            listed: tokio::sync::Mutex::default(),
        }
    }

    /// A key that `client` presents; none where it was never paid for. A child's parent was.
    ///
    /// # Errors
    /// There is no such key; too many that do not exist came from there; or the ledger does not
    /// answer.
    pub async fn find(&self, key: KeyHash, client: IpAddr) -> Result<Option<KnownKey>, Error> {
        if let Some(known) = self.found().get(&key) {
            return Ok(Some(*known));
        }
        let stranger = Holder::Stranger(AddressPrefix::of(client));
        if let Err(too_often) = self.unknown.check(stranger, Instant::now())
            && !self.exists(&key).await?
        {
            return Err(too_often.into());
        }
        if let Some(view) = self.ledger.key(key).await? {
            let is_funded = view.funded_at.is_some() || view.parent.is_some();
            let purse = view.parent.unwrap_or(key).account();
            let known = is_funded.then_some(KnownKey { key, purse });
            if let Some(known) = known {
                self.found().put(key, known);
            }
            return Ok(known);
        }
        // Taken of the limit only now, as whoever has a key should not pay for those who guess.
        let _ = self.unknown.try_take(stranger, Instant::now());
        Err(KeyFault::Unknown.into())
    }

    /// Whether there is such a key, by a list in memory: a guess costs the ledger nothing.
    async fn exists(&self, key: &KeyHash) -> Result<bool, LedgerError> {
        let mut listed = self.listed.lock().await;
        if listed.names.contains(key) {
            return Ok(true);
        }
        if listed.read_at.is_none_or(|at| at.elapsed() >= LIST_APART) {
            while listed.names.len() < MAX_LISTED {
                let page = self.ledger.key_names(listed.after).await?;
                let Some((last, _)) = page.last() else { break };
                listed.after = *last;
                listed.names.extend(page.iter().map(|(_, name)| *name));
            }
            listed.read_at = Some(Instant::now());
        }
        Ok(listed.names.contains(key))
    }

    /// Whose share is taken for what is asked with a key besides requests that are sold.
    ///
    /// # Errors
    /// As of [`find`](Self::find).
    pub async fn holder(&self, key: KeyHash, client: IpAddr) -> Result<Holder, Error> {
        let known = self.find(key, client).await?;
        Ok(known.map_or_else(
            || Holder::Stranger(AddressPrefix::of(client)),
            |known| Holder::Payer(known.purse),
        ))
    }

    fn found(&self) -> MutexGuard<'_, LruCache<KeyHash, KnownKey>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
