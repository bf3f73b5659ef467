//! What the seller's own program says, before a call and after it.

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use super::hook::{Answer, Hook};
use super::{DEPOSIT, say};
use crate::harness::{Call, Connection, Route, Setup, TestGateway, Token};

const SECRET: &str = "a secret of enough bytes";
const AT_MOST: &str = r#"{"at_most_msat": 5000}"#;

struct Shop {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
    hook: Hook,
}

fn charge(msat: u64) -> Answer {
    Answer::Json(json!({ "charge_msat": msat }).to_string())
}

impl Shop {
    fn new(hook: Hook, more: &str, line: &str) -> Self {
        let upstream = ScriptedUpstream::start().unwrap();
        let price = format!(
            "price = {{ webhook = \"{}\", secret = {{ env = \"HOOK_SECRET\" }}, timeout = \"2s\" {more} }}",
            hook.url()
        );
        let route = Route::at("/paid", &upstream).line(&price).line(line);
        let setup = Setup::new().route(route);
        let gateway = TestGateway::start_with(setup, &[("HOOK_SECRET", SECRET)]);
        Self {
            upstream,
            gateway,
            hook,
        }
    }

    fn of(quote: &str, settle: &[Answer], more: &str) -> Self {
        let balance = format!("balance = {{ msat = {DEPOSIT} }}");
        Self::new(Hook::start(quote, settle), more, &balance)
    }

    fn buy(&self) -> Token {
        self.gateway.buy(&say(&json!({})))
    }

    fn loss(&self) -> serde_json::Value {
        self.gateway.trial_balance()["house_msat"]["seller_loss"].clone()
    }
}

