//! The seam between the ledger and the database it lives in.
//!
//! One writer owns a [`Store`] and works on the rows that it loads; each batch is one transaction.
//! Readers are opened on the side and see committed data only.

use std::error::Error;
use std::ops::Range;
use std::time::Duration;

use farebox_core::{
    AccountId, HoldId, KeyEpoch, KeyHash, MintId, PaymentHash, PayoutId, ProcessEpoch, SwapId,
    UnixMillis, WithdrawalId,
};

use crate::name::Name;
use crate::rows::{OpenHold, TransferId};
use crate::withdrawal::{Stock, WithdrawalView};
use crate::working::{Changes, Rows};
use crate::{
    AccountView, ChangeView, ChargePage, ChargeQuery, ChargeView, CoinView, Deposit, HeldCall,
    HeldSummary, KeyView, PayoutView, PendingDeposit, SwapView, TransferView, TrialBalance,
};

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
    /// A stored value has another type or size than the ledger ever writes.
    #[error("the ledger's database holds a value of another form than the ledger writes")]
    Misshapen(#[source] Box<dyn Error + Send + Sync>),
    /// A command looked at a row that it did not name: a mistake in the program.
    #[error("a command of the ledger looked at {0}, which it did not name")]
    Unnamed(&'static str),
    /// A store did not load a row that was named: a mistake in the program.
    #[error("the ledger's store did not load {0}, which a command named")]
    Unloaded(&'static str),
}

impl StoreError {
    /// Whether it concerns some row, and not the store: then only the command that named the row
    /// fails, and the rest of its batch does not.
    #[must_use]
    pub const fn is_of_a_row(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Misshapen(_) | Self::Unnamed(_) | Self::Unloaded(_) => true,
            Self::Unavailable(_) | Self::Failed(_) => false,
        }
    }
}

/// The writing side of a database: it loads the rows that are named, writes changes and commits. It
/// decides nothing. Whatever is asked of it fails where the database does. Contract: the crate `farebox-ledger-contract`.
pub trait Store: Send {
    /// Which run of a process this is.
    fn epoch(&self) -> ProcessEpoch;

    /// Whether nobody else writes while it is open: then what was loaded stays true, and what is held
    /// need not be written but in its holds.
    fn is_exclusive(&self) -> bool;

    /// Fills an empty working set, when the store is opened and whenever it was rolled back: the
    /// house's accounts; and, where the store is exclusive, every open hold with its accounts.
    fn fill(&mut self, rows: &mut Rows) -> Result<Totals, StoreError>;

    /// Some of the open holds of runs that are closed for ever, for recovery.
    fn abandoned(&mut self, limit: usize) -> Result<Vec<(HoldId, OpenHold)>, StoreError>;

    /// Loads the rows of these names as they are committed, and locks them, in an order that is the
    /// same for everybody, until the next [`commit`](Self::commit) or [`release`](Self::release).
    ///
    /// # Errors
    /// [`StoreError`]; nothing is locked.
    fn load(&mut self, names: &[Name], rows: &mut Rows) -> Result<(), StoreError>;

    /// Writes changes in one transaction, and returns when it is as safe as was asked.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written, nothing is locked, and the store may be used again.
    fn commit(&mut self, rows: &mut Rows, changes: &Changes, safe: Safe) -> Result<(), StoreError>;

    /// Lets go of what was locked. Nothing is written.
    fn release(&mut self);

    /// Returns when everything that was committed outlives a loss of power too.
    ///
    /// # Errors
    /// [`StoreError`]; nobody knows what is on the disk, and only the next start finds out.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// One step of a round of pruning, over no more rows than come well between two batches: forgets
    /// what goes by its age alone, and finds what may be closed. What was last used after the step's
    /// instant stays. Whether it is still so is decided over the locked rows. The store knows how far
    /// the round has come. A row that is broken is told to the log, and stays.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    fn find_closed(&mut self, step: PruneStep) -> Result<Closed, StoreError>;

    /// What opens readers on this database.
    fn readers(&self) -> Box<dyn OpenReader>;

    /// Brings everything into the main file, at the end of a run.
    ///
    /// # Errors
    /// [`StoreError`]; the data is safe all the same.
    fn checkpoint(&mut self) -> Result<(), StoreError>;
}

/// What an engine counts for itself, as the store knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Open holds.
    pub open_holds: usize,
    /// Held calls neither settled nor canceled.
    pub calls: u32,
    /// The bytes of their requests.
    pub call_bytes: u64,
    /// Invoices for keys that wait to be paid.
    pub pending: u32,
}

