//! Paying with LND: a payment is made once, and what is not known stays unknown.

use std::time::{Duration, Instant};

use farebox_core::PaymentHash;
use farebox_http::client::CallError;
use farebox_lightning::{
    AnswerFault, NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState,
};
use serde_json::{Value, json};

use crate::lnd_fake::{FakeNode, Reply, Then, msat, payment, preimage, refusal};

const SEND: &str = "/v2/router/send";

fn hash() -> PaymentHash {
    preimage(6).payment_hash()
}

fn order(patience: Duration) -> PaymentRequest {
    PaymentRequest {
        bolt11: "lnbcrt20n1…".to_owned(),
        payment_hash: hash(),
        amount: msat(2000),
        max_fee: msat(21),
        patience,
    }
}

/// A node that answers sending with the first and tracking with the second.
async fn node(send: fn() -> Reply, track: fn() -> Reply) -> FakeNode {
    FakeNode::start(move |call| if call.path == SEND { send() } else { track() }).await
}

async fn paid(send: fn() -> Reply, track: fn() -> Reply) -> Result<PaymentState, NodeError> {
    let node = node(send, track).await;
    let outcome = node.lnd().pay_invoice(order(Duration::from_secs(10))).await;
    assert_eq!(node.seen(SEND).len(), 1, "sent once");
    outcome
}

fn once(status: &str, changes: &Value) -> Reply {
    Reply::Lines(vec![payment(hash(), status, changes)], Then::End)
}

fn unheard() -> Reply {
    Reply::Json(
        404,
        json!({ "error": refusal(5, "payment isn't initiated") }),
    )
}

fn refuses(http: u16, code: u64, message: &str) -> Reply {
    Reply::Json(http, json!({ "error": refusal(code, message) }))
}

fn succeeded() -> Reply {
    let proof = hex::encode(preimage(6).reveal());
    once(
        "SUCCEEDED",
        &json!({ "fee_msat": "7", "payment_preimage": proof }),
    )
}

fn success() -> PaymentState {
    PaymentState::Succeeded {
        fee: msat(7),
        preimage: Some(preimage(6)),
    }
}

#[tokio::test]
async fn a_payment_is_sent_with_its_limits_and_its_outcome_awaited() {
    let node = FakeNode::start(|_| {
        let proof = hex::encode(preimage(6).reveal());
        let lines = vec![
            payment(hash(), "IN_FLIGHT", &json!({})),
            payment(
                hash(),
                "SUCCEEDED",
                &json!({ "fee_msat": "7", "payment_preimage": proof }),
            ),
        ];
        Reply::Lines(lines, Then::Open)
    })
    .await;
    let outcome = node.lnd().pay_invoice(order(Duration::from_secs(30))).await;
    assert_eq!(outcome.unwrap(), success());
    let sent = &node.seen(SEND)[0].body;
    assert_eq!(sent["payment_request"], "lnbcrt20n1…");
    assert_eq!(sent["fee_limit_msat"], "21");
    assert_eq!(sent["timeout_seconds"], 28);
    assert_eq!(sent["no_inflight_updates"], true);
    assert_eq!(sent.get("amt_msat"), None);
}

#[tokio::test]
async fn each_reason_of_failure_is_told_as_what_it_is() {
    for (reason, failure) in [
        ("FAILURE_REASON_NO_ROUTE", PaymentFailure::NoRoute),
        ("FAILURE_REASON_TIMEOUT", PaymentFailure::NoRoute),
        (
            "FAILURE_REASON_INSUFFICIENT_BALANCE",
            PaymentFailure::InsufficientBalance,
        ),
        (
            "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS",
            PaymentFailure::RefusedByPayee,
        ),
        ("FAILURE_REASON_ERROR", PaymentFailure::Other),
        ("FAILURE_REASON_OF_TOMORROW", PaymentFailure::Other),
    ] {
        let node =
            FakeNode::start(move |_| once("FAILED", &json!({ "failure_reason": reason }))).await;
        let outcome = node
            .lnd()
            .pay_invoice(order(Duration::from_secs(9)))
            .await
            .unwrap();
        assert_eq!(outcome, PaymentState::Failed(failure), "{reason}");
    }
}

