//! Paying from an LNbits wallet: the wallet's own record is believed.

use std::sync::Arc;
use std::time::Duration;

use farebox_lightning::{
    AnswerFault, Backend, NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState,
};
use serde_json::{Value, json};

use crate::lnbits::payer;
use crate::provider::clock;
use crate::recorded::{Call, RecordedNode, Say, hash, msat, odd, payable, recorded, with};

const SENT: &str = include_str!("recorded/lnbits/sent.json");
const RECEIVED: &str = include_str!("recorded/lnbits/received.json");

fn payer_of(node: &RecordedNode) -> Arc<dyn PayInvoice> {
    Backend::from(Arc::new(payer(node, clock()))).pay.unwrap()
}

async fn state_of(node: &RecordedNode, hex: &str) -> Result<PaymentState, NodeError> {
    payer_of(node).payment_state(hash(hex)).await
}

async fn pay(node: &RecordedNode, request: &PaymentRequest) -> Result<PaymentState, NodeError> {
    payer_of(node).pay_invoice(request.clone()).await
}

/// The wallet's record of the payment that a test makes, after a routing fee of 3 msat.
fn record(request: &PaymentRequest, status: &str) -> Value {
    let mut record = recorded(SENT);
    record["paid"] = (status == "success").into();
    record["preimage"] = Value::Null;
    record["details"]["payment_hash"] = request.payment_hash.to_string().into();
    record["details"]["status"] = status.into();
    record["details"]["fee"] = (-3).into();
    record
}

/// A wallet without a record of the payment at first, and then with this one, if any.
async fn node(
    paying: impl Fn() -> Say + Send + Sync + 'static,
    record: Option<Value>,
) -> RecordedNode {
    RecordedNode::start(move |call: &Call| {
        if call.method == "POST" {
            return paying();
        }
        if call.path.contains("fee-reserve") {
            return Say::Json(200, json!({ "fee_reserve": 2000 }));
        }
        match (&record, call.earlier) {
            (Some(record), 1..) => Say::Json(200, record.clone()),
            _ => Say::Json(404, json!({ "detail": "Payment does not exist." })),
        }
    })
    .await
}

fn sent(node: &RecordedNode) -> Vec<Call> {
    let calls = node.calls("/api/v1/payments");
    calls
        .into_iter()
        .filter(|call| call.method == "POST")
        .collect()
}

fn accepted() -> Say {
    Say::Json(201, recorded(SENT)["details"].clone())
}

fn refused(detail: &str, status: &str) -> Say {
    Say::Json(520, json!({ "detail": detail, "status": status }))
}

#[tokio::test]
async fn the_recorded_payment_has_succeeded_with_its_proof() {
    let node = RecordedNode::start(|_| Say::Json(200, recorded(SENT))).await;
    let about = recorded(SENT)["details"]["payment_hash"]
        .as_str()
        .unwrap()
        .to_owned();
    let state = state_of(&node, &about).await.unwrap();
    let PaymentState::Succeeded { fee, preimage } = state else {
        panic!("{state:?}");
    };
    assert!(fee.is_zero() && preimage.unwrap().opens(&hash(&about)));
}

#[tokio::test]
async fn a_payment_is_sent_with_the_admin_key_and_its_record_read() {
    let (request, _) = payable(21_000, 2000);
    let node = node(accepted, Some(record(&request, "success"))).await;
    assert_eq!(
        pay(&node, &request).await.unwrap(),
        PaymentState::Succeeded {
            fee: msat(3),
            preimage: None
        }
    );
    let [call] = &sent(&node)[..] else {
        panic!("one payment");
    };
    assert_eq!(
        call.json(),
        json!({ "out": true, "bolt11": request.bolt11 })
    );
    assert_eq!(call.header("x-api-key"), "1e146a9be8b44bdb861d5ccfc5168bc5");
}

#[tokio::test]
async fn what_has_a_record_is_not_sent_again() {
    let (request, _) = payable(21_000, 2000);
    for status in ["success", "pending", "failed"] {
        let record = record(&request, status);
        let node = RecordedNode::start(move |_| Say::Json(200, record.clone())).await;
        assert_ne!(pay(&node, &request).await.unwrap(), PaymentState::Unheard);
        assert!(sent(&node).is_empty());
    }
}

#[tokio::test]
async fn a_fee_that_might_exceed_the_limit_is_never_paid() {
    let (request, _) = payable(21_000, 1999);
    let node = node(accepted, None).await;
    assert_eq!(
        pay(&node, &request).await.unwrap(),
        PaymentState::Failed(PaymentFailure::NoRoute)
    );
    assert!(sent(&node).is_empty());
}

