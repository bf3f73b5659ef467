//! The payment parameters of the address, asked for once and shared.
//!
//! One caller asks, the others wait for its answer; a failure is remembered for a moment too, so
//! that a provider that is down is not asked by each of them in turn. A caller that gives up in the
//! middle hands its place to the next.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::PayParameters;
use crate::{AmountLimits, NodeError};

/// How long a failure answers for the provider.
const FAILURE_TTL: Duration = Duration::from_secs(2);

type Outcome = Result<Arc<PayParameters>, NodeError>;

pub(super) struct Resolution {
    ttl: Duration,
    /// Held while asking: that is what makes the others wait.
    known: Mutex<Option<Known>>,
    last_limits: StdMutex<Option<AmountLimits>>,
}

struct Known {
    outcome: Outcome,
    until: Instant,
}

impl Resolution {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            known: Mutex::new(None),
            last_limits: StdMutex::new(None),
        }
    }

    /// What is known, or what `ask` finds out.
    pub(super) async fn get<F>(&self, ask: impl FnOnce() -> F) -> Outcome
    where
        F: Future<Output = Result<PayParameters, NodeError>>,
    {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.until) {
            return known.outcome.clone();
        }
        let outcome = ask().await.map(Arc::new);
        let ttl = if outcome.is_ok() {
            self.ttl
        } else {
            FAILURE_TTL
        };
        *known = Some(Known {
            outcome: outcome.clone(),
            until: Instant::now() + ttl,
        });
        self.remember_limits(&outcome);
        outcome
    }

    /// Makes the next caller ask again, for instance because the callback has moved.
    pub(super) async fn forget(&self) {
        *self.known.lock().await = None;
    }

    pub(super) fn last_limits(&self) -> Option<AmountLimits> {
        *self
            .last_limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remember_limits(&self, outcome: &Outcome) {
        if let Ok(parameters) = outcome {
            let mut last = self
                .last_limits
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *last = Some(parameters.limits);
        }
    }
}
