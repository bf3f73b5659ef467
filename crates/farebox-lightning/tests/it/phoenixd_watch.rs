//! Following phoenixd's settlements, which come as lists of the newest.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use farebox_core::Secret;
use farebox_lightning::phoenixd::Phoenixd;
use farebox_lightning::{
    Backend, HearWebhook, NodeError, SettlementCursor, WatchEvent, WatchSettlements, WebhookError,
};
use hmac::Mac;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::phoenixd::options;
use crate::provider::clock;
use crate::recorded::{Call, RecordedNode, Say, msat, recorded};

const PAID: &str = include_str!("recorded/phoenixd/incoming-overpaid.json");

/// Payments that came in, each at its millisecond.
type Ledger = Arc<Mutex<Vec<u64>>>;

fn payment(at: u64) -> Value {
    let mut payment = recorded(PAID);
    payment["paymentHash"] = format!("{at:064x}").into();
    payment["completedAt"] = at.into();
    payment
}

fn parameter(call: &Call, name: &str) -> u64 {
    let query = call.path.split_once('?').unwrap().1;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name).unwrap();
    value.parse().unwrap()
}

/// The newest first, as phoenixd does. `then` happens after each answer and may end the connection.
async fn node(
    ledger: &Ledger,
    then: impl Fn(&Ledger, usize) -> bool + Send + Sync + 'static,
) -> RecordedNode {
    let ledger = Arc::clone(ledger);
    let asked = Mutex::new(0);
    RecordedNode::start(move |call| {
        let number = {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            *asked
        };
        let mut times = ledger.lock().unwrap().clone();
        times.sort_unstable();
        let since = parameter(call, "from");
        let found = times.into_iter().rev().filter(|at| *at >= since);
        let skip = usize::try_from(parameter(call, "offset")).unwrap();
        let take = usize::try_from(parameter(call, "limit")).unwrap();
        let found: Vec<Value> = found.skip(skip).take(take).map(payment).collect();
        if then(&ledger, number) {
            Say::Json(200, json!(found))
        } else {
            Say::HangUp
        }
    })
    .await
}

/// What is heard until the connection ends.
async fn watch(node: &RecordedNode, after: Option<u64>) -> (Vec<u64>, NodeError) {
    let backend = Phoenixd::new(options(node, clock()), None).unwrap();
    let mut heard = Vec::new();
    let mut listening = 0;
    let mut sink = |event| match event {
        WatchEvent::Listening => listening += 1,
        WatchEvent::Settled(settlement) => heard.push(settlement.cursor.unwrap().0),
    };
    let ended = backend.watch(after.map(SettlementCursor), &mut sink).await;
    assert_eq!(listening, 1);
    (heard, ended.unwrap_err())
}

fn ledger(times: impl IntoIterator<Item = u64>) -> Ledger {
    Arc::new(Mutex::new(times.into_iter().collect()))
}

#[tokio::test]
async fn what_came_in_since_the_cursor_is_told_in_order_and_once() {
    let paid = ledger([1_000_000, 1_020_000, 1_021_000]);
    let late = |ledger: &Ledger, number| {
        if number == 1 {
            // Written late, and before the newest.
            ledger.lock().unwrap().extend([1_020_500, 1_022_000]);
        }
        number < 3
    };
    let node = node(&paid, late).await;
    let (heard, error) = watch(&node, Some(1_015_000)).await;
    assert_eq!(heard, [1_020_000, 1_021_000, 1_020_500, 1_022_000]);
    assert!(error.is_temporary(), "{error}");
}

#[tokio::test]
async fn without_a_cursor_only_what_comes_in_from_now_on_is_told() {
    let paid = ledger([1_000_000, 1_000_500]);
    let then = |ledger: &Ledger, number| {
        if number == 2 {
            ledger.lock().unwrap().push(1_001_000);
        }
        number < 4
    };
    let node = node(&paid, then).await;
    let (heard, _) = watch(&node, None).await;
    assert_eq!(heard, [1_001_000]);
}

#[tokio::test]
async fn many_are_fetched_page_by_page() {
    let paid = ledger(2_000_000..2_000_250);
    let node = node(&paid, |_, number| number < 4).await;
    let (heard, _) = watch(&node, Some(2_000_000)).await;
    assert!(heard.iter().copied().eq(2_000_000..2_000_250));
}

