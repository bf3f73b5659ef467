//! Whether our node says that an invoice is settled, asked as seldom as can be.
//!
//! A claim is only as good as this answer. One invoice is looked up once a second at most, however
//! many ask, and the node is never asked for more than a few at a time; a settlement is final and
//! remembered. Whoever gets no answer is told so, never served.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use farebox_core::{Msat, PaymentHash};
use farebox_ledger::{Ledger, LedgerError};
use farebox_lightning::backends::Backends;
use farebox_lightning::follow::Settlements;
use farebox_lightning::{InvoiceState, LookupInvoice};
use lru::LruCache;
use tokio::sync::{Mutex as Turn, Semaphore};

/// How long an answer of the node is good for, unless it is final.
const FRESH: Duration = Duration::from_secs(1);
/// How many invoices are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// How many look-ups the node is given at the same time.
const MAX_IN_FLIGHT: usize = 32;
/// How long one look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of an invoice, as far as its payer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paid {
    /// The node has the whole amount for good.
    Yes,
    /// Not yet.
    No,
    /// It was canceled, and can never be paid.
    Never,
    /// The node answers, but does not know this invoice: only the payer can prove anything.
    Untold,
    /// The node does not answer.
    Unknown,
}

/// What is known of payments to our nodes.
pub struct Settled {
    /// What has been claimed or credited had been proven.
    pub ledger: Ledger,
    /// What the nodes have told of settlements by themselves.
    pub settlements: Settlements,
    /// What they say when they are asked.
    pub lookups: Arc<Lookups>,
}

impl Settled {
    /// Whether an invoice is settled, for at least `amount`: by what the node told by itself, by what the ledger
    /// knows, and only then by asking the node.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn is_settled(
        &self,
        node: Option<&Backends>,
        hash: PaymentHash,
        amount: Msat,
    ) -> Result<Paid, LedgerError> {
        if self.was_told(&hash, amount) {
            return Ok(Paid::Yes);
        }
        if self.ledger.account(hash.account()).await?.is_some() {
            return Ok(Paid::Yes);
        }
        let Some(lookup) = node.and_then(Backends::lookup) else {
            return Ok(Paid::Untold);
        };
        Ok(self.lookups.ask(lookup, hash, amount).await)
    }

    /// Whether a node has told that this payment arrived whole.
    fn was_told(&self, hash: &PaymentHash, amount: Msat) -> bool {
        let settled = self.settlements.find(hash);
        settled.is_some_and(|settled| settled.received.is_none_or(|received| received >= amount))
    }
}

/// What the node said about each invoice last.
pub struct Lookups {
    answers: Mutex<LruCache<PaymentHash, Arc<Turn<Option<Answer>>>>>,
    in_flight: Semaphore,
}

#[derive(Clone, Copy)]
struct Answer {
    paid: Paid,
    received: Option<Msat>,
    at: Instant,
}

impl Answer {
    fn is_good(self, now: Instant) -> bool {
        self.paid == Paid::Yes || now.duration_since(self.at) < FRESH
    }
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            answers: Mutex::new(LruCache::new(REMEMBERED)),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        }
    }
}

impl Lookups {
    /// Whether the invoice with this hash was paid, at least `amount`.
    pub async fn ask(&self, node: &dyn LookupInvoice, hash: PaymentHash, amount: Msat) -> Paid {
        self.ask_amount(node, hash, amount).await.0
    }

    /// The same, and how much was received, where the node tells.
    pub async fn ask_amount(
        &self,
        node: &dyn LookupInvoice,
        hash: PaymentHash,
        amount: Msat,
    ) -> (Paid, Option<Msat>) {
        // Those who come together wait for one answer.
        let turn = self.turn(hash);
        let mut last = turn.lock().await;
        if let Some(answer) = last.filter(|answer| answer.is_good(Instant::now())) {
            return (answer.paid, answer.received);
        }
        let (paid, received) = self.look_up(node, hash, amount).await;
        *last = Some(Answer {
            paid,
            received,
            at: Instant::now(),
        });
        (paid, received)
    }

