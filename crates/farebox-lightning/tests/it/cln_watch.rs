//! Following Core Lightning's settlements: each once, in order, over broken connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use farebox_lightning::cln::Cln;
use farebox_lightning::{AnswerFault, NodeError, SettlementCursor, WatchEvent, WatchSettlements};
use serde_json::{Value, json};

use crate::cln::{options, refusal};
use crate::provider::clock;
use crate::recorded::{Call, RecordedNode, Say, msat, recorded};

const SETTLED: &str = include_str!("recorded/cln/waitanyinvoice.json");

/// What the documented node answers for the settlement with this index.
fn settled(index: u64) -> Value {
    let mut answer = recorded(SETTLED);
    answer["pay_index"] = index.into();
    answer["payment_hash"] = format!("{index:064x}").into();
    answer
}

/// A node on which the invoices up to `last` were paid, but for every tenth, which was deleted
/// since. A waiting call hangs up.
async fn node(last: Arc<AtomicU64>) -> RecordedNode {
    RecordedNode::start(move |call: &Call| {
        let after = call.json()["lastpay_index"].as_u64().unwrap();
        let next = (after + 1..).find(|index| index % 10 != 0).unwrap();
        if next <= last.load(Ordering::SeqCst) {
            Say::Json(201, settled(next))
        } else if call.json()["timeout"] == 0 {
            Say::Json(500, refusal(904, "Timed out"))
        } else {
            Say::HangUp
        }
    })
    .await
}

/// What is heard until the connection ends, and why it ended.
async fn watch(node: &RecordedNode, after: Option<u64>) -> (Vec<WatchEvent>, NodeError) {
    let backend = Cln::new(options(node, clock())).unwrap();
    let mut events = Vec::new();
    let mut sink = |event| events.push(event);
    let ended = backend.watch(after.map(SettlementCursor), &mut sink).await;
    (events, ended.unwrap_err())
}

fn indices(events: &[WatchEvent]) -> Vec<u64> {
    let index = |event: &WatchEvent| match event {
        WatchEvent::Listening => None,
        WatchEvent::Settled(settlement) => settlement.cursor.map(|cursor| cursor.0),
    };
    events.iter().filter_map(index).collect()
}

#[tokio::test]
async fn settlements_are_told_in_order_after_the_cursor() {
    let node = node(Arc::new(AtomicU64::new(13))).await;
    let (events, error) = watch(&node, Some(7)).await;
    assert_eq!(events[0], WatchEvent::Listening);
    assert_eq!(indices(&events), [8, 9, 11, 12, 13]);
    let WatchEvent::Settled(first) = events[1] else {
        panic!("{events:?}");
    };
    assert_eq!(first.asked, Some(msat(500_000_000)));
    assert_eq!(first.received, Some(msat(500_000_000)));
    assert!(error.is_temporary(), "{error}");
}

#[tokio::test]
async fn what_is_paid_while_nobody_listens_is_told_next_time() {
    let last = Arc::new(AtomicU64::new(3));
    let node = node(Arc::clone(&last)).await;
    let (events, _) = watch(&node, Some(2)).await;
    assert_eq!(indices(&events), [3]);
    last.store(5, Ordering::SeqCst);
    let (events, _) = watch(&node, Some(3)).await;
    assert_eq!(indices(&events), [4, 5]);
}

#[tokio::test]
async fn without_a_cursor_only_what_is_paid_from_now_on_is_told() {
    for paid in [0, 1, 9, 1023, 1025, 54_321] {
        let last = Arc::new(AtomicU64::new(paid));
        let node = node(Arc::clone(&last)).await;
        let (events, _) = watch(&node, None).await;
        assert_eq!(events, [WatchEvent::Listening], "{paid}");
        assert!(
            node.calls("/").len() < 60,
            "found in {}",
            node.calls("/").len()
        );
    }
}

#[tokio::test]
async fn an_index_that_does_not_grow_ends_the_watch() {
    let node = RecordedNode::start(|_| Say::Json(201, settled(5))).await;
    let (events, error) = watch(&node, Some(5)).await;
    assert!(events.is_empty());
    assert!(matches!(
        error,
        NodeError::BadAnswer {
            fault: AnswerFault::Missing("pay_index"),
            ..
        }
    ));
}

#[tokio::test]
async fn a_rune_that_does_not_allow_it_is_told() {
    let forbidden = json!({ "code": 1502, "message": "Not permitted" });
    let node = RecordedNode::start(move |_| Say::Json(401, forbidden.clone())).await;
    let (events, error) = watch(&node, Some(5)).await;
    assert!(events.is_empty());
    assert!(matches!(error, NodeError::Forbidden { .. }));
}
