//! Change that is owed is told: with the exact bytes that give it back, which never change again.

use std::sync::Arc;

use farebox_core::{AccountId, HoldId, UnixMillis};

use super::Operation;
use crate::book::Book;
use crate::money::{self, Moved, Verdict};
use crate::name::{HouseName, Name};
use crate::view::TransferKind;
use crate::{ChangeView, LedgerError};

/// Tells change.
pub(crate) struct TellChange {
    pub(crate) hold: HoldId,
    /// Whose it was.
    pub(crate) account: AccountId,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) at: UnixMillis,
}

impl Operation for TellChange {
    type Answer = ChangeView;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.account));
        names.push(Name::Change(self.hold));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<ChangeView> {
        let Some(row) = book.owed(&self.hold)? else {
            return Ok(Err(LedgerError::NoChange));
        };
        if row.view.told.is_some() {
            return Ok(Ok(row.view.clone()));
        }
        let mut row = row.clone();
        row.view.told = Some(Arc::clone(&self.bytes));
        let view = row.view.clone();
        book.put_owed(row)?;
        let (owed, clearing) = (HouseName::Owed(view.rail), HouseName::Clearing(view.rail));
        let moved = Moved::new(view.amount, TransferKind::Change, self.at);
        money::between(book, &self.account, &owed, &clearing, moved)?;
        Ok(Ok(view))
    }
}
