//! Paying with phoenixd: its record of payments is believed, its answer is not enough.

use std::time::Duration;

use farebox_core::Preimage;
use farebox_lightning::phoenixd::Phoenixd;
use farebox_lightning::{NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState};
use serde_json::{Value, json};

use crate::phoenixd::options;
use crate::provider::clock;
use crate::recorded::{Call, RecordedNode, Say, hash, msat, odd, payable, recorded, with};

const SENT: &str = include_str!("recorded/phoenixd/outgoingbyhash.json");
const PAID: &str = include_str!("recorded/phoenixd/payinvoice.json");

/// The record of the payment that a test makes.
fn record(request: &PaymentRequest, preimage: &Preimage) -> Value {
    let mut record = recorded(SENT);
    record["paymentHash"] = request.payment_hash.to_string().into();
    record["preimage"] = hex::encode(preimage.reveal()).into();
    record
}

fn pending(mut record: Value) -> Value {
    record["isPaid"] = false.into();
    for key in ["preimage", "completedAt"] {
        record.as_object_mut().unwrap().remove(key);
    }
    record
}

fn failed(record: Value) -> Value {
    let mut record = pending(record);
    record["completedAt"] = 1_738_348_627_503_u64.into();
    record
}

fn unheard() -> Say {
    Say::Text(404, "Not found")
}

/// A node that has no record at first, answers the payment, and then has one, or none.
async fn node(
    paying: impl Fn() -> Say + Send + Sync + 'static,
    record: Option<Value>,
) -> RecordedNode {
    RecordedNode::start(move |call: &Call| {
        if call.path == "/payinvoice" {
            return paying();
        }
        match (&record, call.earlier) {
            (Some(record), 1..) => Say::Json(200, record.clone()),
            _ => unheard(),
        }
    })
    .await
}

async fn pay(node: &RecordedNode, request: &PaymentRequest) -> Result<PaymentState, NodeError> {
    let backend = Phoenixd::new(options(node, clock()), None).unwrap();
    backend.pay_invoice(request.clone()).await
}

fn reason(reason: &str) -> Say {
    let answer = json!({ "paymentHash": "00".repeat(32), "reason": reason });
    Say::Json(200, answer)
}

#[tokio::test]
async fn the_documented_record_tells_fee_and_proof() {
    let node = RecordedNode::start(|_| Say::Json(200, recorded(SENT))).await;
    let backend = Phoenixd::new(options(&node, clock()), None).unwrap();
    let about = hash(recorded(SENT)["paymentHash"].as_str().unwrap());
    let state = backend.payment_state(about).await.unwrap();
    let PaymentState::Succeeded { fee, preimage } = state else {
        panic!("{state:?}");
    };
    assert_eq!(fee, msat(4016));
    assert!(preimage.unwrap().opens(&about));
}

#[tokio::test]
async fn a_payment_is_sent_once_and_its_exact_fee_read_from_the_record() {
    let (request, preimage) = payable(1_000_000, 10_000);
    let node = node(
        || Say::Json(200, recorded(PAID)),
        Some(record(&request, &preimage)),
    )
    .await;
    let state = pay(&node, &request).await.unwrap();
    assert_eq!(
        state,
        PaymentState::Succeeded {
            fee: msat(4016),
            preimage: Some(preimage)
        }
    );
    let calls = node.calls("/payinvoice");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].body, format!("invoice={}", request.bolt11));
}

#[tokio::test]
async fn what_has_a_record_is_not_sent_again() {
    let (request, preimage) = payable(1_000_000, 10_000);
    let record = record(&request, &preimage);
    for record in [record.clone(), pending(record.clone()), failed(record)] {
        let node = RecordedNode::start(move |_| Say::Json(200, record.clone())).await;
        assert_ne!(pay(&node, &request).await.unwrap(), PaymentState::Unheard);
        assert!(node.calls("/payinvoice").is_empty());
    }
}

