//! Prices below what the node takes: one payment buys a balance for several requests.

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Route, Setup, TestGateway, with_upstream};

/// A node that takes no less than a satoshi.
const ONE_SAT: &str = "backend = \"mock\"\nmin_amount = { sat = 1 }";

fn start(upstream: &ScriptedUpstream, msat: u64) -> TestGateway {
    let other = Route::to("/other", &format!("{}/other-upstream", upstream.url()));
    let setup = Setup::new()
        .lightning(ONE_SAT)
        .route(Route::at("/paid", upstream).msat(msat))
        .route(other.msat(msat));
    TestGateway::start(setup)
}

#[test]
fn the_402_says_what_the_larger_amount_is_for() {
    let (_upstream, gateway) = with_upstream(|upstream| start(upstream, 200));
    let problem = gateway.send(&Call::get("/paid/x")).expect(402).json();
    assert_eq!(problem["price_msat"], 200);
    assert_eq!(problem["amount_msat"], 1000);
    assert_eq!(problem["bundle"]["price_msat"], 200);
    assert_eq!(problem["bundle"]["amount_msat"], 1000);
    assert_eq!(problem["bundle"]["calls"], 5);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("balance"), "{detail}");
}

#[test]
fn every_millisatoshi_of_a_bundle_buys() {
    let (upstream, gateway) = with_upstream(|upstream| start(upstream, 300));
    let token = gateway.buy(&Call::get("/paid/first"));
    for (target, left) in [
        ("/paid/first", "700"),
        ("/paid/second", "400"),
        ("/paid/third", "100"),
    ] {
        let reply = gateway.send(&Call::get(target).with(&token)).expect(200);
        assert_eq!(reply.all("farebox-charge-msat"), ["300"]);
        assert_eq!(reply.all("farebox-balance-msat"), [left]);
    }
    let fourth = gateway.send(&Call::get("/paid/fourth").with(&token));
    assert_eq!(fourth.expect(402).json()["reason"], "used_up");
    assert_eq!(gateway.charged(&token), 900);
    assert_eq!(upstream.total(), 3);
}

#[test]
fn a_bundle_is_for_its_own_route() {
    let (_upstream, gateway) = with_upstream(|upstream| start(upstream, 300));
    let token = gateway.buy(&Call::get("/paid/x"));
    let elsewhere = gateway.send(&Call::get("/other/x").with(&token));
    assert_eq!(elsewhere.expect(402).json()["reason"], "wrong_route");
}

#[test]
fn a_retry_of_one_request_of_a_bundle_is_charged_once() {
    let (upstream, gateway) = with_upstream(|upstream| start(upstream, 300));
    let token = gateway.buy(&Call::get("/paid/x"));
    let call = Call::get("/paid/x")
        .header("Idempotency-Key", "one")
        .with(&token);
    for _ in 0..3 {
        gateway.send(&call).expect(200);
    }
    assert_eq!(gateway.charged(&token), 300);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_price_that_the_node_takes_is_sold_as_it_is() {
    let (_upstream, gateway) = with_upstream(|upstream| start(upstream, 1500));
    let problem = gateway.send(&Call::get("/paid/x")).expect(402).json();
    assert_eq!(problem["amount_msat"], 1500);
    assert!(problem["bundle"].is_null(), "{problem}");
}
