//! Money for a key: the payment of an invoice that was written down for it is credited once our own
//! node says that it has it.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, KeyHash};
use farebox_http::body_budget::Holder;
use farebox_ledger::{Deposit, Deposited, LedgerError, PendingDeposit};
use farebox_lightning::backends::Backends;

use super::Pending;
use crate::settled::{LookUpFor, Paid, Settled};

/// How long a request waits for the node's word on all the invoices of its key.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);

/// How many invoices of one key are looked up for a request. Older ones are looked up apart from
/// requests ([`sweep`](super::sweep)).
const MAX_LOOKED_UP: usize = 64;
/// How many of them at once.
const AT_ONCE: usize = 4;

/// Credits keys with what was paid for them.
pub struct Deposits {
    /// What is known of payments to our nodes.
    pub settled: Arc<Settled>,
    /// Whose invoices wait.
    pub pending: Arc<Pending>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

impl Deposits {
    /// Credits what was paid for a key, or for its parent, and is not credited yet. The node is asked
    /// from the share of `holder`. It does not say whether that was anything: somebody else may have credited it since the caller last looked.
    ///
    /// # Errors
    /// [`LedgerError`]; what was credited until then stays credited.
    pub async fn credit_waiting(
        &self,
        backends: Option<&Backends>,
        key: KeyHash,
        holder: Holder,
    ) -> Result<(), LedgerError> {
        let Some(view) = self.settled.ledger.key(key).await? else {
            return Ok(());
        };
        let payer = view.parent.unwrap_or(key);
        let mut waiting = self.settled.ledger.pending_deposits_of(payer).await?;
        // The latest first: strangers may have left many behind that nobody paid.
        waiting.sort_unstable_by_key(|pending| Reverse(pending.expires_at));
        waiting.truncate(MAX_LOOKED_UP);
        let part = |first: usize| {
            let part = waiting.iter().skip(first).step_by(AT_ONCE);
            self.credit_all(backends, part, holder)
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
        backends: Option<&Backends>,
        waiting: impl Iterator<Item = &PendingDeposit>,
        holder: Holder,
    ) -> Result<(), LedgerError> {
        for pending in waiting {
            self.credit_if_paid(backends, pending, holder).await?;
        }
        Ok(())
    }

    /// Credits an invoice that is paid, and says what became of it.
    pub(super) async fn credit_if_paid(
        &self,
        backends: Option<&Backends>,
        pending: &PendingDeposit,
        holder: Holder,
    ) -> Result<Paid, LedgerError> {
        let (hash, amount) = (pending.payment_hash, pending.amount);
        let lookup = backends.and_then(Backends::lookup);
        let paid = match (self.settled.told(hash, amount), lookup) {
            (Some(told), _) => told,
            (None, Some(lookup)) => {
                let wanted = (LookUpFor::Service, holder);
                self.settled.ask(lookup, hash, amount, wanted).await
            }
            (None, None) => Paid::Unknown,
        };
        let Paid::Yes(received) = paid else {
            return Ok(paid);
        };
        let deposit = Deposit {
            payment_hash: hash,
            amount: received.unwrap_or(amount),
            at: self.clock.now(),
        };
        match self.settled.ledger.deposit(pending.key, deposit).await? {
            // Somebody else credited it between: it is there all the same.
            Deposited::Credited(_) | Deposited::Already(_) => Ok(paid),
            Deposited::UnknownKey | Deposited::Taken => {
                tracing::error!(payment.hash = %hash, "a payment for a key belongs to another");
                Ok(Paid::No)
            }
        }
    }
}
