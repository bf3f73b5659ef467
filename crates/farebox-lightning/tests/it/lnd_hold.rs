//! Held payments with LND.

use std::time::Duration;

use farebox_core::{PaymentHash, Preimage};
use farebox_http::client::CallError;
use farebox_lightning::{AnswerFault, HoldInvoice, HoldState, NodeError};
use serde_json::{Value, json};

use crate::lnd_fake::{
    Call, FakeNode, Reply, Then, added, base64, draft, invoice, msat, preimage, refusal,
};
use crate::provider::request;

fn secret() -> Preimage {
    preimage(8)
}

fn hash() -> PaymentHash {
    secret().payment_hash()
}

fn accepted() -> Value {
    let mut held = invoice(hash(), "ACCEPTED", 0, 0);
    held["htlcs"] = json!([
        { "state": "ACCEPTED", "amt_msat": "1500", "expiry_height": 540, "accept_height": 460 },
        { "state": "CANCELED", "amt_msat": "900", "expiry_height": 461, "accept_height": 450 },
        { "state": "ACCEPTED", "amt_msat": "600", "expiry_height": 531, "accept_height": 460 },
    ]);
    held
}

/// A node at height 500 whose invoice looks as given.
async fn node(shown: fn() -> Value) -> FakeNode {
    FakeNode::start(move |call| answer(call, shown)).await
}

fn answer(call: &Call, shown: fn() -> Value) -> Reply {
    match call.path.as_str() {
        "/v1/getinfo" => Reply::Json(200, json!({ "block_height": 500 })),
        "/v2/invoices/settle" | "/v2/invoices/cancel" => Reply::Json(200, json!({})),
        path if path.starts_with("/v1/invoice/") => Reply::Json(200, shown()),
        _ => Reply::Json(404, refusal(5, "Not Found")),
    }
}

#[tokio::test]
async fn a_held_invoice_is_for_the_hash_that_was_chosen() {
    let node = FakeNode::start(|call| {
        let mut draft = draft(call);
        draft.preimage = *secret().reveal();
        added(&draft)
    })
    .await;
    let lnd = node.lnd();
    let made = lnd
        .create_hold_invoice(hash(), request(2000))
        .await
        .unwrap();
    assert_eq!((made.payment_hash, made.amount), (hash(), msat(2000)));
    let asked = &node.seen("/v2/invoices/hodl")[0].body;
    assert_eq!(asked["hash"], base64(hash().as_bytes()));
    assert_eq!(asked["cltv_expiry"], "80");
    assert_eq!(asked["value_msat"], "2000");
    let other = preimage(1).payment_hash();
    let error = lnd
        .create_hold_invoice(other, request(2000))
        .await
        .unwrap_err();
    let fault = AnswerFault::OtherInvoice;
    assert!(matches!(error, NodeError::BadAnswer { fault: told, .. } if told == fault));
}

#[tokio::test]
async fn the_first_of_its_parts_to_expire_says_how_long_a_payment_may_be_held() {
    let node = node(accepted).await;
    let state = node.lnd().hold_state(hash()).await.unwrap();
    let received = msat(2100);
    assert_eq!(
        state,
        HoldState::Accepted {
            received,
            blocks_left: 31
        }
    );
}

#[tokio::test]
async fn a_payment_whose_time_is_over_has_no_blocks_left() {
    let over = || {
        let mut held = accepted();
        held["htlcs"][2]["expiry_height"] = 499.into();
        held
    };
    let node = node(over).await;
    let state = node.lnd().hold_state(hash()).await.unwrap();
    assert!(matches!(state, HoldState::Accepted { blocks_left: 0, .. }));
}

#[tokio::test]
async fn the_other_states_are_told_as_what_they_are() {
    for (shown, state) in [
        (open as fn() -> Value, HoldState::Open),
        (
            settled,
            HoldState::Settled {
                received: Some(msat(2000)),
            },
        ),
        (canceled, HoldState::Canceled),
    ] {
        assert_eq!(
            node(shown).await.lnd().hold_state(hash()).await.unwrap(),
            state
        );
    }
    let gone = |_: &Call| Reply::Json(404, refusal(5, "unable to locate invoice"));
    let node = FakeNode::start(gone).await;
    let lnd = node.lnd();
    assert_eq!(lnd.hold_state(hash()).await.unwrap(), HoldState::Unknown);
    assert_eq!(
        lnd.wait_while_open(hash()).await.unwrap(),
        HoldState::Unknown
    );
}

