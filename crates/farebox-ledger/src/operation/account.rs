//! The account of a payment is revoked.

use farebox_core::{AccountId, UnixMillis};

use super::Operation;
use crate::book::Book;
use crate::money::Verdict;
use crate::name::Name;
use crate::passes::Passes;
use crate::rows::Is;

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
