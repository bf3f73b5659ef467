//! Hearing of settlements from LND.

use std::time::Duration;

use farebox_http::client::CallError;
use farebox_lightning::{NodeError, SettlementCursor, WatchEvent, WatchSettlements};
use serde_json::{Value, json};

use crate::lnd_fake::{Call, FakeNode, Reply, Then, invoice, msat, preimage, refusal};

const STREAM: &str = "/v1/invoices/subscribe";

fn line(byte: u8, state: &str, paid: u64, index: u64) -> Value {
    json!({ "result": invoice(preimage(byte).payment_hash(), state, paid, index) })
}

async fn streaming(lines: fn() -> Vec<Value>, then: Then) -> FakeNode {
    FakeNode::start(move |call| match call.path.as_str() {
        STREAM => Reply::Lines(lines(), then),
        _ => Reply::Json(200, json!({ "invoices": [] })),
    })
    .await
}

/// What is heard until the stream ends, and why it ended.
async fn heard(node: &FakeNode, after: Option<u64>) -> (Vec<WatchEvent>, Result<(), NodeError>) {
    let mut events = Vec::new();
    let mut sink = |event| events.push(event);
    let end = node
        .lnd()
        .watch(after.map(SettlementCursor), &mut sink)
        .await;
    (events, end)
}

fn indices(events: &[WatchEvent]) -> Vec<u64> {
    let index = |event: &WatchEvent| match event {
        WatchEvent::Settled(settlement) => settlement.cursor.map(|SettlementCursor(at)| at),
        WatchEvent::Listening => None,
    };
    events.iter().filter_map(index).collect()
}

#[tokio::test]
async fn a_settlement_is_told_with_what_was_asked_and_what_was_received() {
    let node = streaming(|| vec![line(1, "SETTLED", 2500, 9)], Then::End).await;
    let (events, end) = heard(&node, Some(1)).await;
    end.unwrap();
    assert_eq!(events[0], WatchEvent::Listening);
    let WatchEvent::Settled(settlement) = events[1] else {
        panic!("{events:?}")
    };
    assert_eq!(settlement.payment_hash, preimage(1).payment_hash());
    assert_eq!(settlement.asked, Some(msat(2000)));
    assert_eq!(settlement.received, Some(msat(2500)));
    assert_eq!(settlement.cursor, Some(SettlementCursor(9)));
}

#[tokio::test]
async fn the_last_known_settlement_comes_again_and_is_passed_over() {
    let lines = || vec![line(1, "SETTLED", 2000, 7), line(2, "SETTLED", 2000, 8)];
    let node = streaming(lines, Then::End).await;
    let (events, _) = heard(&node, Some(7)).await;
    assert_eq!(node.seen(STREAM)[0].query, "settle_index=6");
    assert_eq!(indices(&events), [8]);
}

