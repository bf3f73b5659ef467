//! An invoice for a key, which is remembered before it is shown.

use farebox_core::{KeyHash, Msat};
use farebox_ledger::{KeyView, LedgerError, Noted, PendingDeposit, TopUpBy};
use farebox_lightning::CreatedInvoice;

use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::worker::Worker;

/// An invoice for a key.
pub(crate) struct DepositInvoice {
    pub(crate) invoice: CreatedInvoice,
    /// What became of the attempt to remember it.
    pub(crate) noted: Noted,
}

impl Worker {
    /// Makes an invoice and writes down for which key it is. Only with [`Noted::Noted`] may anybody
    /// see it.
    pub(crate) async fn invoice_for_key(
        &self,
        plan: &Plan,
        key: &KeyView,
        by: TopUpBy,
        amount: Msat,
    ) -> Result<DepositInvoice, Refusal> {
        let memo = format!("prepaid key {}", key.public_id);
        let invoice = self.plain_invoice(plan, amount, memo).await?;
        let pending = PendingDeposit {
            payment_hash: invoice.payment_hash,
            key: key.key,
            amount: invoice.amount,
            expires_at: invoice.expires_at,
        };
        let noted = self.shared.ledger.pending_deposit(pending, by).await?;
        if noted == Noted::Taken {
            return Err(self.hash_was_used(invoice.payment_hash));
        }
        Ok(DepositInvoice { invoice, noted })
    }

    /// Credits what was paid for a key, or for its parent, and is not credited yet.
    pub(crate) async fn credit_waiting(
        &self,
        plan: &Plan,
        key: KeyHash,
    ) -> Result<(), LedgerError> {
        let deposits = &self.shared.deposits;
        deposits.credit_waiting(plan.node.as_deref(), key).await
    }
}
