//! What this run of the process knows about payments by itself. A wallet's `NOT_FOUND` proves
//! nothing, but that we never sent a request does. Bounded; what is forgotten is unknown again.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use farebox_core::PaymentHash;
use lru::LruCache;

use crate::PaymentState;

/// How many payments are remembered.
const MAX_PAYMENTS: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not zero");

/// What is known of one payment.
#[derive(Clone)]
enum Known {
    /// Asked for, and nothing of it left this process.
    NotSent,
    /// It may have reached the wallet.
    Sent,
    /// The wallet proved it, after nobody waited for it any more.
    Proven(PaymentState),
}

/// The payments of this run.
pub(super) struct Memory {
    payments: Mutex<LruCache<PaymentHash, Known>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            payments: Mutex::new(LruCache::new(MAX_PAYMENTS)),
        }
    }
}

impl Memory {
    fn payments(&self) -> MutexGuard<'_, LruCache<PaymentHash, Known>> {
        self.payments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request to pay is about to be sent. Says whether it is the first one.
    pub(super) fn note_sent(&self, hash: PaymentHash) -> bool {
        let mut payments = self.payments();
        let first = matches!(payments.get(&hash), None | Some(Known::NotSent));
        if first {
            payments.put(hash, Known::Sent);
        }
        first
    }

    /// The request was not sent after all; if it was the `first` one, none was.
    pub(super) fn take_back(&self, hash: PaymentHash, first: bool) {
        if first {
            self.payments().put(hash, Known::NotSent);
        }
    }

    /// It came to nothing before anything was sent.
    pub(super) fn note_not_sent(&self, hash: PaymentHash) {
        let mut payments = self.payments();
        if payments.get(&hash).is_none() {
            payments.put(hash, Known::NotSent);
        }
    }

    /// A late answer proved the payment.
    pub(super) fn note_proven(&self, hash: PaymentHash, state: PaymentState) {
        self.payments().put(hash, Known::Proven(state));
    }

    /// What a late answer proved.
    pub(super) fn proven(&self, hash: &PaymentHash) -> Option<PaymentState> {
        match self.payments().get(hash) {
            Some(Known::Proven(state)) => Some(state.clone()),
            _ => None,
        }
    }

    /// Whether this run was asked to pay it and sent nothing.
    pub(super) fn was_never_sent(&self, hash: &PaymentHash) -> bool {
        matches!(self.payments().get(hash), Some(Known::NotSent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: PaymentHash = PaymentHash::from_bytes([7; 32]);

    #[test]
    fn only_what_was_asked_for_and_not_sent_was_never_sent() {
        let memory = Memory::default();
        assert!(!memory.was_never_sent(&HASH), "perhaps by an earlier run");
        memory.note_not_sent(HASH);
        assert!(memory.was_never_sent(&HASH));
        let first = memory.note_sent(HASH);
        assert!(!memory.was_never_sent(&HASH));
        memory.take_back(HASH, first);
        assert!(memory.was_never_sent(&HASH));
    }

    #[test]
    fn what_was_sent_once_stays_sent_whatever_comes_of_the_second_time() {
        let memory = Memory::default();
        memory.note_sent(HASH);
        memory.note_not_sent(HASH);
        assert!(!memory.was_never_sent(&HASH));
        let first = memory.note_sent(HASH);
        memory.take_back(HASH, first);
        assert!(!memory.was_never_sent(&HASH));
    }

    #[test]
    fn a_proof_outlasts_everything() {
        let memory = Memory::default();
        memory.note_proven(HASH, PaymentState::Pending);
        let first = memory.note_sent(HASH);
        memory.take_back(HASH, first);
        memory.note_not_sent(HASH);
        assert!(memory.proven(&HASH).is_some());
    }
}
