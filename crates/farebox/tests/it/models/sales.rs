//! What a call costs, and where it is told.

use serde_json::json;

use super::{DEPOSIT, INPUT, OUTPUT, chat, events, post, shop};
use crate::harness::{Call, with_upstream};

/// The words of the scripted answer: "You asked: one two three A call was sold for this answer."
const ANSWER_WORDS: u64 = 12;
const COST: u64 = 3 * INPUT + ANSWER_WORDS * OUTPUT;

#[test]
fn the_402_asks_for_a_deposit_and_says_what_the_call_costs_at_most() {
    let (upstream, gateway) = with_upstream(shop);
    let call = chat(json!({}));
    let problem = gateway.send(&call).expect(402).json();
    let bytes = u64::try_from(call.body.len()).unwrap();
    assert_eq!(problem["price_msat"], (bytes + 64) * INPUT + 50 * OUTPUT);
    assert_eq!(problem["amount_msat"], DEPOSIT);
    let dear = gateway
        .send(&chat(json!({ "max_tokens": 2000 })))
        .expect(402)
        .json();
    assert_eq!(dear["amount_msat"], dear["price_msat"]);
    assert!(dear["amount_msat"].as_u64().unwrap() > DEPOSIT);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_whole_answer_is_charged_what_it_reports() {
    let (_upstream, gateway) = with_upstream(shop);
    let call = chat(json!({}));
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token)).expect(200);
    let usage = &reply.json()["usage"];
    assert_eq!(usage["prompt_tokens"], 3);
    assert_eq!(usage["completion_tokens"], ANSWER_WORDS);
    assert_eq!(usage["cost_msat"], COST);
    assert_eq!(usage["cost"].to_string(), "12.3");
    assert_eq!(reply.all("farebox-charge-msat"), [COST.to_string()]);
    assert_eq!(
        reply.all("farebox-balance-msat"),
        [(DEPOSIT - COST).to_string()]
    );
    assert_eq!(reply.all("content-length"), [reply.body.len().to_string()]);
    assert_eq!(gateway.charged(&token), COST);
}

#[test]
fn a_stream_is_charged_what_it_reports_whether_its_client_sees_that_or_not() {
    let (upstream, gateway) = with_upstream(shop);
    let quiet = chat(json!({ "stream": true }));
    let token = gateway.buy(&quiet);
    let reply = gateway.send(&quiet.with(&token)).expect(200);
    let seen = events(&reply.text());
    assert!(
        seen.iter().all(|event| event["usage"].is_null()),
        "{}",
        reply.text()
    );
    assert!(seen.iter().all(|event| event["choices"][0].is_object()));
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(reply.all("farebox-held-msat").len(), 1);
    assert!(reply.all("farebox-charge-msat").is_empty());
    assert_eq!(gateway.charged(&token), COST);

    let asking = chat(json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let reply = gateway.send(&asking.with(&token)).expect(200);
    let seen = events(&reply.text());
    assert_eq!(seen.last().unwrap()["usage"]["cost_msat"], COST);
    assert_eq!(gateway.charged(&token), 2 * COST);
    for body in upstream.asked() {
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["stream_options"]["include_usage"], true);
    }
}

#[test]
fn one_deposit_buys_calls_until_it_is_used_up() {
    let (_upstream, gateway) = with_upstream(shop);
    let call = chat(json!({ "max_tokens": 20 }));
    let token = gateway.buy(&call);
    let mut served = 0;
    let last = loop {
        let reply = gateway.send(&call.clone().with(&token));
        if reply.status != 200 {
            break reply;
        }
        served += 1;
        assert_eq!(gateway.charged(&token), served * COST);
    };
    assert_eq!(last.expect(402).json()["reason"], "used_up");
    assert!(served > 50, "{served}");
    assert!(DEPOSIT - served * COST < 100_000);
}

#[test]
fn an_answer_becomes_shorter_where_less_is_left_than_it_can_cost() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&chat(json!({})));
    let long = chat(json!({ "max_tokens": 2000 }));
    let bytes = u64::try_from(long.body.len()).unwrap();
    gateway.send(&long.with(&token)).expect(200);
    let forwarded: serde_json::Value = serde_json::from_slice(&upstream.asked()[0]).unwrap();
    let most = (DEPOSIT - (bytes + 64) * INPUT) / OUTPUT;
    assert_eq!(forwarded["max_tokens"], most);
    assert_eq!(gateway.charged(&token), COST);
}

