//! A node that fails as it is told.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, Msat};
use farebox_lightning::{
    CreateInvoice, CreatedInvoice, InvoiceRequest, InvoiceState, LookupInvoice, NodeError,
    PayInvoice, PaymentFailure, PaymentRequest, PaymentState,
};
use farebox_testkit::ManualClock;
use farebox_testkit::mock_node::{Fault, PayFault, TestNode};

struct Pair {
    payer: Arc<TestNode>,
    payee: Arc<TestNode>,
    clock: Arc<ManualClock>,
}

fn pair() -> Pair {
    let clock = Arc::new(ManualClock::default());
    let node = || Arc::new(TestNode::new(Arc::<ManualClock>::clone(&clock)));
    let (payer, payee) = (node(), node());
    payer.connect(&payee);
    Pair {
        payer,
        payee,
        clock,
    }
}

fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

fn asking() -> InvoiceRequest {
    InvoiceRequest {
        amount: msat(2000),
        memo: String::new(),
        expiry: Duration::from_secs(600),
    }
}

async fn invoice(node: &TestNode) -> CreatedInvoice {
    node.create_invoice(asking()).await.unwrap()
}

fn request(invoice: &CreatedInvoice) -> PaymentRequest {
    PaymentRequest {
        bolt11: invoice.bolt11.clone(),
        payment_hash: invoice.payment_hash,
        amount: invoice.amount,
        max_fee: msat(10),
        patience: Duration::from_secs(5),
    }
}

impl Pair {
    async fn pay(&self, invoice: &CreatedInvoice) -> Result<PaymentState, NodeError> {
        self.payer.pay_invoice(request(invoice)).await
    }

    async fn state(&self, invoice: &CreatedInvoice) -> PaymentState {
        self.payer
            .payment_state(invoice.payment_hash)
            .await
            .unwrap()
    }
}

fn is_success(state: &PaymentState) -> bool {
    matches!(state, PaymentState::Succeeded { .. })
}

#[tokio::test]
async fn an_invoice_of_a_connected_node_is_paid_once() {
    let pair = pair();
    let invoice = invoice(&pair.payee).await;
    assert_eq!(pair.state(&invoice).await, PaymentState::Unheard);
    for _ in 0..2 {
        assert!(is_success(&pair.pay(&invoice).await.unwrap()));
    }
    assert!(is_success(&pair.state(&invoice).await));
    assert_eq!(pair.payer.paid_out(), (1, msat(2000)));
    let received = pair.payee.lookup_invoice(invoice.payment_hash).await;
    assert_eq!(
        received.unwrap(),
        InvoiceState::Settled {
            received: Some(msat(2000))
        }
    );
}

#[tokio::test]
async fn there_is_no_way_to_a_stranger_and_none_within_too_low_a_fee() {
    let pair = pair();
    let stranger = TestNode::new(Arc::<ManualClock>::clone(&pair.clock));
    let no_route = PaymentState::Failed(PaymentFailure::NoRoute);
    assert_eq!(pair.pay(&invoice(&stranger).await).await.unwrap(), no_route);
    pair.payer.set_fee(msat(11));
    let dear = invoice(&pair.payee).await;
    assert_eq!(pair.pay(&dear).await.unwrap(), no_route);
    pair.payer.set_fee(msat(10));
    assert!(is_success(&pair.pay(&dear).await.unwrap()));
    assert_eq!(pair.payer.paid_out(), (1, msat(2010)));
}

#[tokio::test]
async fn an_expired_invoice_is_refused_by_its_payee() {
    let pair = pair();
    let late = invoice(&pair.payee).await;
    pair.clock
        .set(pair.clock.now().plus(Duration::from_secs(601)));
    let refused = PaymentState::Failed(PaymentFailure::RefusedByPayee);
    assert_eq!(pair.pay(&late).await.unwrap(), refused);
}

#[tokio::test(start_paused = true)]
async fn a_slow_payment_goes_on_when_nobody_waits_for_it() {
    let pair = pair();
    let slow = invoice(&pair.payee).await;
    pair.payer
        .set_pay_fault(PayFault::Slow(Duration::from_secs(60)));
    assert_eq!(pair.pay(&slow).await.unwrap(), PaymentState::Pending);
    assert_eq!(pair.state(&slow).await, PaymentState::Pending);
    tokio::time::advance(Duration::from_secs(56)).await;
    assert!(is_success(&pair.state(&slow).await));
}

#[tokio::test]
async fn a_lost_answer_hides_a_payment_and_a_lost_request_hides_nothing() {
    let pair = pair();
    for (fault, arrived) in [(PayFault::LoseAnswer, true), (PayFault::LoseRequest, false)] {
        pair.payer.set_pay_fault(fault);
        let invoice = invoice(&pair.payee).await;
        let error = pair.pay(&invoice).await.unwrap_err();
        assert!(!error.is_certain_refusal(), "{fault:?}");
        assert_eq!(is_success(&pair.state(&invoice).await), arrived);
    }
    pair.payer.set_pay_fault(PayFault::Refuse);
    let error = pair.pay(&invoice(&pair.payee).await).await.unwrap_err();
    assert!(error.is_certain_refusal());
    assert_eq!(pair.payer.paid_out().0, 1);
}

#[tokio::test]
async fn a_node_that_is_down_says_so_and_comes_back() {
    let node = pair().payee;
    node.set_fault(Fault::Down);
    let error = node.create_invoice(asking()).await.unwrap_err();
    assert!(matches!(error, NodeError::Down) && error.is_temporary());
    node.set_fault(Fault::None);
    assert!(node.create_invoice(asking()).await.is_ok());
    assert_eq!(node.invoices_made(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_node_takes_its_time() {
    let node = pair().payee;
    node.set_fault(Fault::Slow(Duration::from_secs(5)));
    let began = tokio::time::Instant::now();
    invoice(&node).await;
    assert!(began.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn a_node_that_repeats_itself_gives_one_hash_to_all() {
    let node = pair().payee;
    node.set_fault(Fault::RepeatHash);
    let (one, two) = (invoice(&node).await, invoice(&node).await);
    assert_eq!(one.payment_hash, two.payment_hash);
}
