//! Taking payments with phoenixd, by its documented answers.

use std::sync::Arc;

use farebox_core::{Secret, UnixMillis};
use farebox_http::client::CallError;
use farebox_lightning::Needs;
use farebox_lightning::phoenixd::{Phoenixd, read_webhook};
use farebox_lightning::{
    AnswerFault, CheckAccess, CreateInvoice, InvoiceFault, InvoiceState, LookupInvoice, Network,
    NodeError, NodeOptions, PaymentHashes, WebhookError, received_for,
};
use farebox_testkit::ManualClock;
use serde_json::{Value, json};

use crate::recorded::{
    RecordedNode, Say, clock_at, clock_of, hash, msat, odd, recorded, request_of, with,
};

const MADE: &str = include_str!("recorded/phoenixd/createinvoice.json");
const OVERPAID: &str = include_str!("recorded/phoenixd/incoming-overpaid.json");
const EXPIRED: &str = include_str!("recorded/phoenixd/incoming-expired.json");
const INFO: &str = include_str!("recorded/phoenixd/getinfo.json");

/// Within the documented payments' minute.
const THEN: UnixMillis = UnixMillis::new(1_750_942_500_000);

pub(crate) fn options(node: &RecordedNode, clock: Arc<ManualClock>) -> NodeOptions {
    let password = Secret::new("hunter2-hunter2".to_owned());
    NodeOptions {
        network: Network::Testnet,
        ..NodeOptions::new(node.url(), password, clock)
    }
}

fn backend(node: &RecordedNode, clock: Arc<ManualClock>) -> Phoenixd {
    Phoenixd::new(options(node, clock), None).unwrap()
}

fn bolt11() -> String {
    recorded(MADE)["serialized"].as_str().unwrap().to_owned()
}

async fn ask(node: &RecordedNode, hex: &str) -> Result<InvoiceState, NodeError> {
    let backend = backend(node, clock_at(THEN));
    backend.lookup_invoice(hash(hex)).await
}

async fn saying(say: impl Fn() -> Say + Send + Sync + 'static) -> RecordedNode {
    RecordedNode::start(move |_| say()).await
}

async fn create(node: &RecordedNode) -> Result<farebox_lightning::CreatedInvoice, NodeError> {
    let (request, _) = request_of(&bolt11());
    backend(node, clock_of(&bolt11()))
        .create_invoice(request)
        .await
}

async fn look_up(answer: Value, now: UnixMillis) -> Result<InvoiceState, NodeError> {
    let about = hash(answer["paymentHash"].as_str().unwrap());
    let node = saying(move || Say::Json(200, answer.clone())).await;
    backend(&node, clock_at(now)).lookup_invoice(about).await
}

#[tokio::test]
async fn an_invoice_is_asked_for_in_whole_satoshis_with_the_password_alone() {
    let node = saying(|| Say::Json(200, recorded(MADE))).await;
    let created = create(&node).await.unwrap();
    assert_eq!(created.bolt11, bolt11());
    assert_eq!(created.amount, msat(100_000));
    assert_eq!(
        created.payment_hash.to_string(),
        recorded(MADE)["paymentHash"]
    );
    let [call] = &node.calls("/createinvoice")[..] else {
        panic!("one call");
    };
    assert_eq!(call.method, "POST");
    assert_eq!(
        call.body,
        "description=a%20call%20%26%20more&amountSat=100&expirySeconds=600"
    );
    // Base64 of ":hunter2-hunter2".
    assert_eq!(
        call.header("authorization"),
        "Basic Omh1bnRlcjItaHVudGVyMg=="
    );
}

#[tokio::test]
async fn what_is_no_whole_satoshi_is_not_asked_for() {
    let node = saying(|| Say::Json(200, recorded(MADE))).await;
    let backend = backend(&node, clock_of(&bolt11()));
    let (mut request, _) = request_of(&bolt11());
    request.amount = msat(100_500);
    let error = backend.create_invoice(request).await.unwrap_err();
    assert!(matches!(error, NodeError::AmountOutOfRange { .. }));
    assert_eq!(backend.limits().cover(msat(100_500)), Some(msat(101_000)));
    assert!(node.calls("/").is_empty());
    assert_eq!(backend.payment_hashes(), PaymentHashes::Own);
}

