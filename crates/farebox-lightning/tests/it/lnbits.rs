//! Taking payments with an LNbits wallet, by the answers of LNbits 1.6.2.

use std::sync::Arc;

use farebox_core::Secret;
use farebox_lightning::Needs;
use farebox_lightning::lnbits::Lnbits;
use farebox_lightning::{
    AnswerFault, Backend, CheckAccess, CreateInvoice, CreatedInvoice, InvoiceFault, InvoiceState,
    LookupInvoice, Network, NodeError, NodeOptions, PaymentHashes,
};
use farebox_testkit::ManualClock;
use serde_json::{Value, json};

use crate::recorded::{
    Call, RecordedNode, Say, clock_of, hash, msat, odd, recorded, request_of, with,
};

const MADE: &str = include_str!("recorded/lnbits/made.json");
const PENDING: &str = include_str!("recorded/lnbits/pending.json");
const RECEIVED: &str = include_str!("recorded/lnbits/received.json");
const SENT: &str = include_str!("recorded/lnbits/sent.json");

const INVOICE_KEY: &str = "6bf7af0c3eab4e7c99ff7a576db70643";
const ADMIN_KEY: &str = "1e146a9be8b44bdb861d5ccfc5168bc5";

pub(crate) fn options(node: &RecordedNode, clock: Arc<ManualClock>) -> NodeOptions {
    let key = Secret::new(INVOICE_KEY.to_owned());
    NodeOptions {
        network: Network::Regtest,
        ..NodeOptions::new(node.url(), key, clock)
    }
}

/// With both keys.
pub(crate) fn payer(node: &RecordedNode, clock: Arc<ManualClock>) -> Lnbits {
    let admin_key = Secret::new(ADMIN_KEY.to_owned());
    Lnbits::new(options(node, clock), Some(&admin_key)).unwrap()
}

fn backend(node: &RecordedNode) -> Lnbits {
    Lnbits::new(options(node, clock_of(&bolt11())), None).unwrap()
}

fn bolt11() -> String {
    recorded(MADE)["bolt11"].as_str().unwrap().to_owned()
}

async fn saying(status: u16, answer: Value) -> RecordedNode {
    RecordedNode::start(move |_| Say::Json(status, answer.clone())).await
}

async fn create(node: &RecordedNode) -> Result<CreatedInvoice, NodeError> {
    let (request, _) = request_of(&bolt11());
    backend(node).create_invoice(request).await
}

async fn look_up(status: u16, answer: Value, about: &str) -> Result<InvoiceState, NodeError> {
    let node = saying(status, answer).await;
    backend(&node).lookup_invoice(hash(about)).await
}

fn hash_in(answer: &str) -> String {
    let answer = recorded(answer);
    let hash = answer["details"]["payment_hash"].as_str();
    hash.unwrap().to_owned()
}

#[tokio::test]
async fn an_invoice_is_asked_for_in_satoshis_with_the_invoice_key() {
    let node = saying(201, recorded(MADE)).await;
    let backend = payer(&node, clock_of(&bolt11()));
    let (request, _) = request_of(&bolt11());
    let created = backend.create_invoice(request).await.unwrap();
    assert_eq!(created.bolt11, bolt11());
    assert_eq!(created.amount, msat(5_000_000));
    let [call] = &node.calls("/api/v1/payments")[..] else {
        panic!("one call");
    };
    let body = json!({
        "out": false, "amount": 5000, "unit": "sat", "memo": "a call & more", "expiry": 600
    });
    assert_eq!(call.json(), body);
    assert_eq!(call.header("x-api-key"), INVOICE_KEY);
}

#[tokio::test]
async fn older_versions_call_the_invoice_a_payment_request() {
    let mut older = recorded(MADE);
    older.as_object_mut().unwrap().remove("bolt11");
    assert!(create(&saying(201, older).await).await.is_ok());
    let neither = json!({ "payment_hash": hash_in(PENDING) });
    let error = create(&saying(201, neither).await).await.unwrap_err();
    assert!(error.to_string().contains("`bolt11`"), "{error}");
}

#[tokio::test]
async fn without_an_admin_key_it_does_not_pretend_to_pay() {
    let node = saying(201, recorded(MADE)).await;
    let receiving = Backend::from(Arc::new(backend(&node)));
    assert!(receiving.pay.is_none() && receiving.lookup.is_some());
    let paying = Arc::new(payer(&node, clock_of(&bolt11())));
    assert!(Backend::from(paying.clone()).pay.is_some());
    assert_eq!(paying.payment_hashes(), PaymentHashes::Foreign);
    assert_eq!(paying.limits().cover(msat(1)), Some(msat(1000)));
}