#[test]
fn models_are_listed_for_nothing() {
    let (_upstream, gateway) = with_upstream(shop);
    let reply = gateway.send(&Call::get("/v1/models")).expect(200);
    assert_eq!(reply.json()["object"], "list");
}

#[test]
fn a_retry_of_a_metered_call_is_charged_once() {
    let (upstream, gateway) = with_upstream(shop);
    let call = chat(json!({})).header("Idempotency-Key", "one");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    let first = gateway.send(&call).expect(200);
    let again = gateway.send(&call).expect(200);
    assert_eq!(first.body, again.body);
    assert_eq!(again.all("farebox-charge-msat"), [COST.to_string()]);
    assert_eq!((upstream.total(), gateway.charged(&token)), (1, COST));
}

#[test]
fn a_hold_of_ten_times_the_charge_never_overdraws_and_retrying_uses_everything() {
    let (_upstream, gateway) = with_upstream(shop);
    let call = chat(json!({ "max_tokens": 120 }));
    let token = gateway.buy(&call);
    let call = call.with(&token);
    let total = DEPOSIT / COST;
    let served = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let reply = gateway.send(&call);
                    match reply.status {
                        200 => served.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                        429 => 0,
                        402 => break,
                        other => panic!("{other}: {}", reply.text()),
                    };
                }
            });
        }
    });
    let served = served.into_inner();
    assert!(
        served <= total && served + 3 >= total,
        "{served} of {total}"
    );
    assert_eq!(gateway.charged(&token), served * COST);
}

#[test]
fn the_log_says_what_a_call_used() {
    let (_upstream, gateway) = with_upstream(shop);
    let call = chat(json!({}));
    let token = gateway.buy(&call);
    gateway.send(&call.with(&token)).expect(200);
    let line = gateway.wait_for_log("\"model\":\"small\"");
    assert!(line.contains("\"ended\":\"complete\""), "{line}");
    assert!(
        line.contains("\"used_input\":3,\"used_output\":12"),
        "{line}"
    );
    assert!(line.contains(&format!("\"charged_msat\":{COST}")), "{line}");
}

#[test]
fn the_old_completions_are_not_known_to_this_upstream_and_cost_nothing() {
    let (_upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&chat(json!({})));
    let body = json!({ "model": "small", "prompt": "one", "max_tokens": 5 });
    let call = post("/v1/completions", &body).with(&token);
    gateway.send(&call).expect(404);
    assert_eq!(gateway.charged(&token), 0);
}

#[test]
fn a_token_that_its_holder_narrowed_holds_and_spends_no_more_than_he_left_of_it() {
    let (upstream, gateway) = with_upstream(shop);
    let call = chat(json!({}));
    let token = gateway.buy(&call);
    let bytes = u64::try_from(call.body.len()).unwrap();
    let prompt = (bytes + 64) * INPUT;
    // Enough for the prompt and twenty tokens: the answer becomes shorter, also at the first use.
    let part = token.attenuated(&format!("amount_msat={}", prompt + 20 * OUTPUT));
    gateway.send(&call.clone().with(&part)).expect(200);
    let forwarded: serde_json::Value = serde_json::from_slice(&upstream.asked()[0]).unwrap();
    assert_eq!(forwarded["max_tokens"], 20);
    assert_eq!(gateway.charged(&token), COST);
    // What was spent counts: there is not enough left of the part for an answer worth having.
    gateway.send(&call.clone().with(&part)).expect(402);
    assert_eq!(gateway.charged(&token), COST);
    let wider = token.attenuated(&format!("amount_msat={}", COST + prompt + 17 * OUTPUT));
    gateway.send(&call.clone().with(&wider)).expect(200);
    let forwarded: serde_json::Value = serde_json::from_slice(&upstream.asked()[1]).unwrap();
    assert_eq!(forwarded["max_tokens"], 17);
    assert_eq!(gateway.charged(&token), 2 * COST);
    // The token as it was sold has the rest.
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 3 * COST);
}
