//! The seam between the ledger and the database it lives in.
//!
//! One writer owns a [`Store`] and gives it batches; each batch is one transaction. Readers are
//! opened on the side and see committed data only.

use std::error::Error;
use std::fmt;

use farebox_core::{
    AccountId, HoldId, KeyHash, Msat, PaymentHash, PayoutId, ProcessEpoch, UnixMillis,
};

use crate::{
    AccountView, Admitted, ChargePage, ChargeQuery, ChargeView, Deposit, HeldCall, HeldLimits,
    HeldSummary, HoldRequest, KeyLimits, KeyView, LedgerError, Measured, OpenChild, OpenKey,
    PayoutAnswer, PayoutEnd, PayoutRequest, PayoutView, PendingDeposit, Pruned, Recovery,
    Remaining, TopUpBy, TransferView, TrialBalance, VoidReason,
};

/// One thing for the writer to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Hold, after the claim where there was none.
    Hold(Box<HoldRequest>),
    /// End a hold. A hold that is not open is left alone: a resolution may be repeated.
    Resolve {
        /// Which.
        hold: HoldId,
        /// How it ends.
        how: Resolution,
        /// What its answer showed, which is kept with the charge.
        measured: Option<Box<Measured>>,
        /// When it ended.
        at: UnixMillis,
    },
    /// Remember how much an open hold has used, for recovery. It never goes down.
    Progress {
        /// Which.
        hold: HoldId,
        /// How much, at least.
        used: Msat,
    },
    /// Stop an account from being spent. Its value stays.
    Revoke {
        /// Which.
        account: AccountId,
        /// When.
        at: UnixMillis,
    },
    /// Reserve the money of a payout.
    BeginPayout(Box<PayoutRequest>),
    /// Write how a payout ended.
    FinishPayout {
        /// Which.
        id: PayoutId,
        /// How it ended.
        end: PayoutEnd,
        /// When that was known.
        at: UnixMillis,
    },
    /// Credit what a payment brought beyond what was sold, or remember it for the claim.
    Received(Box<Received>),
    /// Move a held call on, at this instant.
    Held(Box<(PaymentHash, HeldStep, UnixMillis)>),
    /// Remember how far the settlements of the backend of this name were read.
    Cursor(Box<(String, u64)>),
    /// Change a prepaid key, at this instant.
    Key(Box<(KeyStep, UnixMillis)>),
}

/// One change of a prepaid key.
#[derive(Clone, Debug)]
pub enum KeyStep {
    /// It is opened.
    Open(OpenKey),
    /// It is opened as the child of another one.
    OpenChild(OpenChild),
    /// Its limits are replaced.
    Limit(KeyHash, KeyLimits),
    /// It is revoked.
    Revoke(KeyHash),
    /// An invoice is made for it.
    Pending(PendingDeposit, TopUpBy),
    /// A payment for it is settled.
    Deposit(KeyHash, Deposit),
    /// An invoice for it will never be paid.
    Unpaid(PaymentHash),
}

/// What became of a [`KeyStep`]; all but [`Done`](Self::Done) changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDone {
    /// It was done.
    Done,
    /// It was done before.
    Already,
    /// No such key or parent.
    Unknown,
    /// The payment, the hash or the name belongs to something else.
    Taken,
    /// It is a child, and only a parent can have this.
    NotParent,
    /// The parent was never paid for.
    Inactive,
    /// The parent was revoked.
    Revoked,
    /// There are too many.
    Full,
}

/// A payment as the node tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub payment_hash: PaymentHash,
    /// What it brought in all.
    pub received: Msat,
    /// When.
    pub at: UnixMillis,
}

/// One step of a held call.
#[derive(Clone)]
pub enum HeldStep {
    /// It is offered, if there is room.
    Open(Box<HeldCall>, HeldLimits),
    /// It begins to run.
    Run,
    /// It has its answer.
    Answer(Vec<u8>),
    /// Its payment is settled.
    Settle {
        /// What the payment brought.
        received: Msat,
        /// When.
        at: UnixMillis,
    },
    /// Its payment goes back, or never came.
    Cancel,
}

/// Answers belong to those who paid for them, not into logs.
impl fmt::Debug for HeldStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(..) => "Open(…)",
            Self::Run => "Run",
            Self::Answer(_) => "Answer(…)",
            Self::Settle { .. } => "Settle { … }",
            Self::Cancel => "Cancel",
        })
    }
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Charged.
    Settle {
        /// What was used; more than was held is the seller's loss.
        used: Msat,
    },
    /// Released.
    Void {
        /// Why.
        reason: VoidReason,
    },
}

/// A hold as the store grants it.
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
}

