//! A payment brought more than was sold.

use farebox_core::{Msat, PaymentHash, UnixMillis};

use super::Operation;
use crate::book::Book;
use crate::money::{self, Verdict};
use crate::name::Name;
use crate::rows::Is;
use crate::{LedgerError, Rail};

/// A payment as the node tells of it.
pub(crate) struct Received {
    pub(crate) payment: PaymentHash,
    /// What it brought in all.
    pub(crate) received: Msat,
    pub(crate) at: UnixMillis,
}

impl Operation for Received {
    type Answer = ();

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.payment.account()));
    }

    /// Credits what was not credited before, each msat once, or remembers it for the claim.
    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        let id = self.payment.account();
        let entry = book.entry(&id)?;
        let noted = entry.noted();
        if self.received <= noted {
            return Ok(Ok(()));
        }
        let sold = entry.claimed().map(|(_, terms)| terms.amount);
        if let Some(sold) = sold {
            let extra = self.received.saturating_sub(noted.max(sold));
            if !money::fits(book, Rail::Lightning, extra) {
                return Ok(Err(LedgerError::TooMuchMoney));
            }
            money::excess(book, &id, Rail::Lightning, extra, self.at)?;
        } else if !matches!(entry.is, Is::Nothing) {
            return Ok(Ok(()));
        }
        book.rewrite(&id)?.received = Some((self.received, self.at));
        Ok(Ok(()))
    }
}
