//! Whose invoices for keys wait to be paid: there is room for so many only, and each of them is
//! remembered until the node calls it unpaid for good, or for a week.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farebox_core::PaymentHash;
use farebox_http::body_budget::Holder;
use farebox_http::limits::{Guest, NoPlace, Place, Places};
use farebox_ledger::{MAX_PENDING, PendingDeposit};

/// The places of invoices that wait.
#[derive(Default)]
pub struct Pending {
    places: Arc<Places>,
    of: Mutex<HashMap<PaymentHash, Place>>,
}

impl Pending {
    /// A place for one more invoice, from the share of whoever asks for it.
    pub(crate) fn take(&self, holder: Holder) -> Result<Place, NoPlace> {
        self.places.take(MAX_PENDING.into(), holder, 1)
    }

    /// Keeps the place of an invoice until it is paid or forgotten.
    pub(crate) fn keep(&self, invoice: PaymentHash, place: Place) {
        self.of().insert(invoice, place);
    }

    /// The invoices that have a place.
    pub(super) fn known(&self) -> HashSet<PaymentHash> {
        self.of().keys().copied().collect()
    }

    /// Takes in which invoices wait. Those among `known` that do not any more leave their places; those
    /// of an earlier process get one, for the key that they are for.
    pub(super) fn update(&self, known: &HashSet<PaymentHash>, waiting: &[PendingDeposit]) {
        let listed: HashSet<_> = waiting.iter().map(|it| it.payment_hash).collect();
        let mut of = self.of();
        of.retain(|hash, _| listed.contains(hash) || !known.contains(hash));
        for pending in waiting {
            of.entry(pending.payment_hash).or_insert_with(|| {
                let guest = Guest {
                    holder: Holder::Payer(pending.key.account()),
                    has_paid: false,
                };
                self.places.occupy(guest, 1)
            });
        }
    }

    /// How many have a place.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        self.places.in_use()
    }

    fn of(&self) -> MutexGuard<'_, HashMap<PaymentHash, Place>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use farebox_core::{KeyHash, Msat, UnixMillis};
    use farebox_http::client_addr::AddressPrefix;

    use super::*;

    fn stranger(network: u8) -> Holder {
        Holder::Stranger(AddressPrefix::V4([192, 0, network]))
    }

    fn hash(network: u8, count: u32) -> PaymentHash {
        let mut bytes = [network; 32];
        bytes[..4].copy_from_slice(&count.to_be_bytes());
        PaymentHash::from_bytes(bytes)
    }

    fn waiting(payment_hash: PaymentHash) -> PendingDeposit {
        PendingDeposit {
            payment_hash,
            key: KeyHash::from_bytes([7; 32]),
            amount: Msat::MAX,
            expires_at: UnixMillis::new(0),
        }
    }

    #[test]
    fn five_prefixes_leave_room_for_a_sixth_and_for_those_who_paid() {
        let pending = Pending::default();
        for network in 0..5 {
            for count in 0..MAX_PENDING {
                match pending.take(stranger(network)) {
                    Ok(place) => pending.keep(hash(network, count), place),
                    Err(NoPlace) => break,
                }
            }
        }
        let some = u64::from(MAX_PENDING) / 10;
        assert!(pending.in_use() < u64::from(MAX_PENDING) / 2 - some);
        let sixth: Vec<_> = (0..some / 10).map(|_| pending.take(stranger(5))).collect();
        assert!(sixth.iter().all(Result::is_ok));
        let payer = Holder::Payer(KeyHash::from_bytes([7; 32]).account());
        assert!(pending.take(payer).is_ok());
    }

    #[test]
    fn an_invoice_that_no_longer_waits_leaves_its_place() {
        let pending = Pending::default();
        for count in 0..3 {
            pending.keep(hash(0, count), pending.take(stranger(0)).unwrap());
        }
        let known = pending.known();
        pending.keep(hash(0, 3), pending.take(stranger(0)).unwrap());
        // The first was paid; the fourth came after the list was made, the last is of an earlier process.
        let listed = [hash(0, 1), hash(0, 2), hash(1, 0)].map(waiting);
        pending.update(&known, &listed);
        assert_eq!(pending.in_use(), 4);
        pending.update(&pending.known(), &[]);
        assert_eq!(pending.in_use(), 0);
    }
}
