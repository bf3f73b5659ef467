use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use farebox_core::{Binding, KeyEpoch, Kind, MethodClass, RouteName, Terms, TermsEpoch};
use farebox_http::client::{AllowedHosts, CallError};
use farebox_http::client_addr::AddressPrefix;
use farebox_ledger::{ClaimPolicy, OpenOptions, PayoutEnd, Rail};
use farebox_lightning::backends::NamedBackend;
use farebox_lightning::{
    Backend, CreateInvoice, CreatedInvoice, InvoiceRequest, InvoiceState, LookupInvoice, Network,
    NodeError, async_trait,
};
use farebox_testkit::ManualClock;
use farebox_testkit::mock_node::{PayFault, TestNode};
use tempfile::TempDir;

use super::*;

mod keys;

const HOUR: Duration = Duration::from_secs(3600);
const WAIT_AT_MOST: Duration = Duration::from_secs(10);

struct House {
    payouts: Arc<Payouts>,
    ledger: Ledger,
    clock: Arc<ManualClock>,
    node: Arc<TestNode>,
    payee: Arc<TestNode>,
    clients: AtomicU8,
    _folder: TempDir,
}

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

fn rules() -> RefundRules {
    RefundRules {
        enabled: true,
        least: msat(1000),
        daily_total: msat(10_000_000),
        per_token_per_day: 10,
        max_open: 10,
        max_fee: MaxFee {
            percent: 1,
            base: msat(5000),
        },
        allow_hosts: AllowedHosts::default(),
        network: Network::Mainnet,
    }
}

fn backends(node: impl Into<Backend>) -> Arc<Backends> {
    let (name, node) = ("alice".to_owned(), Arc::new(node.into()));
    Arc::new(Backends::new(vec![NamedBackend { name, node }]).unwrap())
}

impl House {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let wall: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let options = OpenOptions::new(folder.path().join("farebox.db"), Arc::clone(&wall));
        let (ledger, _) = farebox_ledger::open(&options).unwrap();
        let node = Arc::new(TestNode::new(Arc::clone(&wall)));
        let payee = Arc::new(TestNode::new(Arc::clone(&wall)));
        node.connect(&payee);
        let payouts = Payouts::start(PayoutOptions {
            ledger: ledger.clone(),
            backends: Some(backends(node.backend())),
            clock: wall,
            rules: rules(),
        });
        Self {
            payouts,
            ledger,
            clock,
            node,
            payee,
            clients: AtomicU8::new(0),
            _folder: folder,
        }
    }

    async fn invoice(&self, node: &TestNode, amount: u64) -> CreatedInvoice {
        let request = InvoiceRequest {
            amount: msat(amount),
            memo: String::new(),
            expiry: HOUR,
        };
        node.create_invoice(request).await.unwrap()
    }

    /// Whoever asks next, from a network of his own.
    fn next_client(&self) -> AddressPrefix {
        AddressPrefix::V4([192, 0, self.clients.fetch_add(1, Ordering::Relaxed)])
    }

    /// A wish for `amount` of a balance of 100,000 msat that was paid and never used.
    async fn wish(&self, amount: u64) -> RefundRequest {
        let paid = self.invoice(&self.node, 100_000).await;
        self.node.pay(&paid.bolt11).unwrap();
        let terms = Terms {
            amount: paid.amount,
            kind: Kind::Balance,
            route: RouteName::parse("weather").unwrap(),
            methods: MethodClass::Any,
            binding: Binding::Route,
            epoch: TermsEpoch(1),
            valid_for: HOUR,
            claim_by: self.clock.now().plus(HOUR),
        };
        let to = self.invoice(&self.payee, amount).await;
        RefundRequest {
            source: Source::Token {
                payment_hash: paid.payment_hash,
                claim: Some(Funding {
                    rail: Rail::Lightning,
                    amount: terms.amount,
                    key_epoch: KeyEpoch(1),
                    terms,
                    claims: ClaimPolicy::Open,
                }),
            },
            repeat: None,
            destination: Destination::Bolt11(to.bolt11),
            asked_by: AskedBy::Holder,
            client: Some(self.next_client()),
            amount: None,
        }
    }

    /// A payout whose only sending is lost, or its answer.
    async fn unknown(&self, fault: PayFault) -> PayoutView {
        self.node.set_pay_fault(fault);
        let view = self.payouts.refund(self.wish(40_000).await).await.unwrap();
        assert_eq!(view.state, PayoutState::Open);
        view
    }

    async fn state(&self, view: &PayoutView) -> PayoutState {
        self.ledger.payout(view.id).await.unwrap().unwrap().state
    }

    /// Asks about everything that is open, and waits until that is done.
    async fn recover(&self) {
        self.payouts.recover(recover::Whom::All).await;
        let idle = self.payouts.following.acquire_many(MAX_FOLLOWED);
        drop(tokio::time::timeout(WAIT_AT_MOST, idle).await.unwrap());
    }

    async fn end(self) {
        self.payouts.stop().await;
        self.ledger.flush().await.unwrap();
        assert!(self.ledger.trial_balance().await.unwrap().is_sound());
        self.ledger.close().await;
    }
}

