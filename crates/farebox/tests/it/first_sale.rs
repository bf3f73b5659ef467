//! The shortest stories: what a stranger, a payer and a cheat see at a priced route.

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Route, Setup, TestGateway, Token, with_upstream};

fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    let paid = Route::at("/paid", upstream).msat(2000);
    TestGateway::start(
        Setup::new()
            .route(paid)
            .route(Route::at("/free", upstream).free()),
    )
}

#[test]
fn a_free_route_is_served_to_anybody() {
    let (_upstream, gateway) = with_upstream(shop);
    assert_eq!(gateway.send(&Call::get("/free/a")).status, 200);
}

#[test]
fn a_stranger_is_challenged_and_reaches_no_upstream() {
    let (upstream, gateway) = with_upstream(shop);
    let reply = gateway.send(&Call::get("/paid/a")).expect(402);
    assert_eq!(reply.find("cache-control"), Some("no-store"));
    assert_eq!(reply.find("content-type"), Some("application/problem+json"));
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_payer_gets_the_answer_and_the_upstream_never_sees_the_token() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a?b=c");
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.find("cache-control"), Some("private, no-store"));
    let seen = &upstream.requests()[0];
    assert_eq!(seen.target, "/paid/a?b=c");
    assert!(seen.all("authorization").is_empty());
}

#[test]
fn a_wrong_preimage_buys_nothing() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let forged = Token {
        macaroon: challenge.macaroon,
        preimage: "00".repeat(32),
    };
    assert_eq!(gateway.send(&call.with(&forged)).status, 401);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_token_outlives_a_restart() {
    let (_upstream, mut gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.restart();
    assert_eq!(gateway.send(&call.with(&token)).status, 200);
}

#[test]
fn a_kill_loses_no_sale_that_was_written() {
    let (upstream, mut gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 2000);
    gateway.kill();
    gateway.start_again(&[]);
    gateway.send(&call.with(&token)).expect(410);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_sale_shows_in_the_metrics() {
    let (_upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.send(&call.with(&token)).expect(200);
    gateway.wait_for_metric("farebox_charged_msat_total", &[r#"route="paid""#], 2000);
}