#[tokio::test]
async fn a_long_memo_is_cut_to_what_it_takes() {
    let node = saying(|| Say::Json(200, recorded(MADE))).await;
    let (mut request, _) = request_of(&bolt11());
    request.memo = "€".repeat(100);
    let backend = backend(&node, clock_of(&bolt11()));
    backend.create_invoice(request).await.unwrap();
    let body = node.calls("/createinvoice")[0].body.clone();
    assert_eq!(body.matches("%E2%82%AC").count(), 42);
}

#[tokio::test]
async fn another_invoice_than_the_one_asked_for_is_refused() {
    let node = saying(|| Say::Json(200, recorded(MADE))).await;
    let (mut request, _) = request_of(&bolt11());
    request.amount = msat(99_000);
    let backend = backend(&node, clock_of(&bolt11()));
    assert!(matches!(
        backend.create_invoice(request).await,
        Err(NodeError::BadInvoice(InvoiceFault::Amount { .. }))
    ));
    let mainnet = NodeOptions {
        network: Network::Mainnet,
        ..options(&node, clock_of(&bolt11()))
    };
    let (request, _) = request_of(&bolt11());
    let other_network = Phoenixd::new(mainnet, None)
        .unwrap()
        .create_invoice(request)
        .await;
    assert!(matches!(
        other_network,
        Err(NodeError::BadInvoice(InvoiceFault::Network { .. }))
    ));
    let other_hash = with(recorded(MADE), "/paymentHash", "11".repeat(32));
    let node = saying(move || Say::Json(200, other_hash.clone())).await;
    assert!(matches!(
        create(&node).await,
        Err(NodeError::BadAnswer {
            fault: AnswerFault::OtherInvoice,
            ..
        })
    ));
}