    fn turn(&self, hash: PaymentHash) -> Arc<Turn<Option<Answer>>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(answers.get_or_insert(hash, Arc::default))
    }

    async fn look_up(
        &self,
        node: &dyn LookupInvoice,
        hash: PaymentHash,
        amount: Msat,
    ) -> (Paid, Option<Msat>) {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return (Paid::Unknown, None);
        };
        match tokio::time::timeout(LOOKUP_TIMEOUT, node.lookup_invoice(hash)).await {
            Ok(Ok(state)) => (judge(state, amount), received(state)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Lightning backend could not look an invoice up");
                (Paid::Unknown, None)
            }
            Err(_) => {
                tracing::warn!("the Lightning backend took too long to look an invoice up");
                (Paid::Unknown, None)
            }
        }
    }
}

const fn received(state: InvoiceState) -> Option<Msat> {
    match state {
        InvoiceState::Settled { received } => received,
        _ => None,
    }
}

/// A backend that says "settled" without the amount says no less than a preimage does.
fn judge(state: InvoiceState, amount: Msat) -> Paid {
    match state {
        InvoiceState::Settled { received } => {
            if received.is_none_or(|received| received >= amount) {
                Paid::Yes
            } else {
                Paid::No
            }
        }
        InvoiceState::Open | InvoiceState::Held => Paid::No,
        InvoiceState::Canceled => Paid::Never,
        InvoiceState::Unknown => Paid::Untold,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use farebox_lightning::{BoxFuture, NodeError};

    use super::*;

    struct Node {
        asked: AtomicUsize,
        state: Mutex<InvoiceState>,
    }

    impl Node {
        fn new(state: InvoiceState) -> Self {
            Self {
                asked: AtomicUsize::new(0),
                state: Mutex::new(state),
            }
        }
    }

    impl LookupInvoice for Node {
        fn lookup_invoice(&self, _: PaymentHash) -> BoxFuture<'_, Result<InvoiceState, NodeError>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {
                tokio::task::yield_now().await;
                Ok(*self.state.lock().unwrap())
            })
        }
    }

    const HASH: PaymentHash = PaymentHash::from_bytes([7; 32]);

    fn msat(msat: u64) -> Msat {
        Msat::new(msat).unwrap()
    }

    #[tokio::test]
    async fn those_who_ask_together_cost_the_node_one_lookup() {
        let (lookups, node) = (Lookups::default(), Node::new(InvoiceState::Open));
        let ask = || lookups.ask(&node, HASH, msat(1000));
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!((a, b, c), (Paid::No, Paid::No, Paid::No));
        assert_eq!(node.asked.load(Ordering::Relaxed), 1);
        let other = PaymentHash::from_bytes([8; 32]);
        lookups.ask(&node, other, msat(1000)).await;
        assert_eq!(node.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_settlement_is_final() {
        let paid = InvoiceState::Settled { received: None };
        let (lookups, node) = (Lookups::default(), Node::new(paid));
        assert_eq!(lookups.ask(&node, HASH, msat(1000)).await, Paid::Yes);
        *node.state.lock().unwrap() = InvoiceState::Unknown;
        assert_eq!(lookups.ask(&node, HASH, msat(1000)).await, Paid::Yes);
    }

    #[test]
    fn only_the_whole_amount_settled_is_paid() {
        let settled = |received| InvoiceState::Settled {
            received: Some(msat(received)),
        };
        for (state, paid) in [
            (settled(1000), Paid::Yes),
            (settled(1001), Paid::Yes),
            (settled(999), Paid::No),
            (InvoiceState::Open, Paid::No),
            (InvoiceState::Held, Paid::No),
            (InvoiceState::Canceled, Paid::Never),
            (InvoiceState::Unknown, Paid::Untold),
        ] {
            assert_eq!(judge(state, msat(1000)), paid, "{state:?}");
        }
    }
}
