//! What was heard of settlements: bounded memory, and bells for those who wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farebox_core::{Msat, PaymentHash};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Settlement;
use crate::remembered::Remembered;

/// How many settlements are remembered; older ones are for the node to tell.
const REMEMBERED: usize = 65_536;

/// For how many payments there may be a bell. Who waits beyond that hears at the end of the wait.
const MAX_BELLS: usize = 16_384;

/// An invoice that is known to be paid and settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What was received, where the backend said so.
    pub received: Option<Msat>,
}

/// A backend that is being followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its name.
    pub name: String,
    /// Whether it is heard at this moment.
    pub listening: bool,
    /// Why not, or why not the last time.
    pub reason: Option<String>,
}

/// The settlements heard of lately, of all backends. Clones are the same.
#[derive(Clone, Default)]
pub struct Settlements(Arc<Mutex<Heard>>);

struct Heard {
    settled: Remembered<Settled>,
    bells: HashMap<PaymentHash, Bell>,
    followed: Vec<Followed>,
}

struct Bell {
    notify: Arc<Notify>,
    waiting: usize,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            settled: Remembered::new(REMEMBERED),
            bells: HashMap::new(),
            followed: Vec::new(),
        }
    }
}

impl Settlements {
    /// Nothing heard yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was heard about this payment. None proves nothing.
    #[must_use]
    pub fn find(&self, hash: &PaymentHash) -> Option<Settled> {
        self.heard().settled.find(hash).copied()
    }

    /// Waits until this payment is settled, at most so long.
    pub async fn wait(&self, hash: PaymentHash, patience: Duration) -> Option<Settled> {
        let deadline = Instant::now() + patience;
        let Some(waiter) = Waiter::enter(self, hash) else {
            tokio::time::sleep_until(deadline).await;
            return self.find(&hash);
        };
        let rung = waiter.notify.notified();
        tokio::pin!(rung);
        // Listens before looking: what is settled in between rings.
        rung.as_mut().enable();
        if let Some(settled) = self.find(&hash) {
            return Some(settled);
        }
        // Late or rung, the memory says what is so.
        let _ = tokio::time::timeout_at(deadline, rung).await;
        self.find(&hash)
    }

    /// Remembers a settlement and wakes those who wait for it. Only for what the node itself says.
    pub fn note(&self, settlement: &Settlement) {
        let mut heard = self.heard();
        let known = heard.settled.find(&settlement.payment_hash).copied();
        let settled = Settled {
            received: settlement
                .received
                .max(known.and_then(|known| known.received)),
        };
        heard.settled.put(settlement.payment_hash, settled);
        if let Some(bell) = heard.bells.get(&settlement.payment_hash) {
            bell.notify.notify_waiters();
        }
    }

    /// The backends that are followed at this moment.
    #[must_use]
    pub fn followed(&self) -> Vec<Followed> {
        self.heard().followed.clone()
    }

    pub(super) fn enter(&self, name: &str) -> Following<'_> {
        self.heard().followed.push(Followed {
            name: name.to_owned(),
            listening: false,
            reason: None,
        });
        Following {
            settlements: self,
            name: name.to_owned(),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of one backend, for as long as it is followed.
pub(super) struct Following<'a> {
    settlements: &'a Settlements,
    name: String,
}

impl Following<'_> {
    /// Whether that is news.
    pub(super) fn hears(&self) -> bool {
        self.change(|entry| !std::mem::replace(&mut entry.listening, true))
    }

    /// Whether that is news: it was heard before, or this is the first failure.
    pub(super) fn lost(&self, reason: &str) -> bool {
        self.change(|entry| {
            let is_news = std::mem::take(&mut entry.listening) || entry.reason.is_none();
            entry.reason = Some(reason.to_owned());
            is_news
        })
    }

    fn change(&self, change: impl FnOnce(&mut Followed) -> bool) -> bool {
        let mut heard = self.settlements.heard();
        let entry = heard
            .followed
            .iter_mut()
            .find(|entry| entry.name == self.name);
        entry.is_some_and(change)
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        let mut heard = self.settlements.heard();
        let at = heard
            .followed
            .iter()
            .position(|entry| entry.name == self.name);
        if let Some(at) = at {
            heard.followed.remove(at);
        }
    }
}

