//! Rows as the writer holds them in memory, and where they come from.

use std::collections::BTreeMap;

use farebox_core::{
    AccountId, HoldId, KeyEpoch, KeyHash, Kind, Msat, PaymentHash, PayoutId, RequestDigest,
    RouteName, Terms, UnixMillis,
};

use super::changes::RetryKey;
use crate::day::Day;
use crate::decide::Reserve;
use crate::store::StoreError;
use crate::view::TransferKind;
use crate::{
    ChargeBasis, Deposit, Funding, HeldCall, HeldState, KeyLimits, Measured, PayoutView,
    PendingDeposit, Receipt,
};

/// The number of an account inside one store.
pub(crate) type AccountRow = i64;
/// The id of a transfer: of a settlement, that of its hold.
pub(crate) type TransferId = [u8; 16];

/// Reads rows as the present transaction sees them.
pub(crate) trait Rows: SeldomRows + KeyRows {
    /// The account of a payment.
    fn account(&mut self, hash: &AccountId) -> Result<Option<Account>, StoreError>;
    /// What is known of a payment without an account.
    fn unclaimed(&mut self, hash: &AccountId) -> Result<Unclaimed, StoreError>;
    fn retry(&mut self, key: &RetryKey) -> Result<Option<Retry>, StoreError>;
    fn transfer_exists(&mut self, id: &TransferId) -> Result<bool, StoreError>;
}

/// Reads and writes the rows of what happens seldom: these are written at once, inside the present
/// transaction, so that what is read next is true without a picture of it.
pub(crate) trait SeldomRows {
    /// What a payment brought in all, where that was noted.
    fn received(&mut self, hash: &AccountId) -> Result<Option<Msat>, StoreError>;
    fn put_received(
        &mut self,
        hash: &AccountId,
        received: Msat,
        at: UnixMillis,
    ) -> Result<(), StoreError>;

    fn payout(&mut self, id: &PayoutId) -> Result<Option<Payout>, StoreError>;
    fn payout_to(&mut self, destination: &PaymentHash) -> Result<Option<PayoutView>, StoreError>;
    /// Payouts of one account begun after an instant, however they ended.
    fn payouts_begun(&mut self, hash: &AccountId, after: UnixMillis) -> Result<u64, StoreError>;
    /// The sum of payouts paid after an instant, without fees.
    fn paid_out(&mut self, after: UnixMillis) -> Result<u64, StoreError>;
    /// Writes a new payout and gives its cursor.
    fn insert_payout(&mut self, payout: &Payout) -> Result<u64, StoreError>;
    /// Writes the end of a payout.
    fn end_payout(&mut self, payout: &PayoutView) -> Result<(), StoreError>;

    /// A held call without its request and answer.
    fn held_call(&mut self, hash: &AccountId) -> Result<Option<HeldCall>, StoreError>;
    fn insert_held_call(&mut self, call: &HeldCall) -> Result<(), StoreError>;
    fn move_held_call(&mut self, hash: &AccountId, to: HeldState) -> Result<(), StoreError>;
    fn put_held_answer(&mut self, hash: &AccountId, answer: &[u8]) -> Result<(), StoreError>;
    /// Writes the end of a held call, and lets go of its request.
    fn end_held_call(
        &mut self,
        hash: &AccountId,
        end: HeldState,
        at: UnixMillis,
    ) -> Result<(), StoreError>;

    fn put_cursor(&mut self, name: &str, cursor: u64) -> Result<(), StoreError>;
}

/// Reads and writes the rows of prepaid keys. What is written is written at once.
pub(crate) trait KeyRows {
    /// The account of a key, without what it spent on each day.
    fn key(&mut self, name: &AccountId) -> Result<Option<Account>, StoreError>;
    /// What counts against a key on a day.
    fn key_day(&mut self, account: AccountRow, day: Day) -> Result<Msat, StoreError>;
    /// The account of the key with this public name.
    fn key_by_id(&mut self, public_id: &str) -> Result<Option<AccountRow>, StoreError>;
    fn count_children(&mut self, parent: AccountRow) -> Result<u32, StoreError>;
    /// Writes a new key and its empty account.
    fn insert_key(&mut self, account: AccountRow, key: &NewKey<'_>) -> Result<(), StoreError>;
    fn limit_key(&mut self, account: AccountRow, limits: &KeyLimits) -> Result<(), StoreError>;
    fn revoke_key(&mut self, account: AccountRow, at: UnixMillis) -> Result<(), StoreError>;

    /// Whose deposit a payment was.
    fn deposit(&mut self, hash: &AccountId) -> Result<Option<AccountRow>, StoreError>;
    /// Writes a deposit, and when the key was funded if this is its first.
    fn insert_deposit(&mut self, account: AccountRow, deposit: &Deposit) -> Result<(), StoreError>;
    /// For which account an invoice waits to be paid.
    fn pending(&mut self, hash: &AccountId) -> Result<Option<AccountRow>, StoreError>;
    /// Invoices for an account that can still be paid at an instant.
    fn count_pending(&mut self, account: AccountRow, at: UnixMillis) -> Result<u32, StoreError>;
    fn insert_pending(
        &mut self,
        account: AccountRow,
        pending: &PendingDeposit,
    ) -> Result<(), StoreError>;
    fn remove_pending(&mut self, hash: &AccountId) -> Result<(), StoreError>;
}

/// A key that is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewKey<'a> {
    pub(crate) key: KeyHash,
    pub(crate) public_id: &'a str,
    pub(crate) parent: Option<AccountRow>,
    pub(crate) note: Option<&'a str>,
    pub(crate) created_at: UnixMillis,
    pub(crate) limits: &'a KeyLimits,
}

