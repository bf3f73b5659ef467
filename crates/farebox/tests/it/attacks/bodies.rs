//! Bodies that are sent slowly, or never to their end, to keep others out.

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway};
use crate::rules::{MANY_CHALLENGES, eventually};

/// A prompt of which one payer may have two in memory at once, and the strangers of one address
/// prefix one.
const LONG: usize = 600_000;

/// A model whose calls cost little and whose prompts may be long.
pub(super) const MODEL: &str = "[[model]]\nname = \"small\"\ncurrency = \"msat\"\nper = \"unit\"\n\
    input = 1\noutput = 1\ncontext_tokens = 1000000\nmax_output_tokens = 20";

/// Sells calls of one model, and has room for eight bodies of a mebibyte.
fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    let route = Route::to("/v1", &upstream.url())
        .line("price = { model_tokens = {} }")
        .line("balance = { msat = 10000000 }");
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .section(MODEL)
        .server("body_budget = \"8MiB\"")
        .server("trusted_proxies = [\"127.0.0.0/8\"]");
    TestGateway::start(setup.route(route))
}

pub(super) fn chat(length: usize) -> Call {
    let text = "x".repeat(length);
    let body = format!(
        "{{\"model\":\"small\",\"max_tokens\":9,\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
    );
    Call::post("/v1/chat/completions", body).header("Content-Type", "application/json")
}

/// All of a call but the last byte of its body, and what is answered where that was too much.
pub(super) fn held_back(gateway: &TestGateway, call: &Call) -> (Connection, Option<Reply>) {
    let mut connection = Connection::open(gateway.address).unwrap();
    let length = (call.body.len() + 1).to_string();
    let sent = connection.send(&call.clone().header("Content-Length", &length));
    let refused = match sent {
        Ok(()) => None,
        Err(_) => connection.read_reply("POST").ok(),
    };
    (connection, refused)
}

#[test]
fn strangers_who_send_half_a_body_keep_out_nobody_who_paid() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let paid = chat(LONG).with(&gateway.buy(&chat(1)));
    let held: Vec<_> = (0..32)
        .map(|network| {
            let from = format!("192.0.{network}.1");
            held_back(&gateway, &chat(LONG).header("X-Forwarded-For", &from))
        })
        .collect();
    // Strangers have all that they may take together when one more has to come again.
    let stranger = chat(LONG).header("X-Forwarded-For", "198.51.100.1");
    eventually(|| gateway.send(&stranger), |reply| reply.status == 503);
    let reply = gateway.send(&paid);
    assert!(upstream.total() > 0, "{}", reply.text());
    drop(held);
    eventually(|| gateway.send(&stranger), |reply| reply.status == 402);
}

#[test]
fn one_address_does_not_take_what_all_strangers_may() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let from = |address| chat(LONG).header("X-Forwarded-For", address);
    let _held: Vec<_> = (0..8)
        .map(|_| held_back(&gateway, &from("192.0.2.1")))
        .collect();
    eventually(
        || gateway.send(&from("192.0.2.2")),
        |reply| reply.status == 503,
    );
    assert_eq!(gateway.send(&from("198.51.100.1")).status, 402);
}

#[test]
fn whoever_invents_keys_is_a_stranger_like_others() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let invented = |index: u32| format!("Bearer sk-farebox-{index:064x}");
    for index in 0..100 {
        let call = chat(1).header("Authorization", &invented(index));
        assert_eq!(gateway.send(&call).status, 401);
    }
    // So many, from one address, are not looked for any more.
    let more = |index: u32| gateway.send(&chat(1).header("Authorization", &invented(index)));
    let refused = (100..200).map(more).find(|reply| reply.status == 429);
    assert!(refused.unwrap().find("retry-after").is_some());
    let elsewhere = chat(1)
        .header("Authorization", &invented(200))
        .header("X-Forwarded-For", "198.51.100.1");
    assert_eq!(gateway.send(&elsewhere).status, 401);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_key_that_was_never_paid_for_is_refused_before_its_body_is_read() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let order = Call::post("/.farebox/keys", "{\"amount_msat\":1000000}");
    let order = order.header("Content-Type", "application/json");
    let bought = gateway.send(&order).expect(201).json();
    let key = bought["key"].as_str().unwrap();
    let call = chat(LONG).header("Authorization", &format!("Bearer {key}"));
    let mut connection = Connection::open(gateway.address).unwrap();
    let length = (call.body.len() + 1).to_string();
    let _ = connection.send(&call.header("Content-Length", &length));
    // Answered though the last byte of the body never comes.
    assert_eq!(connection.read_reply("POST").unwrap().status, 402);
    assert_eq!(upstream.total(), 0);
}
