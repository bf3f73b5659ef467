//! Paying with Core Lightning: what fails stays unknown as long as a command may still be trying.

use std::time::Duration;

use farebox_core::{Clock, Preimage, UnixMillis};
use farebox_lightning::cln::Cln;
use farebox_lightning::{
    AnswerFault, NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState,
};
use serde_json::{Value, json};

use crate::cln::{options, refusal};
use crate::provider::clock;
use crate::recorded::{
    Call, RecordedNode, Say, clock_at, hash, msat, odd, payable, recorded, with,
};

const LISTED: &str = include_str!("recorded/cln/listpays-complete.json");
const XPAID: &str = include_str!("recorded/cln/xpay.json");
const PAID: &str = include_str!("recorded/cln/pay.json");

fn hex_of(preimage: &Preimage) -> String {
    hex::encode(preimage.reveal())
}

/// One attempt in the list of payments, begun at `at` seconds.
fn attempt(request: &PaymentRequest, status: &str, at: u64) -> Value {
    json!({
        "payment_hash": request.payment_hash.to_string(),
        "status": status,
        "created_at": at,
        "amount_sent_msat": request.amount.get() + 7,
    })
}

fn complete(request: &PaymentRequest, preimage: &Preimage) -> Value {
    let mut attempt = attempt(request, "complete", 0);
    attempt["preimage"] = hex_of(preimage).into();
    attempt["amount_msat"] = request.amount.get().into();
    attempt
}

/// A node whose list is empty at first and then has these attempts, and that answers a payment.
async fn node(
    paying: impl Fn(&Call) -> Say + Send + Sync + 'static,
    attempts: Vec<Value>,
) -> RecordedNode {
    RecordedNode::start(
        move |call: &Call| match (call.path.as_str(), call.earlier) {
            ("/v1/listpays", 0) => Say::Json(201, json!({ "pays": [] })),
            ("/v1/listpays", _) => Say::Json(201, json!({ "pays": attempts })),
            _ => paying(call),
        },
    )
    .await
}

async fn pay(node: &RecordedNode, request: &PaymentRequest) -> Result<PaymentState, NodeError> {
    let backend = Cln::new(options(node, clock())).unwrap();
    backend.pay_invoice(request.clone()).await
}

/// What the list says, at this moment of the test's clock.
async fn listed(attempts: Vec<Value>, request: &PaymentRequest, now: u64) -> PaymentState {
    let list = json!({ "pays": attempts });
    let node = RecordedNode::start(move |_| Say::Json(201, list.clone())).await;
    let clock = clock_at(UnixMillis::from_secs(now));
    let backend = Cln::new(options(&node, clock)).unwrap();
    backend.payment_state(request.payment_hash).await.unwrap()
}

#[tokio::test]
async fn the_documented_payment_has_succeeded_without_a_fee() {
    let node = RecordedNode::start(|_| Say::Json(201, recorded(LISTED))).await;
    let backend = Cln::new(options(&node, clock())).unwrap();
    let about = hash(
        recorded(LISTED)["pays"][0]["payment_hash"]
            .as_str()
            .unwrap(),
    );
    let state = backend.payment_state(about).await.unwrap();
    let PaymentState::Succeeded { fee, preimage } = state else {
        panic!("{state:?}");
    };
    assert!(fee.is_zero() && preimage.unwrap().opens(&about));
}

#[tokio::test]
async fn a_payment_names_its_fee_limit_and_is_proven() {
    let (request, preimage) = payable(10_000, 500);
    let answer = with(recorded(XPAID), "/payment_preimage", hex_of(&preimage));
    let node = node(move |_| Say::Json(201, answer.clone()), vec![]).await;
    assert_eq!(
        pay(&node, &request).await.unwrap(),
        PaymentState::Succeeded {
            fee: msat(2),
            preimage: Some(preimage)
        }
    );
    let body = node.calls("/v1/xpay")[0].json();
    assert_eq!(body["invstring"], request.bolt11);
    assert_eq!(body["maxfee"], 500);
    assert_eq!(body["retry_for"], 2);
}

#[tokio::test]
async fn a_node_or_rune_without_xpay_pays_the_older_way() {
    for (status, code) in [(404, -32601), (401, 1502)] {
        let (request, preimage) = payable(50_000, 500);
        let answer = with(recorded(PAID), "/payment_preimage", hex_of(&preimage));
        let paying = move |call: &Call| match call.path.as_str() {
            "/v1/xpay" => Say::Json(status, refusal(code, "no")),
            _ => Say::Json(201, answer.clone()),
        };
        let node = node(paying, vec![]).await;
        let state = pay(&node, &request).await.unwrap();
        assert!(matches!(state, PaymentState::Succeeded { fee, .. } if fee == msat(1)));
        assert_eq!(node.calls("/v1/pay")[0].json()["bolt11"], request.bolt11);
    }
}

#[tokio::test]
async fn a_rune_that_may_not_pay_pays_nothing_for_certain() {
    let (request, _) = payable(50_000, 500);
    let node = node(|_| Say::Json(401, refusal(1502, "no")), vec![]).await;
    let error = pay(&node, &request).await.unwrap_err();
    assert!(error.is_certain_refusal(), "{error}");
}

#[tokio::test]
async fn a_proof_that_proves_nothing_is_no_success() {
    let (request, _) = payable(10_000, 500);
    let node = node(|_| Say::Json(201, recorded(XPAID)), vec![]).await;
    assert!(matches!(
        pay(&node, &request).await,
        Err(NodeError::BadAnswer {
            fault: AnswerFault::Preimage,
            ..
        })
    ));
}