#[tokio::test]
async fn another_invoice_than_the_one_asked_for_is_refused() {
    let node = saying(201, recorded(MADE)).await;
    let (mut request, _) = request_of(&bolt11());
    request.amount = msat(5_001_000);
    assert!(matches!(
        backend(&node).create_invoice(request).await,
        Err(NodeError::BadInvoice(InvoiceFault::Amount { .. }))
    ));
    let other_hash = with(recorded(MADE), "/payment_hash", "11".repeat(32));
    assert!(matches!(
        create(&saying(201, other_hash).await).await,
        Err(NodeError::BadAnswer {
            fault: AnswerFault::OtherInvoice,
            ..
        })
    ));
}

#[tokio::test]
async fn what_lnbits_refuses_is_told_and_what_its_node_did_not_answer_is_an_outage() {
    let large = "Invoice amount 100000000000 sats is too high. Max allowed: 10000000 sats.";
    let refusal = json!({ "detail": large, "status": "failed" });
    let error = create(&saying(520, refusal).await).await.unwrap_err();
    assert!(error.to_string().contains("is too high"), "{error}");
    assert!(!error.is_temporary());
    let fields = json!({ "detail": [{ "loc": ["body", "amount"], "msg": "no float" }] });
    let error = create(&saying(400, fields).await).await.unwrap_err();
    assert!(matches!(error, NodeError::Refused { .. }), "{error}");
    let node_is_down = json!({ "detail": "unexpected backend error.", "status": "pending" });
    let crashed = json!({ "detail": "Unexpected error! ID: 74hRRGwpu5vJtEph7ivGM5" });
    for (status, answer) in [(520, node_is_down), (500, crashed), (502, json!(""))] {
        let error = create(&saying(status, answer).await).await.unwrap_err();
        assert!(matches!(error, NodeError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_key_that_it_does_not_know_is_a_credential_that_is_not_accepted() {
    let unknown = json!({ "detail": "Wallet not found." });
    let error = create(&saying(404, unknown).await).await.unwrap_err();
    assert!(matches!(error, NodeError::Forbidden { status: 404, .. }));
    let read_only = json!({ "detail": "Invoice (or Admin) key required." });
    let error = create(&saying(403, read_only).await).await.unwrap_err();
    assert!(matches!(error, NodeError::Forbidden { status: 403, .. }));
}

#[tokio::test]
async fn an_invoice_is_open_until_it_was_credited() {
    let state = look_up(200, recorded(PENDING), &hash_in(PENDING)).await;
    assert_eq!(state.unwrap(), InvoiceState::Open);
    let state = look_up(200, recorded(RECEIVED), &hash_in(RECEIVED)).await;
    let received = Some(msat(5_000_000));
    assert_eq!(state.unwrap(), InvoiceState::Settled { received });
    let partly = with(recorded(RECEIVED), "/details/amount", 4_999_000);
    let state = look_up(200, partly, &hash_in(RECEIVED)).await;
    let received = Some(msat(4_999_000));
    assert_eq!(state.unwrap(), InvoiceState::Settled { received });
}

#[tokio::test]
async fn an_invoice_that_it_calls_failed_may_still_turn_out_paid() {
    let expired = with(recorded(PENDING), "/status", "failed");
    let state = look_up(200, expired, &hash_in(PENDING)).await;
    assert_eq!(state.unwrap(), InvoiceState::Open);
}

#[tokio::test]
async fn only_its_own_words_say_that_it_does_not_know_an_invoice() {
    let unknown = json!({ "detail": "Payment does not exist." });
    let state = look_up(404, unknown, &hash_in(PENDING)).await;
    assert_eq!(state.unwrap(), InvoiceState::Unknown);
    for answer in [json!({ "detail": "Not Found" }), json!("<html>")] {
        let state = look_up(404, answer, &hash_in(PENDING)).await;
        assert!(matches!(state, Err(NodeError::BadAnswer { .. })));
    }
}

#[tokio::test]
async fn what_everybody_is_told_without_a_key_proves_nothing() {
    let public = json!({ "paid": true, "preimage": "51".repeat(32) });
    let state = look_up(200, public, &hash_in(PENDING)).await;
    assert!(matches!(
        state,
        Err(NodeError::BadAnswer {
            fault: AnswerFault::Missing("details"),
            ..
        })
    ));
}

#[tokio::test]
async fn someone_elses_invoice_and_a_payment_of_ours_are_no_answer() {
    let about_another = look_up(200, recorded(RECEIVED), &hash_in(SENT)).await;
    let paid_by_us = look_up(200, recorded(SENT), &hash_in(SENT)).await;
    for state in [about_another, paid_by_us] {
        assert!(matches!(
            state,
            Err(NodeError::BadAnswer {
                fault: AnswerFault::OtherInvoice,
                ..
            })
        ));
    }
}

#[tokio::test]
async fn no_error_shows_a_key_or_the_preimage_that_lnbits_hands_out_early() {
    let broken = with(recorded(PENDING), "/paid", "maybe");
    let preimage = recorded(PENDING)["details"]["preimage"].clone();
    for node in [
        saying(200, broken).await,
        saying(404, json!({ "detail": format!("no {INVOICE_KEY}") })).await,
        RecordedNode::start(|_| Say::HangUp).await,
    ] {
        let error = backend(&node).lookup_invoice(hash(&hash_in(PENDING))).await;
        let shown = format!("{:?}", error.unwrap_err());
        for secret in [INVOICE_KEY, preimage.as_str().unwrap()] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// LNbits tells an admin key the wallet's id.
fn wallet(call: &Call) -> Say {
    assert_eq!(call.path, "/api/v1/wallet");
    let mut wallet = json!({ "name": "seller", "balance": 0 });
    match call.header("x-api-key") {
        ADMIN_KEY => wallet["id"] = "b0c4603b4b294cd2a851b338c4f995b7".into(),
        INVOICE_KEY => {}
        _ => return Say::Json(404, json!({ "detail": "Wallet not found." })),
    }
    Say::Json(200, wallet)
}

#[tokio::test]
async fn doctor_notices_keys_that_were_mixed_up() {
    let node = RecordedNode::start(wallet).await;
    let report = async |admin_key: Option<&str>, change: fn(NodeOptions) -> NodeOptions| {
        let options = change(options(&node, clock_of(&bolt11())));
        let admin_key = admin_key.map(|key| Secret::new(key.to_owned()));
        let backend = Lnbits::new(options, admin_key.as_ref()).unwrap();
        backend.check_access().await
    };
    let right = report(None, |options| options).await.unwrap();
    assert!(
        right.missing.is_empty() && right.needless.is_empty(),
        "{right:?}"
    );
    assert_eq!(right.identity, "LNbits, wallet seller");
    let broad = report(None, |options| NodeOptions {
        credential: Secret::new(ADMIN_KEY.to_owned()),
        ..options
    });
    assert_eq!(broad.await.unwrap().needless.len(), 1);
    let unable = report(Some(INVOICE_KEY), |options| options);
    assert_eq!(unable.await.unwrap().missing.len(), 1);
    let lacking = report(None, |options| NodeOptions {
        needs: Needs {
            pay: true,
            ..Needs::default()
        },
        ..options
    });
    assert_eq!(lacking.await.unwrap().missing.len(), 1);
    let idle = report(Some(ADMIN_KEY), |options| options).await.unwrap();
    assert_eq!(idle.needless.len(), 1);
    let unknown = report(None, |options| NodeOptions {
        credential: Secret::new("nobody".to_owned()),
        ..options
    });
    let error = unknown.await;
    assert!(matches!(error, Err(NodeError::Forbidden { .. })));
}

#[tokio::test]
async fn a_credited_invoice_is_paid_whatever_else_is_said_of_it() {
    let members = [
        "/preimage",
        "/details/amount",
        "/details/fee",
        "/details/status",
        "/details/bolt11",
    ];
    for (member, odd) in members
        .into_iter()
        .flat_map(|it| odd().map(|odd| (it, odd)))
    {
        let answer = with(recorded(RECEIVED), member, odd.clone());
        let state = look_up(200, answer, &hash_in(RECEIVED)).await;

        if (member, &odd) == ("/details/amount", &json!(-1)) {
            // It went out.
            assert!(state.is_err());
            continue;
        }
        let is_settled = matches!(state, Ok(InvoiceState::Settled { .. }));
        assert!(is_settled, "{member}: {odd}: {state:?}");
    }
    for written in [json!(5_000_000.0), json!("5000000")] {
        let answer = with(recorded(RECEIVED), "/details/amount", written);
        let received = Some(msat(5_000_000));
        let state = look_up(200, answer, &hash_in(RECEIVED)).await.unwrap();
        assert_eq!(state, InvoiceState::Settled { received });
    }
}