#[tokio::test]
async fn what_was_paid_is_booked_once_the_node_says_so() {
    let house = House::open();
    let view = house.unknown(PayFault::LoseAnswer).await;
    house.node.set_pay_fault(PayFault::None);
    house.recover().await;
    assert_eq!(house.state(&view).await, PayoutState::Paid);
    assert_eq!(house.node.paid_out(), (1, msat(40_000)));
    house.end().await;
}

#[tokio::test]
async fn only_the_backend_that_was_written_down_is_asked() {
    let house = House::open();
    let view = house.unknown(PayFault::LoseAnswer).await;
    let stranger = TestNode::new(Arc::<ManualClock>::clone(&house.clock));
    let other = vec![NamedBackend {
        name: "bob".to_owned(),
        node: Arc::new(Arc::new(stranger).backend()),
    }];
    let other = Arc::new(Backends::new(other).unwrap());
    for instead in [None, Some(other)] {
        house.payouts.replace(instead, rules());
        house.clock.advance(HOUR * 48);
        house.recover().await;
        assert_eq!(house.state(&view).await, PayoutState::Open);
    }
    let alice = backends(house.node.backend());
    house.payouts.replace(Some(alice), rules());
    house.recover().await;
    assert_eq!(house.state(&view).await, PayoutState::Paid);
    house.end().await;
}

#[tokio::test]
async fn what_the_node_never_heard_of_is_sent_again_while_it_can_be_paid() {
    let house = House::open();
    let view = house.unknown(PayFault::LoseRequest).await;
    house.recover().await;
    assert_eq!(house.state(&view).await, PayoutState::Open);
    house.node.set_pay_fault(PayFault::None);
    house.recover().await;
    assert_eq!(house.state(&view).await, PayoutState::Paid);
    house.end().await;
}

#[tokio::test]
async fn what_the_node_never_heard_of_fails_long_after_its_invoice_expired() {
    let house = House::open();
    let view = house.unknown(PayFault::LoseRequest).await;
    house.node.set_pay_fault(PayFault::None);
    house.clock.advance(HOUR + Duration::from_secs(1));
    house.recover().await;
    assert_eq!(house.state(&view).await, PayoutState::Open, "too early");
    house.clock.advance(Duration::from_secs(600));
    house.recover().await;
    assert_eq!(house.state(&view).await, PayoutState::Failed);
    assert_eq!(house.node.paid_out().0, 0);
    let left = house.ledger.refundable(view.account).await.unwrap();
    assert_eq!(left.unwrap().available, msat(100_000));
    house.end().await;
}

#[tokio::test]
async fn a_refusal_of_the_first_sending_ends_it_and_one_of_a_later_does_not() {
    let house = House::open();
    house.node.set_pay_fault(PayFault::Refuse);
    let view = house
        .payouts
        .refund(house.wish(40_000).await)
        .await
        .unwrap();
    assert_eq!(view.state, PayoutState::Failed);

    let view = house.unknown(PayFault::LoseRequest).await;
    house.node.set_pay_fault(PayFault::Refuse);
    house.recover().await;
    assert_eq!(house.state(&view).await, PayoutState::Open);
    house.end().await;
}

