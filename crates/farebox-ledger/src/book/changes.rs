//! What a batch changed, in the order in which a store may write it.

use std::collections::HashMap;

use farebox_core::{AccountId, HoldId, Msat, UnixMillis};

use super::rows::{AccountRow, Charge, Retry, Transfer};
use crate::day::Day;

/// The changes since the last commit. Accounts, holds and house accounts are named here and read
/// from the book, so that any number of changes to one row is one write.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) accounts: Vec<AccountId>,
    pub(crate) house: Vec<String>,
    pub(crate) transfers: Vec<Transfer>,
    /// New holds; some may have ended already.
    pub(crate) holds: Vec<HoldId>,
    /// Holds whose recorded progress went up; some may have ended already.
    pub(crate) progress: Vec<HoldId>,
    /// The numbers of ended holds that the store has.
    pub(crate) ended: Vec<i64>,
    pub(crate) retries: HashMap<RetryKey, Retry>,
    /// Ended holds of which there is more to tell than their transfer does.
    pub(crate) charges: Vec<Charge>,
    /// What counts against keys on a day, now.
    pub(crate) key_days: HashMap<(AccountRow, Day), Msat>,
    /// Payments revoked before their first claim.
    pub(crate) revoked: HashMap<AccountId, UnixMillis>,
}

/// Names a remembered retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RetryKey {
    pub(crate) account: AccountRow,
    pub(crate) key: [u8; 32],
}

impl Changes {
    /// Empties the lists and keeps their room for the next batch.
    pub(super) fn clear(&mut self) {
        self.accounts.clear();
        self.house.clear();
        self.transfers.clear();
        self.holds.clear();
        self.progress.clear();
        self.ended.clear();
        self.retries.clear();
        self.charges.clear();
        self.key_days.clear();
        self.revoked.clear();
    }
}