/// What may be closed, and what was forgotten.
#[derive(Debug, Default)]
pub struct Closed {
    /// Remembered retries that were forgotten.
    pub retries: u64,
    /// Accounts on which nothing is left, with their last transfer and the number of all.
    pub accounts: Vec<(AccountId, TransferId, u64)>,
    /// Keys that were never paid for and children that ended, with their parent.
    pub keys: Vec<(AccountId, Option<AccountId>)>,
    /// Payments with a held call that ended long ago, or with a note that nobody claimed.
    pub past: Vec<AccountId>,
    /// Calls that ended at this instant or later stay, and notes of this one or later.
    pub stays: (UnixMillis, UnixMillis),
    /// Invoices for keys that can no longer be paid.
    pub unpaid: Vec<(PaymentHash, KeyHash)>,
    /// Whether nothing is left for a next step of the round.
    pub is_last: bool,
}

/// What a committed transaction outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// The death of the process. A loss of power may take it until the next [`Store::sync`].
    FromDeath,
    /// A loss of power too. One that could not be synced was never there, for anybody.
    FromPowerLoss,
}

/// What a step of pruning keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneStep {
    /// Whether a round begins with it.
    pub is_first: bool,
    /// What was used at this instant or later stays.
    pub before: UnixMillis,
    /// The present instant: the time of the summaries.
    pub now: UnixMillis,
}

/// How long a child that has ended is kept: it takes a place among those of its parent.
const CHILD_KEEP: Duration = Duration::from_secs(24 * 60 * 60);

impl PruneStep {
    /// Children that ended at this instant or later stay.
    #[must_use]
    pub fn children(self) -> UnixMillis {
        let keep = u64::try_from(CHILD_KEEP.as_millis()).unwrap_or(u64::MAX);
        let ended = UnixMillis::new(self.now.get().saturating_sub(keep));
        ended.max(self.before)
    }
}

/// Opens readers from any thread.
pub trait OpenReader: Send + Sync {
    /// A reader on committed data.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be opened.
    fn open(&self) -> Result<Box<dyn Reader>, StoreError>;
}

/// The reading side of a database. Whatever is asked fails where it cannot be read.
pub trait Reader {
    /// One account of a payment.
    fn account(&mut self, account: AccountId) -> Result<Option<AccountView>, StoreError>;

    /// Up to `limit` accounts with cursors above `after`, in the order of their first claim.
    fn accounts(&mut self, after: u64, limit: u32) -> Result<Vec<AccountView>, StoreError>;

    /// Up to `limit` transfers of one account, the latest first, from below the transfer `before`.
    fn transfers(
        &mut self,
        account: AccountId,
        before: Option<[u8; 16]>,
        limit: u32,
    ) -> Result<Vec<TransferView>, StoreError>;

    /// One payout.
    fn payout(&mut self, id: PayoutId) -> Result<Option<PayoutView>, StoreError>;

    /// Every payout without an end, in the order in which they were begun.
    fn open_payouts(&mut self) -> Result<Vec<PayoutView>, StoreError>;

    /// Up to `limit` payouts with cursors above `after`, in the order in which they were begun.
    fn payouts(&mut self, after: u64, limit: u32) -> Result<Vec<PayoutView>, StoreError>;

    /// Up to `limit` payouts of one account, the latest first.
    fn payouts_of(&mut self, account: AccountId, limit: u32)
    -> Result<Vec<PayoutView>, StoreError>;

    /// The newest epoch of the signing keys that a claimed token was signed in, and when the last such
    /// token was claimed.
    fn newest_claim(&mut self) -> Result<Option<(KeyEpoch, UnixMillis)>, StoreError>;

    /// How far the settlements of the backend of this name were read.
    fn settlement_cursor(&mut self, name: &str) -> Result<Option<u64>, StoreError>;

    /// The held call of a payment.
    fn held_call(&mut self, hash: PaymentHash) -> Result<Option<HeldCall>, StoreError>;

    /// Every held call without an end.
    fn held_calls(&mut self) -> Result<Vec<HeldSummary>, StoreError>;