#[tokio::test]
async fn a_node_set_up_anew_counts_from_the_start_and_is_still_heard() {
    let lines = || {
        (1..=8)
            .map(|index| line(3, "SETTLED", 2000, index))
            .collect()
    };
    let node = streaming(lines, Then::End).await;
    let (events, _) = heard(&node, Some(7)).await;
    assert_eq!(indices(&events), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn invoices_that_are_not_settled_are_no_settlements() {
    let lines = || {
        let mut trap = line(2, "OPEN", 0, 0);
        trap["result"]["memo"] = "\"state\": \"SETTLED\"".into();
        vec![
            line(1, "OPEN", 0, 0),
            trap,
            line(3, "CANCELED", 0, 0),
            line(4, "ACCEPTED", 2000, 0),
            line(5, "SETTLED", 2000, 1),
        ]
    };
    let (events, end) = heard(&streaming(lines, Then::End).await, Some(0)).await;
    end.unwrap();
    assert_eq!(indices(&events), [1]);
}

#[tokio::test]
async fn a_settlement_in_a_form_that_is_not_read_hides_no_other() {
    let lines = || {
        let mut broken = line(2, "SETTLED", 2000, 2);
        broken["result"]["r_hash"] = json!(7);
        let mut odd = line(3, "SETTLED", 2000, 3);
        odd["result"]["amt_paid_msat"] = json!("many");
        odd["result"]["value_msat"] = json!(-1);
        vec![
            line(1, "SETTLED", 2000, 1),
            broken,
            odd,
            line(4, "SETTLED", 2000, 4),
        ]
    };
    let (events, end) = heard(&streaming(lines, Then::End).await, Some(0)).await;
    end.unwrap();
    assert_eq!(indices(&events), [1, 3, 4]);
}

#[tokio::test]
async fn each_settlement_in_a_crowd_of_new_invoices_is_heard_in_order() {
    const EACH: u64 = 100;
    let lines = || {
        let some = (0..30 * EACH).map(|number| match number % EACH {
            0 => line(1, "SETTLED", 2000, number / EACH + 1),
            _ => line(2, "OPEN", 0, 0),
        });
        some.collect()
    };
    let (events, end) = heard(&streaming(lines, Then::End).await, Some(0)).await;
    end.unwrap();
    assert_eq!(indices(&events), (1..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_a_place_to_go_on_from_the_newest_settlement_is_one() {
    let node = FakeNode::start(|call: &Call| match call.path.as_str() {
        STREAM => Reply::Lines(vec![line(1, "SETTLED", 2000, 12)], Then::End),
        _ => {
            let known =
                |byte, state, index| invoice(preimage(byte).payment_hash(), state, 2000, index);
            let invoices = [
                known(1, "SETTLED", 12),
                known(2, "OPEN", 0),
                known(3, "SETTLED", 3),
            ];
            Reply::Json(200, json!({ "invoices": invoices }))
        }
    })
    .await;
    let (events, _) = heard(&node, None).await;
    assert_eq!(node.seen(STREAM)[0].query, "settle_index=11");
    assert_eq!(events, [WatchEvent::Listening]);
}

#[tokio::test]
async fn the_first_settlement_of_all_is_a_place_like_any_other() {
    let node = streaming(|| vec![line(2, "SETTLED", 2000, 2)], Then::End).await;
    let (events, _) = heard(&node, Some(1)).await;
    assert_eq!(node.seen(STREAM)[0].query, "settle_index=1");
    assert_eq!(indices(&events), [2]);
}

/// A node whose newest settlements are `before` when it is first asked, and `after` later on.
async fn growing(before: Option<u64>, after: &'static [u64]) -> FakeNode {
    FakeNode::start(move |call: &Call| {
        let settled = |index: &u64| {
            let byte = u8::try_from(*index).unwrap();
            invoice(preimage(byte).payment_hash(), "SETTLED", 2000, *index)
        };
        match (call.path.as_str(), call.earlier) {
            (STREAM, _) => Reply::Lines(vec![], Then::Cut),
            (_, 0) => Reply::Json(
                200,
                json!({ "invoices": before.iter().map(settled).collect::<Vec<_>>() }),
            ),
            _ => Reply::Json(
                200,
                json!({ "invoices": after.iter().map(settled).collect::<Vec<_>>() }),
            ),
        }
    })
    .await
}

async fn heard_twice(node: &FakeNode) -> Vec<u64> {
    let lnd = node.lnd();
    let mut events = Vec::new();
    for _ in 0..2 {
        let mut sink = |event| events.push(event);
        assert!(lnd.watch(None, &mut sink).await.is_err(), "it is cut");
    }
    indices(&events)
}

#[tokio::test]
async fn what_is_settled_between_two_connections_is_heard_without_a_place_too() {
    let node = growing(None, &[2, 1]).await;
    assert_eq!(heard_twice(&node).await, [1, 2]);
    let asked: Vec<_> = node
        .seen(STREAM)
        .into_iter()
        .map(|call| call.query)
        .collect();
    assert_eq!(asked, ["settle_index=0", "settle_index=1"]);

    let node = growing(Some(5), &[6]).await;
    heard_twice(&node).await;
    let asked: Vec<_> = node
        .seen(STREAM)
        .into_iter()
        .map(|call| call.query)
        .collect();
    assert_eq!(
        asked,
        ["settle_index=4", "settle_index=4"],
        "the node tells again"
    );
}

#[tokio::test]
async fn silence_for_a_moment_means_listening_and_a_refusal_never_does() {
    let node = FakeNode::start(|_| Reply::Silence).await;
    let lnd = node.lnd();
    let (told, mut telling) = tokio::sync::mpsc::unbounded_channel();
    let mut sink = move |event| told.send(event).unwrap();
    let watching = lnd.watch(Some(SettlementCursor(1)), &mut sink);
    let first = tokio::select! {
        event = telling.recv() => event,
        _ = watching => panic!("nothing ends a silent stream"),
        () = tokio::time::sleep(Duration::from_secs(20)) => None,
    };
    assert_eq!(first, Some(WatchEvent::Listening));

    let node = FakeNode::start(|_| Reply::Json(500, refusal(2, "permission denied"))).await;
    let (events, end) = heard(&node, Some(1)).await;
    assert_eq!(events, []);
    assert!(matches!(end, Err(NodeError::Forbidden { .. })));
}

#[tokio::test]
async fn a_stream_that_is_cut_or_turns_to_garbage_ends_with_an_error() {
    let cut = streaming(|| vec![line(1, "SETTLED", 2000, 2)], Then::Cut).await;
    let (events, end) = heard(&cut, Some(1)).await;
    assert_eq!(indices(&events), [2]);
    assert!(matches!(
        end,
        Err(NodeError::Call(CallError::Unreachable { .. }))
    ));

    let garbage = streaming(
        || vec![json!("SETTLED"), line(1, "SETTLED", 2000, 2)],
        Then::End,
    )
    .await;
    let (events, end) = heard(&garbage, Some(1)).await;
    assert!(indices(&events).is_empty());
    assert!(matches!(end, Err(NodeError::BadAnswer { .. })));
}

#[tokio::test]
async fn a_line_without_end_is_not_kept() {
    let node = FakeNode::start(|_| Reply::Flood).await;
    let (_, end) = heard(&node, Some(1)).await;
    let error = end.unwrap_err();
    let is_limit = matches!(
        error,
        NodeError::Call(CallError::TooLarge { limit, .. }) if limit == 256 * 1024
    );
    assert!(is_limit && !error.is_temporary(), "{error}");
}