#[tokio::test]
async fn a_payment_that_takes_longer_than_the_patience_is_pending() {
    for reply in [
        || Reply::Silence,
        || Reply::Trickle,
        || Reply::Lines(vec![payment(hash(), "IN_FLIGHT", &json!({}))], Then::Open),
    ] {
        let node = node(reply, unheard).await;
        let begun = Instant::now();
        let outcome = node
            .lnd()
            .pay_invoice(order(Duration::from_millis(300)))
            .await;
        assert_eq!(outcome.unwrap(), PaymentState::Pending);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_an_outcome_leaves_it_open() {
    let ended = paid(|| once("IN_FLIGHT", &json!({})), unheard).await;
    assert_eq!(ended.unwrap(), PaymentState::Pending);
    let lines = || Reply::Lines(vec![payment(hash(), "IN_FLIGHT", &json!({}))], Then::Cut);
    let cut = paid(lines, unheard).await.unwrap_err();
    assert!(matches!(
        cut,
        NodeError::Call(CallError::Unreachable { .. })
    ));
    assert!(!cut.is_certain_refusal());
    let shutting_down = || {
        let error = refusal(2, "router server shutting down");
        Reply::Lines(vec![json!({ "error": error })], Then::End)
    };
    assert_eq!(
        paid(shutting_down, unheard).await.unwrap(),
        PaymentState::Pending
    );
}

#[tokio::test]
async fn what_was_paid_or_begun_before_is_asked_about_and_not_failed() {
    let already = || refuses(409, 6, "invoice is already paid");
    assert_eq!(paid(already, succeeded).await.unwrap(), success());
    let begun = || refuses(409, 6, "payment is in transition");
    let outcome = paid(begun, || once("IN_FLIGHT", &json!({}))).await;
    assert_eq!(outcome.unwrap(), PaymentState::Pending);
    // A refusal of the invoice itself says nothing about an earlier payment of it.
    let expired = || refuses(500, 2, "invoice expired. Valid until 2026-11-21");
    assert_eq!(paid(expired, succeeded).await.unwrap(), success());
    let outcome = paid(expired, || {
        Reply::Json(503, refusal(14, "transport is closing"))
    })
    .await;
    assert!(!outcome.unwrap_err().is_certain_refusal());
}

#[tokio::test]
async fn a_refusal_is_the_end_where_the_node_knows_of_no_payment() {
    let expired = || refuses(500, 2, "invoice expired. Valid until 2026-11-21");
    let outcome = paid(expired, unheard).await.unwrap();
    assert_eq!(
        outcome,
        PaymentState::Failed(PaymentFailure::RefusedByPayee)
    );
    let own = || refuses(500, 2, "self-payments not allowed");
    let outcome = paid(own, unheard).await.unwrap();
    assert_eq!(outcome, PaymentState::Failed(PaymentFailure::Other));
}

#[tokio::test]
async fn trouble_of_the_node_itself_is_never_a_refusal() {
    for reply in [
        || refuses(503, 14, "transport is closing"),
        || refuses(500, 2, "router server shutting down"),
        || refuses(504, 4, "context deadline exceeded"),
        || Reply::Raw {
            status: 502,
            headers: vec![],
            body: b"<html>".into(),
        },
        || Reply::Json(404, refusal(5, "Not Found")),
    ] {
        let error = paid(reply, unheard).await.unwrap_err();
        assert!(!error.is_certain_refusal(), "{error}");
    }
}

#[tokio::test]
async fn a_macaroon_that_may_not_pay_has_certainly_paid_nothing() {
    let denied = || refuses(500, 2, "permission denied");
    let error = paid(denied, unheard).await.unwrap_err();
    assert!(matches!(error, NodeError::Forbidden { .. }) && error.is_certain_refusal());
}

#[tokio::test]
async fn the_state_of_a_payment_is_the_first_thing_told() {
    let state = |reply: fn() -> Reply| async move {
        let node = FakeNode::start(move |_| reply()).await;
        let state = node.lnd().payment_state(hash()).await;
        let path = &node.seen_paths()[0];
        assert!(
            path.starts_with("/v2/router/track/") && path.ends_with('='),
            "{path}"
        );
        state
    };
    assert_eq!(state(succeeded).await.unwrap(), success());
    assert_eq!(state(unheard).await.unwrap(), PaymentState::Unheard);
    for open in ["IN_FLIGHT", "INITIATED", "UNKNOWN"] {
        let node = FakeNode::start(move |_| {
            Reply::Lines(vec![payment(hash(), open, &json!({}))], Then::Open)
        })
        .await;
        let state = node.lnd().payment_state(hash()).await.unwrap();
        assert_eq!(state, PaymentState::Pending);
    }
    assert_eq!(
        state(|| Reply::Lines(vec![], Then::End)).await.unwrap(),
        PaymentState::Pending
    );
    // Not the same as a payment that the node has never heard of.
    assert!(
        state(|| Reply::Json(404, refusal(5, "Not Found")))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_node_that_does_not_answer_about_a_payment_says_nothing() {
    let node = FakeNode::start(|_| Reply::Silence).await;
    let error = node.impatient().payment_state(hash()).await.unwrap_err();
    assert!(matches!(error, NodeError::Call(CallError::TimedOut { .. })));
}

#[tokio::test]
async fn an_answer_about_another_payment_settles_nothing() {
    let another = || {
        let other = preimage(7).payment_hash();
        Reply::Lines(vec![payment(other, "FAILED", &json!({}))], Then::End)
    };
    let error = paid(another, unheard).await.unwrap_err();
    let other = AnswerFault::OtherInvoice;
    assert!(matches!(error, NodeError::BadAnswer { fault, .. } if fault == other));
}

#[tokio::test]
async fn a_success_without_a_proof_is_still_a_success() {
    let wrong = || {
        let proof = hex::encode(preimage(7).reveal());
        once(
            "SUCCEEDED",
            &json!({ "fee_msat": "7", "payment_preimage": proof }),
        )
    };
    for reply in [wrong, || once("SUCCEEDED", &json!({ "fee_msat": "7" }))] {
        let outcome = paid(reply, unheard).await.unwrap();
        let fee = msat(7);
        assert_eq!(
            outcome,
            PaymentState::Succeeded {
                fee,
                preimage: None
            }
        );
    }
}