    /// One prepaid key, with what counts on this day of UTC.
    fn key(&mut self, key: KeyHash, today: u32) -> Result<Option<KeyView>, StoreError>;

    /// The prepaid key of this public name.
    fn key_by_public_id(&mut self, id: &str, today: u32) -> Result<Option<KeyView>, StoreError>;

    /// Up to `limit` names of prepaid keys with cursors above `after`, in the order of opening, each with
    /// its cursor.
    fn key_names(&mut self, after: u64, limit: u32) -> Result<Vec<(u64, KeyHash)>, StoreError>;

    /// Up to `limit` prepaid keys with cursors above `after`, in the order of opening.
    fn keys(&mut self, after: u64, limit: u32, today: u32) -> Result<Vec<KeyView>, StoreError>;

    /// Up to `limit` children of a prepaid key with cursors above `after`, in the order of opening.
    fn children(
        &mut self,
        parent: KeyHash,
        after: u64,
        limit: u32,
        today: u32,
    ) -> Result<Vec<KeyView>, StoreError>;

    /// The invoices that wait to be paid, for one key or for all.
    fn pending_deposits(&mut self, key: Option<KeyHash>)
    -> Result<Vec<PendingDeposit>, StoreError>;

    /// What was paid for a key, the largest first.
    fn deposits_of(&mut self, key: KeyHash, limit: u32) -> Result<Vec<Deposit>, StoreError>;

    /// The invoice that waits for this payment, if it is for a key.
    fn pending_deposit(&mut self, hash: PaymentHash) -> Result<Option<PendingDeposit>, StoreError>;

    /// One charge, or a measured request that was not charged.
    fn charge(&mut self, hold: HoldId) -> Result<Option<ChargeView>, StoreError>;

    /// Up to `limit` charges, the latest admitted first.
    fn charges(&mut self, query: &ChargeQuery, limit: u32) -> Result<ChargePage, StoreError>;

    /// The change of an account, if there was any.
    fn change(&mut self, account: AccountId) -> Result<Option<ChangeView>, StoreError>;

    /// All change that is owed and not told: of closed runs, and of the reader's own.
    fn owed_change(&mut self) -> Result<Vec<ChangeView>, StoreError>;

    /// One swap.
    fn swap(&mut self, id: SwapId) -> Result<Option<SwapView>, StoreError>;

    /// The latest swap for an account that is open or done.
    fn swap_of(&mut self, account: AccountId) -> Result<Option<SwapView>, StoreError>;

    /// All open swaps, of closed runs and of the reader's own, the oldest first.
    fn open_swaps(&mut self) -> Result<Vec<SwapView>, StoreError>;

    /// Up to `limit` swaps at a unit of a mint that came to nothing in a span of time, the oldest first.
    fn vain_swaps(
        &mut self,
        mint: MintId,
        span: Range<UnixMillis>,
        limit: u32,
    ) -> Result<Vec<SwapView>, StoreError>;

    /// Coins that the swaps for an account made.
    fn coins_of(&mut self, account: AccountId) -> Result<Vec<CoinView>, StoreError>;

    /// Up to `limit` accounts that swaps at a unit of a mint credited and that have coins reserved, with
    /// the number of each swap, from after that number on.
    fn reserved_accounts(
        &mut self,
        mint: MintId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, AccountId)>, StoreError>;

    /// One withdrawal.
    fn withdrawal(&mut self, id: WithdrawalId) -> Result<Option<WithdrawalView>, StoreError>;

    /// Up to `limit` withdrawals, the latest first.
    fn withdrawals(&mut self, limit: u32) -> Result<Vec<WithdrawalView>, StoreError>;

    /// All open withdrawals, of closed runs and of the reader's own, the oldest first.
    fn open_withdrawals(&mut self) -> Result<Vec<WithdrawalView>, StoreError>;

    /// What there is of every unit of every mint of which there was anything.
    fn stock(&mut self) -> Result<Vec<Stock>, StoreError>;

    /// Up to `limit` coins of a unit of a mint that are nobody's, the largest first.
    fn free_coins(&mut self, mint: MintId, limit: u32) -> Result<Vec<CoinView>, StoreError>;

    /// Adds up everything, in one snapshot.
    fn trial_balance(&mut self) -> Result<TrialBalance, StoreError>;
}
