//! Remembers that a backend failed, so that buyers do not wait for it again and again. Pure but for
//! the clock that is passed in; no lock is held while anything waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::NodeError;

/// How long a backend that failed is left alone before one request tries it again.
pub(super) const REST: Duration = Duration::from_secs(5);

/// `rests_until` of a backend that works.
const WORKING: u64 = 0;

/// One backend's state. Times are milliseconds since the composite was made, at least 1.
#[derive(Default)]
pub(super) struct Circuit {
    rests_until: AtomicU64,
    trouble: Mutex<Option<NodeError>>,
}

impl Circuit {
    /// Whether a request that comes now would be sent to it.
    pub(super) fn is_open_to_requests(&self, now: u64) -> bool {
        now >= self.rests_until.load(Ordering::Relaxed)
    }

    /// Whether this request may be sent to it. Of those that come when the rest is over, one may:
    /// it prolongs the rest for all others, so that a trial that is dropped half-way is followed by
    /// another one.
    pub(super) fn admit(&self, now: u64) -> bool {
        let until = self.rests_until.load(Ordering::Relaxed);
        until == WORKING
            || now >= until
                && self
                    .rests_until
                    .compare_exchange(until, rest(now), Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
    }

    pub(super) fn note_success(&self) {
        if self.rests_until.swap(WORKING, Ordering::Relaxed) != WORKING {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    pub(super) fn note_failure(&self, now: u64, error: &NodeError) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        self.rests_until.store(rest(now), Ordering::Relaxed);
    }

    /// Why it rests, if it does.
    pub(super) fn trouble(&self) -> Option<NodeError> {
        if self.rests_until.load(Ordering::Relaxed) == WORKING {
            return None;
        }
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn rest(now: u64) -> u64 {
    let rest = u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
    now.saturating_add(rest).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST_MS: u64 = 5000;

    #[test]
    fn a_backend_that_works_takes_every_request() {
        let circuit = Circuit::default();
        assert!(circuit.admit(0) && circuit.admit(0) && circuit.is_open_to_requests(0));
        assert!(circuit.trouble().is_none());
    }

    #[test]
    fn after_the_rest_one_request_tries_it_again() {
        let circuit = Circuit::default();
        circuit.note_failure(100, &NodeError::Down);
        assert!(!circuit.admit(100 + REST_MS - 1) && !circuit.is_open_to_requests(101));
        assert!(circuit.is_open_to_requests(100 + REST_MS));
        assert!(circuit.admit(100 + REST_MS));
        assert!(!circuit.admit(100 + REST_MS), "the second one waits");
        assert!(matches!(circuit.trouble(), Some(NodeError::Down)));
        circuit.note_success();
        assert!(circuit.admit(100 + REST_MS) && circuit.trouble().is_none());
    }

    #[test]
    fn a_trial_that_never_ends_is_followed_by_another() {
        let circuit = Circuit::default();
        circuit.note_failure(0, &NodeError::Down);
        assert!(circuit.admit(REST_MS));
        assert!(!circuit.admit(2 * REST_MS - 1));
        assert!(circuit.admit(2 * REST_MS));
    }
}
