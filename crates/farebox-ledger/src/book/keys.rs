//! Prepaid keys in the picture: opened, limited, revoked, and filled by deposits.

use farebox_core::{AccountId, KeyHash, Msat, UnixMillis};

use super::money::Side;
use super::{Account, Book, Key, NewKey, Rows, Transfer, TransferKind};
use crate::key::{MAX_CHILDREN, MAX_PENDING};
use crate::store::{KeyDone, KeyStep, Outcome, StoreError};
use crate::{Deposit, KeyLimits, LedgerError, OpenChild, OpenKey, PendingDeposit, Rail, TopUpBy};

impl Book {
    pub(super) fn key_step(
        &mut self,
        step: &KeyStep,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<Outcome, StoreError> {
        let done = match step {
            KeyStep::Open(open) => self.open_key(open, rows)?,
            KeyStep::OpenChild(open) => self.open_child(open, rows)?,
            KeyStep::Limit(key, limits) => self.limit_key(key, limits, rows)?,
            KeyStep::Revoke(key) => self.revoke_key(key, at, rows)?,
            KeyStep::Pending(pending, _) if pending.amount.is_zero() => return Ok(nothing_paid()),
            KeyStep::Pending(pending, by) => self.note_pending(pending, *by, at, rows)?,
            KeyStep::Deposit(key, deposit) => return self.take_deposit(key, deposit, rows),
            KeyStep::Unpaid(hash) => self.forget_unpaid(&hash.account(), rows)?,
        };
        Ok(Outcome::Key {
            answer: Ok(done),
            deposited: None,
        })
    }

    /// Whether the account of a key is in the picture, after a look into the store.
    pub(super) fn fetch_key(
        &mut self,
        name: &AccountId,
        rows: &mut dyn Rows,
    ) -> Result<bool, StoreError> {
        if let Some(known) = self.accounts.get(name) {
            return Ok(known.key().is_some());
        }
        let Some(account) = rows.key(name)? else {
            return Ok(false);
        };
        self.accounts.put(*name, account);
        Ok(true)
    }

    /// The same for the account of a payment or of a key.
    pub(super) fn fetch_payer(
        &mut self,
        name: &AccountId,
        rows: &mut dyn Rows,
    ) -> Result<bool, StoreError> {
        Ok(self.fetch(name, rows)? || self.fetch_key(name, rows)?)
    }

    fn open_key(&mut self, open: &OpenKey, rows: &mut dyn Rows) -> Result<KeyDone, StoreError> {
        let new = NewKey {
            key: open.key,
            public_id: &open.public_id,
            parent: None,
            note: open.note.as_deref(),
            created_at: open.created_at,
            limits: &KeyLimits::default(),
        };
        if let Some(known) = self.known_key(&new, None, rows)? {
            return Ok(known);
        }
        self.insert_key(&new, None, rows)
    }

    fn open_child(&mut self, open: &OpenChild, rows: &mut dyn Rows) -> Result<KeyDone, StoreError> {
        let parent = open.parent.account();
        if !self.fetch_key(&parent, rows)? {
            return Ok(KeyDone::Unknown);
        }
        let account = super::known(&mut self.accounts, &parent)?;
        let key = account.key().filter(|key| key.parent.is_none());
        let Some((row, funded)) = key.map(|key| (account.row, key.funded)) else {
            return Ok(KeyDone::NotParent);
        };
        let revoked = account.revoked_at.is_some();
        let new = NewKey {
            key: open.child,
            public_id: &open.public_id,
            parent: Some(row),
            note: open.note.as_deref(),
            created_at: open.created_at,
            limits: &open.limits,
        };
        if let Some(known) = self.known_key(&new, Some(parent), rows)? {
            return Ok(known);
        }
        if revoked {
            Ok(KeyDone::Revoked)
        } else if !funded {
            Ok(KeyDone::Inactive)
        } else if rows.count_children(row)? >= MAX_CHILDREN {
            Ok(KeyDone::Full)
        } else {
            self.insert_key(&new, Some(parent), rows)
        }
    }

    /// What stands in the way of a new key: itself, or something else of that name.
    fn known_key(
        &mut self,
        new: &NewKey<'_>,
        parent: Option<AccountId>,
        rows: &mut dyn Rows,
    ) -> Result<Option<KeyDone>, StoreError> {
        let name = new.key.account();
        let named = rows.key_by_id(new.public_id)?;
        if self.fetch_key(&name, rows)? {
            let account = super::known(&mut self.accounts, &name)?;
            let same =
                named == Some(account.row) && account.key().is_some_and(|key| key.parent == parent);
            return Ok(Some(if same {
                KeyDone::Already
            } else {
                KeyDone::Taken
            }));
        }
        let taken = named.is_some() || self.is_payment(&name, rows)?;
        Ok(taken.then_some(KeyDone::Taken))
    }

    fn insert_key(
        &mut self,
        new: &NewKey<'_>,
        parent: Option<AccountId>,
        rows: &mut dyn Rows,
    ) -> Result<KeyDone, StoreError> {
        let row = self.take_row();
        rows.insert_key(row, new)?;
        let key = Key {
            parent,
            limits: new.limits.clone(),
            funded: false,
            spent: Msat::ZERO,
            days: std::collections::BTreeMap::new(),
        };
        let account = Account::opened(row, key, new.created_at);
        self.accounts.put(new.key.account(), account);
        Ok(KeyDone::Done)
    }

    /// Whether a payment is known as one of a token.
    fn is_payment(&mut self, hash: &AccountId, rows: &mut dyn Rows) -> Result<bool, StoreError> {
        Ok(self.fetch(hash, rows)?
            || rows.unclaimed(hash)?.pruned
            || rows.held_call(hash)?.is_some())
    }

    fn limit_key(
        &mut self,
        key: &KeyHash,
        limits: &KeyLimits,
        rows: &mut dyn Rows,
    ) -> Result<KeyDone, StoreError> {
        let name = key.account();
        if !self.fetch_key(&name, rows)? {
            return Ok(KeyDone::Unknown);
        }
        let account = super::known(&mut self.accounts, &name)?;
        rows.limit_key(account.row, limits)?;
        if let Some(key) = self.accounts.peek_mut(&name).and_then(Account::key_mut) {
            key.limits = limits.clone();
        }
        Ok(KeyDone::Done)
    }

    fn revoke_key(
        &mut self,
        key: &KeyHash,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<KeyDone, StoreError> {
        let name = key.account();
        if !self.fetch_key(&name, rows)? {
            return Ok(KeyDone::Unknown);
        }
        let Some(account) = self.accounts.peek_mut(&name) else {
            return Ok(KeyDone::Unknown);
        };
        if account.revoked_at.is_some() {
            return Ok(KeyDone::Already);
        }
        account.revoked_at = Some(at);
        rows.revoke_key(account.row, at)?;
        Ok(KeyDone::Done)
    }

    /// The account of a key that can have money, or why it cannot.
    fn purse_row(
        &mut self,
        name: &AccountId,
        rows: &mut dyn Rows,
    ) -> Result<Result<i64, KeyDone>, StoreError> {
        if !self.fetch_key(name, rows)? {
            return Ok(Err(KeyDone::Unknown));
        }
        let account = super::known(&mut self.accounts, name)?;
        let is_child = account.key().is_some_and(|key| key.parent.is_some());
        Ok(if is_child {
            Err(KeyDone::NotParent)
        } else {
            Ok(account.row)
        })
    }

    fn note_pending(
        &mut self,
        pending: &PendingDeposit,
        by: TopUpBy,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<KeyDone, StoreError> {
        let name = pending.key.account();
        let row = match self.purse_row(&name, rows)? {
            Ok(row) => row,
            Err(refusal) => return Ok(refusal),
        };
        let hash = &pending.payment_hash.account();
        if let Some(known) = rows.pending(hash)? {
            return Ok(if known == row {
                KeyDone::Already
            } else {
                KeyDone::Taken
            });
        }
        if rows.deposit(hash)?.is_some()
            || self.fetch_key(hash, rows)?
            || self.is_payment(hash, rows)?
        {
            return Ok(KeyDone::Taken);
        }
        if super::known(&mut self.accounts, &name)?
            .revoked_at
            .is_some()
        {
            return Ok(KeyDone::Revoked);
        }
        if self.pending >= MAX_PENDING || rows.count_pending(row, at)? >= by.most() {
            return Ok(KeyDone::Full);
        }
        rows.insert_pending(row, pending)?;
        self.pending += 1;
        Ok(KeyDone::Done)
    }

    fn forget_unpaid(
        &mut self,
        hash: &AccountId,
        rows: &mut dyn Rows,
    ) -> Result<KeyDone, StoreError> {
        if rows.pending(hash)?.is_none() {
            return Ok(KeyDone::Unknown);
        }
        rows.remove_pending(hash)?;
        self.forget_pending(1);
        Ok(KeyDone::Done)
    }

    fn take_deposit(
        &mut self,
        key: &KeyHash,
        deposit: &Deposit,
        rows: &mut dyn Rows,
    ) -> Result<Outcome, StoreError> {
        let told = |done| Outcome::Key {
            answer: Ok(done),
            deposited: None,
        };
        if deposit.amount.is_zero() {
            return Ok(nothing_paid());
        }
        let name = key.account();
        let row = match self.purse_row(&name, rows)? {
            Ok(row) => row,
            Err(refusal) => return Ok(told(refusal)),
        };
        let hash = &deposit.payment_hash.account();
        if let Some(known) = rows.deposit(hash)? {
            let done = if known == row {
                KeyDone::Already
            } else {
                KeyDone::Taken
            };
            return Ok(told(done));
        }
        let pending = rows.pending(hash)?;
        if pending.is_some_and(|other| other != row)
            || self.fetch_key(hash, rows)?
            || self.is_payment(hash, rows)?
        {
            return Ok(told(KeyDone::Taken));
        }
        if !self.fits(Rail::Lightning, deposit.amount) {
            return Ok(Outcome::Key {
                answer: Err(LedgerError::TooMuchMoney),
                deposited: None,
            });
        }
        rows.insert_deposit(row, deposit)?;
        if pending.is_some() {
            rows.remove_pending(hash)?;
            self.forget_pending(1);
        }
        self.credit_key(&name, row, deposit);
        Ok(Outcome::Key {
            answer: Ok(KeyDone::Done),
            deposited: Some(deposit.amount),
        })
    }

    fn credit_key(&mut self, name: &AccountId, row: i64, deposit: &Deposit) {
        let Deposit { amount, at, .. } = *deposit;
        let transfer = Transfer {
            id: self.fresh_id(at),
            debit: self.move_house(Rail::Lightning.clearing(), amount, Side::Debit),
            credit: row,
            amount,
            kind: TransferKind::Deposit,
            at,
            previous: None,
        };
        self.change(name, |account| {
            account.balance = account.balance.checked_add(amount).unwrap_or(Msat::MAX);
            if let Some(key) = account.key_mut() {
                key.funded = true;
            }
        });
        self.append(name, transfer);
    }
}

fn nothing_paid() -> Outcome {
    Outcome::Key {
        answer: Err(LedgerError::NoDeposit),
        deposited: None,
    }
}
