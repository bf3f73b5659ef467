//! What people may read of the ledger: accounts, transfers, the trial balance.

use std::sync::Arc;

use farebox_core::{AccountId, KeyEpoch, KeyHash, Msat, Terms, UnixMillis};

use crate::Rail;
use crate::code::codes;

/// One payer's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// The cursor of this account in listings: counts up from account to account.
    pub cursor: u64,
    /// Its name.
    pub account: AccountId,
    /// Which secret signed the token.
    pub key_epoch: KeyEpoch,
    /// What was sold.
    pub terms: Terms,
    /// Money on the account, held or not.
    pub balance: Msat,
    /// The part of the balance that was received beyond what was sold and is not for sale: on an
    /// account of calls or a pass. On a balance, all that was ever received beyond it.
    pub excess: Msat,
    /// The part of the balance that open holds and open payouts have reserved.
    pub held: Msat,
    /// Requests settled so far.
    pub calls_used: u32,
    /// Requests held at present, by open requests or by an open payout.
    pub calls_held: u32,
    /// Releases that its clients caused, beyond as many requests as it was charged for.
    pub voids: u32,
    /// When the payment was first claimed.
    pub claimed_at: UnixMillis,
    /// Until when it may be spent.
    pub expires_at: UnixMillis,
    /// When it was revoked, if it was.
    pub revoked_at: Option<UnixMillis>,
}

/// One movement of money: from `debit` to `credit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferView {
    /// The id; of a settlement, the id of its hold.
    pub id: [u8; 16],
    /// The account that gave.
    pub debit: AccountName,
    /// The account that received.
    pub credit: AccountName,
    /// How much.
    pub amount: Msat,
    /// What it was.
    pub kind: TransferKind,
    /// When.
    pub at: UnixMillis,
}

/// How an account is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountName {
    /// The account of a payment.
    Payer(AccountId),
    /// The account of a prepaid key.
    Key(KeyHash),
    /// One of the house's accounts: a clearing account for each rail (`lightning`),
    /// `revenue:<route>`, `breakage`, `seller_loss`, `lightning_fees` (routing that cost more than a payout had reserved for it).
    House(String),
}

/// What a transfer was made for. The numbers are stored: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferKind {
    /// A payment was claimed: clearing to payer.
    Claim,
    /// A hold was settled: payer to revenue.
    Settle,
    /// A pass was bought: payer to revenue, the whole amount.
    Pass,
    /// Usage above the hold: the seller bears it.
    SellerLoss,
    /// The sum of transfers pruned after the retention time.
    Summary,
    /// A payment brought more than was sold: clearing to payer.
    Excess,
    /// Paid out: payer to clearing.
    Payout,
    /// What routing a payout cost: payer to clearing.
    PayoutFee,
    /// Paid for a prepaid key: clearing to key.
    Deposit,
    /// Change: payer to what is owed, and from there to clearing.
    Change,
    /// The seller took coins out: what was withdrawn to clearing.
    Withdrawal,
    /// What a mint took for swapping coins of the seller's: fees to clearing.
    MintFee,
}

codes!(pub TransferKind {
    Claim = 1,
    Settle = 2,
    Pass = 3,
    SellerLoss = 4,
    Summary = 5,
    Excess = 6,
    Payout = 7,
    PayoutFee = 8,
    Deposit = 9,
    Change = 10,
    Withdrawal = 11,
    MintFee = 12,
});

/// Change that is owed to an account, or was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeView {
    /// Whose money it was.
    pub account: AccountId,
    /// The rail that the money came by and goes back by.
    pub rail: Rail,
    /// How much is owed and not told.
    pub owed: Msat,
    /// Since when, or when it was told first.
    pub since: UnixMillis,
    /// The exact texts that were told, a part each: the same to whoever asks again. From the first on the
    /// account is closed.
    pub told: Vec<Arc<str>>,
}

/// The proof that the books are right, taken from one consistent snapshot of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrialBalance {
    /// The sum of all balances in msat. Anything but zero means money was made or lost.
    pub sum: i128,
    /// The house's accounts by name, in msat; clearing and loss accounts stand below zero.
    pub house: Vec<(String, i64)>,
    /// The sum of all payers' balances.
    pub payers: Msat,
    /// The part of it that open holds and open payouts have reserved.
    pub held: Msat,
    /// Open holds.
    pub open_holds: u64,
    /// Open payouts.
    pub open_payouts: u64,
    /// What they have reserved.
    pub payouts_held: Msat,
    /// Held calls neither settled nor canceled.
    pub held_calls: u64,
    /// Payers' accounts, prepaid keys included.
    pub accounts: u64,
    /// Transfers, summaries included.
    pub transfers: u64,
    /// Accounts whose balance is not the sum of their transfers, and prepaid keys whose spending is
    /// not the sum of their settlements.
    pub unproven: u64,
    /// Payers' accounts that stand below zero, hold more than they have, or used more calls than
    /// they bought.
    pub overdrawn: u64,
}

impl TrialBalance {
    /// Whether everything that must hold does.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.sum == 0 && self.unproven == 0 && self.overdrawn == 0
    }
}

/// What one round of pruning took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Closed accounts, now only remembered as spent.
    pub accounts: u64,
    /// Their transfers, replaced by summaries.
    pub transfers: u64,
    /// Remembered retries past the retention time.
    pub retries: u64,
}
