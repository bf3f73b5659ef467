//! Payments for prepaid keys: an invoice waits, is paid, or never will be.

use farebox_core::{AccountId, KeyHash, PaymentHash, UnixMillis};

use super::keys::key_of;
use super::{KeyDone, Operation};
use crate::book::{Book, Moment};
use crate::key::MAX_PENDING;
use crate::money::{self, Moved, Verdict};
use crate::name::Name;
use crate::rows::Is;
use crate::store::StoreError;
use crate::view::TransferKind;
use crate::{Deposit, LedgerError, PendingDeposit, Rail, TopUpBy};

/// Remembers an invoice for a key.
pub(crate) struct NotePending {
    pub(crate) pending: PendingDeposit,
    pub(crate) by: TopUpBy,
    pub(crate) at: UnixMillis,
}

impl Operation for NotePending {
    type Answer = KeyDone;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.pending.key.account()));
        names.push(Name::Account(self.pending.payment_hash.account()));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<KeyDone> {
        let PendingDeposit {
            payment_hash,
            key,
            amount,
            expires_at,
        } = self.pending;
        if amount.is_zero() {
            return Ok(Err(LedgerError::NoDeposit));
        }
        let (id, payment) = (key.account(), payment_hash.account());
        if let Some(refusal) = no_purse(book, &id)? {
            return Ok(Ok(refusal));
        }
        let entry = book.entry(&payment)?;
        match &entry.is {
            Is::Pending { key, .. } if *key == id => return Ok(Ok(KeyDone::Already)),
            Is::Nothing if entry.call.is_none() => {}
            _ => return Ok(Ok(KeyDone::Taken)),
        }
        if book.account(&id)?.revoked_at.is_some() {
            return Ok(Ok(KeyDone::Revoked));
        }
        let is_crowded = book.counts.pending >= MAX_PENDING;
        let waiting = book.entry(&id)?.key().map_or(0, |(_, key)| {
            key.pending.iter().filter(|end| **end > self.at).count()
        });
        if is_crowded || u32::try_from(waiting).is_ok_and(|count| count >= self.by.most()) {
            return Ok(Ok(KeyDone::Full));
        }
        let waiting = &mut key_of(book, &id)?.pending;
        waiting.retain(|end| *end > self.at);
        waiting.push(expires_at);
        book.rewrite(&payment)?.is = Is::Pending {
            key: id,
            amount,
            expires_at,
        };
        book.counts.pending += 1;
        Ok(Ok(KeyDone::Done))
    }
}

/// Forgets an invoice that will never be paid.
pub(crate) struct ForgetUnpaid {
    pub(crate) payment: PaymentHash,
    /// The key that it was for.
    pub(crate) key: KeyHash,
}

impl Operation for ForgetUnpaid {
    /// Whether there was any.
    type Answer = bool;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.key.account()));
        names.push(Name::Account(self.payment.account()));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<bool> {
        let payment = self.payment.account();
        let Is::Pending { .. } = book.entry(&payment)?.is else {
            return Ok(Ok(false));
        };
        no_longer_waits(book, &payment)?;
        book.rewrite(&payment)?.is = Is::Nothing;
        Ok(Ok(true))
    }
}

/// Credits a settled payment to a key.
pub(crate) struct TakeDeposit {
    pub(crate) key: KeyHash,
    pub(crate) deposit: Deposit,
}

impl Operation for TakeDeposit {
    type Answer = KeyDone;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.key.account()));
        names.push(Name::Account(self.deposit.payment_hash.account()));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<KeyDone> {
        let Deposit {
            payment_hash,
            amount,
            at,
        } = self.deposit;
        if amount.is_zero() {
            return Ok(Err(LedgerError::NoDeposit));
        }
        let (id, payment) = (self.key.account(), payment_hash.account());
        if let Some(refusal) = no_purse(book, &id)? {
            return Ok(Ok(refusal));
        }
        let entry = book.entry(&payment)?;
        match &entry.is {
            Is::Deposited { key, .. } if *key == id => return Ok(Ok(KeyDone::Already)),
            Is::Pending { key, .. } if *key == id => {}
            Is::Nothing if entry.call.is_none() => {}
            _ => return Ok(Ok(KeyDone::Taken)),
        }
        if !money::fits(book, Rail::Lightning, amount) {
            return Ok(Err(LedgerError::TooMuchMoney));
        }
        no_longer_waits(book, &payment)?;
        let key = id;
        book.rewrite(&payment)?.is = Is::Deposited { key, amount, at };
        key_of(book, &id)?.funded_at.get_or_insert(at);
        let moved = Moved::new(amount, TransferKind::Deposit, at);
        money::credit(book, &id, Rail::Lightning, moved)?;
        book.notes.credited = Some((Rail::Lightning, amount));
        book.notes.moment = Some(Moment::Deposit);
        Ok(Ok(KeyDone::Done))
    }
}

/// Why a key cannot have money, if so.
fn no_purse(book: &Book<'_>, id: &AccountId) -> Result<Option<KeyDone>, StoreError> {
    Ok(match book.entry(id)?.key() {
        None => Some(KeyDone::Unknown),
        Some((_, key)) if key.parent.is_some() => Some(KeyDone::NotParent),
        Some(_) => None,
    })
}

/// Takes an invoice that waited from its key's list.
fn no_longer_waits(book: &mut Book<'_>, payment: &AccountId) -> Result<(), StoreError> {
    let Is::Pending {
        key, expires_at, ..
    } = book.entry(payment)?.is
    else {
        return Ok(());
    };
    let waiting = &mut key_of(book, &key)?.pending;
    if let Some(place) = waiting.iter().position(|end| *end == expires_at) {
        waiting.swap_remove(place);
    }
    book.counts.pending = book.counts.pending.saturating_sub(1);
    Ok(())
}
