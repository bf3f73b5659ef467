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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    struct Provider {
        asked: AtomicU32,
        down: bool,
    }

    impl Provider {
        fn new(down: bool) -> Self {
            Self {
                asked: AtomicU32::new(0),
                down,
            }
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::SeqCst)
        }

        async fn answer(&self) -> Result<PayParameters, NodeError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.down {
                return Err(NodeError::Down);
            }
            Ok(PayParameters {
                callback: "https://h/cb".parse().unwrap(),
                limits: AmountLimits::ANY,
                metadata_hash: [0; 32],
                comment_allowed: 0,
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_provider_is_asked_once_until_the_answer_is_old() {
        let (provider, resolution) = (Provider::new(false), Resolution::new(TTL));
        let get = || resolution.get(|| provider.answer());
        let (one, two, three) = tokio::join!(get(), get(), get());
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(provider.asked(), 1);
        tokio::time::advance(TTL).await;
        get().await.unwrap();
        assert_eq!(provider.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_share_a_failure_that_is_soon_forgotten() {
        let (provider, resolution) = (Provider::new(true), Resolution::new(TTL));
        let get = || resolution.get(|| provider.answer());
        let (one, two) = tokio::join!(get(), get());
        assert!(one.is_err() && two.is_err());
        assert_eq!(provider.asked(), 1);
        tokio::time::advance(FAILURE_TTL).await;
        assert!(get().await.is_err());
        assert_eq!(provider.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_gives_up_while_asking_leaves_the_next_to_ask() {
        let (provider, resolution) = (Provider::new(false), Resolution::new(TTL));
        let get = || resolution.get(|| provider.answer());
        let impatient = tokio::time::timeout(Duration::from_millis(50), get());
        let (given_up, waited) = tokio::join!(impatient, get());
        assert!(given_up.is_err() && waited.is_ok());
        assert_eq!(provider.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_asked_again() {
        let (provider, resolution) = (Provider::new(false), Resolution::new(TTL));
        resolution.get(|| provider.answer()).await.unwrap();
        resolution.forget().await;
        resolution.get(|| provider.answer()).await.unwrap();
        assert_eq!(provider.asked(), 2);
        assert_eq!(resolution.last_limits(), Some(AmountLimits::ANY));
    }
}
