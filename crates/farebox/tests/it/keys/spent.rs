//! What a key pays, and that it pays no more.

use serde_json::json;

use super::{COST, INPUT, OUTPUT, PRICE, balance, bearer, buy, chat, shop};
use crate::harness::{Call, with_upstream};

#[test]
fn an_unmodified_client_pays_for_fixed_and_metered_calls_with_its_key() {
    let (_upstream, gateway) = with_upstream(shop);
    let bought = buy(&gateway, 1_000_000);
    let reply = gateway
        .send(&bearer(Call::get("/paid/echo"), &bought.key))
        .expect(200);
    assert!(!reply.text().contains("sk-farebox"), "{}", reply.text());
    let named = Call::get("/paid/echo").header("x-api-key", &bought.key);
    let reply = gateway.send(&named).expect(200);
    assert!(!reply.text().contains("sk-farebox"), "{}", reply.text());
    assert_eq!(balance(&gateway, &bought.key), 1_000_000 - 2 * PRICE);

    let reply = gateway
        .send(&bearer(chat(json!({})), &bought.key))
        .expect(200);
    assert_eq!(reply.json()["usage"]["cost_msat"], COST);
    let left = 1_000_000 - 2 * PRICE - COST;
    assert_eq!(reply.all("farebox-balance-msat"), [left.to_string()]);
    gateway
        .send(&bearer(chat(json!({ "stream": true })), &bought.key))
        .expect(200);
    assert_eq!(balance(&gateway, &bought.key), left - COST);
    assert!(!gateway.log().contains(&bought.key));
}

#[test]
fn an_answer_becomes_shorter_where_the_key_has_less_than_it_can_cost() {
    let (upstream, gateway) = with_upstream(shop);
    let bought = buy(&gateway, 100_000);
    let long = chat(json!({ "max_tokens": 2000 }));
    let bytes = u64::try_from(long.body.len()).unwrap();
    gateway.send(&bearer(long, &bought.key)).expect(200);
    let forwarded: serde_json::Value = serde_json::from_slice(&upstream.asked()[0]).unwrap();
    let most = (100_000 - (bytes + 64) * INPUT) / OUTPUT;
    assert_eq!(forwarded["max_tokens"], most);
    assert_eq!(balance(&gateway, &bought.key), 100_000 - COST);
}

#[test]
fn a_key_that_is_used_up_is_told_how_to_top_up_and_never_offered_an_invoice() {
    let (upstream, gateway) = with_upstream(shop);
    let bought = buy(&gateway, PRICE);
    let call = bearer(Call::get("/paid/echo"), &bought.key);
    gateway.send(&call).expect(200);
    let reply = gateway.send(&call).expect(402);
    assert!(reply.all("www-authenticate").is_empty());
    let problem = reply.json();
    assert_eq!(problem["reason"], "used_up");
    assert_eq!(problem["top_up"], "/.farebox/keys/top-up");
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_retry_with_the_same_idempotency_key_is_charged_once() {
    let (upstream, gateway) = with_upstream(shop);
    let bought = buy(&gateway, 100_000);
    let call = bearer(Call::get("/paid/echo?a"), &bought.key).header("Idempotency-Key", "1");
    let first = gateway.send(&call).expect(200);
    let again = gateway.send(&call).expect(200);
    assert_eq!(first.body, again.body);
    let other = bearer(Call::get("/paid/echo?b"), &bought.key).header("Idempotency-Key", "1");
    gateway.send(&other).expect(409);
    assert_eq!(upstream.total(), 1);
    assert_eq!(balance(&gateway, &bought.key), 100_000 - PRICE);
}
