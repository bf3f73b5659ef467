//! Prepaid keys are opened, limited and revoked.

use std::collections::BTreeMap;

use farebox_core::{AccountId, KeyHash, Msat, UnixMillis};

use super::Operation;
use crate::book::Book;
use crate::day::{self, Day};
use crate::key::MAX_CHILDREN;
use crate::money::Verdict;
use crate::name::Name;
use crate::rows::{Account, Is, Key, Origin, Use};
use crate::store::StoreError;
use crate::{KeyLimits, OpenChild, OpenKey};

/// What became of a change of a key; all but [`Done`](Self::Done) changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyDone {
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

/// Opens a key, or a child of one.
pub(crate) struct NewKey {
    key: KeyHash,
    parent: Option<AccountId>,
    public_id: Box<str>,
    note: Option<String>,
    limits: KeyLimits,
    created_at: UnixMillis,
}

impl From<OpenKey> for NewKey {
    fn from(open: OpenKey) -> Self {
        Self {
            key: open.key,
            parent: None,
            public_id: open.public_id.into(),
            note: open.note,
            limits: KeyLimits::default(),
            created_at: open.created_at,
        }
    }
}

impl From<OpenChild> for NewKey {
    fn from(open: OpenChild) -> Self {
        Self {
            key: open.child,
            parent: Some(open.parent.account()),
            public_id: open.public_id.into(),
            note: open.note,
            limits: open.limits,
            created_at: open.created_at,
        }
    }
}

impl Operation for NewKey {
    type Answer = KeyDone;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.key.account()));
        names.push(Name::PublicId(self.public_id.clone()));
        // With the day, which a child that asks in the same batch counts on.
        names.extend(self.parent.map(|parent| Name::Use(parent, self.day())));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<KeyDone> {
        let obstacle = match &self.parent {
            None => self.known(book)?,
            Some(parent) => self.of_parent(parent, book)?,
        };
        if let Some(done) = obstacle {
            return Ok(Ok(done));
        }
        let key = Key {
            public_id: self.public_id.clone(),
            parent: self.parent,
            note: self.note.clone(),
            limits: self.limits.clone(),
            funded_at: None,
            spent: Msat::ZERO,
            held: Msat::ZERO,
            holds: 0,
            days: BTreeMap::from([(self.day(), Use::default())]),
            children: 0,
            pending: Vec::new(),
        };
        let id = self.key.account();
        let account = Account::empty(Origin::Key(Box::new(key)), self.created_at);
        let entry = book.rewrite(&id)?;
        entry.is = Is::Account(Box::new(account));
        entry.unsaved.new = true;
        book.rows.public_ids.insert(self.public_id.clone(), id);
        if let Some(parent) = &self.parent {
            key_of(book, parent)?.children += 1;
        }
        Ok(Ok(KeyDone::Done))
    }
}

impl NewKey {
    fn day(&self) -> Day {
        day::of(self.created_at)
    }

    /// What stands in the way of a child.
    fn of_parent(
        &self,
        parent: &AccountId,
        book: &Book<'_>,
    ) -> Result<Option<KeyDone>, StoreError> {
        let Some((account, key)) = book.entry(parent)?.key() else {
            return Ok(Some(KeyDone::Unknown));
        };
        if key.parent.is_some() {
            return Ok(Some(KeyDone::NotParent));
        }
        if let Some(known) = self.known(book)? {
            return Ok(Some(known));
        }
        Ok(if account.revoked_at.is_some() {
            Some(KeyDone::Revoked)
        } else if key.funded_at.is_none() {
            Some(KeyDone::Inactive)
        } else {
            (key.children >= MAX_CHILDREN).then_some(KeyDone::Full)
        })
    }

    /// What stands in the way of a new key: itself, or something else of that name.
    fn known(&self, book: &Book<'_>) -> Result<Option<KeyDone>, StoreError> {
        let id = self.key.account();
        let called = book.key_called(&self.public_id)?;
        let entry = book.entry(&id)?;
        if let Some((_, key)) = entry.key() {
            let same = called == Some(id) && key.parent == self.parent;
            return Ok(Some(if same {
                KeyDone::Already
            } else {
                KeyDone::Taken
            }));
        }
        let is_known = !matches!(entry.is, Is::Nothing) || entry.call.is_some();
        Ok((called.is_some() || is_known).then_some(KeyDone::Taken))
    }
}

/// A key that is known, to change all of it.
pub(super) fn key_of<'a>(
    book: &'a mut Book<'_>,
    id: &AccountId,
) -> Result<&'a mut Key, StoreError> {
    let account = book.rewrite(id)?.account_mut();
    let key = account.and_then(Account::key_mut);
    key.ok_or(StoreError::Corrupt("a key"))
}

/// Replaces the limits of a key.
pub(crate) struct LimitKey {
    pub(crate) key: KeyHash,
    pub(crate) limits: KeyLimits,
}

impl Operation for LimitKey {
    type Answer = ();

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.key.account()));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        let id = self.key.account();
        if book.entry(&id)?.key().is_some() {
            key_of(book, &id)?.limits = self.limits.clone();
        }
        Ok(Ok(()))
    }
}

/// Revokes a key.
pub(crate) struct RevokeKey {
    pub(crate) key: KeyHash,
    pub(crate) at: UnixMillis,
}

impl Operation for RevokeKey {
    type Answer = ();

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.key.account()));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        let id = self.key.account();
        if book.entry(&id)?.key().is_some() {
            book.rewrite(&id)?;
            let account = book.change_account(&id)?;
            account.revoked_at.get_or_insert(self.at);
        }
        Ok(Ok(()))
    }
}
