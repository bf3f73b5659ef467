//! Asking what became of an invoice, when it is not sure who made it.

use std::time::Duration;

use async_trait::async_trait;
use farebox_core::PaymentHash;
use tokio::time::Instant;

use super::making::{TOTAL_TIME, share};
use super::{Backends, Maker};
use crate::{InvoiceState, LookupInvoice, NodeError};

#[async_trait]
impl LookupInvoice for Backends {
    /// Asks the backend that made the invoice; where that is not remembered, all of them in order.
    /// Whoever has the money is believed; [`InvoiceState::Unknown`] is said only if all say so.
    ///
    /// # Errors
    /// [`NodeError`]: no backend has the money, and one that could have it did not answer.
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        let deadline = Instant::now() + TOTAL_TIME;
        if let Some(maker) = self.find_maker(&hash) {
            return ask(maker, hash, share(deadline, 1)).await;
        }
        let mut found = Ok(InvoiceState::Unknown);
        for (index, maker) in self.makers.iter().enumerate() {
            let limit = share(deadline, self.makers.len() - index);
            found = better(found, ask(maker, hash, limit).await);
            if is_decisive(&found) {
                break;
            }
        }
        found
    }
}

async fn ask(maker: &Maker, hash: PaymentHash, limit: Duration) -> Result<InvoiceState, NodeError> {
    let Some(lookup) = &maker.lookup else {
        return Ok(InvoiceState::Unknown);
    };
    tokio::time::timeout(limit, lookup.lookup_invoice(hash))
        .await
        .unwrap_or_else(|_| Err(maker.timed_out(limit)))
}

/// Only the node that made the invoice can have its money.
fn is_decisive(found: &Result<InvoiceState, NodeError>) -> bool {
    matches!(found, Ok(InvoiceState::Settled { .. } | InvoiceState::Held))
}

/// Money that is there wins; then an error, because the one that did not answer could have the
/// money; then whatever says more.
fn better(
    one: Result<InvoiceState, NodeError>,
    other: Result<InvoiceState, NodeError>,
) -> Result<InvoiceState, NodeError> {
    if rank(&other) > rank(&one) {
        other
    } else {
        one
    }
}

fn rank(found: &Result<InvoiceState, NodeError>) -> u8 {
    match found {
        Ok(InvoiceState::Settled { .. }) => 5,
        Ok(InvoiceState::Held) => 4,
        Err(_) => 3,
        Ok(InvoiceState::Open) => 2,
        Ok(InvoiceState::Canceled) => 1,
        Ok(InvoiceState::Unknown) => 0,
    }
}
