//! Header fields by which a client would speak in the gateway's name, or to the upstream past it.

use farebox_testkit::ScriptedUpstream;

use super::shop;
use crate::harness::{Call, Route, Setup, TestGateway, with_upstream};

#[test]
fn fields_that_only_the_gateway_may_set_are_thrown_away() {
    let (upstream, gateway) = with_upstream(shop);
    let steering = [
        "Farebox-Charge-Msat",
        "Farebox-Anything",
        "X-Original-URL",
        "X-Original-URI",
        "X-Rewrite-URL",
        "X-HTTP-Method",
        "X-HTTP-Method-Override",
        "X-Method-Override",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "X-Real-IP",
        "Forwarded",
        "X-Cashu",
        "X-Payment-Sats",
        "Payment-Authorization",
        "Proxy-Authorization",
        "TE",
        "Keep-Alive",
        "Upgrade",
        "HTTP2-Settings",
    ];
    let call = steering.iter().fold(Call::get("/free/a"), |call, name| {
        call.header(name, "/paid")
    });
    gateway.send(&call.header("X-Kept", "yes")).expect(200);
    let seen = &upstream.requests()[0];
    for name in steering {
        assert!(seen.all(&name.to_ascii_lowercase()).is_empty(), "{name}");
    }
    assert_eq!(seen.all("x-kept"), ["yes"]);
}

#[test]
fn that_headers_are_dropped_for_their_names_is_said_once_however_many_there_are() {
    let (upstream, gateway) = with_upstream(shop);
    for number in 0..5 {
        let call = Call::get("/free/a").header(&format!("X_Odd_{number}"), "1");
        gateway.send(&call).expect(200);
    }
    let line = gateway.wait_for_log("was dropped for its name");
    assert!(
        line.contains("x_odd_") && line.contains("underscores_in_headers"),
        "{line}"
    );
    let lines = gateway.log().matches("was dropped for its name").count();
    assert_eq!((upstream.total(), lines), (5, 1));
}

#[test]
fn a_stranger_does_not_choose_its_address_or_host() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/free/a")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-For", "198.51.100.1")
        .header("X-Forwarded-Host", "bank.test")
        .header("X-Forwarded-Proto", "https")
        .header("X-Request-Id", "mine");
    gateway.send(&call).expect(200);
    let seen = &upstream.requests()[0];
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-host"), ["gateway.test"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.all("host"), [upstream.address().to_string()]);
    assert_eq!(seen.all("x-request-id").len(), 1);
    assert_ne!(seen.all("x-request-id"), ["mine"]);
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().server("trusted_proxies = [\"127.0.0.0/8\"]");
    let gateway = TestGateway::start(setup.route(Route::at("/free", &upstream).free()));
    let call = Call::get("/free/a")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https");
    gateway.send(&call).expect(200);
    let seen = &upstream.requests()[0];
    assert_eq!(seen.all("x-forwarded-for"), ["203.0.113.9, 127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
}

#[test]
fn connection_takes_off_the_client_s_own_fields_only() {
    let upstream = ScriptedUpstream::start().unwrap();
    let secret = "headers = { Authorization = \"Bearer seller\", X-Api = \"seller\" }";
    let route = Route::at("/paid", &upstream).msat(2000).line(secret);
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let named = "authorization, x-api, x-mine, host, x-request-id, x-forwarded-for";
    let call = call
        .header("Connection", named)
        .header("X-Mine", "1")
        .header("X-Api", "client");
    gateway.send(&call.with(&token)).expect(200);
    let seen = &upstream.requests()[0];
    assert_eq!(seen.all("authorization"), ["Bearer seller"]);
    assert_eq!(seen.all("x-api"), ["seller"]);
    assert_eq!(seen.all("host"), [upstream.address().to_string()]);
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-request-id").len(), 1);
    assert!(seen.all("x-mine").is_empty() && seen.all("connection").is_empty());
}

#[test]
fn the_seller_s_secret_replaces_whatever_the_client_sends_under_its_name() {
    let upstream = ScriptedUpstream::start().unwrap();
    let secret = "headers = { X-Api-Key = \"seller\" }";
    let route = Route::at("/free", &upstream).free().line(secret);
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/free/a")
        .header("X-API-KEY", "client")
        .header("x-api-key", "client again");
    gateway.send(&call).expect(200);
    assert_eq!(upstream.requests()[0].all("x-api-key"), ["seller"]);
}

#[test]
fn an_upgrade_that_is_no_websocket_is_not_passed_on() {
    let (upstream, gateway) = with_upstream(shop);
    for (protocol, key) in [("h2c", "x"), ("websocket", ""), ("evil", "x")] {
        let call = Call::get("/free/upgrade")
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("Upgrade", protocol)
            .header("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA");
        let call = if key.is_empty() {
            call
        } else {
            call.header("Sec-WebSocket-Key", key)
        };
        assert_eq!(gateway.send(&call).status, 426, "{protocol}");
    }
    for request in upstream.requests() {
        assert!(request.all("upgrade").is_empty(), "{request:?}");
    }
}

#[test]
fn an_unpaid_upgrade_is_challenged_like_any_request() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/calls/upgrade")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(gateway.send(&call).status, 402);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn what_an_upstream_says_about_payment_never_comes_back() {
    let (_upstream, gateway) = with_upstream(shop);
    let reply = gateway.send(&Call::get("/free/hop")).expect(200);
    for name in [
        "keep-alive",
        "proxy-connection",
        "x-only-here",
        "farebox-charge-msat",
    ] {
        assert!(reply.all(name).is_empty(), "{name}: {reply:?}");
    }
    assert_eq!(reply.find("x-kept"), Some("yes"));
    assert_eq!(reply.find("set-cookie"), Some("a=1"));
}

#[test]
fn a_credential_in_a_trailer_pays_for_nothing_and_steers_nobody() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::post("/calls/a", "x"));
    for route in ["/calls", "/free"] {
        let authorization = token.authorization();
        let mut call = Call::new("POST", &format!("{route}/a"))
            .header("Transfer-Encoding", "chunked")
            .header("Trailer", "Authorization, X-Original-URL");
        let trailers = format!("Authorization: {authorization}\r\nX-Original-URL: /calls/b\r\n");
        call.body = format!("1\r\nx\r\n0\r\n{trailers}\r\n").into_bytes();
        let status = gateway.send(&call).status;
        assert_eq!(status, if route == "/free" { 200 } else { 402 });
    }
    assert_eq!(upstream.total(), 1);
    let seen = &upstream.requests()[0];
    assert!(seen.all("authorization").is_empty() && seen.all("x-original-url").is_empty());
}