#[tokio::test]
async fn a_refund_goes_on_when_nobody_waits_for_it() {
    let house = House::open();
    house
        .node
        .set_pay_fault(PayFault::Slow(Duration::from_millis(300)));
    let wish = house.wish(40_000).await;
    let (payouts, account) = (Arc::clone(&house.payouts), wish.source.account());
    let impatient = tokio::time::timeout(Duration::from_millis(150), payouts.refund(wish));
    assert!(impatient.await.is_err());
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    loop {
        let of_account = house.ledger.payouts_of(account, 1).await.unwrap();
        if of_account.iter().any(|it| it.state == PayoutState::Paid) {
            break;
        }
        assert!(Instant::now() < give_up_at, "{of_account:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    house.end().await;
}

#[tokio::test]
async fn more_open_refunds_than_are_followed_at_once_take_turns() {
    let house = House::open();
    let node = house.node.backend();
    let many = RefundRules {
        max_open: 4 * MAX_FOLLOWED,
        ..rules()
    };
    house.payouts.replace(Some(backends(node)), many);
    let mut open = Vec::new();
    for _ in 0..MAX_FOLLOWED + 6 {
        open.push(house.unknown(PayFault::LoseRequest).await);
    }
    // Those that are asked about first stay open, and must not keep the others from their turn.
    house.recover().await;
    house.node.set_pay_fault(PayFault::None);
    house.recover().await;
    for late in &open[MAX_FOLLOWED as usize..] {
        assert_eq!(house.state(late).await, PayoutState::Paid);
    }
    house.recover().await;
    for view in &open {
        assert_eq!(house.state(view).await, PayoutState::Paid);
    }
    assert_eq!(house.node.paid_out().0, open.len());
    house.end().await;
}

#[tokio::test]
async fn nothing_is_begun_once_it_was_stopped() {
    let house = House::open();
    let wish = house.wish(40_000).await;
    house.payouts.stop().await;
    let refused = house.payouts.refund(wish).await;
    assert!(matches!(refused, Err(RefundError::Unable)));
    assert_eq!(house.node.paid_out().0, 0);
    house.end().await;
}

#[tokio::test]
async fn the_operator_closes_what_the_backend_will_never_tell_but_not_too_early() {
    let house = House::open();
    let view = house.unknown(PayFault::LoseRequest).await;
    house.payouts.replace(None, rules());
    let close = |end| house.payouts.close(view.id, end);
    let early = close(PayoutEnd::Failed).await;
    assert!(
        matches!(early, Err(CloseError::Payable { .. })),
        "{early:?}"
    );
    // What was sent before the invoice expired may arrive long after it.
    house.clock.advance(HOUR + Duration::from_secs(600));
    let under_way = close(PayoutEnd::Failed).await;
    assert!(
        matches!(under_way, Err(CloseError::Payable { .. })),
        "{under_way:?}"
    );
    house.clock.advance(HOUR * 24 * 15);
    let closed = close(PayoutEnd::Failed).await.unwrap();
    assert_eq!(closed.state, PayoutState::Failed);
    assert_eq!(close(PayoutEnd::Failed).await.unwrap(), closed);
    let fee = Msat::ZERO;
    let contradicted = close(PayoutEnd::Paid { fee }).await;
    assert!(matches!(contradicted, Err(CloseError::Ended { .. })));
    house.end().await;
}

#[tokio::test]
async fn what_the_backend_knows_goes_before_what_the_operator_says() {
    let house = House::open();
    let view = house.unknown(PayFault::LoseAnswer).await;
    house.clock.advance(HOUR * 48);
    let closed = house.payouts.close(view.id, PayoutEnd::Failed).await;
    let state = PayoutState::Paid;
    assert!(matches!(closed, Err(CloseError::Ended { state: found }) if found == state));
    assert_eq!(house.state(&view).await, state);
    house.end().await;
}

/// A node that says otherwise what it received, or nothing at all.
struct Teller {
    node: Arc<TestNode>,
    looks_up: bool,
    /// None where it says nothing.
    state: Option<InvoiceState>,
    ours: PaymentHash,
    /// Others of which it says what is so.
    others: Vec<PaymentHash>,
}

impl From<Teller> for Backend {
    fn from(teller: Teller) -> Self {
        let (node, looks_up) = (Arc::clone(&teller.node), teller.looks_up);
        Self {
            kind: "teller",
            lookup: looks_up.then(|| Arc::new(teller) as _),
            hold: None,
            ..node.backend()
        }
    }
}

#[async_trait]
impl LookupInvoice for Teller {
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        if hash != self.ours && self.others.contains(&hash) {
            return self.node.lookup_invoice(hash).await;
        }
        let told = if hash == self.ours {
            self.state
        } else {
            Some(InvoiceState::Unknown)
        };
        let away = NodeError::Call(CallError::TimedOut {
            host: "teller".to_owned(),
            limit: HOUR,
        });
        told.ok_or(away)
    }
}

async fn told(looks_up: bool, state: InvoiceState) -> (House, Result<PayoutView, RefundError>) {
    let house = House::open();
    let wish = house.wish(40_000).await;
    let teller = Teller {
        node: Arc::clone(&house.node),
        looks_up,
        state: Some(state),
        ours: PaymentHash::from_bytes(*wish.source.account().as_bytes()),
        others: Vec::new(),
    };
    let teller = backends(teller);
    house.payouts.replace(Some(teller), rules());
    let told = house.payouts.refund(wish).await;
    (house, told)
}

#[tokio::test]
async fn only_what_the_node_has_in_full_is_paid_back() {
    let settled = |received: Option<u64>| InvoiceState::Settled {
        received: received.map(msat),
    };
    for state in [
        InvoiceState::Open,
        InvoiceState::Held,
        InvoiceState::Canceled,
        InvoiceState::Unknown,
        settled(None),
        settled(Some(99_000)),
    ] {
        let (house, told) = told(true, state).await;
        let refused = matches!(
            told,
            Err(RefundError::NotSettled | RefundError::AmountUnknown)
        );
        assert!(refused, "{state:?}: {told:?}");
        assert_eq!(house.node.paid_out().0, 0);
        house.end().await;
    }
    let (house, told) = told(false, settled(Some(100_000))).await;
    assert!(matches!(told, Err(RefundError::NoLookup)), "{told:?}");
    house.end().await;
}

#[tokio::test]
async fn what_was_overpaid_goes_back_too() {
    let received = Some(msat(130_000));
    let (house, told) = told(true, InvoiceState::Settled { received }).await;
    let view = told.unwrap();
    assert_eq!(view.state, PayoutState::Paid);
    let left = house.ledger.refundable(view.account).await.unwrap();
    assert_eq!(left.unwrap().available, msat(90_000));
    house.end().await;
}
