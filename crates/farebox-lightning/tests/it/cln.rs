//! Taking payments with Core Lightning, by its documented answers.

use std::sync::Arc;

use farebox_core::{Secret, UnixMillis};
use farebox_lightning::Needs;
use farebox_lightning::cln::Cln;
use farebox_lightning::{
    AnswerFault, CheckAccess, CreateInvoice, CreatedInvoice, InvoiceFault, InvoiceState,
    LookupInvoice, Network, NodeError, NodeOptions, PaymentHashes,
};
use farebox_testkit::ManualClock;
use serde_json::{Value, json};

use crate::recorded::{
    Call, RecordedNode, Say, clock_at, clock_of, hash, msat, odd, recorded, request_of, with,
};

const MADE: &str = include_str!("recorded/cln/invoice.json");
const PAID: &str = include_str!("recorded/cln/listinvoices-paid.json");
const UNPAID: &str = include_str!("recorded/cln/listinvoices-unpaid.json");
const INFO: &str = include_str!("recorded/cln/getinfo.json");

const RUNE: &str = "_RWaZZRI7wAYU2hqlFBmYgC_dFczcpAdI_9O87YbDpg9MA==";

pub(crate) fn options(node: &RecordedNode, clock: Arc<ManualClock>) -> NodeOptions {
    NodeOptions {
        network: Network::Regtest,
        ..NodeOptions::new(node.url(), Secret::new(format!("{RUNE}\n")), clock)
    }
}

pub(crate) fn refusal(code: i64, message: &str) -> Value {
    json!({ "code": code, "message": message })
}

fn backend(node: &RecordedNode, clock: Arc<ManualClock>) -> Cln {
    Cln::new(options(node, clock)).unwrap()
}

fn bolt11() -> String {
    recorded(MADE)["bolt11"].as_str().unwrap().to_owned()
}

async fn saying(status: u16, answer: Value) -> RecordedNode {
    RecordedNode::start(move |_| Say::Json(status, answer.clone())).await
}

async fn create(node: &RecordedNode) -> Result<CreatedInvoice, NodeError> {
    let (request, _) = request_of(&bolt11());
    let backend = backend(node, clock_of(&bolt11()));
    backend.create_invoice(request).await
}

async fn look_up(answer: Value, about: &str) -> Result<InvoiceState, NodeError> {
    let node = saying(201, answer).await;
    let backend = backend(&node, clock_at(UnixMillis::from_secs(1_738_000_000)));
    backend.lookup_invoice(hash(about)).await
}