#[tokio::test]
async fn what_the_node_has_in_its_list_is_not_sent_again() {
    let (request, preimage) = payable(10_000, 500);
    for attempt in [
        complete(&request, &preimage),
        attempt(&request, "pending", 0),
        attempt(&request, "failed", 0),
    ] {
        let list = json!({ "pays": [attempt] });
        let node = RecordedNode::start(move |_| Say::Json(201, list.clone())).await;
        assert_ne!(pay(&node, &request).await.unwrap(), PaymentState::Unheard);
        assert!(node.calls("/v1/xpay").is_empty() && node.calls("/v1/pay").is_empty());
    }
}

#[tokio::test]
async fn a_refused_payment_has_failed_for_the_reason_of_its_code() {
    let (request, _) = payable(10_000, 500);
    let failures = [
        (205, PaymentFailure::NoRoute),
        (206, PaymentFailure::NoRoute),
        (203, PaymentFailure::RefusedByPayee),
        (207, PaymentFailure::RefusedByPayee),
        (-1, PaymentFailure::Other),
    ];
    for (code, failure) in failures {
        for attempts in [vec![], vec![attempt(&request, "failed", 0)]] {
            let node = node(move |_| Say::Json(500, refusal(code, "no")), attempts).await;
            let state = pay(&node, &request).await.unwrap();
            assert_eq!(state, PaymentState::Failed(failure), "{code}");
        }
    }
}

#[tokio::test]
async fn a_refusal_while_parts_are_under_way_is_no_failure() {
    let (request, preimage) = payable(10_000, 500);
    let under_way = vec![attempt(&request, "pending", 0)];
    let waiting = node(|_| Say::Json(500, refusal(205, "no")), under_way).await;
    assert_eq!(
        pay(&waiting, &request).await.unwrap(),
        PaymentState::Pending
    );
    let another = vec![attempt(&request, "failed", 0)];
    let busy = node(|_| Say::Json(500, refusal(200, "in progress")), another).await;
    assert_eq!(pay(&busy, &request).await.unwrap(), PaymentState::Pending);
    let arrived = vec![
        attempt(&request, "failed", 0),
        complete(&request, &preimage),
    ];
    let paid = node(|_| Say::Json(500, refusal(219, "already paid")), arrived).await;
    let state = pay(&paid, &request).await.unwrap();
    assert!(matches!(state, PaymentState::Succeeded { fee, .. } if fee == msat(7)));
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_open_and_is_not_sent_again() {
    let (request, preimage) = payable(10_000, 500);
    let attempts = vec![complete(&request, &preimage)];
    let lost = node(|_| Say::HangUp, attempts.clone()).await;
    let error = pay(&lost, &request).await.unwrap_err();
    assert!(!error.is_certain_refusal(), "{error}");
    let gone = json!({ "message": "connection reset" });
    let restarted = node(move |_| Say::Json(500, gone.clone()), attempts.clone()).await;
    assert!(pay(&restarted, &request).await.is_err());
    let silent = node(|_| Say::Silence, attempts).await;
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
    assert_eq!(silent.calls("/v1/xpay").len(), 1);
}

#[tokio::test]
async fn a_young_failure_may_be_between_two_tries() {
    let (request, _) = payable(10_000, 500);
    let failed = |at| attempt(&request, "failed", at);
    let began = clock().now().as_secs();
    let state = |attempts, after| listed(attempts, &request, began + after);
    assert_eq!(state(vec![failed(began)], 119).await, PaymentState::Pending);
    assert_eq!(
        state(vec![failed(began)], 122).await,
        PaymentState::Failed(PaymentFailure::Other)
    );
    let twice = vec![failed(began + 60), failed(began)];
    assert_eq!(state(twice, 122).await, PaymentState::Pending);
}

#[tokio::test]
async fn of_several_attempts_the_one_that_arrived_counts() {
    let (request, preimage) = payable(10_000, 500);
    let (other, _) = payable(20_000, 500);
    let mut elsewhere = attempt(&other, "pending", 0);
    elsewhere["payment_hash"] = "33".repeat(32).into();
    let failed = attempt(&request, "failed", 0);
    let now = clock().now().as_secs();
    let arrived = vec![
        failed.clone(),
        complete(&request, &preimage),
        attempt(&request, "pending", 0),
    ];
    let state = listed(arrived, &request, now).await;
    assert!(matches!(state, PaymentState::Succeeded { .. }));
    let under_way = vec![failed, attempt(&request, "pending", 0)];
    assert_eq!(
        listed(under_way, &request, now).await,
        PaymentState::Pending
    );
    let only_others = listed(vec![elsewhere], &request, now).await;
    assert_eq!(only_others, PaymentState::Unheard);
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_after_the_payment_leaves_it_pending() {
    let (request, _) = payable(10_000, 500);
    let node = RecordedNode::start(|call: &Call| match (call.path.as_str(), call.earlier) {
        ("/v1/listpays", 0) => Say::Json(201, json!({ "pays": [] })),
        ("/v1/listpays", _) => Say::Json(401, refusal(1502, "no longer")),
        _ => Say::Json(500, refusal(205, "no route")),
    })
    .await;
    assert_eq!(pay(&node, &request).await.unwrap(), PaymentState::Pending);
}

#[tokio::test]
async fn a_payment_that_is_complete_is_complete_whatever_else_is_said_of_it() {
    let (request, preimage) = payable(10_000, 500);
    for member in ["amount_msat", "amount_sent_msat", "preimage", "created_at"] {
        for odd in odd() {
            let mut attempt = complete(&request, &preimage);
            attempt[member] = odd.clone();
            let state = listed(vec![attempt], &request, 0).await;
            let PaymentState::Succeeded { preimage, .. } = state else {
                panic!("{member}: {odd}: {state:?}");
            };
            assert_eq!(preimage.is_some(), member != "preimage");
        }
    }
}
