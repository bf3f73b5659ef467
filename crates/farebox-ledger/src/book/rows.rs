//! Rows as the writer holds them in memory, and where they come from.

use farebox_core::{HoldId, KeyEpoch, Kind, Msat, PaymentHash, RequestDigest, Terms, UnixMillis};

use super::changes::RetryKey;
use crate::store::StoreError;
use crate::view::TransferKind;
use crate::{AdmitRequest, Receipt};

/// The number of an account inside one store.
pub(crate) type AccountRow = i64;
/// The id of a transfer: of a settlement, that of its hold.
pub(crate) type TransferId = [u8; 16];

/// Reads rows as the present transaction sees them.
pub(crate) trait Rows {
    fn account(&mut self, hash: &PaymentHash) -> Result<Option<Account>, StoreError>;
    fn is_spent(&mut self, hash: &PaymentHash) -> Result<bool, StoreError>;
    fn revoked_at(&mut self, hash: &PaymentHash) -> Result<Option<UnixMillis>, StoreError>;
    fn retry(&mut self, key: &RetryKey) -> Result<Option<Retry>, StoreError>;
    fn transfer_exists(&mut self, id: &TransferId) -> Result<bool, StoreError>;
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
}

/// A payer's account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) row: AccountRow,
    pub(crate) key_epoch: KeyEpoch,
    pub(crate) terms: Terms,
    pub(crate) balance: Msat,
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
        request: &AdmitRequest,
        revoked_at: Option<UnixMillis>,
    ) -> Self {
        Self {
            row,
            key_epoch: request.key_epoch,
            terms: request.terms.clone(),
            balance: request.terms.amount,
            calls_used: 0,
            voids: 0,
            claimed_at: request.now,
            expires_at: first_expiry(&request.terms, request.now),
            revoked_at,
            last_transfer: None,
            unsaved: Unsaved {
                listed: true,
                new: true,
                revoked: false,
            },
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
            },
        }
    }
}

/// Money reserved for one open request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenHold {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) account: AccountRow,
    pub(crate) amount: Msat,
    /// The most that was recorded as used: what recovery charges.
    pub(crate) progress: Option<Msat>,
    pub(crate) once: Option<OnceKey>,
    /// Its number in the store: counts up, so that rows are appended.
    pub(crate) number: i64,
    /// Whether the store has it.
    pub(crate) stored: bool,
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
