//! The holder's end of money that is reserved for one open request.
//!
//! A [`Hold`] ends exactly once: settled, voided, or voided by being dropped. None of its methods
//! waits: the ledger's queue has room for every open hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use farebox_core::{HoldId, Msat, UnixMillis};

use tokio::sync::oneshot;

use crate::rows::HoldFacts;
use crate::{ClientFault, Measured, Remaining, VoidReason};

/// How often a client was excused beyond as many requests as it was charged for, where its accounts live
/// too short for each to count it. It counts for as long as the process runs.
#[derive(Debug, Default)]
pub struct Excuses(AtomicI64);

impl Excuses {
    /// Whether it may be excused once more.
    pub(crate) fn reach(&self, most: u32) -> bool {
        self.0.load(Ordering::Relaxed) >= i64::from(most)
    }

    /// A request of it was charged, or released by its doing.
    pub(crate) fn count(&self, is_charged: bool) {
        let more = if is_charged { -1 } else { 1 };
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Charged.
    Settle {
        /// What was used; more than was held is the seller's loss.
        used: Msat,
        /// What becomes of what is left on the account.
        rest: Rest,
    },
    /// Charged: the first answer of a pass, which begins it.
    Begin {
        /// Since when the pass runs.
        since: UnixMillis,
    },
    /// Released.
    Void {
        /// Why.
        reason: VoidReason,
    },
    /// Released by the client's doing, unless that happened too often: then charged.
    Excuse {
        /// What it did.
        fault: ClientFault,
        /// What is charged where that is no excuse any more.
        used: Msat,
    },
}

/// What becomes of what is left on an account once a hold on it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It stays, for later requests or a refund.
    Stays,
    /// What nothing else holds is owed as change: taken off the account with the settlement, to be
    /// told by [`Ledger::tell_change`](crate::Ledger::tell_change).
    Owed,
}

/// A hold as it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its id.
    pub hold: HoldId,
    /// How much is held.
    pub charge: Msat,
    /// What the account has left besides.
    pub remaining: Remaining,
    /// Until when the account may be spent.
    pub expires_at: UnixMillis,
    /// What never changes of it.
    pub facts: HoldFacts,
    /// How often the client may be excused beyond as many requests as were charged.
    pub max_voids: u32,
}

/// The end of a hold, as it is reported.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) how: Resolution,
    /// What its answer showed.
    pub(crate) measured: Option<Box<Measured>>,
    /// Who wants to know what was charged.
    pub(crate) tell: Option<oneshot::Sender<Msat>>,
    /// Where excuses are counted besides its account.
    pub(crate) excuses: Option<Arc<Excuses>>,
}

/// Where holds report how far they have come and how they end. Nothing of it waits.
pub(crate) trait EndHold: Send + Sync {
    /// Ends a hold.
    fn resolve(&self, hold: &Granted, ended: Ended);
    /// Notes how far it has come, for the first time or once more.
    fn progress(&self, hold: HoldId, used: Msat, is_first: bool);
}

/// Money reserved for one request. Dropping it voids it.
#[must_use = "a hold that is dropped is voided: settle it, or void it with its reason"]
pub struct Hold {
    granted: Box<Granted>,
    to: Option<Arc<dyn EndHold>>,
    excuses: Option<Arc<Excuses>>,
}

impl Hold {
    pub(crate) fn new(granted: Granted, to: Arc<dyn EndHold>) -> Self {
        Self {
            granted: Box::new(granted),
            to: Some(to),
            excuses: None,
        }
    }

    /// Counts here too how often its client is excused, and excuses it no more beyond as often as its
    /// account may be.
    pub fn count_in(&mut self, excuses: Arc<Excuses>) {
        self.excuses = Some(excuses);
    }

    /// The id; the receipt and the transfer of this request carry it.
    #[must_use]
    pub fn id(&self) -> HoldId {
        self.granted.hold
    }

    /// How much is held: what [`settle`](Self::settle) will charge.
    #[must_use]
    pub fn charge(&self) -> Msat {
        self.granted.charge
    }

    /// What the account has left besides this hold.
    #[must_use]
    pub fn remaining(&self) -> Remaining {
        self.granted.remaining
    }

    /// Until when the account may be spent.
    #[must_use]
    pub fn expires_at(&self) -> UnixMillis {
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
        if let Some(to) = &self.to {
            to.progress(self.granted.hold, used, is_first);
        }
    }

    /// Charges the whole hold.
    pub fn settle(self) {
        let charge = self.granted.charge;
        self.resolve(settled(charge), None);
    }

    /// Charges a pass for its first answer: it runs since `since`. One that runs already goes on as it
    /// does.
    pub fn begin_pass(self, since: UnixMillis) {
        self.resolve(Resolution::Begin { since }, None);
    }

    /// Charges `used` and releases the rest. Usage above the hold is charged up to the hold; the
    /// rest becomes the seller's loss, in an entry of its own.
    pub fn settle_part(self, used: Msat) {
        self.resolve(settled(used), None);
    }

    /// The same, and keeps with the charge what the answer showed.
    pub fn settle_part_with(self, used: Msat, measured: Measured) {
        self.resolve(settled(used), Some(Box::new(measured)));
    }

    /// Charges `used`, and says what becomes of what is left on the account.
    pub fn settle_and(self, used: Msat, rest: Rest) {
        self.resolve(Resolution::Settle { used, rest }, None);
    }

    /// Releases the whole hold.
    pub fn void(self, reason: VoidReason) {
        self.resolve(Resolution::Void { reason }, None);
    }

    /// The same, and keeps what the answer showed although nothing is charged for it.
    pub fn void_with(self, reason: VoidReason, measured: Measured) {
        self.resolve(Resolution::Void { reason }, Some(Box::new(measured)));
    }

    /// Releases the whole hold because of what its client did. Where the paying account was excused
    /// too often, beyond as many requests as it was charged for, `used` is charged instead. Comes to
    /// what was charged; whether anybody waits for that changes nothing.
    pub fn excuse(
        mut self,
        fault: ClientFault,
        used: Msat,
        measured: Option<Measured>,
    ) -> impl Future<Output = Msat> + Send + Sync + use<> {
        let (tell, told) = oneshot::channel();
        if let Some(to) = self.to.take() {
            let ended = Ended {
                how: Resolution::Excuse { fault, used },
                measured: measured.map(Box::new),
                tell: Some(tell),
                excuses: self.excuses.take(),
            };
            to.resolve(&self.granted, ended);
        }
        async { told.await.unwrap_or(Msat::ZERO) }
    }

    fn resolve(mut self, how: Resolution, measured: Option<Box<Measured>>) {
        if let Some(to) = self.to.take() {
            let excuses = self.excuses.take();
            let ended = Ended {
                excuses,
                ..Ended::of(how, measured)
            };
            to.resolve(&self.granted, ended);
        }
    }
}

impl Ended {
    /// An end of which nobody waits to hear.
    pub(crate) const fn of(how: Resolution, measured: Option<Box<Measured>>) -> Self {
        Self {
            how,
            measured,
            tell: None,
            excuses: None,
        }
    }
}

const fn settled(used: Msat) -> Resolution {
    let rest = Rest::Stays;
    Resolution::Settle { used, rest }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let reason = VoidReason::Dropped;
            to.resolve(&self.granted, Ended::of(Resolution::Void { reason }, None));
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
