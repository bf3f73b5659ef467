//! What reaches the upstream.

use farebox_testkit::ScriptedUpstream;

use super::{TEMPLATE, ask, telling, templated};
use crate::harness::{Call, Route, Setup, TestGateway};

#[test]
fn the_fields_of_the_client_and_nothing_else_go_into_the_template() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(templated(&upstream)));
    let sent = r#"{"prompt":"caf\u00e9","temperature":0.70,"model":"dear","stream":true}"#;
    let call = ask(sent).header("X-Kept", "yes");
    let reply = gateway
        .send(&call.clone().with(&gateway.buy(&call)))
        .expect(200);
    let asked = reply.json();
    let expected = r#"{"model":"m","prompt":"caf\u00e9","max_tokens":57,"temperature":0.70}"#;
    assert_eq!(asked["body"], expected);
    assert_eq!(asked["method"], "POST");
    let upstream_saw = &upstream.requests()[0];
    assert_eq!(upstream_saw.all("content-type"), ["application/json"]);
    assert_eq!(
        upstream_saw.all("content-length"),
        [expected.len().to_string()]
    );
    assert_eq!(upstream_saw.all("x-kept"), ["yes"]);
    assert_eq!(reply.find("farebox-charge-msat"), Some("2000"));
}

#[test]
fn who_sends_nothing_asks_what_the_seller_wrote() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(telling(&upstream)));
    let default = r#"{"model":"m","prompt":"Say this","max_tokens":57}"#;
    for call in [
        Call::get("/gpt?prompt=free"),
        Call::post("/gpt", "{}"),
        Call::post("/gpt", ""),
    ] {
        let reply = gateway
            .send(&call.clone().with(&gateway.buy(&call)))
            .expect(200);
        assert_eq!(reply.text(), default);
    }
    for record in upstream.requests() {
        assert_eq!(
            (record.method.as_str(), record.target.as_str()),
            ("POST", "/gpt")
        );
    }
}

#[test]
fn a_head_is_told_the_price_and_refused_to_a_token_before_anything_is_held() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = templated(&upstream)
        .line("calls = 5")
        .line("http_scope = \"any\"");
    let gateway = TestGateway::start(Setup::new().route(route));
    let head = Call::new("HEAD", "/gpt");
    let unpaid = gateway.send(&head).expect(402);
    assert_eq!(unpaid.find("farebox-price-msat"), Some("2000"));
    let token = gateway.buy(&ask("{}"));
    let refused = gateway.send(&head.with(&token)).expect(405);
    assert_eq!(refused.find("allow"), Some("GET, POST"));
    let line = gateway.wait_for_log("\"status\":405");
    assert!(!line.contains("\"hold\""), "{line}");
    assert_eq!((gateway.charged(&token), upstream.total()), (0, 0));
}