/// What is known of a payment without an account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unclaimed {
    /// It buys nothing any more: its account was pruned, or it is of a prepaid key.
    pub(crate) spent: bool,
    /// Its account was pruned.
    pub(crate) pruned: bool,
    /// It was revoked before its first use.
    pub(crate) revoked_at: Option<UnixMillis>,
    /// What it brought in all, where that was more than was sold.
    pub(crate) received: Option<Msat>,
}

/// A payment at its first sight.
#[derive(Clone, Copy)]
pub(crate) struct Payment<'a> {
    pub(crate) account: AccountId,
    pub(crate) funding: &'a Funding,
    pub(crate) now: UnixMillis,
}

/// A payout, and what it reserves while it is open.
#[derive(Clone, Debug)]
pub(crate) struct Payout {
    pub(crate) view: PayoutView,
    pub(crate) reserve: Reserve,
}

/// What the picture keeps of an open payout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenPayout {
    pub(crate) account: AccountId,
    pub(crate) amount: Msat,
    pub(crate) reserve: Reserve,
}

/// What the picture keeps of a held call that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenHeldCall {
    pub(crate) state: HeldState,
    /// Of its request.
    pub(crate) bytes: u64,
}

/// What of a row is not written yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unsaved {
    /// It is in the list of changes.
    pub(crate) listed: bool,
    /// It does not exist in the store.
    pub(crate) new: bool,
    /// It was revoked.
    pub(crate) revoked: bool,
    /// Its excess changed.
    pub(crate) excess: bool,
}

/// What made an account.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A payment that was claimed with a token.
    Payment {
        key_epoch: KeyEpoch,
        /// What was sold.
        terms: Terms,
    },
    /// A prepaid key.
    Key(Box<Key>),
}

/// What the picture keeps of a prepaid key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The name of the account whose money it spends, where that is not its own.
    pub(crate) parent: Option<AccountId>,
    pub(crate) limits: KeyLimits,
    pub(crate) funded: bool,
    /// What was charged in all.
    pub(crate) spent: Msat,
    /// The part of it that counts on a day, for days that were looked at.
    pub(crate) days: BTreeMap<Day, Msat>,
}

/// A payer's account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) row: AccountRow,
    pub(crate) origin: Origin,
    /// All there is: what is left of what was sold, and the excess.
    pub(crate) balance: Msat,
    /// The part of it that is not for sale; of a balance, all that ever came on top of it.
    pub(crate) excess: Msat,
    pub(crate) calls_used: u32,
    pub(crate) voids: u32,
    pub(crate) claimed_at: UnixMillis,
    pub(crate) expires_at: UnixMillis,
    pub(crate) revoked_at: Option<UnixMillis>,
    /// The head of the chain of its transfers.
    pub(crate) last_transfer: Option<TransferId>,
    pub(crate) unsaved: Unsaved,
}

impl Account {
    /// The account of a payment at its first claim.
    pub(crate) fn claimed(
        row: AccountRow,
        payment: &Payment<'_>,
        revoked_at: Option<UnixMillis>,
    ) -> Self {
        Self {
            row,
            origin: Origin::Payment {
                key_epoch: payment.funding.key_epoch,
                terms: payment.funding.terms.clone(),
            },
            balance: payment.funding.terms.amount,
            excess: Msat::ZERO,
            calls_used: 0,
            voids: 0,
            claimed_at: payment.now,
            expires_at: first_expiry(&payment.funding.terms, payment.now),
            revoked_at,
            last_transfer: None,
            unsaved: Unsaved {
                listed: true,
                new: true,
                ..Unsaved::default()
            },
        }
    }
}

impl Account {
    /// The account of a key that is just opened, as the store has it.
    pub(crate) fn opened(row: AccountRow, key: Key, at: UnixMillis) -> Self {
        Self {
            row,
            origin: Origin::Key(Box::new(key)),
            balance: Msat::ZERO,
            excess: Msat::ZERO,
            calls_used: 0,
            voids: 0,
            claimed_at: at,
            expires_at: UnixMillis::new(u64::MAX),
            revoked_at: None,
            last_transfer: None,
            unsaved: Unsaved::default(),
        }
    }

