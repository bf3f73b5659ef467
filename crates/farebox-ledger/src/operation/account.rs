//! The account of a payment is revoked, or looked at.

use farebox_core::{AccountId, Msat, UnixMillis};

use super::Operation;
use crate::Standing;
use crate::book::Book;
use crate::money::Verdict;
use crate::name::Name;
use crate::passes::Passes;
use crate::rows::Is;
use crate::store::Safe;

/// Stops an account from being spent. Its value stays.
pub(crate) struct Revoke {
    pub(crate) account: AccountId,
    pub(crate) at: UnixMillis,
}

impl Operation for Revoke {
    /// Whether there is such an account; where not, the revocation waits for its first claim.
    type Answer = bool;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.account));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<bool> {
        let entry = book.entry(&self.account)?;
        if entry.claimed().is_some() {
            let account = book.rewrite(&self.account)?.account_mut();
            if let Some(account) = account {
                account.revoked_at.get_or_insert(self.at);
            }
            return Ok(Ok(true));
        }
        if let Is::Nothing = entry.is {
            let entry = book.rewrite(&self.account)?;
            entry.revoked_at.get_or_insert(self.at);
        }
        Ok(Ok(false))
    }

    fn written(&self, _: &bool, passes: &Passes) {
        passes.forget(&self.account);
    }
}

/// Asks what an account stands at.
pub(crate) struct Look(pub(crate) AccountId);

impl Operation for Look {
    const SAFE: Safe = Safe::FromDeath;
    type Answer = Option<Standing>;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.0));
        names.push(Name::Change(self.0));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<Self::Answer> {
        let change = book.owed(&self.0)?.cloned();
        let (owed, told) = match change {
            Some(row) => (row.view.owed, row.view.told),
            None => (Msat::ZERO, Vec::new()),
        };
        let account = book.entry(&self.0)?.account();
        Ok(Ok(account.map(|account| Standing {
            free: account.free().checked_add(owed).unwrap_or(Msat::MAX),
            is_in_use: account.is_in_use(),
            told,
        })))
    }
}