#[test]
fn an_exact_quote_is_what_a_single_call_costs_and_it_is_asked_once() {
    let hook = Hook::start(r#"{"price_msat": 1234}"#, &[]);
    let shop = Shop::new(hook, "", "calls = 1");
    let call = Call::post("/paid/say?a=b", "{\"body\": \"hi\"}")
        .header("Content-Type", "application/json")
        .header("Cookie", "session=1");
    let challenge = shop.gateway.challenge(&call);
    // Later words of the webhook change nothing about what was sold.
    shop.hook
        .quote(Answer::Json(r#"{"price_msat": 9999}"#.to_owned()));
    let preimage = shop.gateway.pay(&challenge.invoice);
    let token = challenge.paid_with(preimage);
    let reply = shop.gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.text(), "hi");
    assert_eq!(shop.gateway.charged(&token), 1234);
    let asked = shop.hook.asked("quote");
    assert_eq!(asked.len(), 1, "{asked:?}");
    let question = asked[0].json();
    assert_eq!(question["route"], "paid");
    assert_eq!(question["method"], "POST");
    assert_eq!(question["path"], "/paid/say");
    assert_eq!(question["query"], "a=b");
    assert_eq!(question["body_bytes"], 14);
    // A token is not bound to headers, and so no price depends on one.
    assert_eq!(question["headers"], json!([]));
    assert_eq!(question["body_sha256"].as_str().unwrap().len(), 64);
    assert!(asked[0].signature.starts_with("t="), "{asked:?}");
    let other = Call::post("/paid/say?a=c", "{\"body\": \"hi\"}").with(&token);
    shop.gateway.send(&other).expect(402);
}

#[test]
fn an_exact_quote_is_drawn_from_a_balance_and_nothing_is_asked_afterwards() {
    let shop = Shop::of(r#"{"price_msat": 700}"#, &[], "");
    let token = shop.buy();
    let call = say(&json!({})).with(&token);
    let reply = shop.gateway.send(&call).expect(200);
    assert_eq!(reply.find("farebox-charge-msat"), Some("700"));
    shop.hook
        .quote(Answer::Json(r#"{"price_msat": 0}"#.to_owned()));
    shop.gateway.send(&call).expect(200);
    assert_eq!(shop.gateway.charged(&token), 700);
    assert!(shop.hook.asked("settle").is_empty());
}

#[test]
fn what_the_webhook_gives_a_stranger_for_nothing_reaches_the_upstream_whole() {
    let shop = Shop::of(r#"{"price_msat": 0}"#, &[], "");
    let reply = shop.gateway.send(&say(&json!({ "body": "for nothing" })));
    assert_eq!(reply.expect(200).text(), "for nothing");
}

#[test]
fn what_a_call_came_to_is_asked_when_it_has_ended() {
    let shop = Shop::of(AT_MOST, &[charge(4321)], "");
    let token = shop.buy();
    let reply = shop
        .gateway
        .send(&say(&json!({ "body": "12345" })).with(&token))
        .expect(200);
    assert_eq!(reply.find("farebox-held-msat"), Some("5000"));
    assert_eq!(shop.gateway.charged(&token), 4321);
    shop.gateway.wait_for_log("\"charged_msat\":4321");
    let asked = shop.hook.asked("settle");
    assert_eq!(asked.len(), 1);
    let question = asked[0].json();
    assert_eq!(question["bytes"], 5);
    assert_eq!(question["status"], 200);
    assert_eq!(question["ended"], "complete");
    assert_eq!(question["at_most_msat"], 5000);
    assert_eq!(question["hold"], reply.find("farebox-receipt").unwrap());
}

#[test]
fn a_charge_above_what_was_said_to_be_the_most_is_the_sellers_loss() {
    let shop = Shop::of(AT_MOST, &[charge(7000)], "");
    let token = shop.buy();
    shop.gateway.send(&say(&json!({})).with(&token)).expect(200);
    assert_eq!(shop.gateway.charged(&token), 5000);
    assert_eq!(shop.loss(), -2000);
}

#[test]
fn a_webhook_that_fails_at_first_is_asked_again_about_the_same_hold() {
    let lie = Answer::Json(r#"{"charge_msat": "4"}"#.to_owned());
    let shop = Shop::of(AT_MOST, &[Answer::Status(500), lie, charge(4)], "");
    let token = shop.buy();
    shop.gateway.send(&say(&json!({})).with(&token)).expect(200);
    assert_eq!(shop.gateway.charged(&token), 4);
    let asked = shop.hook.asked("settle");
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].json()["hold"], asked[2].json()["hold"]);
}

#[test]
fn what_is_never_said_costs_what_the_seller_chose() {
    for (missing, charged) in [("nothing", 0), ("hold", 5000)] {
        let more = format!(", attempts = 2, missing = \"{missing}\"");
        let shop = Shop::of(AT_MOST, &[Answer::Status(503)], &more);
        let token = shop.buy();
        shop.gateway.send(&say(&json!({})).with(&token)).expect(200);
        assert_eq!(shop.gateway.charged(&token), charged, "{missing}");
        shop.gateway.wait_for_log("\"ended\":\"cost_missing\"");
        shop.gateway
            .wait_for_metric("farebox_costs_missing_total", &["route=\"paid\""], 1);
        assert_eq!(shop.hook.asked("settle").len(), 2);
    }
}

#[test]
fn without_a_quote_nothing_is_sold_and_nobody_is_charged() {
    let shop = Shop::of(AT_MOST, &[charge(1)], "");
    let token = shop.buy();
    let failures = [
        Answer::Status(500),
        Answer::Status(302),
        Answer::Status(201),
        Answer::Json(r#"{"price_msat": 1, "at_most_msat": 2}"#.to_owned()),
        Answer::Json(r#"{"price_msat": -1}"#.to_owned()),
        Answer::Json("free".to_owned()),
        Answer::Endless,
        Answer::Silence,
    ];
    for answer in failures {
        shop.hook.quote(answer.clone());
        let call = say(&json!({}));
        let reply = shop.gateway.send(&call).expect(503);
        assert!(reply.find("retry-after").is_some(), "{answer:?}");
        shop.gateway.send(&call.with(&token)).expect(503);
    }
    assert_eq!(shop.upstream.total(), 0);
    assert_eq!(shop.gateway.charged(&token), 0);
}

#[test]
fn what_the_seller_does_not_sell_is_refused_with_his_reason() {
    let shop = Shop::of(AT_MOST, &[charge(1)], "");
    let token = shop.buy();
    shop.hook
        .quote(Answer::Json(r#"{"refuse": "not on Sundays"}"#.to_owned()));
    for call in [say(&json!({})), say(&json!({})).with(&token)] {
        let text = shop.gateway.send(&call).expect(403).text();
        assert!(text.contains("not on Sundays"), "{text}");
    }
    assert_eq!(shop.upstream.total(), 0);
}

#[test]
fn a_quote_of_the_most_cannot_be_the_price_of_a_single_call() {
    let hook = Hook::start(AT_MOST, &[charge(1)]);
    let shop = Shop::new(hook, "", "calls = 1");
    shop.gateway.send(&say(&json!({}))).expect(503);
}

#[test]
fn a_webhook_that_is_not_there_sells_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let price = "price = { webhook = \"http://127.0.0.1:1/\", secret = { env = \"HOOK_SECRET\" } }";
    let setup = Setup::new().route(Route::at("/paid", &upstream).line(price));
    let gateway = TestGateway::start_with(setup, &[("HOOK_SECRET", SECRET)]);
    let reply = gateway.send(&Call::get("/paid/x")).expect(503);
    assert!(reply.find("retry-after").is_some());
    let words = ["config", "check", "--no-secrets", "--insecure-test-money"];
    let checked = gateway.command(&words);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        said.contains("127.0.0.1:1 says what each call costs"),
        "{said}"
    );
}

#[test]
fn a_key_draws_what_is_quoted_and_what_a_call_came_to() {
    let shop = Shop::of(r#"{"price_msat": 700}"#, &[charge(12)], "");
    let bought = crate::keys::buy(&shop.gateway, 50_000);
    let bearer = format!("Bearer {}", bought.key);
    let call = say(&json!({})).header("Authorization", &bearer);
    shop.gateway.send(&call).expect(200);
    shop.hook.quote(Answer::Json(AT_MOST.to_owned()));
    shop.gateway.send(&call).expect(200);
    let left = crate::keys::balance(&shop.gateway, &bought.key);
    assert_eq!(left, 50_000 - 700 - 12);
}

#[test]
fn it_is_told_the_headers_that_the_upstream_will_see() {
    let shop = Shop::of(r#"{"price_msat": 700}"#, &[], "");
    let call = say(&json!({}))
        .header("Content-Type", "application/json")
        .header("Accept", "text/cheap")
        .header("Connection", "accept");
    shop.gateway.send(&call).expect(402);
    let question = shop.hook.asked("quote")[0].json();
    let told = json!([["content-type", "application/json"]]);
    assert_eq!(question["headers"], told);
    let reply = shop.gateway.send(&call.with(&shop.buy())).expect(200);
    assert_eq!(reply.text(), "said");
    let seen = shop.upstream.requests().pop().unwrap();
    assert!(seen.all("accept").is_empty());
}

#[test]
fn strangers_who_are_refused_or_served_for_nothing_count_as_asking() {
    for answer in [r#"{"refuse": "no"}"#, r#"{"price_msat": 0}"#, "nonsense"] {
        let upstream = ScriptedUpstream::start().unwrap();
        let hook = Hook::start(answer, &[]);
        let price = format!(
            "price = {{ webhook = \"{}\", secret = {{ env = \"HOOK_SECRET\" }} }}",
            hook.url()
        );
        let setup = Setup::new()
            .server("challenges = { per_client = \"2/1h\" }")
            .route(Route::at("/paid", &upstream).line(&price));
        let gateway = TestGateway::start_with(setup, &[("HOOK_SECRET", SECRET)]);
        for _ in 0..2 {
            gateway.send(&Call::get("/paid/x"));
        }
        gateway.send(&Call::get("/paid/x")).expect(503);
        assert_eq!(hook.asked("quote").len(), 2, "{answer}");
    }
}

#[test]
fn strangers_make_the_webhook_work_no_more_often_than_the_node() {
    let hook = Hook::start(r#"{"price_msat": 5}"#, &[]);
    let upstream = ScriptedUpstream::start().unwrap();
    let price = format!(
        "price = {{ webhook = \"{}\", secret = {{ env = \"HOOK_SECRET\" }} }}",
        hook.url()
    );
    let setup = Setup::new()
        .server("challenges = { per_client = \"2/1h\" }")
        .route(Route::at("/paid", &upstream).line(&price));
    let gateway = TestGateway::start_with(setup, &[("HOOK_SECRET", SECRET)]);
    for _ in 0..2 {
        gateway.send(&Call::get("/paid/x")).expect(402);
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        gateway.send(&Call::new(method, "/paid/x")).expect(503);
    }
    assert_eq!(hook.asked("quote").len(), 2);
    // A key that nobody sold asks nothing either.
    let key = Call::get("/paid/x").header(
        "Authorization",
        &format!("Bearer sk-farebox-{}", "a".repeat(64)),
    );
    gateway.send(&key).expect(401);
    assert_eq!(hook.asked("quote").len(), 2);
}

#[test]
fn a_client_that_leaves_is_charged_what_the_webhook_says_of_that() {
    let shop = Shop::of(AT_MOST, &[charge(12)], "");
    let token = shop.buy();
    let control = shop.upstream.stream("s");
    let mut connection = Connection::open(shop.gateway.address).unwrap();
    let call = Call::post("/paid/stream/s", "").with(&token);
    connection.send(&call).unwrap();
    control.send("12345678");
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    shop.hook.wait_for("settle", 1);
    assert_eq!(shop.gateway.charged(&token), 12);
    let question = shop.hook.asked("settle")[0].json();
    assert_eq!(question["ended"], "cut_by_client");
    assert_eq!(question["bytes"], 8);
    drop(control);
}

#[test]
fn a_process_that_dies_before_the_webhook_has_said_it_charges_the_sellers_choice() {
    for (missing, charged) in [("nothing", 0), ("hold", 5000)] {
        let more = format!(", missing = \"{missing}\"");
        let mut shop = Shop::of(AT_MOST, &[Answer::Silence], &more);
        let token = shop.buy();
        let control = shop.upstream.stream("s");
        let mut connection = Connection::open(shop.gateway.address).unwrap();
        let call = Call::post("/paid/stream/s", "").with(&token);
        connection.send(&call).unwrap();
        control.send("12345678");
        connection.read_head().unwrap();
        connection.read_chunk().unwrap();
        drop(connection);
        shop.hook.wait_for("settle", 1);
        // What is held for another call is written after what was recorded for this one.
        let other = shop.buy();
        shop.gateway.send(&say(&json!({})).with(&other)).expect(200);
        shop.gateway.kill();
        shop.gateway.start_again(&[("HOOK_SECRET", SECRET)]);
        assert_eq!(shop.gateway.charged(&token), charged, "{missing}");
        drop(control);
    }
}

#[test]
fn a_gateway_that_is_stopped_waits_for_what_it_has_asked() {
    let late = [Answer::Status(503), Answer::Status(503), charge(77)];
    let mut shop = Shop::of(AT_MOST, &late, "");
    let token = shop.buy();
    shop.gateway.send(&say(&json!({})).with(&token)).expect(200);
    shop.gateway.restart();
    assert_eq!(shop.gateway.charged(&token), 77);
}