/// The answer to one [`Command`], in the order of the batch.
#[derive(Debug)]
pub enum Outcome {
    /// To [`Command::Hold`].
    Admitted {
        /// The answer; an error concerns this request alone and wrote nothing.
        answer: Result<Admitted<Granted>, LedgerError>,
        /// What was credited, where this was the first sight of a payment.
        claimed: Option<Msat>,
    },
    /// To [`Command::Revoke`]: whether an account was known.
    Revoked(bool),
    /// To [`Command::Resolve`]: usage above the hold, which the seller lost.
    Resolved {
        /// How much above.
        loss: Msat,
    },
    /// To [`Command::Progress`] and [`Command::Cursor`].
    Noted,
    /// To [`Command::BeginPayout`].
    Payout {
        /// The answer; an error concerns this request alone and wrote nothing.
        answer: Box<Result<PayoutAnswer, LedgerError>>,
        /// What was credited, where this was the first sight of a payment.
        claimed: Option<Msat>,
    },
    /// To [`Command::FinishPayout`].
    PayoutEnded {
        /// The payout as it stands; an error concerns this request alone and wrote nothing.
        answer: Box<Result<PayoutView, LedgerError>>,
        /// The fee above what was reserved for it, which the seller lost.
        loss: Msat,
    },
    /// To [`Command::Received`]; an error concerns this request alone and wrote nothing.
    Received(Result<(), LedgerError>),
    /// To [`Command::Held`].
    Held {
        /// Whether the step was taken; an error concerns this request alone and wrote nothing.
        answer: Result<bool, LedgerError>,
        /// What was credited, where the payment was claimed.
        claimed: Option<Msat>,
    },
    /// To [`Command::Key`].
    Key {
        /// What was done; an error concerns this request alone and wrote nothing.
        answer: Result<KeyDone, LedgerError>,
        /// What was credited, where it was a deposit.
        deposited: Option<Msat>,
    },
}

impl Outcome {
    /// Whether money was reserved for a payout.
    pub(crate) fn is_payout_begun(&self) -> bool {
        let Self::Payout { answer, .. } = self else {
            return false;
        };
        matches!(**answer, Ok(PayoutAnswer::Begun(_)))
    }

    /// Whether the end of a payout is known.
    pub(crate) fn is_payout_ended(&self) -> bool {
        matches!(self, Self::PayoutEnded { answer, .. } if answer.is_ok())
    }

    /// Whether the payment of a held call was claimed.
    pub(crate) const fn is_held_settled(&self) -> bool {
        matches!(
            self,
            Self::Held {
                claimed: Some(_),
                ..
            }
        )
    }

    /// Whether a payment was credited to a prepaid key.
    pub(crate) const fn is_deposit(&self) -> bool {
        matches!(
            self,
            Self::Key {
                deposited: Some(_),
                ..
            }
        )
    }
}

/// Why a store could not do its work. What it was doing is rolled back as a whole.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room, or another process has the database: the same may work later.
    #[error("the ledger's database cannot be written at present")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The disk or the database failed.
    #[error("the ledger's database failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// A stored value is outside of what the ledger ever writes.
    #[error("the ledger's database holds an impossible value in {0}")]
    Corrupt(&'static str),
}

/// The writing side of a database. Contract: the crate `farebox-ledger-contract`.
pub trait Store: Send {
    /// Which run of the process this is.
    fn epoch(&self) -> ProcessEpoch;

    /// Ends the holds that earlier runs left open: settles what they recorded as used, voids where
    /// nothing was recorded. One transaction; repeating it finds nothing.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    fn recover(&mut self, now: UnixMillis) -> Result<Recovery, StoreError>;

    /// Applies a batch in one transaction, and returns when it is as safe as was asked.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the batch was applied, and the store may be used again.
    fn apply(&mut self, batch: &[Command], safe: Safe) -> Result<Vec<Outcome>, StoreError>;

    /// Returns when everything that was committed outlives a loss of power too.
    ///
    /// # Errors
    /// [`StoreError`]; nobody knows what is on the disk, and only the next start finds out.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Holds open at present.
    fn open_holds(&self) -> usize;

    /// One step of pruning: looks at some accounts after `cursor`, gives the cursor for the next
    /// step (none at the end). What was last used after `before` stays.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    fn prune(&mut self, step: PruneStep) -> Result<(Pruned, Option<u64>), StoreError>;

    /// What opens readers on this database.
    fn readers(&self) -> Box<dyn OpenReader>;

    /// Brings everything into the main file, at the end of a run.
    ///
    /// # Errors
    /// [`StoreError`]; the data is safe all the same.
    fn checkpoint(&mut self) -> Result<(), StoreError>;
}

/// What a committed transaction outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// The death of the process. A loss of power may take it until the next [`Store::sync`].
    FromDeath,
    /// A loss of power too. One that could not be synced was never there, for anybody.
    FromPowerLoss,
}

