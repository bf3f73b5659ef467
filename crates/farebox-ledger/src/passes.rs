//! Passes that were claimed before: answered from memory, without the writer.
//!
//! Only the writer puts passes in and takes revoked ones out, after the commit that made it true,
//! so memory never knows more than the store. A pass that fell out is read through the writer.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use farebox_core::{AccountId, Terms, UnixMillis};
use lru::LruCache;

use crate::{Admitted, HoldRequest, rules};

pub(crate) struct Passes {
    known: Mutex<LruCache<AccountId, Pass>>,
}

struct Pass {
    terms: Terms,
    expires_at: UnixMillis,
}

impl Passes {
    pub(crate) fn new(limit: NonZeroUsize) -> Self {
        Self {
            known: Mutex::new(LruCache::new(limit)),
        }
    }

    /// The answer, where it is known without the store.
    pub(crate) fn find(&self, request: &HoldRequest) -> Option<Admitted> {
        let mut known = self.lock();
        let pass = known.get(&request.account)?;
        Some(rules::known_pass(request, &pass.terms, pass.expires_at))
    }

    pub(crate) fn remember(&self, hash: AccountId, terms: Terms, expires_at: UnixMillis) {
        self.lock().put(hash, Pass { terms, expires_at });
    }

    pub(crate) fn forget(&self, hash: &AccountId) {
        self.lock().pop(hash);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<AccountId, Pass>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
