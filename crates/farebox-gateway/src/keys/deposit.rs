//! Money for a key: an invoice that is remembered before it is shown, and its payment, credited
//! once our own node says that it has it.

use std::time::Duration;

use farebox_core::{KeyHash, Msat};
use farebox_ledger::{Deposit, Deposited, KeyView, Noted, PendingDeposit, TopUpBy};
use farebox_lightning::{CreateInvoice, CreatedInvoice};

use crate::claim::settled::Paid;
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::worker::Worker;

/// How long a request waits for the node's word on all the invoices of its key.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);

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
            self.shared.metrics.payment_hash_repeated();
            return Err(Refusal::NodeDown);
        }
        Ok(DepositInvoice { invoice, noted })
    }

    /// Credits what was paid for a key, or for its parent, and is not credited yet. Says whether
    /// that was anything.
    pub(crate) async fn credit_waiting(&self, plan: &Plan, key: KeyHash) -> Result<bool, Refusal> {
        let ledger = &self.shared.ledger;
        let Some(view) = ledger.key(key).await? else {
            return Ok(false);
        };
        let payer = view.parent.unwrap_or(key);
        let waiting = ledger.pending_deposits_of(payer).await?;
        let look = async {
            let mut credited = false;
            for pending in &waiting {
                credited |= self.credit_if_paid(plan, pending).await?;
            }
            Ok(credited)
        };
        // What was credited until then stays credited.
        let looked = tokio::time::timeout(LOOK_UP_WITHIN, look).await;
        looked.unwrap_or(Ok(false))
    }

    async fn credit_if_paid(&self, plan: &Plan, pending: &PendingDeposit) -> Result<bool, Refusal> {
        let Some(amount) = self.received_for(plan, pending).await else {
            return Ok(false);
        };
        let deposit = Deposit {
            payment_hash: pending.payment_hash,
            amount,
            at: self.shared.clock.now(),
        };
        match self.shared.ledger.deposit(pending.key, deposit).await? {
            // Somebody else credited it between: it is there all the same.
            Deposited::Credited(_) | Deposited::Already(_) => Ok(true),
            Deposited::UnknownKey | Deposited::Taken => {
                let hash = pending.payment_hash;
                tracing::error!(payment.hash = %hash, "a payment for a key belongs to another");
                Ok(false)
            }
        }
    }

    /// What the node has got for an invoice, once it has the whole.
    async fn received_for(&self, plan: &Plan, pending: &PendingDeposit) -> Option<Msat> {
        let told = self.shared.settlements.find(&pending.payment_hash);
        if let Some(settled) = told {
            let received = settled.received.unwrap_or(pending.amount);
            return (received >= pending.amount).then_some(received);
        }
        let lookup = plan.node.as_ref()?.lookup()?;
        let lookups = &self.shared.lookups;
        let (paid, received) = lookups
            .ask_amount(lookup, pending.payment_hash, pending.amount)
            .await;
        (paid == Paid::Yes).then(|| received.unwrap_or(pending.amount))
    }
}