#[tokio::test]
async fn a_settlement_says_what_was_asked_and_what_came() {
    let paid = ledger([1_000_000]);
    let node = node(&paid, |_, number| number < 2).await;
    let backend = Phoenixd::new(options(&node, clock()), None).unwrap();
    let mut heard = Vec::new();
    let mut sink = |event| heard.push(event);
    let after = Some(SettlementCursor(999_000));
    backend.watch(after, &mut sink).await.unwrap_err();
    let WatchEvent::Settled(settlement) = heard[1] else {
        panic!("{heard:?}");
    };
    assert_eq!(settlement.asked, Some(msat(1_000_000)));
    assert_eq!(settlement.received, Some(msat(1_050_000)));
}

const WEBHOOK_SECRET: &str = "ef72d3b96324106dfbf83f2a4efeff7d";

/// Tells of a payment as phoenixd does.
fn ring(backend: &Phoenixd, secret: &str, at: u64) -> Result<(), WebhookError> {
    let hash = format!("{at:064x}");
    let body = json!({ "type": "payment_received", "amountSat": 1, "paymentHash": hash });
    let body = body.to_string();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let heard = backend.hear(&signature, body.as_bytes());
    heard.map(|payment_hash| assert_eq!(payment_hash.to_string(), hash))
}

#[tokio::test]
async fn its_webhook_makes_the_next_question_come_at_once() {
    // Once it was heard, questions are asked every ten seconds, unless it rings.
    let soon = Duration::from_secs(5);
    let paid = ledger([1_000_000]);
    let (asked, mut questions) = mpsc::unbounded_channel();
    let node = node(&paid, move |_, number| asked.send(number).is_ok()).await;
    let secret = Secret::new(WEBHOOK_SECRET.to_owned());
    let backend = Phoenixd::new(options(&node, clock()), Some(secret));
    let backend = Arc::new(backend.unwrap());
    let (tell, mut heard) = mpsc::unbounded_channel();
    let watched = Arc::clone(&backend);
    let watching = tokio::spawn(async move {
        let mut sink = |event| {
            let _ = tell.send(event);
        };
        let after = Some(SettlementCursor(1_000_000));
        watched.watch(after, &mut sink).await
    });
    assert_eq!(heard.recv().await, Some(WatchEvent::Listening));
    heard.recv().await.unwrap();

    ring(&backend, WEBHOOK_SECRET, 1_000_000).unwrap();
    // The first question, the one after the bell, and one more a second later.
    for _ in 0..3 {
        questions.recv().await.unwrap();
    }
    let quiet = tokio::time::timeout(Duration::from_secs(2), questions.recv()).await;
    assert!(quiet.is_err(), "it is asked as often as before");
    paid.lock().unwrap().push(1_001_000);
    let forged = ring(&backend, "somebody-else-s-secret", 1_001_000);
    assert_eq!(forged, Err(WebhookError::Signature));
    ring(&backend, WEBHOOK_SECRET, 1_001_000).unwrap();
    let told = tokio::time::timeout(soon, heard.recv()).await.unwrap();
    let Some(WatchEvent::Settled(settlement)) = told else {
        panic!("{told:?}");
    };
    // What phoenixd answers counts, not what the webhook says.
    assert_eq!(settlement.received, Some(msat(1_050_000)));

    // The same again: asked again, and told once.
    ring(&backend, WEBHOOK_SECRET, 1_001_000).unwrap();
    tokio::time::timeout(soon, questions.recv()).await.unwrap();
    tokio::time::timeout(soon, questions.recv()).await.unwrap();
    assert!(heard.try_recv().is_err());
    watching.abort();
}

#[tokio::test]
async fn without_a_secret_no_webhook_is_heard() {
    let node = node(&ledger([]), |_, _| true).await;
    let backend = Arc::new(Phoenixd::new(options(&node, clock()), None).unwrap());
    assert!(Backend::from(backend.clone()).webhook.is_none());
    let heard = backend.hear(&"0".repeat(64), b"{}");
    assert_eq!(heard, Err(WebhookError::Signature));
}

#[tokio::test]
async fn a_payment_in_a_form_that_is_not_read_hides_no_other() {
    let node = RecordedNode::start(|call| {
        let mut broken = payment(1_000_001);
        broken["paymentHash"] = json!(7);
        let mut odd = payment(1_000_002);
        odd["fees"] = json!(-1);
        odd["requestedSat"] = json!("many");
        odd["completedAt"] = json!(1_000_002.5);
        match call.earlier {
            0 => Say::Json(
                200,
                json!([payment(1_000_003), odd, broken, payment(1_000_000)]),
            ),
            _ => Say::HangUp,
        }
    })
    .await;
    let (heard, _) = watch(&node, Some(1_000_000)).await;
    assert_eq!(heard, [1_000_000, 1_000_002, 1_000_003]);
}
