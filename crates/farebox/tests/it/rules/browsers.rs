//! Browsers and caches: who may read an answer, and who may keep it.

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Reply, Route, Setup, TestGateway, with_upstream};

const PAGE: &str = "https://shop.example";
const CORS: &str = "cors = { origins = [\"https://shop.example\"], max_age = \"5m\" }";

fn start(route: Route) -> TestGateway {
    TestGateway::start(Setup::new().route(route))
}

fn preflight(origin: &str) -> Call {
    Call::new("OPTIONS", "/paid/a")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization, content-type",
        )
}

fn exposes(reply: &Reply, name: &str) -> bool {
    let list = reply
        .find("access-control-expose-headers")
        .unwrap_or_default();
    list.split(", ")
        .any(|exposed| exposed.eq_ignore_ascii_case(name))
}

#[test]
fn a_preflight_is_answered_without_payment_upstream_or_invoice() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000).line(CORS));
    let reply = gateway.send(&preflight(PAGE)).expect(204);
    assert_eq!(reply.find("access-control-allow-origin"), Some(PAGE));
    assert_eq!(reply.find("access-control-allow-methods"), Some("POST"));
    let headers = reply.find("access-control-allow-headers");
    assert_eq!(headers, Some("authorization, content-type"));
    assert_eq!(reply.find("access-control-max-age"), Some("300"));
    assert!(reply.find("access-control-allow-credentials").is_none());
    assert_eq!(upstream.total(), 0);
    assert_eq!(
        gateway.metric("farebox_challenges_total", &[]).unwrap_or(0),
        0
    );
}

#[test]
fn other_origins_get_no_permission() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000).line(CORS));
    for origin in [
        "https://evil.example",
        "null",
        "http://shop.example",
        "https://shop.example.evil",
    ] {
        let refused = gateway.send(&preflight(origin)).expect(403);
        let challenged = gateway
            .send(&Call::get("/paid/a").header("Origin", origin))
            .expect(402);
        for reply in [refused, challenged] {
            assert!(
                reply.find("access-control-allow-origin").is_none(),
                "{origin}"
            );
        }
    }
    let two = preflight(PAGE).header("Origin", "https://evil.example");
    assert_eq!(gateway.send(&two).status, 403);
}

#[test]
fn a_page_can_read_the_challenge_the_answer_and_every_refusal() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000).line(CORS));
    let call = Call::get("/paid/a").header("Origin", PAGE);
    let token = gateway.buy(&call);
    let replies = [
        gateway.send(&call).expect(402),
        gateway.send(&call.clone().with(&token)).expect(200),
        gateway.send(&call.clone().with(&token)).expect(200),
        gateway
            .send(&call.header("Authorization", "L402 bad"))
            .expect(401),
    ];
    for reply in &replies {
        assert_eq!(reply.find("access-control-allow-origin"), Some(PAGE));
        let vary = reply.all("vary").join(", ").to_ascii_lowercase();
        assert!(vary.contains("origin"), "{vary}");
        for name in [
            "WWW-Authenticate",
            "X-Cashu",
            "Payment-Receipt",
            "Retry-After",
        ] {
            assert!(exposes(reply, name), "{name}");
        }
        for name in ["Farebox-Charge-Msat", "Farebox-Replayed", "X-Request-Id"] {
            assert!(exposes(reply, name), "{name}");
        }
    }
}

#[test]
fn cors_is_off_unless_the_seller_asks_for_it() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let reply = gateway.send(&preflight(PAGE)).expect(402);
    assert!(reply.all("www-authenticate").is_empty());
    let call = Call::get("/paid/a").header("Origin", PAGE);
    let token = gateway.buy(&call);
    for reply in [reply, gateway.send(&call.with(&token)).expect(200)] {
        let cors = reply
            .headers
            .iter()
            .find(|(name, _)| name.starts_with("access-control"));
        assert!(cors.is_none(), "{cors:?}");
    }
}

#[test]
fn no_cache_may_keep_what_was_paid_for() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let call = Call::get("/paid/cacheable");
    let unpaid = gateway.send(&call).expect(402);
    assert_eq!(unpaid.find("cache-control"), Some("no-store"));
    let token = gateway.buy(&call);
    for replayed in [None, Some("true")] {
        let reply = gateway.send(&call.clone().with(&token)).expect(200);
        assert_eq!(reply.find("farebox-replayed"), replayed);
        assert_eq!(reply.find("cache-control"), Some("private, no-store"));
        let vary = reply.all("vary").join(", ").to_ascii_lowercase();
        for name in ["authorization", "x-cashu", "x-payment-sats"] {
            assert!(vary.contains(name), "{vary}");
        }
    }
}

#[test]
fn errors_on_a_priced_route_are_not_for_caches_either() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(5));
    let token = gateway.buy(&Call::get("/calls/a"));
    for target in [
        "/calls/status/404",
        "/calls/status/500",
        "/calls/challenge/403",
    ] {
        let reply = gateway.send(&Call::get(target).with(&token));
        let told = reply.find("cache-control").unwrap_or_default();
        assert!(told.contains("no-store"), "{target}: {told:?}");
    }
}

#[test]
fn a_seller_may_leave_caching_to_the_upstream() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000);
    let gateway = start(route.line("cache = \"upstream\""));
    let call = Call::get("/paid/cacheable");
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.find("cache-control"), Some("public, max-age=3600"));
    assert!(
        reply
            .all("vary")
            .join(", ")
            .to_ascii_lowercase()
            .contains("authorization")
    );
}

#[test]
fn a_free_route_says_about_caching_what_its_upstream_says() {
    let (_upstream, gateway) = with_upstream(|upstream| start(Route::at("/free", upstream).free()));
    let reply = gateway.send(&Call::get("/free/cacheable")).expect(200);
    assert_eq!(reply.find("cache-control"), Some("public, max-age=3600"));
    assert_eq!(reply.find("etag"), Some("\"v1\""));
}
