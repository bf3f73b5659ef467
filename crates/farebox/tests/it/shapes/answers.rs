//! What of an answer the client gets, and what it costs.

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use crate::harness::{Call, Reply, Route, Setup, TestGateway, with_upstream};

/// A route whose upstream says what it is told to, and that sells a part of that.
fn selling(upstream: &ScriptedUpstream, response: &str) -> TestGateway {
    let route = Route::at("/say", upstream)
        .msat(200)
        .calls(50)
        .line(&format!("response = {response}"));
    TestGateway::start(Setup::new().route(route))
}

fn say(status: u16, headers: &[(&str, &str)], body: &str) -> Call {
    let said = json!({ "status": status, "headers": headers, "body": body });
    Call::post("/say", said.to_string()).header("Content-Type", "application/json")
}

fn completion(text: &str) -> String {
    json!({ "id": "x", "choices": [{ "text": text, "logprobs": null }], "usage": { "n": 7 } })
        .to_string()
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[track_caller]
fn given(reply: Reply) -> (String, String) {
    let reply = reply.expect(200);
    let length = reply.find("content-length").unwrap().to_owned();
    assert_eq!(length, reply.body.len().to_string());
    (reply.find("content-type").unwrap().to_owned(), reply.text())
}

#[test]
fn a_string_is_given_as_text_and_several_values_as_an_object() {
    let upstream = ScriptedUpstream::start().unwrap();
    let call = say(200, &[JSON], &completion("<b>caf\u{e9}</b>\n\ntwo"));
    for (response, kind, expected) in [
        (
            "{ fields = \"choices.0.text\" }",
            "text/plain; charset=utf-8",
            "<b>caf\u{e9}</b>\n\ntwo",
        ),
        ("{ fields = \"/usage\" }", "application/json", "{\"n\":7}"),
        (
            "{ fields = [\"choices.0.text\", \"usage.n\"] }",
            "application/json",
            "{\"choices.0.text\":\"<b>caf\u{e9}</b>\\n\\ntwo\",\"usage.n\":7}",
        ),
    ] {
        let gateway = selling(&upstream, response);
        let token = gateway.buy(&call);
        let reply = gateway.send(&call.clone().with(&token));
        assert_eq!(reply.find("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.find("farebox-calls-left"), Some("49"));
        assert_eq!(given(reply), (kind.to_owned(), expected.to_owned()));
        assert_eq!(gateway.charged(&token), 200);
    }
}

#[test]
fn clients_of_lsat_proxy_find_paragraphs_and_their_quota() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = selling(
        &upstream,
        "{ fields = \"choices.0.text\", format = \"lsat-proxy\" }",
    );
    let call = say(200, &[JSON], &completion("\n\nOne.\n\nTwo.\n"));
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token));
    assert_eq!(reply.find("x-msats-quota"), Some("9800"));
    assert_eq!(reply.json(), json!({ "data": ["One.", "Two."] }));
}

#[test]
fn an_answer_without_the_field_is_a_failed_one_and_costs_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = selling(&upstream, "{ fields = \"choices.0.text\" }");
    let token = gateway.buy(&say(200, &[JSON], "{}"));
    for body in [
        "{}",
        "{\"choices\":[]}",
        "<html>",
        "",
        "{\"choices\":[{\"text\":\"a\"}]} more",
        "data: {\"choices\":[{\"text\":\"a\"}]}\n\n",
    ] {
        let reply = gateway
            .send(&say(200, &[JSON], body).with(&token))
            .expect(502);
        assert_eq!(
            reply.json()["type"],
            "https://farebox.dev/problems/upstream-failed"
        );
        assert!(!reply.text().contains("choices"), "{}", reply.text());
    }
    gateway.send(&say(204, &[], "").with(&token)).expect(502);
    gateway.wait_for_log("does not have what the route sells");
    assert_eq!(gateway.charged(&token), 0);
}

