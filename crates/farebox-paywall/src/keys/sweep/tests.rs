use std::sync::Mutex;

use farebox_core::{Clock, KeyHash, Msat, Preimage};
use farebox_ledger::{KeyView, Ledger, OpenKey, OpenOptions, TopUpBy};
use farebox_lightning::backends::{Backends, NamedBackend};
use farebox_lightning::follow::Settlements;
use farebox_lightning::mock::MockNode;
use farebox_lightning::{Backend, CreateInvoice, CreatedInvoice, HoldInvoice, InvoiceRequest};
use farebox_testkit::ManualClock;

use super::*;
use crate::settled::Settled;

const KEY: KeyHash = KeyHash::from_bytes([9; 32]);
const EXPIRY: Duration = Duration::from_secs(600);
/// What a node said counts for a second.
const ANSWERS_ARE_KEPT: Duration = Duration::from_millis(1_010);

/// What credits keys, by what the backends of the moment say.
struct House {
    deposits: Arc<Deposits>,
    backends: Mutex<Option<Arc<Backends>>>,
}

impl House {
    fn new(ledger: &Ledger, clock: Arc<dyn Clock>, node: Arc<MockNode>) -> Self {
        let deposits = Deposits {
            pending: Arc::default(),
            settled: Arc::new(Settled::new(ledger.clone(), Settlements::new())),
            clock,
        };
        Self {
            deposits: Arc::new(deposits),
            backends: Mutex::new(Some(backends(node))),
        }
    }

    async fn sweep(&self, unpaid: &mut Unpaid) {
        let backends = || self.backends.lock().unwrap().clone();
        self.deposits.sweep(&backends, unpaid).await.unwrap();
    }
}

fn backends(node: Arc<MockNode>) -> Arc<Backends> {
    let backend = NamedBackend {
        name: "alice".to_owned(),
        node: Arc::new(Backend::from(node)),
    };
    Arc::new(Backends::new(vec![backend]).unwrap())
}

async fn view(ledger: &Ledger) -> KeyView {
    ledger.key(KEY).await.unwrap().unwrap()
}

async fn open_key(ledger: &Ledger, clock: &Arc<dyn Clock>) {
    let open = OpenKey {
        key: KEY,
        public_id: "fk_1".to_owned(),
        created_at: clock.now(),
        note: None,
    };
    ledger.open_key(open).await.unwrap();
}

/// An invoice for the key, and perhaps its payment.
async fn order(ledger: &Ledger, node: &MockNode, msat: u64, paid: bool) {
    let request = InvoiceRequest {
        amount: Msat::new(msat).unwrap(),
        memo: String::new(),
        expiry: EXPIRY,
    };
    let invoice = node.create_invoice(request).await.unwrap();
    note(ledger, &invoice).await;
    if paid {
        node.pay(&invoice.bolt11).unwrap();
    }
}

async fn note(ledger: &Ledger, invoice: &CreatedInvoice) {
    let pending = PendingDeposit {
        payment_hash: invoice.payment_hash,
        key: KEY,
        amount: invoice.amount,
        expires_at: invoice.expires_at,
    };
    let noted = ledger.pending_deposit(pending, TopUpBy::Stranger);
    noted.await.unwrap();
}

/// An invoice for the key that its node calls impossible to pay.
async fn order_in_vain(ledger: &Ledger, node: &MockNode) {
    let request = InvoiceRequest {
        amount: Msat::new(21_000).unwrap(),
        memo: String::new(),
        expiry: EXPIRY,
    };
    let hash = Preimage::from_bytes([7; 32]).payment_hash();
    let invoice = node.create_hold_invoice(hash, request).await.unwrap();
    note(ledger, &invoice).await;
    node.cancel_invoice(hash).await.unwrap();
}

#[tokio::test]
async fn what_was_paid_for_a_key_that_nobody_uses_is_credited() {
    let folder = tempfile::tempdir().unwrap();
    let hand = Arc::new(ManualClock::default());
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&hand);
    let options = OpenOptions::new(folder.path().join("farebox.db"), Arc::clone(&clock));
    let (ledger, _) = farebox_ledger::open(&options).unwrap();
    let node = Arc::new(MockNode::new(Arc::clone(&clock)).unwrap());
    open_key(&ledger, &clock).await;
    for (msat, paid) in [(21_000, true), (9_000, false), (4_000, true)] {
        order(&ledger, &node, msat, paid).await;
    }
    let later = clock.now().plus(EXPIRY + AFTER);
    hand.set(later);

    let house = House::new(&ledger, clock, node);
    house.sweep(&mut Unpaid::default()).await;
    assert_eq!(view(&ledger).await.deposited.get(), 25_000);
    assert_eq!(ledger.pending_deposits().await.unwrap().len(), 1);
    assert!(ledger.trial_balance().await.unwrap().is_sound());
    ledger.close().await;
}

#[tokio::test]
async fn what_was_paid_while_its_backend_was_taken_away_is_credited_once_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let hand = Arc::new(ManualClock::default());
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&hand);
    let options = OpenOptions::new(folder.path().join("farebox.db"), Arc::clone(&clock));
    let (ledger, _) = farebox_ledger::open(&options).unwrap();
    let [maker, other] = [(); 2].map(|()| Arc::new(MockNode::new(Arc::clone(&clock)).unwrap()));
    open_key(&ledger, &clock).await;
    order(&ledger, &maker, 21_000, true).await;
    let later = clock.now().plus(EXPIRY + AFTER);
    hand.set(later);

    let (house, mut unpaid) = (House::new(&ledger, clock, other), Unpaid::default());
    house.sweep(&mut unpaid).await;
    assert_eq!(unpaid.asked.len(), 1, "nobody there knows it");
    assert_eq!(view(&ledger).await.balance, Msat::ZERO);
    *house.backends.lock().unwrap() = Some(backends(maker));
    tokio::time::sleep(ANSWERS_ARE_KEPT).await;
    house.sweep(&mut unpaid).await;
    assert_eq!(view(&ledger).await.balance.get(), 21_000);
    ledger.close().await;
}

#[tokio::test]
async fn what_can_never_be_paid_is_forgotten_and_what_nobody_calls_so_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let hand = Arc::new(ManualClock::default());
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&hand);
    let options = OpenOptions::new(folder.path().join("farebox.db"), Arc::clone(&clock));
    let (ledger, _) = farebox_ledger::open(&options).unwrap();
    let [node, other] = [(); 2].map(|()| Arc::new(MockNode::new(Arc::clone(&clock)).unwrap()));
    open_key(&ledger, &clock).await;
    order_in_vain(&ledger, &node).await;
    order(&ledger, &node, 9_000, false).await;
    order(&ledger, &other, 4_000, true).await;
    let ends = clock.now().plus(EXPIRY);

    let (house, mut unpaid) = (House::new(&ledger, clock, node), Unpaid::default());
    for (after, left) in [(AFTER, 3), (FORGET_AFTER, 2)] {
        hand.set(ends.plus(after));
        house.sweep(&mut unpaid).await;
        let waiting = ledger.pending_deposits().await.unwrap();
        assert_eq!(waiting.len(), left);
    }
    let waiting = ledger.pending_deposits().await.unwrap();
    assert!(waiting.iter().all(|it| it.amount.get() < 21_000));
    ledger.close().await;
}
