//! Whether our node says that an invoice is settled, asked as seldom as can be.
//!
//! A claim is only as good as this answer. One invoice is looked up once a second at most, however
//! many ask, and the node is never asked for more than a few at a time, in shares; a settlement is final
//! and remembered. Whoever gets no answer is told so, never served.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use farebox_core::{Msat, PaymentHash};
use farebox_http::body_budget::Holder;
use farebox_http::limits::{NoPlace, Place, Places};
use farebox_ledger::{Ledger, LedgerError};
use farebox_lightning::backends::Backends;
use farebox_lightning::follow::Settlements;
use farebox_lightning::{InvoiceState, LookupInvoice, received_for};
use lru::LruCache;
use tokio::sync::Mutex as Turn;

/// How long an answer of the node is good for, unless it is final.
const FRESH: Duration = Duration::from_secs(1);
/// How many invoices are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// How many look-ups the node is given at the same time for those who want to be served.
const MAX_IN_FLIGHT: u64 = 64;
/// How many for those who only ask how it stands.
const MAX_QUESTIONS: u64 = 16;
/// How long one who wants to be served waits for a place among the look-ups.
const PLACE_PATIENCE: Duration = Duration::from_secs(5);
/// How often he looks for one.
const PLACE_EVERY: Duration = Duration::from_millis(20);
/// How long one look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of an invoice, as far as its payer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paid {
    /// The node has the whole amount for good: so much, where it tells.
    Yes(Option<Msat>),
    /// Not yet.
    No,
    /// It was canceled, and can never be paid.
    Never,
    /// The node answers, but does not know this invoice: only the payer can prove anything.
    Untold,
    /// The node does not answer.
    Unknown,
}

/// What an invoice is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUpFor {
    /// Somebody who says he paid wants to be served, or credited.
    Service,
    /// Somebody asks how it stands.
    Question,
}

/// What is known of payments to our nodes.
pub struct Settled {
    /// What has been claimed or credited had been proven.
    pub ledger: Ledger,
    /// What the nodes have told of settlements by themselves.
    pub settlements: Settlements,
    /// What they said about each invoice when they were asked last.
    answers: Mutex<LruCache<PaymentHash, Arc<Turn<Option<Answer>>>>>,
    in_flight: Arc<Places>,
    questions: Arc<Places>,
}

#[derive(Clone, Copy)]
struct Answer {
    paid: Paid,
    at: Instant,
}

impl Answer {
    fn is_good(self, now: Instant) -> bool {
        matches!(self.paid, Paid::Yes(_)) || now.duration_since(self.at) < FRESH
    }
}

impl Settled {
    /// Nobody was asked yet.
    #[must_use]
    pub fn new(ledger: Ledger, settlements: Settlements) -> Self {
        Self {
            ledger,
            settlements,
            answers: Mutex::new(LruCache::new(REMEMBERED)),
            in_flight: Arc::default(),
            questions: Arc::default(),
        }
    }

    /// Whether an invoice is settled, for at least `amount`: by what the node told by itself, by what the ledger
    /// knows, and only then by asking the node: what for, and from whose share.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn is_settled(
        &self,
        node: Option<&Backends>,
        hash: PaymentHash,
        amount: Msat,
        wanted: (LookUpFor, Holder),
    ) -> Result<Paid, LedgerError> {
        if let Some(told @ Paid::Yes(_)) = self.told(hash, amount) {
            return Ok(told);
        }
        if self.ledger.account(hash.account()).await?.is_some() {
            return Ok(Paid::Yes(None));
        }
        let Some(lookup) = node.and_then(Backends::lookup) else {
            return Ok(Paid::Untold);
        };
        Ok(self.ask(lookup, hash, amount, wanted).await)
    }

    /// How many invoices the node is asked about at the moment.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        self.in_flight.in_use()
    }

    /// What a node has told of this payment by itself.
    pub(crate) fn told(&self, hash: PaymentHash, amount: Msat) -> Option<Paid> {
        let received = self.settlements.find(&hash)?.received;
        Some(judge(InvoiceState::Settled { received }, amount))
    }

    /// Asks the node whether the invoice with this hash was paid, at least `amount`.
    pub(crate) async fn ask(
        &self,
        node: &dyn LookupInvoice,
        hash: PaymentHash,
        amount: Msat,
        wanted: (LookUpFor, Holder),
    ) -> Paid {
        // Those who come together wait for one answer.
        let turn = self.turn(hash);
        let mut last = turn.lock().await;
        if let Some(answer) = last.filter(|answer| answer.is_good(Instant::now())) {
            return answer.paid;
        }
        let Ok(_place) = self.place(wanted).await else {
            return Paid::Unknown;
        };
        let paid = look_up(node, hash, amount).await;
        let at = Instant::now();
        *last = Some(Answer { paid, at });
        paid
    }

    /// A place among the look-ups. Only those who want to be served wait for one.
    async fn place(&self, (wanted, holder): (LookUpFor, Holder)) -> Result<Place, NoPlace> {
        if wanted == LookUpFor::Question {
            return self.questions.take(MAX_QUESTIONS, holder, 1);
        }
        let give_up_at = Instant::now() + PLACE_PATIENCE;
        loop {
            match self.in_flight.take(MAX_IN_FLIGHT, holder, 1) {
                Err(NoPlace) if Instant::now() < give_up_at => {
                    tokio::time::sleep(PLACE_EVERY).await;
                }
                taken => return taken,
            }
        }
    }

    fn turn(&self, hash: PaymentHash) -> Arc<Turn<Option<Answer>>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(answers.get_or_insert(hash, Arc::default))
    }
}

