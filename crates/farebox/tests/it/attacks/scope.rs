//! Genuine tokens, spent on something that they were not sold for.

use farebox_testkit::ScriptedUpstream;

use super::{assert_refused, problem, shop};
use crate::harness::{Call, Route, Setup, TestGateway, with_upstream};

#[test]
fn a_token_is_good_for_its_own_route_only() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    for target in ["/vault/a", "/paid/a", "/vault/../paid/a"] {
        let reply = gateway.send(&Call::get(target).with(&token)).expect(402);
        assert_eq!(problem(&reply), "credential-out-of-scope");
        assert!(!reply.all("www-authenticate").is_empty(), "a new challenge");
    }
    assert_eq!(upstream.total(), 0);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_token_bought_for_reading_does_not_write() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::get("/calls/a"));
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get"] {
        let call = Call::new(method, "/calls/a").with(&token);
        assert_refused(&gateway, &upstream, &call, 402);
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        let call = Call::new(method, "/calls/a").with(&token);
        assert_eq!(gateway.send(&call).status, 200, "{method}");
    }
}

#[test]
fn a_token_bought_for_writing_does_not_read() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::post("/calls/a", "x"));
    let call = Call::get("/calls/a").with(&token);
    assert_refused(&gateway, &upstream, &call, 402);
    for method in ["POST", "DELETE"] {
        let call = Call::new(method, "/calls/a").with(&token);
        assert_eq!(gateway.send(&call).status, 200, "{method}");
    }
}

#[test]
fn http_scope_any_sells_reading_and_writing_together() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/calls", &upstream).msat(2000).calls(2);
    let gateway = TestGateway::start(Setup::new().route(route.line("http_scope = \"any\"")));
    let token = gateway.buy(&Call::get("/calls/a"));
    gateway
        .send(&Call::get("/calls/a").with(&token))
        .expect(200);
    gateway
        .send(&Call::post("/calls/a", "x").with(&token))
        .expect(200);
}

#[test]
fn a_bound_token_is_good_for_exactly_its_request() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a?x=1&y=2");
    let token = gateway.buy(&call);
    for other in [
        Call::get("/paid/b?x=1&y=2"),
        Call::get("/paid/a/?x=1&y=2"),
        Call::get("/paid/a"),
        Call::get("/paid/a?"),
        Call::get("/paid/a?y=2&x=1"),
        Call::get("/paid/a?x=1&y=2&z=3"),
        Call::get("/paid/a?x=1&y=%32"),
        Call::get("/paid/A?x=1&y=2"),
        Call::new("HEAD", "/paid/a?x=1&y=2"),
    ] {
        assert_refused(&gateway, &upstream, &other.with(&token), 402);
    }
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_bound_token_is_good_for_exactly_its_body() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::post("/paid/a", "what was asked");
    let token = gateway.buy(&call);
    for body in ["", "what was asked ", "What was asked", "what was askee"] {
        let other = Call::post("/paid/a", body).with(&token);
        assert_refused(&gateway, &upstream, &other, 402);
    }
    let with_body = Call {
        method: "GET".to_owned(),
        ..call.clone()
    };
    assert_refused(&gateway, &upstream, &with_body.with(&token), 402);
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.json()["body"], "what was asked");
}

#[test]
fn another_spelling_of_the_same_path_is_the_same_request() {
    let (upstream, gateway) = with_upstream(shop);
    for spelling in ["/paid/./a", "/paid/x/../a", "/p%61id/%61", "/paid/a"] {
        let token = gateway.buy(&Call::get("/paid/a"));
        gateway.send(&Call::get(spelling).with(&token)).expect(200);
    }
    assert_eq!(upstream.count("/paid/a"), 4);
    assert_eq!(upstream.total(), 4);
    let token = gateway.buy(&Call::get("/paid/a"));
    let other = Call::get("/paid//a").with(&token);
    assert_refused(&gateway, &upstream, &other, 402);
}