#[test]
fn an_answer_that_the_upstream_cuts_or_that_is_too_long_costs_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = |path: &str| {
        let url = format!("{}{path}", upstream.url());
        Route::to("/x", &url)
            .msat(200)
            .calls(50)
            .line("strip_prefix = true")
            .line("response = { fields = \"a\" }")
    };
    for path in ["/cut/10/100", "/cut-chunked/10", "/large/9000000"] {
        let gateway = TestGateway::start(Setup::new().route(route(path)));
        let token = gateway.buy(&Call::get("/x"));
        gateway.send(&Call::get("/x").with(&token)).expect(502);
        assert_eq!(gateway.charged(&token), 0, "{path}");
    }
}

#[test]
fn what_is_no_success_passes_as_it_is() {
    let (_upstream, gateway) = with_upstream(|upstream| selling(upstream, "{ fields = \"a\" }"));
    let token = gateway.buy(&say(404, &[JSON], "{}"));
    for status in [404, 500] {
        let call = say(status, &[JSON], "{\"error\":\"no\"}").with(&token);
        assert_eq!(
            gateway.send(&call).expect(status).text(),
            "{\"error\":\"no\"}"
        );
    }
    gateway
        .send(&say(401, &[], "secret").with(&token))
        .expect(502);
    assert_eq!(gateway.charged(&token), 0);
}

#[test]
fn nothing_of_the_head_speaks_of_the_whole_answer() {
    let (upstream, gateway) = with_upstream(|upstream| selling(upstream, "{ fields = \"a\" }"));
    let headers = [
        JSON,
        ("etag", "\"1\""),
        ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("content-digest", "sha-256=:x:"),
        ("content-disposition", "attachment"),
        ("accept-ranges", "bytes"),
        ("x-kept", "yes"),
    ];
    let call = say(200, &headers, "{\"a\":\"b\"}")
        .header("Range", "bytes=0-1")
        .header("If-None-Match", "\"1\"")
        .header("Accept-Encoding", "gzip");
    let reply = gateway.send(&call.clone().with(&gateway.buy(&call)));
    for name in [
        "etag",
        "last-modified",
        "content-digest",
        "content-disposition",
        "accept-ranges",
    ] {
        assert_eq!(reply.find(name), None, "{name}");
    }
    assert_eq!(reply.find("x-kept"), Some("yes"));
    let seen = &upstream.requests()[0];
    for name in ["range", "if-none-match"] {
        assert!(seen.all(name).is_empty(), "{name}");
    }
    assert_eq!(seen.all("accept-encoding"), ["identity"]);
}

#[test]
fn a_key_with_an_idempotency_key_gets_the_same_part_again() {
    let (upstream, gateway) = with_upstream(|upstream| selling(upstream, "{ fields = \"a\" }"));
    let call = say(200, &[JSON], "{\"a\":\"b\"}").header("Idempotency-Key", "1");
    let token = gateway.buy(&call);
    for replayed in [None, Some("true")] {
        let reply = gateway.send(&call.clone().with(&token)).expect(200);
        assert_eq!(
            (reply.find("farebox-replayed"), reply.text().as_str()),
            (replayed, "b")
        );
    }
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), 200);
}

#[test]
fn a_call_whose_payment_is_held_is_sold_its_part() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = super::telling(&upstream).line("on_failure = \"cancel\"");
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = super::ask("{\"prompt\":\"a\",\"model\":\"dear\"}");
    let challenge = gateway.challenge(&call);
    let preimage = gateway.pay(&challenge.invoice);
    // The payer has the preimage a moment before the ledger has the payment.
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"paid\""], 1);
    let reply = gateway
        .send(&call.with(&challenge.paid_with(preimage)))
        .expect(200);
    assert_eq!(
        reply.text(),
        "{\"model\":\"m\",\"prompt\":\"a\",\"max_tokens\":57}"
    );
    assert_eq!(upstream.total(), 1);
}