async fn look_up(node: &dyn LookupInvoice, hash: PaymentHash, amount: Msat) -> Paid {
    match tokio::time::timeout(LOOKUP_TIMEOUT, node.lookup_invoice(hash)).await {
        Ok(Ok(state)) => judge(state, amount),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the Lightning backend could not look an invoice up");
            Paid::Unknown
        }
        Err(_) => {
            tracing::warn!("the Lightning backend took too long to look an invoice up");
            Paid::Unknown
        }
    }
}

/// A backend that says "settled" without the amount says no less than a preimage does.
fn judge(state: InvoiceState, amount: Msat) -> Paid {
    match state {
        InvoiceState::Settled { received } => {
            let received = received.map(|told| received_for(amount, told));
            if received.is_some_and(|received| received < amount) {
                Paid::No
            } else {
                Paid::Yes(received)
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

    use farebox_ledger::OpenOptions;
    use farebox_lightning::{NodeError, async_trait};
    use farebox_testkit::ManualClock;

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

    #[async_trait]
    impl LookupInvoice for Node {
        async fn lookup_invoice(&self, _: PaymentHash) -> Result<InvoiceState, NodeError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(*self.state.lock().unwrap())
        }
    }

    struct Till {
        settled: Settled,
        _folder: tempfile::TempDir,
    }

    impl Till {
        fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::<ManualClock>::default();
            let options = OpenOptions::new(folder.path().join("farebox.db"), clock);
            let (ledger, _) = farebox_ledger::open(&options).unwrap();
            Self {
                settled: Settled::new(ledger, Settlements::new()),
                _folder: folder,
            }
        }
    }

    const HASH: PaymentHash = PaymentHash::from_bytes([7; 32]);

    fn payer() -> (LookUpFor, Holder) {
        (LookUpFor::Service, Holder::Payer(HASH.account()))
    }

    fn msat(msat: u64) -> Msat {
        Msat::new(msat).unwrap()
    }

    #[tokio::test]
    async fn those_who_ask_together_cost_the_node_one_lookup() {
        let (till, node) = (Till::open(), Node::new(InvoiceState::Open));
        let ask = || till.settled.ask(&node, HASH, msat(1000), payer());
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!((a, b, c), (Paid::No, Paid::No, Paid::No));
        assert_eq!(node.asked.load(Ordering::Relaxed), 1);
        let other = PaymentHash::from_bytes([8; 32]);
        till.settled.ask(&node, other, msat(1000), payer()).await;
        assert_eq!(node.asked.load(Ordering::Relaxed), 2);
        till.settled.ledger.close().await;
    }

    #[tokio::test]
    async fn who_wants_to_be_served_waits_for_a_place_and_who_only_asks_does_not() {
        let (till, node) = (Till::open(), Node::new(InvoiceState::Open));
        let settled = &till.settled;
        let full = settled
            .in_flight
            .take(MAX_IN_FLIGHT, payer().1, MAX_IN_FLIGHT);
        let place = full.unwrap();
        let asks = settled
            .questions
            .take(MAX_QUESTIONS, payer().1, MAX_QUESTIONS);
        let other = PaymentHash::from_bytes([8; 32]);
        let question = (LookUpFor::Question, payer().1);
        let asked = settled.ask(&node, other, msat(1000), question).await;
        assert_eq!(asked, Paid::Unknown);
        drop(asks.unwrap());
        let service = settled.ask(&node, HASH, msat(1000), payer());
        let leave = async {
            let asked = settled.ask(&node, other, msat(1000), question).await;
            assert_eq!(asked, Paid::No, "it needs no place of theirs");
            drop(place);
        };
        let (served, ()) = tokio::join!(service, leave);
        assert_eq!(served, Paid::No);
        till.settled.ledger.close().await;
    }

    #[tokio::test]
    async fn a_settlement_is_final() {
        let paid = InvoiceState::Settled { received: None };
        let (till, node) = (Till::open(), Node::new(paid));
        let ask = || till.settled.ask(&node, HASH, msat(1000), payer());
        assert_eq!(ask().await, Paid::Yes(None));
        *node.state.lock().unwrap() = InvoiceState::Unknown;
        assert_eq!(ask().await, Paid::Yes(None));
        till.settled.ledger.close().await;
    }

    #[test]
    fn only_the_whole_amount_settled_is_paid_but_for_a_part_of_a_satoshi() {
        let settled = |received| InvoiceState::Settled {
            received: Some(msat(received)),
        };
        for (state, paid) in [
            (settled(100_000), Paid::Yes(Some(msat(100_000)))),
            (settled(100_001), Paid::Yes(Some(msat(100_001)))),
            (settled(99_500), Paid::Yes(Some(msat(100_000)))),
            (settled(99_001), Paid::Yes(Some(msat(100_000)))),
            (settled(99_000), Paid::No),
            (settled(0), Paid::No),
            (InvoiceState::Settled { received: None }, Paid::Yes(None)),
            (InvoiceState::Open, Paid::No),
            (InvoiceState::Held, Paid::No),
            (InvoiceState::Canceled, Paid::Never),
            (InvoiceState::Unknown, Paid::Untold),
        ] {
            assert_eq!(judge(state, msat(100_000)), paid, "{state:?}");
        }
        assert_eq!(judge(settled(0), msat(500)), Paid::No);
    }
}
