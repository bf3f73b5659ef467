//! The holder's end of money that is reserved for one open request.
//!
//! A [`Hold`] ends exactly once: settled, voided, or voided by being dropped. None of its methods
//! waits: the ledger's queue has room for every open hold.

use std::sync::Arc;

use farebox_core::{HoldId, Msat, UnixMillis};

use crate::queue::Queue;
use crate::store::{Granted, Resolution};
use crate::{Measured, Remaining, VoidReason};

/// Money reserved for one request. Dropping it voids it.
#[must_use = "a hold that is dropped is voided: settle it, or void it with its reason"]
pub struct Hold {
    granted: Granted,
    queue: Option<Arc<Queue>>,
}

impl Hold {
    pub(crate) const fn new(granted: Granted, queue: Arc<Queue>) -> Self {
        Self {
            granted,
            queue: Some(queue),
        }
    }

    /// The id; the receipt and the transfer of this request carry it.
    #[must_use]
    pub const fn id(&self) -> HoldId {
        self.granted.hold
    }

    /// How much is held: what [`settle`](Self::settle) will charge.
    #[must_use]
    pub const fn charge(&self) -> Msat {
        self.granted.charge
    }

    /// What the account has left besides this hold.
    #[must_use]
    pub const fn remaining(&self) -> Remaining {
        self.granted.remaining
    }

    /// Until when the account may be spent.
    #[must_use]
    pub const fn expires_at(&self) -> UnixMillis {
        self.granted.expires_at
    }

    /// Records that the first byte of a fixed-price answer is on its way to the client: should the
    /// process die, recovery settles the whole hold instead of voiding it.
    pub fn first_byte(&self) {
        self.progress(self.granted.charge);
    }

    /// Records that a metered answer has used `used` so far: should the process die, recovery
    /// settles the most that was recorded. Values not yet written are replaced by later ones.
    pub fn progress(&self, used: Msat) {
        self.note(used, true);
    }

    /// The same for an answer that has told progress before. It is written a little later, together
    /// with that of others.
    pub fn further_progress(&self, used: Msat) {
        self.note(used, false);
    }

    fn note(&self, used: Msat, is_first: bool) {
        if let Some(queue) = &self.queue {
            queue.progress(self.granted.hold, used, is_first);
        }
    }

    /// Charges the whole hold.
    pub fn settle(self) {
        let charge = self.granted.charge;
        self.resolve(Resolution::Settle { used: charge }, None);
    }

    /// Charges `used` and releases the rest. Usage above the hold is charged up to the hold; the
    /// rest becomes the seller's loss, in an entry of its own.
    pub fn settle_part(self, used: Msat) {
        self.resolve(Resolution::Settle { used }, None);
    }

    /// The same, and keeps with the charge what the answer showed.
    pub fn settle_part_with(self, used: Msat, measured: Measured) {
        self.resolve(Resolution::Settle { used }, Some(Box::new(measured)));
    }

    /// Releases the whole hold.
    pub fn void(self, reason: VoidReason) {
        self.resolve(Resolution::Void { reason }, None);
    }

    /// The same, and keeps what the answer showed although nothing is charged for it.
    pub fn void_with(self, reason: VoidReason, measured: Measured) {
        self.resolve(Resolution::Void { reason }, Some(Box::new(measured)));
    }

    fn resolve(mut self, how: Resolution, measured: Option<Box<Measured>>) {
        if let Some(queue) = self.queue.take() {
            queue.resolve(self.granted.hold, how, measured);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.resolve(
                self.granted.hold,
                Resolution::Void {
                    reason: VoidReason::Dropped,
                },
                None,
            );
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold")
            .field("granted", &self.granted)
            .finish_non_exhaustive()
    }
}
