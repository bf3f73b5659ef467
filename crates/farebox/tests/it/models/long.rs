//! Prompts that are too long to be read on a data thread: sold like any other.

use serde_json::{Value, json};

use super::{INPUT, OUTPUT, chat, shop};
use crate::harness::{Call, with_upstream};

/// More than is read where streams pass, in bytes.
const LONG: usize = 60_000;

fn long_chat(most: u64) -> Call {
    let text = "word ".repeat(LONG / 5);
    chat(json!({ "messages": [{ "role": "user", "content": text }], "max_tokens": most }))
}

#[test]
fn a_long_prompt_reaches_the_upstream_whole_and_costs_what_was_used() {
    let (upstream, gateway) = with_upstream(shop);
    let call = long_chat(50);
    let most = gateway.send(&call).expect(402).json()["price_msat"].clone();
    let token = gateway.buy(&call);
    let sent: Value = serde_json::from_slice(&call.body).unwrap();
    let reply = gateway.send(&call.with(&token)).expect(200).json();
    let used = |name: &str| reply["usage"][name].as_u64().unwrap();
    // This upstream answers with more than it was allowed, which is not the payer's.
    let usage = used("prompt_tokens") * INPUT + used("completion_tokens") * OUTPUT;
    let expected = usage.min(most.as_u64().unwrap());
    assert_eq!(gateway.charged(&token), expected);
    let forwarded: Value = serde_json::from_slice(&upstream.asked()[0]).unwrap();
    assert_eq!(forwarded["messages"], sent["messages"]);
}

#[test]
fn a_long_prompt_is_answered_as_far_as_its_payer_can_pay() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&long_chat(50));
    gateway.send(&long_chat(2000).with(&token)).expect(200);
    let forwarded: Value = serde_json::from_slice(&upstream.asked()[0]).unwrap();
    let most = forwarded["max_tokens"].as_u64().unwrap();
    assert!((16..2000).contains(&most), "{most}");
}

#[test]
fn a_long_prompt_that_asks_for_what_has_no_price_is_refused_by_name() {
    let (upstream, gateway) = with_upstream(shop);
    let text = "word ".repeat(LONG / 5);
    let messages = json!([{ "role": "user", "content": text }]);
    let call = chat(json!({ "messages": messages, "previous_response_id": "r" }));
    let refused = gateway.send(&call).expect(400).text();
    assert!(refused.contains("previous_response_id"), "{refused}");
    assert_eq!(upstream.total(), 0);
}
