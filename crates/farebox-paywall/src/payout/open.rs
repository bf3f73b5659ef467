//! Whose payouts are open: there are so many at one time only, and a payee who never takes the money
//! keeps one open for days.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farebox_core::PayoutId;
use farebox_http::body_budget::Holder;
use farebox_http::limits::{Guest, NoPlace, Place, Places};
use farebox_ledger::{Ledger, LedgerError, PayoutView};

use super::{RefundError, RefundRequest, Source};

/// The places of payouts in preparation and of open ones.
#[derive(Default)]
pub(super) struct OpenPayouts {
    places: Arc<Places>,
    of: Mutex<HashMap<PayoutId, Place>>,
}

impl OpenPayouts {
    /// A place for one more, of the share of the addresses that it is asked for from: accounts are as
    /// cheap as the least payment. Accounts that nothing was ever charged to leave room for others.
    /// The operator needs no place.
    pub(super) async fn take(
        &self,
        ledger: &Ledger,
        request: &RefundRequest,
        max_open: u32,
    ) -> Result<Option<Place>, RefundError> {
        let Some(client) = request.client else {
            return Ok(None);
        };
        let guest = Guest {
            holder: Holder::Stranger(client),
            has_paid: was_charged(ledger, &request.source).await?,
        };
        let place = self.places.take(max_open.into(), guest, 1);
        place.map(Some).map_err(|NoPlace| RefundError::TooManyOpen)
    }

    /// Keeps the place of a payout until it has ended.
    pub(super) fn keep(&self, id: PayoutId, place: Place) {
        self.of().insert(id, place);
    }

    /// Gives those of an earlier process a place too.
    pub(super) fn recall(&self, open: &[PayoutView]) {
        let mut of = self.of();
        for view in open {
            of.entry(view.id)
                .or_insert_with(|| self.places.occupy(Holder::Payer(view.account), 1));
        }
    }

    /// A payout has ended.
    pub(super) fn end(&self, id: PayoutId) {
        self.of().remove(&id);
    }

    fn of(&self) -> MutexGuard<'_, HashMap<PayoutId, Place>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether anything was ever earned from an account.
async fn was_charged(ledger: &Ledger, source: &Source) -> Result<bool, LedgerError> {
    Ok(match source {
        Source::Token { payment_hash, .. } => {
            let account = ledger.account(payment_hash.account()).await?;
            account.is_some_and(|account| account.calls_used > 0)
        }
        Source::Key(key) => {
            let view = ledger.key(*key).await?;
            view.is_some_and(|view| !view.spent.is_zero())
        }
    })
}
