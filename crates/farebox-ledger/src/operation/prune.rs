//! Pruning decides over the locked row, like everything else: what was listed may have moved since.

use farebox_core::{AccountId, UnixMillis};

use super::Operation;
use super::keys::key_of;
use crate::book::Book;
use crate::money::Verdict;
use crate::name::Name;
use crate::rows::{Is, TransferId};
use crate::working::Removed;

/// Closes an account of a payment on which nothing is left. Its payment stays spent.
pub(crate) struct CloseAccount {
    pub(crate) account: AccountId,
    /// Its last transfer when it was found: it has not moved since.
    pub(crate) last_transfer: TransferId,
    pub(crate) now: UnixMillis,
}

impl Operation for CloseAccount {
    type Answer = bool;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.account));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<bool> {
        let entry = book.entry(&self.account)?;
        let is_idle = entry.claimed().is_some_and(|(account, _)| {
            account.balance.is_zero() && account.last_transfer == Some(self.last_transfer)
        });
        if entry.is_in_use() || !is_idle {
            return Ok(Ok(false));
        }
        let entry = book.rewrite(&self.account)?;
        entry.received = None;
        if let Is::Account(account) = std::mem::replace(&mut entry.is, Is::Spent) {
            let (id, at) = (self.account, self.now);
            book.changes.removed.push(Removed { id, account, at });
        }
        Ok(Ok(true))
    }
}

/// Forgets the held call of a payment that ended long ago, and what a payment brought that nobody ever
/// claimed.
pub(crate) struct ForgetPast {
    pub(crate) name: AccountId,
    /// Calls that ended at this instant or later stay.
    pub(crate) calls: UnixMillis,
    /// What was noted at this instant or later stays.
    pub(crate) unclaimed: UnixMillis,
}

impl Operation for ForgetPast {
    type Answer = ();

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.name));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        let entry = book.entry(&self.name)?;
        let ended_at = entry.call.as_ref().and_then(|row| row.ended_at);
        let call_is_past = ended_at.is_some_and(|at| at < self.calls);
        let noted = entry.received.filter(|_| matches!(entry.is, Is::Nothing));
        let note_is_past = noted.is_some_and(|(_, at)| at < self.unclaimed);
        if call_is_past {
            book.rewrite(&self.name)?.call = None;
            book.changes.calls.push(self.name);
        }
        if note_is_past {
            book.rewrite(&self.name)?.received = None;
        }
        Ok(Ok(()))
    }
}

/// Removes a key that was never paid for, or a child that has ended.
pub(crate) struct RemoveKey {
    pub(crate) key: AccountId,
    pub(crate) parent: Option<AccountId>,
    /// What was used at this instant or later stays.
    pub(crate) before: UnixMillis,
}

impl Operation for RemoveKey {
    type Answer = bool;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.key));
        names.extend(self.parent.map(Name::Account));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<bool> {
        let entry = book.entry(&self.key)?;
        let has_ended = entry.key().is_some_and(|(account, key)| {
            let is_past = |end: Option<UnixMillis>| end.is_some_and(|end| end < self.before);
            if key.parent.is_some() {
                is_past(account.revoked_at) || is_past(key.limits.expires_at)
            } else {
                let waits = key.pending.iter().any(|end| *end >= self.before);
                key.funded_at.is_none() && !waits && account.claimed_at < self.before
            }
        });
        if entry.is_in_use() || !has_ended {
            return Ok(Ok(false));
        }
        if let Some(parent) = &self.parent {
            let children = &mut key_of(book, parent)?.children;
            *children = children.saturating_sub(1);
        }
        let entry = book.rewrite(&self.key)?;
        if let Is::Account(account) = std::mem::take(&mut entry.is) {
            let (id, at) = (self.key, self.before);
            book.changes.removed.push(Removed { id, account, at });
        }
        Ok(Ok(true))
    }
}