#[tokio::test]
async fn its_refusals_are_told_and_its_outages_are_temporary() {
    let refused = saying(|| Say::Text(400, "Parameter for amountSat is invalid type")).await;
    let error = create(&refused).await.unwrap_err();
    assert!(
        error.to_string().contains("amountSat is invalid"),
        "{error}"
    );
    assert!(!error.is_temporary());
    let forbidden = saying(|| Say::Text(401, "Invalid authentication")).await;
    let error = create(&forbidden).await.unwrap_err();
    assert!(matches!(error, NodeError::Forbidden { status: 401, .. }));
    for status in [500, 502, 503] {
        let node = saying(move || Say::Text(status, "not now")).await;
        assert!(create(&node).await.unwrap_err().is_temporary());
    }
    let lost = saying(|| Say::HangUp).await;
    let error = create(&lost).await.unwrap_err();
    assert!(
        matches!(error, NodeError::Call(CallError::Unreachable { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn no_error_shows_the_password_or_a_preimage() {
    let answers = [
        Say::Text(401, "Invalid authentication"),
        Say::Json(200, with(recorded(OVERPAID), "/isPaid", "perhaps")),
        Say::HangUp,
    ];
    for answer in answers {
        let answer = std::sync::Mutex::new(Some(answer));
        let node = saying(move || answer.lock().unwrap().take().unwrap_or(Say::HangUp)).await;
        let error = ask(&node, recorded(OVERPAID)["paymentHash"].as_str().unwrap()).await;
        let shown = format!("{error:?}");
        assert!(error.is_err());
        for secret in ["hunter2", "Omh1bnRlcjIt", "ccfbc77a825d37a4"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[tokio::test]
async fn what_came_in_is_told_to_the_satoshi_overpaid_or_not() {
    let received = |sats: u64| InvoiceState::Settled {
        received: Some(msat(sats * 1000)),
    };
    assert_eq!(
        look_up(recorded(OVERPAID), THEN).await.unwrap(),
        received(1050)
    );
    let short = with(recorded(OVERPAID), "/receivedSat", 998);
    assert_eq!(look_up(short, THEN).await.unwrap(), received(998));
}

#[tokio::test]
async fn the_cost_of_a_channel_is_not_the_payers() {
    let opened = with(recorded(OVERPAID), "/receivedSat", 300);
    let opened = with(opened, "/fees", 699_100);
    let state = look_up(opened, THEN).await.unwrap();
    // What it cut off is less than a satoshi.
    let received = msat(999_100);
    let settled = InvoiceState::Settled {
        received: Some(received),
    };
    assert_eq!(state, settled);
    assert_eq!(received_for(msat(1_000_000), received), msat(1_000_000));
}

#[test]
fn no_more_than_a_part_of_a_satoshi_is_cut_off() {
    let received = |told| received_for(msat(100_000), msat(told)).get();
    assert_eq!([99_500, 99_001].map(received), [100_000, 100_000]);
    assert_eq!([99_000, 0].map(received), [99_000, 0]);
    assert_eq!(
        [100_000, 100_001, 150_000].map(received),
        [100_000, 100_001, 150_000]
    );
    assert_eq!(received_for(msat(500), msat(0)), msat(0));
}

#[tokio::test]
async fn a_paid_invoice_is_paid_whatever_else_is_said_of_it() {
    for member in [
        "requestedSat",
        "receivedSat",
        "fees",
        "expiresAt",
        "completedAt",
        "preimage",
    ] {
        for odd in odd() {
            let answer = with(recorded(OVERPAID), &format!("/{member}"), odd.clone());
            let state = look_up(answer, THEN).await;
            let is_settled = matches!(state, Ok(InvoiceState::Settled { .. }));
            assert!(is_settled, "{member}: {odd}: {state:?}");
        }
    }
    for written in [json!(1050), json!(1050.0), json!("1050")] {
        let answer = with(recorded(OVERPAID), "/receivedSat", written);
        let received = Some(msat(1_050_000));
        let state = look_up(answer, THEN).await.unwrap();
        assert_eq!(state, InvoiceState::Settled { received });
    }
}

#[tokio::test]
async fn an_unpaid_invoice_is_open_until_nothing_can_arrive_any_more() {
    let soon = UnixMillis::new(1_750_941_675_827 + 1000);
    assert_eq!(
        look_up(recorded(EXPIRED), soon).await.unwrap(),
        InvoiceState::Open
    );
    assert_eq!(
        look_up(recorded(EXPIRED), THEN).await.unwrap(),
        InvoiceState::Canceled
    );
}

#[tokio::test]
async fn a_hash_it_does_not_know_is_unknown_and_another_404_is_no_answer() {
    for text in ["Not found", "Unknown endpoint (check api doc)"] {
        let node = saying(move || Say::Text(404, text)).await;
        let state = ask(&node, &"22".repeat(32)).await;
        assert_eq!(state.unwrap(), InvoiceState::Unknown);
    }
    let node = saying(|| Say::Text(404, "<html>nginx")).await;
    let state = ask(&node, &"22".repeat(32)).await;
    assert!(state.is_err());
}

#[tokio::test]
async fn an_answer_about_another_payment_proves_nothing() {
    let node = saying(|| Say::Json(200, recorded(OVERPAID))).await;
    let state = ask(&node, &"22".repeat(32)).await;
    assert!(matches!(
        state,
        Err(NodeError::BadAnswer {
            fault: AnswerFault::OtherInvoice,
            ..
        })
    ));
}

#[tokio::test]
async fn doctor_learns_who_it_is_and_which_of_the_passwords_it_has() {
    let answer = |status, text| {
        move |call: &crate::recorded::Call| match call.path.as_str() {
            "/getinfo" => Say::Json(200, recorded(INFO)),
            _ => Say::Text(status, text),
        }
    };
    let full = RecordedNode::start(answer(400, "Missing parameter: invoice")).await;
    let report = backend(&full, clock_at(THEN)).check_access().await.unwrap();
    assert!(report.identity.contains("phoenixd 0.8.0"), "{report:?}");
    assert!(report.remarks.is_empty(), "{report:?}");
    assert!(report.missing.is_empty() && report.needless.len() == 1);
    let limited = RecordedNode::start(answer(401, "Invalid authentication")).await;
    let paying = NodeOptions {
        needs: Needs {
            pay: true,
            ..Needs::default()
        },
        network: Network::Mainnet,
        ..options(&limited, clock_at(THEN))
    };
    let report = Phoenixd::new(paying, None)
        .unwrap()
        .check_access()
        .await
        .unwrap();
    assert_eq!(report.missing.len(), 1);
    assert!(report.needless.is_empty());
    assert!(report.remarks[0].contains("testnet3"), "{report:?}");
}

#[tokio::test]
async fn doctor_says_when_payments_will_pay_for_a_channel() {
    let remark = async |channels: Value| {
        let info = with(recorded(INFO), "/channels", channels);
        let node = RecordedNode::start(move |call| match call.path.as_str() {
            "/getinfo" => Say::Json(200, info.clone()),
            _ => Say::Text(401, "Invalid authentication"),
        })
        .await;
        let report = backend(&node, clock_at(THEN)).check_access().await.unwrap();
        report.remarks.join(", ")
    };
    assert!(remark(json!([])).await.contains("no channel yet"));
    let full = json!([{ "inboundLiquiditySat": 7 }, { "inboundLiquiditySat": 12 }]);
    assert!(remark(full).await.contains("19 sat more"));
}

/// The example of the documentation, whose body is indented by four spaces.
fn documented_webhook() -> (Secret<String>, &'static str, String) {
    let secret = "ef72d3b96324106dfbf83f2a4efeff7dddb4ce923e9664cb56baf34cc52936b6";
    let signature = "77ffc40401024fb417e45fdd002de06bdbf3b48b90d09d05cccd06462920aed7";
    let body = concat!(
        "{\n",
        "    \"type\": \"payment_received\",\n",
        "    \"timestamp\": 1712785550079,\n",
        "    \"amountSat\": 8,\n",
        "    \"paymentHash\": \"e628f8a516e9d3ee5e212a675f8d0c9dc5e7a5d500c5f4f91c62e9e921492653\",\n",
        "    \"externalId\": null\n",
        "}"
    );
    (Secret::new(secret.to_owned()), signature, body.to_owned())
}

#[test]
fn the_documented_webhook_is_believed_and_names_the_payment() {
    let (secret, signature, body) = documented_webhook();
    let payment_hash = read_webhook(&secret, signature, body.as_bytes()).unwrap();
    assert!(payment_hash.to_string().starts_with("e628f8a516e9"));
}

#[test]
fn a_webhook_of_anybody_else_is_not_believed() {
    let (secret, signature, body) = documented_webhook();
    let changed = body.replace("\"amountSat\": 8", "\"amountSat\": 9");
    let read = |signature: &str, body: &str| read_webhook(&secret, signature, body.as_bytes());
    assert_eq!(read(signature, &changed), Err(WebhookError::Signature));
    assert_eq!(read("", &body), Err(WebhookError::Signature));
    assert_eq!(read(&signature[2..], &body), Err(WebhookError::Signature));
    let other = Secret::new("another".to_owned());
    let read = read_webhook(&other, signature, body.as_bytes());
    assert_eq!(read, Err(WebhookError::Signature));
    let long = " ".repeat(20_000);
    let read = read_webhook(&secret, signature, long.as_bytes());
    assert_eq!(read, Err(WebhookError::TooLarge { limit: 16_384 }));
}

#[test]
fn a_signed_webhook_about_something_else_is_no_payment() {
    use hmac::Mac;
    let secret = Secret::new("s".to_owned());
    for body in [
        json!({"type": "channel_opened", "paymentHash": "11".repeat(32)}),
        json!([]),
    ] {
        let body = body.to_string();
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(b"s").unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let read = read_webhook(&secret, &signature, body.as_bytes());
        assert_eq!(read, Err(WebhookError::NotAPayment));
    }
}