    /// What was sold, of the account of a payment.
    pub(crate) const fn terms(&self) -> Option<&Terms> {
        match &self.origin {
            Origin::Payment { terms, .. } => Some(terms),
            Origin::Key(_) => None,
        }
    }

    /// The key, of a key's account.
    pub(crate) const fn key(&self) -> Option<&Key> {
        match &self.origin {
            Origin::Payment { .. } => None,
            Origin::Key(key) => Some(key),
        }
    }

    pub(crate) const fn key_mut(&mut self) -> Option<&mut Key> {
        match &mut self.origin {
            Origin::Payment { .. } => None,
            Origin::Key(key) => Some(key),
        }
    }

    /// How it is spent: a key's money is a balance.
    pub(crate) const fn kind(&self) -> Kind {
        match &self.origin {
            Origin::Payment { terms, .. } => terms.kind,
            Origin::Key(_) => Kind::Balance,
        }
    }
}

/// When a payment claimed at `now` can no longer be spent. Claimed too late, it never could.
fn first_expiry(terms: &Terms, now: UnixMillis) -> UnixMillis {
    let span = match terms.kind {
        Kind::Pass(span) => span,
        Kind::Single | Kind::Calls(_) | Kind::Balance => terms.valid_for,
    };
    if now > terms.claim_by {
        terms.claim_by
    } else {
        now.plus(span)
    }
}

/// One of the house's accounts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct House {
    pub(crate) row: AccountRow,
    pub(crate) balance: i64,
    pub(crate) unsaved: Unsaved,
}

impl House {
    pub(crate) const fn empty(row: AccountRow) -> Self {
        Self {
            row,
            balance: 0,
            unsaved: Unsaved {
                listed: false,
                new: true,
                revoked: false,
                excess: false,
            },
        }
    }

    pub(crate) const fn stored(row: AccountRow, balance: i64) -> Self {
        Self {
            row,
            balance,
            unsaved: Unsaved {
                listed: false,
                new: false,
                revoked: false,
                excess: false,
            },
        }
    }
}

/// Money reserved for one open request.
#[derive(Clone, Debug)]
pub(crate) struct OpenHold {
    pub(crate) payer: AccountId,
    pub(crate) account: AccountRow,
    pub(crate) amount: Msat,
    /// The most that was recorded as used: what recovery charges.
    pub(crate) progress: Option<Msat>,
    pub(crate) once: Option<OnceKey>,
    /// Its number in the store: counts up, so that rows are appended.
    pub(crate) number: i64,
    /// Whether the store has it.
    pub(crate) stored: bool,
    /// Who asked for it and why, where it is on the money of a key.
    pub(crate) key: Option<Box<KeyUse>>,
    /// What its price was found by.
    pub(crate) basis: Option<Box<ChargeBasis>>,
}

/// An ended hold of which there is more to tell than its transfer does.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) id: HoldId,
    pub(crate) account: AccountRow,
    /// The prepaid key that asked, where it is a child.
    pub(crate) asker: Option<AccountId>,
    pub(crate) route: RouteName,
    pub(crate) held: Msat,
    pub(crate) used: Msat,
    /// None where the hold was released.
    pub(crate) charged: Option<Msat>,
    pub(crate) at: UnixMillis,
    pub(crate) basis: Option<Box<ChargeBasis>>,
    pub(crate) measured: Option<Measured>,
}

/// What is known of a hold on the money of a key.
#[derive(Clone, Debug)]
pub(crate) struct KeyUse {
    /// The name of the key that asked: a child, or the one whose money it is.
    pub(crate) asker: AccountId,
    pub(crate) asker_row: AccountRow,
    /// What earns the money.
    pub(crate) route: RouteName,
    /// The day on which it counts.
    pub(crate) day: Day,
}

impl OpenHold {
    /// The account to which the request belongs, if not the money: its name and its row.
    pub(crate) fn asker(&self) -> (AccountId, AccountRow) {
        self.key
            .as_ref()
            .map_or((self.payer, self.account), |key| (key.asker, key.asker_row))
    }
}

/// The key under which an open request is sold at most once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnceKey {
    pub(crate) key: [u8; 32],
    pub(crate) digest: RequestDigest,
}

/// A settled request that a retry must not pay again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) digest: RequestDigest,
    pub(crate) hold: HoldId,
    pub(crate) charged: Msat,
    pub(crate) settled_at: UnixMillis,
}

impl Retry {
    pub(crate) const fn receipt(&self) -> Receipt {
        Receipt {
            hold: self.hold,
            charged: self.charged,
            settled_at: self.settled_at,
        }
    }
}

/// One movement of money.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) id: TransferId,
    pub(crate) debit: AccountRow,
    pub(crate) credit: AccountRow,
    pub(crate) amount: Msat,
    pub(crate) kind: TransferKind,
    pub(crate) at: UnixMillis,
    /// The transfer before it in the chain of the payer's account it concerns.
    pub(crate) previous: Option<TransferId>,
}