fn hash_in(answer: &Value) -> String {
    answer["invoices"][0]["payment_hash"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn an_invoice_is_asked_for_to_the_millisatoshi_under_a_label_of_its_own() {
    let node = saying(201, recorded(MADE)).await;
    let created = create(&node).await.unwrap();
    assert_eq!(created.bolt11, bolt11());
    assert_eq!(created.amount, msat(10_000));
    create(&node).await.unwrap();
    let calls = node.calls("/v1/invoice");
    let bodies: Vec<Value> = calls.iter().map(Call::json).collect();
    assert_eq!(bodies[0]["amount_msat"], 10_000);
    assert_eq!(bodies[0]["description"], "a call & more");
    assert_eq!(bodies[0]["expiry"], 600);
    assert_ne!(bodies[0]["label"], bodies[1]["label"]);
    assert_eq!(calls[0].header("rune"), RUNE);
    assert_eq!(calls[0].method, "POST");
}

#[tokio::test]
async fn a_description_has_no_escapes_and_fits_an_invoice() {
    let node = saying(201, recorded(MADE)).await;
    let (mut request, _) = request_of(&bolt11());
    request.memo = format!("two\nlines\u{1}{}", "é".repeat(400));
    let backend = backend(&node, clock_of(&bolt11()));
    backend.create_invoice(request).await.unwrap();
    let body = &node.calls("/v1/invoice")[0];
    assert!(!body.body.contains('\\'), "{}", body.body);
    let description = body.json()["description"].as_str().unwrap().to_owned();
    assert!(description.starts_with("two lines é") && description.len() == 638);
}

#[tokio::test]
async fn less_than_a_satoshi_is_sold_only_where_the_operator_says_so() {
    let node = saying(201, recorded(MADE)).await;
    let careful = backend(&node, clock_of(&bolt11()));
    assert_eq!(careful.limits().cover(msat(1)), Some(msat(1000)));
    assert_eq!(careful.limits().cover(msat(1001)), Some(msat(1001)));
    let bold = NodeOptions {
        min_amount: Some(msat(1)),
        ..options(&node, clock_of(&bolt11()))
    };
    assert_eq!(
        Cln::new(bold).unwrap().limits().cover(msat(1)),
        Some(msat(1))
    );
    let (mut request, _) = request_of(&bolt11());
    request.amount = msat(999);
    let error = careful.create_invoice(request).await.unwrap_err();
    assert!(matches!(error, NodeError::AmountOutOfRange { .. }));
    assert!(node.calls("/").is_empty());
    assert_eq!(careful.payment_hashes(), PaymentHashes::Own);
}

#[tokio::test]
async fn another_invoice_than_the_one_asked_for_is_refused() {
    let node = saying(201, recorded(MADE)).await;
    let (mut request, _) = request_of(&bolt11());
    request.amount = msat(10_001);
    let backend = backend(&node, clock_of(&bolt11()));
    assert!(matches!(
        backend.create_invoice(request).await,
        Err(NodeError::BadInvoice(InvoiceFault::Amount { .. }))
    ));
    let other_hash = with(recorded(MADE), "/payment_hash", "11".repeat(32));
    let node = saying(201, other_hash).await;
    assert!(matches!(
        create(&node).await,
        Err(NodeError::BadAnswer {
            fault: AnswerFault::OtherInvoice,
            ..
        })
    ));
}

#[tokio::test]
async fn what_a_command_refuses_is_told_and_what_a_rune_forbids_is_not() {
    let duplicate = saying(500, refusal(900, "Duplicate label 'x'")).await;
    let error = create(&duplicate).await.unwrap_err();
    assert!(error.to_string().contains("Duplicate label"), "{error}");
    assert!(!error.is_temporary());
    for (status, code) in [(401, 1502), (401, 1501), (403, 1501)] {
        let message = format!("Not permitted: {RUNE}");
        let node = saying(status, refusal(code, &message)).await;
        let error = create(&node).await.unwrap_err();
        assert!(matches!(error, NodeError::Forbidden { .. }));
        assert!(!format!("{error:?}").contains("_RWaZZ"), "{error:?}");
    }
}

#[tokio::test]
async fn a_node_that_clnrest_does_not_reach_is_an_outage() {
    let lost = json!({ "message": "No such file or directory" });
    for node in [
        saying(500, lost).await,
        saying(502, json!("bad gateway")).await,
    ] {
        let error = create(&node).await.unwrap_err();
        assert!(matches!(error, NodeError::Unavailable { .. }), "{error}");
    }
    let silent = RecordedNode::start(|_| Say::HangUp).await;
    assert!(create(&silent).await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn the_documented_invoices_are_settled_and_open() {
    let paid = recorded(PAID);
    let state = look_up(paid.clone(), &hash_in(&paid)).await.unwrap();
    let received = Some(msat(500_000_000));
    assert_eq!(state, InvoiceState::Settled { received });
    let unpaid = recorded(UNPAID);
    let state = look_up(unpaid.clone(), &hash_in(&unpaid)).await.unwrap();
    assert_eq!(state, InvoiceState::Open);
    let expired = with(unpaid.clone(), "/invoices/0/status", "expired");
    let state = look_up(expired, &hash_in(&unpaid)).await.unwrap();
    assert_eq!(state, InvoiceState::Canceled);
}

#[tokio::test]
async fn amounts_are_read_as_numbers_and_as_texts() {
    let about = hash_in(&recorded(PAID));
    let pointer = "/invoices/0/amount_received_msat";
    for written in [json!(499_999_999), json!("499999999msat")] {
        let state = look_up(with(recorded(PAID), pointer, written), &about).await;
        let received = Some(msat(499_999_999));
        assert_eq!(state.unwrap(), InvoiceState::Settled { received });
    }
}

#[tokio::test]
async fn a_paid_invoice_is_paid_whatever_else_is_said_of_it() {
    let about = hash_in(&recorded(PAID));
    let members = [
        "amount_msat",
        "amount_received_msat",
        "pay_index",
        "payment_preimage",
        "paid_at",
    ];
    let words = [json!("5sat"), json!("msat")];
    for member in members {
        for odd in odd().into_iter().chain(words.clone()) {
            let answer = with(
                recorded(PAID),
                &format!("/invoices/0/{member}"),
                odd.clone(),
            );
            let state = look_up(answer, &about).await;
            let is_settled = matches!(state, Ok(InvoiceState::Settled { .. }));
            assert!(is_settled, "{member}: {odd}: {state:?}");
        }
    }
}

#[tokio::test]
async fn a_hash_without_an_invoice_is_unknown_and_another_invoice_is_no_answer() {
    let about = "22".repeat(32);
    let state = look_up(json!({ "invoices": [] }), &about).await.unwrap();
    assert_eq!(state, InvoiceState::Unknown);
    assert!(matches!(
        look_up(recorded(PAID), &about).await,
        Err(NodeError::BadAnswer {
            fault: AnswerFault::OtherInvoice,
            ..
        })
    ));
    let odd = with(recorded(PAID), "/invoices/0/status", "odd");
    let error = look_up(odd.clone(), &hash_in(&odd)).await.unwrap_err();
    let shown = format!("{error:?}");
    assert!(!shown.contains("08377744ca985c19"), "{shown}");
}

/// A node whose rune allows these commands.
async fn allowing(commands: &'static [&'static str]) -> RecordedNode {
    RecordedNode::start(move |call| {
        let command = call.path.trim_start_matches("/v1/");
        if command == "getinfo" {
            return Say::Json(201, recorded(INFO));
        }
        assert!(call.json()["farebox_asks_what_this_rune_allows"] == true);
        if commands.contains(&command) {
            Say::Json(500, refusal(-32602, "unknown parameter"))
        } else {
            Say::Json(401, refusal(1502, "Not permitted"))
        }
    })
    .await
}

#[tokio::test]
async fn doctor_names_what_the_rune_lacks_and_what_it_does_not_need() {
    let needs = Needs {
        pay: true,
        ..Needs::default()
    };
    let report = async |node: &RecordedNode, needs| {
        let clock = clock_of(&bolt11());
        let options = NodeOptions {
            needs,
            ..options(node, clock)
        };
        Cln::new(options).unwrap().check_access().await.unwrap()
    };
    let receiving = allowing(&["invoice", "listinvoices", "waitanyinvoice"]).await;
    let told = report(&receiving, Needs::default()).await;
    assert!(
        told.missing.is_empty() && told.needless.is_empty(),
        "{told:?}"
    );
    assert!(told.identity.contains("v25.05") && told.identity.contains("regtest"));
    assert!(told.remarks[0].contains("no channel"), "{told:?}");
    let told = report(&receiving, needs).await;
    assert_eq!(told.missing, ["xpay or pay", "listpays"]);
    let broad = allowing(&["invoice", "waitanyinvoice", "pay", "listfunds"]).await;
    let told = report(&broad, Needs::default()).await;
    assert_eq!(told.missing, ["listinvoices"]);
    assert_eq!(told.needless, ["xpay or pay", "listfunds"]);
}