/// One who waits; the last to leave takes the bell down.
struct Waiter<'a> {
    settlements: &'a Settlements,
    hash: PaymentHash,
    notify: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    fn enter(settlements: &'a Settlements, hash: PaymentHash) -> Option<Self> {
        let mut heard = settlements.heard();
        let full = heard.bells.len() >= MAX_BELLS;
        let bell = match heard.bells.entry(hash) {
            Entry::Occupied(bell) => bell.into_mut(),
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(place) => place.insert(Bell {
                notify: Arc::new(Notify::new()),
                waiting: 0,
            }),
        };
        bell.waiting += 1;
        Some(Self {
            settlements,
            hash,
            notify: Arc::clone(&bell.notify),
        })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut heard = self.settlements.heard();
        if let Entry::Occupied(mut bell) = heard.bells.entry(self.hash) {
            bell.get_mut().waiting -= 1;
            if bell.get().waiting == 0 {
                bell.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> PaymentHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        PaymentHash::from_bytes(bytes)
    }

    fn settlement(number: usize, received: Option<u64>) -> Settlement {
        Settlement {
            payment_hash: hash(number),
            asked: None,
            received: received.map(|msat| Msat::new(msat).unwrap()),
            cursor: None,
        }
    }

    #[tokio::test]
    async fn who_waits_hears_and_leaves_nothing_behind() {
        let settlements = Settlements::new();
        let waiting = settlements.wait(hash(1), Duration::from_secs(60));
        tokio::pin!(waiting);
        assert!(
            tokio::time::timeout(Duration::ZERO, &mut waiting)
                .await
                .is_err()
        );
        settlements.note(&settlement(2, Some(5)));
        settlements.note(&settlement(1, Some(7)));
        let heard = waiting.await.unwrap();
        assert_eq!(heard.received, Some(Msat::new(7).unwrap()));
        assert!(settlements.heard().bells.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_or_gives_up_leaves_nothing_behind() {
        let settlements = Settlements::new();
        let patience = Duration::from_secs(60);
        assert_eq!(settlements.wait(hash(1), patience).await, None);
        let given_up = settlements.wait(hash(1), patience);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), given_up)
                .await
                .is_err()
        );
        assert!(settlements.heard().bells.is_empty());
    }

    #[tokio::test]
    async fn what_is_known_needs_no_waiting() {
        let settlements = Settlements::new();
        settlements.note(&settlement(1, None));
        let heard = settlements.wait(hash(1), Duration::ZERO).await;
        assert_eq!(heard, Some(Settled { received: None }));
    }

    #[test]
    fn a_second_word_never_lowers_what_was_received() {
        let settlements = Settlements::new();
        for received in [Some(9), None, Some(3)] {
            settlements.note(&settlement(1, received));
        }
        let found = settlements.find(&hash(1)).unwrap();
        assert_eq!(found.received, Some(Msat::new(9).unwrap()));
    }

    #[test]
    fn memory_stays_bounded_and_forgets_the_oldest_first() {
        let settlements = Settlements::new();
        for number in 0..=REMEMBERED {
            settlements.note(&settlement(number, None));
        }
        assert_eq!(settlements.heard().settled.len(), REMEMBERED);
        assert_eq!(settlements.find(&hash(0)), None);
        assert!(settlements.find(&hash(REMEMBERED)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_last_bell_one_still_hears_in_the_end() {
        let settlements = Settlements::new();
        let waiters: Vec<_> = (0..MAX_BELLS)
            .map(|number| Waiter::enter(&settlements, hash(number)).unwrap())
            .collect();
        let late = settlements.wait(hash(MAX_BELLS), Duration::from_secs(1));
        tokio::pin!(late);
        assert!(
            tokio::time::timeout(Duration::ZERO, &mut late)
                .await
                .is_err()
        );
        settlements.note(&settlement(MAX_BELLS, None));
        assert!(late.await.is_some());
        drop(waiters);
        assert!(settlements.heard().bells.is_empty());
    }
}
