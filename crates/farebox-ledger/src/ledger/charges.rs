//! Charges: what is asked of the ledger about those that were made.

use farebox_core::HoldId;

use super::{Ledger, MAX_PAGE};
use crate::{ChargePage, ChargeQuery, ChargeView, LedgerError};

impl Ledger {
    /// One charge, by the hold that ended with it; or a measured request that was not charged. None
    /// where nothing was charged, is not yet, or the account was pruned since.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn charge(&self, hold: HoldId) -> Result<Option<ChargeView>, LedgerError> {
        self.read(move |reader| reader.charge(hold)).await
    }

    /// Up to `limit` (at most 1,000) charges, the latest admitted first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn charges(&self, query: ChargeQuery, limit: u32) -> Result<ChargePage, LedgerError> {
        self.read(move |reader| reader.charges(&query, limit.min(MAX_PAGE)))
            .await
    }
}
