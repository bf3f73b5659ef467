//! Places that all clients share, such as calls that wait for their payment.
//!
//! Nobody takes more than a part of what is free, so that the fewer are left, the less one client gets:
//! as few who are greedy as there are fixed shares leave something for whoever comes next. What strangers
//! may take together leaves room for those who paid.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::body_budget::Holder;

/// What strangers may take together is this part of all places: the rest is for those who paid.
const OF_STRANGERS: u64 = 2;
/// One holder may have this part of what is free.
const OF_FREE: u64 = 4;

/// Who takes a place: whose share it is of, and whether it is taken from those who paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Whose share it is.
    pub holder: Holder,
    /// Whether something was paid.
    pub has_paid: bool,
}

impl From<Holder> for Guest {
    fn from(holder: Holder) -> Self {
        let has_paid = matches!(holder, Holder::Payer(_));
        Self { holder, has_paid }
    }
}

/// Who has how many places.
#[derive(Debug, Default)]
pub struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: u64,
    /// The part of them that nothing was paid for.
    unpaid: u64,
    by: HashMap<Holder, u64>,
}

/// Places that somebody has; dropping it gives them back.
#[derive(Debug)]
#[must_use = "the places are taken only while it lives"]
pub struct Place {
    places: Arc<Places>,
    guest: Guest,
    count: u64,
}

/// All places are taken, or as many as one client may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many places as there are, or as one client may have, are taken")]
pub struct NoPlace;

impl Places {
    /// Takes `count` places at once, of `limit` that there are. Who has none yet gets what is free;
    /// who has some, no more than a part of it.
    ///
    /// # Errors
    /// [`NoPlace`]; none was taken.
    pub fn take(
        self: &Arc<Self>,
        limit: u64,
        guest: impl Into<Guest>,
        count: u64,
    ) -> Result<Place, NoPlace> {
        let guest = guest.into();
        let mut taken = self.taken();
        let own = taken.by.get(&guest.holder).copied().unwrap_or(0);
        let free = taken.free(limit, guest.has_paid);
        let share = if own == 0 { free } else { free / OF_FREE };
        if count > free || own.saturating_add(count) > share {
            return Err(NoPlace);
        }
        Ok(self.put(&mut taken, guest, count))
    }

    /// Takes places whatever the limits are: for what was let in before.
    pub fn occupy(self: &Arc<Self>, guest: impl Into<Guest>, count: u64) -> Place {
        self.put(&mut self.taken(), guest.into(), count)
    }

    /// How many are taken.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        self.taken().all
    }

    fn put(self: &Arc<Self>, taken: &mut Taken, guest: Guest, count: u64) -> Place {
        taken.all = taken.all.saturating_add(count);
        if !guest.has_paid {
            taken.unpaid = taken.unpaid.saturating_add(count);
        }
        *taken.by.entry(guest.holder).or_default() += count;
        Place {
            places: Arc::clone(self),
            guest,
            count,
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn free(&self, limit: u64, has_paid: bool) -> u64 {
        let free = limit.saturating_sub(self.all);
        if has_paid {
            return free;
        }
        let of_strangers = (limit / OF_STRANGERS).max(1);
        free.min(of_strangers.saturating_sub(self.unpaid))
    }
}

impl Place {
    /// Its holder has paid now: it leaves its part of the strangers' to the next one.
    pub fn pay(&mut self) {
        if !std::mem::replace(&mut self.guest.has_paid, true) {
            self.places.taken().unpaid -= self.count;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= self.count;
        if !self.guest.has_paid {
            taken.unpaid -= self.count;
        }
        if let Some(own) = taken.by.get_mut(&self.guest.holder) {
            *own -= self.count;
            if *own == 0 {
                taken.by.remove(&self.guest.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use farebox_core::PaymentHash;

    use super::*;
    use crate::client_addr::AddressPrefix;

    const LIMIT: u64 = 128;

    fn stranger(network: u8) -> Holder {
        Holder::Stranger(AddressPrefix::V4([192, 0, network]))
    }

    fn payer(id: u8) -> Holder {
        Holder::Payer(PaymentHash::from_bytes([id; 32]).account())
    }

    /// As many as there are for somebody.
    fn all(places: &Arc<Places>, holder: Holder) -> Vec<Place> {
        std::iter::from_fn(|| places.take(LIMIT, holder, 1).ok()).collect()
    }

    #[test]
    fn whoever_comes_after_many_greedy_ones_finds_a_place() {
        let places = Arc::<Places>::default();
        let first = all(&places, stranger(0));
        assert_eq!(first.len(), 13);
        let greedy: Vec<_> = (1..13)
            .map(|network| all(&places, stranger(network)))
            .collect();
        let last = all(&places, stranger(13));
        assert!(!last.is_empty());
        assert!(places.in_use() < LIMIT / OF_STRANGERS);
        drop((first, greedy, last));
        assert_eq!(places.in_use(), 0);
        assert!(places.taken().by.is_empty());
    }

    #[test]
    fn strangers_leave_half_of_all_to_those_who_paid() {
        let places = Arc::<Places>::default();
        let strangers: Vec<_> = (0..=u8::MAX)
            .map(|network| all(&places, stranger(network)))
            .collect();
        assert_eq!(places.in_use(), LIMIT / OF_STRANGERS);
        let one = all(&places, payer(0));
        assert_eq!(one.len(), 13);
        assert!(!all(&places, payer(1)).is_empty());
        drop(strangers);
    }

    #[test]
    fn who_has_paid_makes_room_for_a_stranger_and_keeps_to_his_share() {
        let places = Arc::<Places>::default();
        let limit = 2;
        let mut first = places.take(limit, stranger(0), 1).unwrap();
        assert_eq!(places.take(limit, stranger(1), 1).err(), Some(NoPlace));
        first.pay();
        first.pay();
        assert!(places.take(limit, stranger(0), 1).is_err());
        let second = places.take(limit, stranger(1), 1).unwrap();
        assert!(places.take(limit, payer(0), 1).is_err());
        drop((first, second));
        assert_eq!(places.in_use(), 0);
    }

    #[test]
    fn the_only_place_there_is_can_be_taken() {
        let places = Arc::<Places>::default();
        let only = places.take(1, stranger(0), 1).unwrap();
        assert!(places.take(1, payer(0), 1).is_err());
        drop(only);
        drop(places.take(1, payer(0), 1).unwrap());
    }

    #[test]
    fn large_things_fit_as_long_as_somebody_has_none() {
        let places = Arc::<Places>::default();
        let large = places.take(LIMIT, stranger(0), 60).unwrap();
        assert!(places.take(LIMIT, stranger(0), 1).is_err());
        assert!(places.take(LIMIT, stranger(1), 5).is_err());
        let small = places.take(LIMIT, stranger(1), 4).unwrap();
        let before = places.occupy(stranger(2), 100);
        assert!(places.take(LIMIT, payer(0), 1).is_err());
        drop((large, small, before));
        assert_eq!(places.in_use(), 0);
    }
}
