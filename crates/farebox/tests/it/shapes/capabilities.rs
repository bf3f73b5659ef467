//! Tokens that carry what may be asked of a route, and holders who leave less.

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Route, Setup, TestGateway, with_upstream};

const RULES: &str = "capabilities = { read = { http_methods = [\"GET\"] }, \
                     files = { paths = [\"/api/files\"] } }";

fn start(upstream: &ScriptedUpstream, capabilities: &str) -> TestGateway {
    let route = Route::at("/api", upstream)
        .msat(1000)
        .calls(5)
        .line("http_scope = \"any\"")
        .line(capabilities);
    TestGateway::start(Setup::new().route(route))
}

#[test]
fn a_token_carries_all_and_whoever_gets_a_part_may_only_that() {
    let (_upstream, gateway) = with_upstream(|upstream| start(upstream, RULES));
    let token = gateway.buy(&Call::get("/api/a"));
    let macaroon = token.macaroon();
    let caveats: Vec<_> = macaroon.caveats().map(String::from_utf8_lossy).collect();
    assert!(
        caveats.contains(&"api_capabilities=files,read".into()),
        "{caveats:?}"
    );
    gateway
        .send(&Call::get("/api/files/1").with(&token))
        .expect(200);

    let reading = token.attenuated("api_capabilities=read");
    gateway
        .send(&Call::get("/api/a").with(&reading))
        .expect(200);
    for refused in [Call::get("/api/files/1"), Call::post("/api/a", "x")] {
        let reply = gateway.send(&refused.with(&reading)).expect(402);
        assert_eq!(reply.json()["reason"], "missing_capability");
        assert_eq!(reply.find("x-reason"), Some("missing capability"));
    }
    assert_eq!(gateway.charged(&token), 2000);
}

#[test]
fn nobody_gives_himself_a_capability() {
    let (_upstream, gateway) = with_upstream(|upstream| start(upstream, RULES));
    let token = gateway.buy(&Call::get("/api/a"));
    let reading = token.attenuated("api_capabilities=read");
    for wider in [
        "api_capabilities=files,read",
        "api_capabilities=admin",
        "other_capabilities=read",
    ] {
        gateway
            .send(&Call::get("/api/a").with(&reading.attenuated(wider)))
            .expect(401);
    }
    assert_eq!(gateway.charged(&token), 0);
}

#[test]
fn a_restriction_that_the_route_does_not_know_is_not_ignored() {
    let (_upstream, gateway) = with_upstream(|upstream| start(upstream, ""));
    let token = gateway.buy(&Call::get("/api/a"));
    let narrowed = token.attenuated("api_capabilities=read");
    gateway
        .send(&Call::get("/api/a").with(&narrowed))
        .expect(402);
    gateway.send(&Call::get("/api/a").with(&token)).expect(200);
}

#[test]
fn names_alone_are_needed_by_every_request() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(&upstream, "capabilities = [\"add\", \"subtract\"]");
    let token = gateway.buy(&Call::get("/api/a"));
    gateway
        .send(&Call::post("/api/a", "x").with(&token))
        .expect(200);
    let adding = token.attenuated("api_capabilities=add");
    gateway
        .send(&Call::post("/api/a", "x").with(&adding))
        .expect(402);
}
