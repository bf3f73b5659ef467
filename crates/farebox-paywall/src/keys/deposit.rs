//! Money for a key: the payment of an invoice that was written down for it is credited once our own
//! node says that it has it.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, KeyHash, Msat};
use farebox_ledger::{Deposit, Deposited, Ledger, LedgerError, PendingDeposit};
use farebox_lightning::backends::Backends;
use farebox_lightning::follow::Settlements;

use crate::settled::{Lookups, Paid};

/// How long a request waits for the node's word on all the invoices of its key.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);

/// How many invoices of one key are looked up for a request. Older ones are looked up apart from
/// requests ([`sweep`](super::sweep)).
const MAX_LOOKED_UP: usize = 64;
/// How many of them at once.
const AT_ONCE: usize = 4;

/// Credits keys with what was paid for them.
pub struct Deposits {
    /// Where keys and their invoices are written down.
    pub ledger: Ledger,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What the nodes have told of settlements by themselves.
    pub settlements: Settlements,
    /// What they say when they are asked.
    pub lookups: Arc<Lookups>,
}

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

impl Deposits {
    /// Credits what was paid for a key, or for its parent, and is not credited yet. It does not say
    /// whether that was anything: somebody else may have credited it since the caller last looked.
    ///
    /// # Errors
    /// [`LedgerError`]; what was credited until then stays credited.
    pub async fn credit_waiting(
        &self,
        backends: Option<&Backends>,
        key: KeyHash,
    ) -> Result<(), LedgerError> {
        let Some(view) = self.ledger.key(key).await? else {
            return Ok(());
        };
        let payer = view.parent.unwrap_or(key);
        let mut waiting = self.ledger.pending_deposits_of(payer).await?;
        // The latest first: strangers may have left many behind that nobody paid.
        waiting.sort_unstable_by_key(|pending| Reverse(pending.expires_at));
        waiting.truncate(MAX_LOOKED_UP);
        let part = |first: usize| {
            let part = waiting.iter().skip(first).step_by(AT_ONCE);
            self.credit_all(backends, part)
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
    ) -> Result<(), LedgerError> {
        for pending in waiting {
            self.credit_if_paid(backends, pending).await?;
        }
        Ok(())
    }

    pub(super) async fn credit_if_paid(
        &self,
        backends: Option<&Backends>,
        pending: &PendingDeposit,
    ) -> Result<Credited, LedgerError> {
        let amount = match self.received_for(backends, pending).await {
            Received::Whole(amount) => amount,
            Received::Nothing => return Ok(Credited::NotPaid),
            Received::Never => return Ok(Credited::Never),
            Received::Unknown => return Ok(Credited::Unknown),
        };
        let deposit = Deposit {
            payment_hash: pending.payment_hash,
            amount,
            at: self.clock.now(),
        };
        match self.ledger.deposit(pending.key, deposit).await? {
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
    async fn received_for(
        &self,
        backends: Option<&Backends>,
        pending: &PendingDeposit,
    ) -> Received {
        let told = self.settlements.find(&pending.payment_hash);
        if let Some(settled) = told {
            let received = settled.received.unwrap_or(pending.amount);
            return if received >= pending.amount {
                Received::Whole(received)
            } else {
                Received::Nothing
            };
        }
        let Some(lookup) = backends.and_then(Backends::lookup) else {
            return Received::Unknown;
        };
        let (paid, received) = self
            .lookups
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
