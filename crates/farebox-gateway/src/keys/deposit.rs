//! Money for a key: an invoice that is remembered before it is shown, and its payment, credited
//! once our own node says that it has it.

use std::cmp::Reverse;
use std::time::Duration;

use farebox_core::{KeyHash, Msat};
use farebox_ledger::{Deposit, Deposited, KeyView, LedgerError, Noted, PendingDeposit, TopUpBy};
use farebox_lightning::CreatedInvoice;

use crate::claim::settled::Paid;
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::worker::Worker;

/// How long a request waits for the node's word on all the invoices of its key.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);

/// How many invoices of one key are looked up for a request. Older ones are looked up apart from
/// requests ([`sweep`](super::sweep)).
const MAX_LOOKED_UP: usize = 64;
/// How many of them at once.
const AT_ONCE: usize = 4;

/// What became of an invoice for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credited {
    /// It was paid, and the key has the money.
    Yes,
    /// It was not paid, or not in full.
    NotPaid,
    /// It was not, and never can be.
    Never,
    /// Nobody said.
    Unknown,
}

/// What the node says of an invoice.
enum Received {
    Whole(Msat),
    Nothing,
    Never,
    Unknown,
}

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

    /// Credits what was paid for a key, or for its parent, and is not credited yet. It does not say
    /// whether that was anything: somebody else may have credited it since the caller last looked.
    pub(crate) async fn credit_waiting(&self, plan: &Plan, key: KeyHash) -> Result<(), Refusal> {
        let ledger = &self.shared.ledger;
        let Some(view) = ledger.key(key).await? else {
            return Ok(());
        };
        let payer = view.parent.unwrap_or(key);
        let mut waiting = ledger.pending_deposits_of(payer).await?;
        // The latest first: strangers may have left many behind that nobody paid.
        waiting.sort_unstable_by_key(|pending| Reverse(pending.expires_at));
        waiting.truncate(MAX_LOOKED_UP);
        let part = |first: usize| {
            let part = waiting.iter().skip(first).step_by(AT_ONCE);
            self.credit_all(plan, part)
        };
        let look = async { tokio::try_join!(part(0), part(1), part(2), part(3)) };
        // What was credited until then stays credited.
        if let Ok(looked) = tokio::time::timeout(LOOK_UP_WITHIN, look).await {
            looked?;
        }
        Ok(())
    }

    async fn credit_all(
        &self,
        plan: &Plan,
        waiting: impl Iterator<Item = &PendingDeposit>,
    ) -> Result<(), LedgerError> {
        for pending in waiting {
            self.credit_if_paid(plan, pending).await?;
        }
        Ok(())
    }

    pub(super) async fn credit_if_paid(
        &self,
        plan: &Plan,
        pending: &PendingDeposit,
    ) -> Result<Credited, LedgerError> {
        let amount = match self.received_for(plan, pending).await {
            Received::Whole(amount) => amount,
            Received::Nothing => return Ok(Credited::NotPaid),
            Received::Never => return Ok(Credited::Never),
            Received::Unknown => return Ok(Credited::Unknown),
        };
        let deposit = Deposit {
            payment_hash: pending.payment_hash,
            amount,
            at: self.shared.clock.now(),
        };
        match self.shared.ledger.deposit(pending.key, deposit).await? {
            // Somebody else credited it between: it is there all the same.
            Deposited::Credited(_) | Deposited::Already(_) => Ok(Credited::Yes),
            Deposited::UnknownKey | Deposited::Taken => {
                let hash = pending.payment_hash;
                tracing::error!(payment.hash = %hash, "a payment for a key belongs to another");
                Ok(Credited::NotPaid)
            }
        }
    }

    /// What the node has got for an invoice, once it has the whole.
    async fn received_for(&self, plan: &Plan, pending: &PendingDeposit) -> Received {
        let told = self.shared.settlements.find(&pending.payment_hash);
        if let Some(settled) = told {
            let received = settled.received.unwrap_or(pending.amount);
            return if received >= pending.amount {
                Received::Whole(received)
            } else {
                Received::Nothing
            };
        }
        let Some(lookup) = plan.node.as_ref().and_then(|node| node.lookup()) else {
            return Received::Unknown;
        };
        let lookups = &self.shared.lookups;
        let (paid, received) = lookups
            .ask_amount(lookup, pending.payment_hash, pending.amount)
            .await;
        match paid {
            Paid::Yes => Received::Whole(received.unwrap_or(pending.amount)),
            Paid::No | Paid::Untold => Received::Nothing,
            Paid::Never => Received::Never,
            Paid::Unknown => Received::Unknown,
        }
    }
}