#[tokio::test]
async fn a_fee_above_the_limit_is_never_paid() {
    let (request, _) = payable(1_000_000, 7999);
    let node = node(|| Say::Json(200, recorded(PAID)), None).await;
    assert_eq!(
        pay(&node, &request).await.unwrap(),
        PaymentState::Failed(PaymentFailure::NoRoute)
    );
    assert!(node.calls("/payinvoice").is_empty());
    let (request, _) = payable(1_000_000, 8000);
    let _ = pay(&node, &request).await.unwrap();
    assert_eq!(node.calls("/payinvoice").len(), 1);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_open() {
    let (request, preimage) = payable(1_000_000, 10_000);
    let lost = node(|| Say::HangUp, Some(record(&request, &preimage))).await;
    let error = pay(&lost, &request).await.unwrap_err();
    assert!(!error.is_certain_refusal(), "{error}");
    let silent = node(|| Say::Silence, Some(record(&request, &preimage))).await;
    let impatient = PaymentRequest {
        patience: Duration::from_millis(300),
        ..request
    };
    assert_eq!(
        pay(&silent, &impatient).await.unwrap(),
        PaymentState::Pending
    );
    // Asked again, the record says that it arrived; it is not sent a second time.
    let state = pay(&silent, &impatient).await.unwrap();
    assert!(matches!(state, PaymentState::Succeeded { .. }));
    assert_eq!(silent.calls("/payinvoice").len(), 1);
}

#[tokio::test]
async fn a_refused_payment_has_failed_for_the_reason_it_gives() {
    let (request, preimage) = payable(1_000_000, 10_000);
    let failures = [
        (
            "not enough funds in wallet",
            PaymentFailure::InsufficientBalance,
        ),
        ("the recipient node is offline", PaymentFailure::NoRoute),
        (
            "payment rejected by recipient",
            PaymentFailure::RefusedByPayee,
        ),
        ("something else", PaymentFailure::Other),
    ];
    for (text, failure) in failures {
        for record in [None, Some(failed(record(&request, &preimage)))] {
            let node = node(move || reason(text), record).await;
            let state = pay(&node, &request).await.unwrap();
            assert_eq!(state, PaymentState::Failed(failure), "{text}");
        }
    }
    let malformed = node(|| Say::Text(400, "Cannot parse invoice"), None).await;
    let state = pay(&malformed, &request).await.unwrap();
    assert_eq!(state, PaymentState::Failed(PaymentFailure::Other));
}

#[tokio::test]
async fn a_refusal_because_it_is_under_way_already_is_no_failure() {
    let (request, preimage) = payable(1_000_000, 10_000);
    let under_way = pending(record(&request, &preimage));
    let node = node(|| reason("payment already in progress"), Some(under_way)).await;
    assert_eq!(pay(&node, &request).await.unwrap(), PaymentState::Pending);
}

#[tokio::test]
async fn the_limited_password_pays_nothing_for_certain() {
    let (request, _) = payable(1_000_000, 10_000);
    let node = node(|| Say::Text(401, "Invalid authentication"), None).await;
    let error = pay(&node, &request).await.unwrap_err();
    assert!(error.is_certain_refusal(), "{error}");
}

#[tokio::test]
async fn only_its_own_words_prove_that_it_never_heard_of_a_payment() {
    let (request, _) = payable(1_000_000, 10_000);
    let old = RecordedNode::start(|_| Say::Text(404, "Unknown endpoint (check api doc)")).await;
    let backend = Phoenixd::new(options(&old, clock()), None).unwrap();
    assert!(backend.payment_state(request.payment_hash).await.is_err());
    assert!(pay(&old, &request).await.is_err());
    assert!(old.calls("/payinvoice").is_empty());
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_after_the_payment_leaves_it_pending() {
    let (request, _) = payable(1_000_000, 10_000);
    let node = RecordedNode::start(|call: &Call| match (call.path.as_str(), call.earlier) {
        ("/payinvoice", _) => reason("something else"),
        (_, 0) => unheard(),
        _ => Say::Text(401, "Invalid authentication"),
    })
    .await;
    assert_eq!(pay(&node, &request).await.unwrap(), PaymentState::Pending);
}

#[tokio::test]
async fn a_payment_that_arrived_has_arrived_whatever_else_is_said_of_it() {
    for (member, odd) in ["fees", "preimage"]
        .into_iter()
        .flat_map(|it| odd().map(|odd| (it, odd)))
    {
        let answer = with(recorded(SENT), &format!("/{member}"), odd.clone());
        let about = hash(answer["paymentHash"].as_str().unwrap());
        let node = RecordedNode::start(move |_| Say::Json(200, answer.clone())).await;
        let backend = Phoenixd::new(options(&node, clock()), None).unwrap();
        let state = backend.payment_state(about).await.unwrap();
        let PaymentState::Succeeded { fee, preimage } = state else {
            panic!("{member}: {odd}: {state:?}");
        };
        // What is no proof is not kept as one.
        assert_eq!(preimage.is_some(), member != "preimage");
        assert_eq!(fee.is_zero(), member == "fees");
    }
}
