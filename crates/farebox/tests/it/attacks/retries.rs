//! Retries that ask for something else than the first request did: an answer is for requests like
//! the one that bought it, and nobody pays twice to find that out.

use std::net::SocketAddr;
use std::thread::spawn;

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Challenge, Reply, Route, Setup, TestGateway, with_upstream};
use crate::rules::{Books, MANY_CHALLENGES, books_when};

const PRICE: u64 = 2000;

fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .route(Route::at("/once", upstream).msat(PRICE))
        .route(Route::at("/calls", upstream).msat(PRICE).calls(5))
        .route(
            Route::at("/held", upstream)
                .msat(PRICE)
                .line("on_failure = \"cancel\""),
        );
    TestGateway::start(setup)
}

/// A request that is answered in this way.
fn call(path: &str, status: u16, headers: &Value) -> Call {
    let said = json!({ "status": status, "headers": headers, "body": "Hello" });
    Call::post(path, said.to_string())
}

/// Refused, uncharged, and told what the first request sent.
#[track_caller]
fn assert_unlike(reply: &Reply, send: &Value) {
    assert_eq!(reply.status, 409, "{}", reply.text());
    let problem = reply.json();
    let kind = problem["type"].as_str().unwrap();
    assert!(kind.ends_with("/answer-unlike"), "{problem}");
    assert_eq!(&problem["send"], send, "{problem}");
    assert_eq!(problem["charged_msat"], PRICE);
    assert!(problem["receipt"].is_string(), "{problem}");
    assert!(reply.all("www-authenticate").is_empty());
}

/// An answer of each kind that is not for everybody, with the field that asked for it.
fn special() -> [(u16, Value, (&'static str, &'static str)); 4] {
    [
        (
            206,
            json!([["content-range", "bytes 0-4/10"]]),
            ("Range", "bytes=0-4"),
        ),
        (
            200,
            json!([["content-encoding", "gzip"]]),
            ("Accept-Encoding", "gzip"),
        ),
        (
            200,
            json!([["content-type", "text/csv"]]),
            ("Accept", "text/csv"),
        ),
        (
            200,
            json!([["content-language", "de"]]),
            ("Accept-Language", "de"),
        ),
    ]
}

/// Retries of a sale whose first request is `first`: one like it, one unlike it, one like it again.
#[track_caller]
fn retry(gateway: &TestGateway, first: &Call, unlike: &Call, send: &Value) {
    let like = gateway.send(first).expect_one_of(&[200, 206]);
    assert_eq!(like.text(), "Hello");
    assert_unlike(&gateway.send(unlike), send);
    gateway.send(first).expect_one_of(&[200, 206]);
}

impl Reply {
    #[track_caller]
    fn expect_one_of(self, statuses: &[u16]) -> Self {
        assert!(statuses.contains(&self.status), "{}", self.text());
        self
    }
}

/// The same request with another value of one field, or without it where any other is taken.
fn unlike(call: Call, name: &str) -> Call {
    match name {
        "Range" | "Accept-Encoding" => call,
        "Accept" => call.header(name, "application/json"),
        _ => call.header(name, "en"),
    }
}

#[test]
fn the_stored_answer_of_a_single_call_is_for_requests_like_the_first() {
    let (upstream, gateway) = with_upstream(shop);
    for (status, headers, (name, line)) in special() {
        let call = call("/once/say", status, &headers);
        let token = gateway.buy(&call);
        let call = call.with(&token);
        let first = call.clone().header(name, line);
        gateway.send(&first).expect_one_of(&[200, 206]);
        let send = json!({ name.to_ascii_lowercase(): line });
        retry(&gateway, &first, &unlike(call, name), &send);
    }
    assert_eq!(upstream.total(), 4);
    let paid = i64::try_from(4 * PRICE).unwrap();
    books_when(&gateway, &Books::settled(paid, paid));
}

#[test]
fn an_idempotency_key_finds_the_answer_of_a_request_like_the_first() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::post("/calls/x", "x"));
    for (at, (status, headers, (name, line))) in special().into_iter().enumerate() {
        let call = call("/calls/say", status, &headers).with(&token);
        let call = call.header("Idempotency-Key", &at.to_string());
        let first = call.clone().header(name, line);
        gateway.send(&first).expect_one_of(&[200, 206]);
        let send = json!({ name.to_ascii_lowercase(): line });
        retry(&gateway, &first, &unlike(call, name), &send);
    }
    assert_eq!(upstream.total(), 4);
    assert_eq!(gateway.charged(&token), 4 * PRICE);
}

#[test]
fn the_answer_of_a_held_call_is_for_requests_like_the_one_that_was_offered() {
    let (upstream, gateway) = with_upstream(shop);
    for (status, headers, (name, line)) in special() {
        let call = call("/held/say", status, &headers);
        let first = call.clone().header(name, line);
        let token = gateway.buy(&first);
        let send = json!({ name.to_ascii_lowercase(): line });
        let (first, other) = (first.with(&token), unlike(call.with(&token), name));
        retry(&gateway, &first, &other, &send);
        assert_eq!(gateway.charged(&token), PRICE);
    }
    assert_eq!(upstream.total(), 4);
}

#[test]
fn an_answer_that_is_for_everybody_is_given_to_every_retry() {
    let (upstream, gateway) = with_upstream(shop);
    let call = call("/once/say", 200, &json!([["content-type", "text/plain"]]));
    let token = gateway.buy(&call);
    let call = call.with(&token);
    for (name, line) in [
        ("Range", "bytes=0-1"),
        ("If-None-Match", "\"a\""),
        ("Accept-Encoding", "gzip, br"),
        ("Accept", "*/*"),
        ("Accept-Language", "en"),
    ] {
        gateway.send(&call.clone().header(name, line)).expect(200);
    }
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), PRICE);
}

/// Buys one held call after the other, each with its answer at the first attempt.
fn buy_held(buyer: u64, gateway: SocketAddr, console: SocketAddr) {
    for at in 0..40 {
        let call = Call::get(&format!("/held/{buyer}/{at}"));
        let challenge = Challenge::of(&call.send(gateway).expect(402));
        let body = json!({ "invoice": challenge.invoice }).to_string();
        let pay = Call::post("/test/pay", body)
            .header("Content-Type", "application/json")
            .header("Host", &console.to_string());
        let paid = pay.send(console).expect(200).json();
        let preimage = paid["preimage"].as_str().unwrap().to_owned();
        let call = call.with(&challenge.paid_with(preimage));
        call.send(gateway).expect(200);
    }
}

#[test]
fn whoever_has_just_paid_for_a_held_call_gets_its_answer_at_the_first_attempt() {
    let (upstream, gateway) = with_upstream(shop);
    let (address, console) = (gateway.address, gateway.console);
    let buyers = (0..4).map(|buyer| spawn(move || buy_held(buyer, address, console)));
    for buyer in buyers.collect::<Vec<_>>() {
        buyer.join().unwrap();
    }
    assert_eq!(upstream.total(), 160);
    let paid = i64::try_from(160 * PRICE).unwrap();
    books_when(&gateway, &Books::settled(paid, paid));
}