fn open() -> Value {
    invoice(hash(), "OPEN", 0, 0)
}

fn settled() -> Value {
    invoice(hash(), "SETTLED", 2000, 3)
}

fn canceled() -> Value {
    invoice(hash(), "CANCELED", 0, 0)
}

#[tokio::test]
async fn waiting_ends_when_the_payment_arrives() {
    let node = FakeNode::start(|call| {
        let subscribed = call.path.starts_with("/v2/invoices/subscribe/");
        match (subscribed, call.earlier) {
            (true, _) => {
                let lines = vec![json!({ "result": open() }), json!({ "result": accepted() })];
                Reply::Lines(lines, Then::Open)
            }
            (false, 0) => answer(call, open),
            (false, _) => answer(call, accepted),
        }
    })
    .await;
    let state = node.lnd().wait_while_open(hash()).await.unwrap();
    assert!(matches!(state, HoldState::Accepted { .. }));
    let stream = node
        .seen_paths()
        .into_iter()
        .find(|path| path.contains("subscribe"));
    assert!(stream.unwrap().ends_with('='));
}

#[tokio::test]
async fn waiting_that_breaks_is_an_error_and_not_an_answer() {
    let node = FakeNode::start(|call| match call.path.as_str() {
        path if path.starts_with("/v2/invoices/subscribe/") => {
            Reply::Lines(vec![json!({ "result": open() })], Then::Cut)
        }
        _ => answer(call, open),
    })
    .await;
    let error = node.lnd().wait_while_open(hash()).await.unwrap_err();
    assert!(matches!(
        error,
        NodeError::Call(CallError::Unreachable { .. })
    ));
}

#[tokio::test]
async fn waiting_goes_on_while_nothing_happens() {
    let node = FakeNode::start(|call| match call.path.as_str() {
        path if path.starts_with("/v2/invoices/subscribe/") => {
            Reply::Lines(vec![json!({ "result": open() })], Then::Open)
        }
        _ => answer(call, open),
    })
    .await;
    let lnd = node.impatient();
    let waiting = lnd.wait_while_open(hash());
    assert!(
        tokio::time::timeout(Duration::from_secs(1), waiting)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn settling_gives_the_preimage_and_canceling_only_the_hash() {
    let node = node(accepted).await;
    let lnd = node.lnd();
    lnd.settle_invoice(secret()).await.unwrap();
    lnd.cancel_invoice(hash()).await.unwrap();
    let settle = &node.seen("/v2/invoices/settle")[0].body;
    assert_eq!(settle, &json!({ "preimage": base64(secret().reveal()) }));
    let cancel = &node.seen("/v2/invoices/cancel")[0].body;
    assert_eq!(
        cancel,
        &json!({ "payment_hash": base64(hash().as_bytes()) })
    );
}

async fn denied(shown: fn() -> Value) -> FakeNode {
    FakeNode::start(move |call| match call.path.as_str() {
        "/v2/invoices/settle" | "/v2/invoices/cancel" => {
            Reply::Json(500, refusal(2, "invoice already settled or canceled"))
        }
        _ => answer(call, shown),
    })
    .await
}

#[tokio::test]
async fn what_is_already_so_needs_no_doing() {
    let node = denied(settled).await;
    let lnd = node.lnd();
    lnd.settle_invoice(secret()).await.unwrap();
    assert!(matches!(
        lnd.cancel_invoice(hash()).await,
        Err(NodeError::Refused { .. })
    ));
    let node = denied(canceled).await;
    let lnd = node.lnd();
    lnd.cancel_invoice(hash()).await.unwrap();
    assert!(matches!(
        lnd.settle_invoice(secret()).await,
        Err(NodeError::Refused { .. })
    ));
    let node = denied(open).await;
    let lnd = node.lnd();
    assert!(lnd.settle_invoice(secret()).await.is_err());
}

#[tokio::test]
async fn a_preimage_is_in_no_error() {
    let node = FakeNode::start(|_| Reply::Json(503, refusal(14, "transport is closing"))).await;
    let error = node.lnd().settle_invoice(secret()).await.unwrap_err();
    assert!(error.is_temporary());
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(&base64(secret().reveal())[..12]));
}