/// Where a step of pruning starts, and what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneStep {
    /// Accounts up to this cursor were looked at.
    pub cursor: u64,
    /// What was used at this instant or later stays.
    pub before: UnixMillis,
    /// The present instant: the time of the summaries.
    pub now: UnixMillis,
}

/// Opens readers from any thread.
pub trait OpenReader: Send + Sync {
    /// A reader on committed data.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be opened.
    fn open(&self) -> Result<Box<dyn Reader>, StoreError>;
}

/// The reading side of a database.
pub trait Reader {
    /// One account of a payment.
    ///
    /// # Errors
    /// [`StoreError`].
    fn account(&mut self, account: AccountId) -> Result<Option<AccountView>, StoreError>;

    /// Up to `limit` accounts with cursors above `after`, in the order of their first claim.
    ///
    /// # Errors
    /// [`StoreError`].
    fn accounts(&mut self, after: u64, limit: u32) -> Result<Vec<AccountView>, StoreError>;

    /// Up to `limit` transfers of one account, the latest first, from below the transfer `before`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn transfers(
        &mut self,
        account: AccountId,
        before: Option<[u8; 16]>,
        limit: u32,
    ) -> Result<Vec<TransferView>, StoreError>;

    /// One payout.
    ///
    /// # Errors
    /// [`StoreError`].
    fn payout(&mut self, id: PayoutId) -> Result<Option<PayoutView>, StoreError>;

    /// Every payout without an end, in the order in which they were begun.
    ///
    /// # Errors
    /// [`StoreError`].
    fn open_payouts(&mut self) -> Result<Vec<PayoutView>, StoreError>;

    /// Up to `limit` payouts with cursors above `after`, in the order in which they were begun.
    ///
    /// # Errors
    /// [`StoreError`].
    fn payouts(&mut self, after: u64, limit: u32) -> Result<Vec<PayoutView>, StoreError>;

    /// Up to `limit` payouts of one account, the latest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn payouts_of(&mut self, account: AccountId, limit: u32)
    -> Result<Vec<PayoutView>, StoreError>;

    /// How far the settlements of the backend of this name were read.
    ///
    /// # Errors
    /// [`StoreError`].
    fn settlement_cursor(&mut self, name: &str) -> Result<Option<u64>, StoreError>;

    /// The held call of a payment.
    ///
    /// # Errors
    /// [`StoreError`].
    fn held_call(&mut self, hash: PaymentHash) -> Result<Option<HeldCall>, StoreError>;

    /// Every held call without an end.
    ///
    /// # Errors
    /// [`StoreError`].
    fn held_calls(&mut self) -> Result<Vec<HeldSummary>, StoreError>;

    /// One prepaid key, with what counts on this day of UTC.
    ///
    /// # Errors
    /// [`StoreError`].
    fn key(&mut self, key: KeyHash, today: u32) -> Result<Option<KeyView>, StoreError>;

    /// The prepaid key of this public name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn key_by_public_id(&mut self, id: &str, today: u32) -> Result<Option<KeyView>, StoreError>;

    /// Up to `limit` prepaid keys with cursors above `after`, in the order of opening.
    ///
    /// # Errors
    /// [`StoreError`].
    fn keys(&mut self, after: u64, limit: u32, today: u32) -> Result<Vec<KeyView>, StoreError>;

    /// The children of a prepaid key, in the order of opening.
    ///
    /// # Errors
    /// [`StoreError`].
    fn children(&mut self, parent: KeyHash, today: u32) -> Result<Vec<KeyView>, StoreError>;

    /// The invoices that wait to be paid, for one key or for all.
    ///
    /// # Errors
    /// [`StoreError`].
    fn pending_deposits(&mut self, key: Option<KeyHash>)
    -> Result<Vec<PendingDeposit>, StoreError>;

    /// What was paid for a key, the largest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn deposits_of(&mut self, key: KeyHash, limit: u32) -> Result<Vec<Deposit>, StoreError>;

    /// The invoice that waits for this payment, if it is for a key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn pending_deposit(&mut self, hash: PaymentHash) -> Result<Option<PendingDeposit>, StoreError>;

    /// One charge, or a measured request that was not charged.
    ///
    /// # Errors
    /// [`StoreError`].
    fn charge(&mut self, hold: HoldId) -> Result<Option<ChargeView>, StoreError>;

    /// Up to `limit` charges, the latest admitted first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn charges(&mut self, query: &ChargeQuery, limit: u32) -> Result<ChargePage, StoreError>;

    /// Adds up everything, in one snapshot.
    ///
    /// # Errors
    /// [`StoreError`].
    fn trial_balance(&mut self) -> Result<TrialBalance, StoreError>;
}