#[tokio::test]
async fn a_payment_under_way_is_pending_until_the_record_says_more() {
    let (request, _) = payable(21_000, 2000);
    let under_way = node(accepted, Some(record(&request, "pending"))).await;
    assert_eq!(
        pay(&under_way, &request).await.unwrap(),
        PaymentState::Pending
    );
    // Accepted, but not to be found a moment later.
    let odd = node(accepted, None).await;
    assert_eq!(pay(&odd, &request).await.unwrap(), PaymentState::Pending);
}

#[tokio::test]
async fn a_refused_payment_has_failed_for_the_reason_it_gives() {
    let (request, _) = payable(21_000, 2000);
    let failures = [
        ("Insufficient balance.", PaymentFailure::InsufficientBalance),
        (
            "You must reserve at least (2  sat) to cover potential routing fees.",
            PaymentFailure::InsufficientBalance,
        ),
        (
            "Payment failed: FAILURE_REASON_NO_ROUTE",
            PaymentFailure::NoRoute,
        ),
        ("Bolt11 decoding failed.", PaymentFailure::Other),
    ];
    for (detail, failure) in failures {
        for record in [None, Some(record(&request, "failed"))] {
            let node = node(move || refused(detail, "failed"), record).await;
            let state = pay(&node, &request).await.unwrap();
            assert_eq!(state, PaymentState::Failed(failure), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_what_was_paid_already_is_no_failure() {
    let (request, _) = payable(21_000, 2000);
    let again = || refused("Internal invoice already paid.", "failed");
    let node = node(again, Some(record(&request, "success"))).await;
    let state = pay(&node, &request).await.unwrap();
    assert!(matches!(state, PaymentState::Succeeded { .. }));
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_open() {
    let (request, _) = payable(21_000, 2000);
    let lost = node(|| Say::HangUp, None).await;
    let error = pay(&lost, &request).await.unwrap_err();
    assert!(!error.is_certain_refusal(), "{error}");
    let unsure = node(|| refused("Payment is still pending.", "pending"), None).await;
    let error = pay(&unsure, &request).await.unwrap_err();
    assert!(!error.is_certain_refusal(), "{error}");
    let silent = node(|| Say::Silence, Some(record(&request, "success"))).await;
    let impatient = PaymentRequest {
        patience: Duration::from_millis(300),
        ..request
    };
    assert_eq!(
        pay(&silent, &impatient).await.unwrap(),
        PaymentState::Pending
    );
    let state = pay(&silent, &impatient).await.unwrap();
    assert!(matches!(state, PaymentState::Succeeded { .. }));
    assert_eq!(sent(&silent).len(), 1);
}

#[tokio::test]
async fn an_incoming_payment_is_no_answer() {
    let about = recorded(RECEIVED)["details"]["payment_hash"].clone();
    let node = RecordedNode::start(|_| Say::Json(200, recorded(RECEIVED))).await;
    let error = state_of(&node, about.as_str().unwrap()).await.unwrap_err();
    let other = AnswerFault::OtherInvoice;
    assert!(matches!(error, NodeError::BadAnswer { fault, .. } if fault == other));
}

#[tokio::test]
async fn a_404_of_somebody_else_does_not_prove_that_nothing_was_paid() {
    let (request, _) = payable(21_000, 2000);
    let node = RecordedNode::start(|_| Say::Text(404, "404 page not found")).await;
    assert!(
        state_of(&node, &request.payment_hash.to_string())
            .await
            .is_err()
    );
    assert!(pay(&node, &request).await.is_err());
    assert!(sent(&node).is_empty());
}

#[tokio::test]
async fn a_wallet_that_cannot_be_asked_after_the_payment_leaves_it_pending() {
    let (request, _) = payable(21_000, 2000);
    let node = RecordedNode::start(|call: &Call| match (call.method.as_str(), call.earlier) {
        ("POST", _) => refused("Payment failed: anything", "failed"),
        _ if call.path.contains("fee-reserve") => Say::Json(200, json!({ "fee_reserve": 2000 })),
        (_, 0) => Say::Json(404, json!({ "detail": "Payment does not exist." })),
        _ => Say::Json(404, json!({ "detail": "Wallet not found." })),
    })
    .await;
    assert_eq!(pay(&node, &request).await.unwrap(), PaymentState::Pending);
}

#[tokio::test]
async fn a_payment_that_arrived_has_arrived_whatever_else_is_said_of_it() {
    let about = recorded(SENT)["details"]["payment_hash"]
        .as_str()
        .unwrap()
        .to_owned();
    for member in ["/preimage", "/details/fee", "/details/status"] {
        for odd in odd() {
            let answer = with(recorded(SENT), member, odd.clone());
            let node = RecordedNode::start(move |_| Say::Json(200, answer.clone())).await;
            let state = state_of(&node, &about).await.unwrap();
            let PaymentState::Succeeded { preimage, .. } = state else {
                panic!("{member}: {odd}: {state:?}");
            };
            assert_eq!(preimage.is_some(), member != "/preimage");
        }
    }
}