#[test]
fn a_wrong_type_is_refused_before_anything_is_paid() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(telling(&upstream)));
    for (body, field, expected) in [
        (r#"{"max_tokens":"57"}"#, "max_tokens", "an integer"),
        (r#"{"max_tokens":1.5}"#, "max_tokens", "an integer"),
        (r#"{"prompt":["a"]}"#, "prompt", "a string"),
        (r#"{"temperature":true}"#, "temperature", "a number"),
        (r#"{"temperature":null}"#, "temperature", "a number"),
    ] {
        let problem = gateway.send(&ask(body)).expect(400).json();
        assert_eq!(
            (&problem["field"], &problem["expected"]),
            (&field.into(), &expected.into())
        );
        let told = problem["detail"].as_str().unwrap();
        assert!(told.contains(field) && told.contains(expected), "{told}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn what_two_servers_could_read_differently_is_refused() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(telling(&upstream)));
    for body in [
        r#"{"prompt":"a","prompt":"b"}"#,
        r#"{"prompt":"a","pr\u006fmpt":"b"}"#,
        r#"{"other":{"a":1,"a":2}}"#,
        "[]",
        "prompt=a",
        "{\"prompt\":\"a\"",
    ] {
        gateway.send(&ask(body)).expect(400);
    }
    let packed = ask("x").header("Content-Encoding", "gzip");
    let told = gateway.send(&packed).expect(400).json();
    assert!(
        told["detail"].as_str().unwrap().contains("compressed"),
        "{told}"
    );
    gateway.send(&Call::websocket("/gpt")).expect(400);
    let long = format!("{{\"prompt\":\"{}\"}}", "x".repeat(1 << 20));
    gateway.send(&ask(&long)).expect(413);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_token_is_bound_to_what_the_client_sent() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(telling(&upstream)));
    let call = ask(r#"{"prompt":"a","note":1}"#);
    let token = gateway.buy(&call);
    // Both become the same request to the upstream, but only one of them was paid for.
    let other = ask(r#"{"prompt":"a","note":2}"#);
    let refused = gateway.send(&other.with(&token)).expect(402);
    assert_eq!(refused.json()["reason"], "wrong_request");
    let reply = gateway.send(&call.clone().with(&token)).expect(200);
    assert_eq!(
        reply.text(),
        r#"{"model":"m","prompt":"a","max_tokens":57}"#
    );
    // A retry gets what the client got, from memory.
    let again = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(again.find("farebox-replayed"), Some("true"));
    assert_eq!(again.body, reply.body);
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), 2000);
}

#[test]
fn other_fields_are_refused_where_the_seller_wants_that() {
    let upstream = ScriptedUpstream::start().unwrap();
    let strict = "request = { pass_fields = { prompt = \"string\" }, other_fields = \"refuse\" }";
    let route = Route::at("/gpt", &upstream).msat(2000).line(strict);
    let gateway = TestGateway::start(Setup::new().route(route));
    let problem = gateway.send(&ask(r#"{"model":"dear"}"#)).expect(400).json();
    assert_eq!(problem["field"], "model");
}

#[test]
fn a_template_works_with_calls_a_balance_a_pass_and_for_free() {
    let upstream = ScriptedUpstream::start().unwrap();
    for (lines, charged) in [
        ("price = { msat = 2000 }\ncalls = 3", 4000),
        ("price = { msat = 2000 }\nbalance = { msat = 9000 }", 4000),
        (
            "price = { usd = \"0.002\" }\nbalance = { msat = 9000 }",
            4000,
        ),
        ("price = { msat = 2000 }\npass = \"1h\"", 2000),
    ] {
        let route = Route::at("/gpt", &upstream).line(TEMPLATE);
        let route = route.line("response = { fields = \"body\" }").line(lines);
        let rate = "[rates.fixed]\nusd = \"100000\"";
        let gateway = TestGateway::start(Setup::new().section(rate).route(route));
        let token = gateway.buy(&ask(r#"{"prompt":"a"}"#));
        for prompt in ["b", "c"] {
            let call = ask(&format!("{{\"prompt\":\"{prompt}\"}}"));
            let reply = gateway.send(&call.with(&token)).expect(200);
            assert!(reply.text().contains(&format!("\"prompt\":\"{prompt}\"")));
        }
        assert_eq!(gateway.charged(&token), charged, "{lines}");
    }
    let free = Route::at("/gpt", &upstream).free().line(TEMPLATE);
    let gateway = TestGateway::start(Setup::new().route(free));
    gateway.send(&ask(r#"{"prompt":1}"#)).expect(400);
    let asked = gateway
        .send(&ask(r#"{"prompt":"a","model":"dear"}"#))
        .expect(200)
        .json();
    assert_eq!(
        asked["body"],
        r#"{"model":"m","prompt":"a","max_tokens":57}"#
    );
}

#[test]
fn a_long_body_is_filled_in_as_a_short_one() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(telling(&upstream)));
    let prompt = "y".repeat(600_000);
    let call = ask(&format!("{{\"prompt\":\"{prompt}\"}}"));
    let reply = gateway
        .send(&call.clone().with(&gateway.buy(&call)))
        .expect(200);
    let expected = format!(r#"{{"model":"m","prompt":"{prompt}","max_tokens":57}}"#);
    assert!(reply.text() == expected);
}
