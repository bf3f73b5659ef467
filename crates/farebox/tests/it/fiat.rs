//! Prices in the money of a state: what they are in msat is found when they are asked.

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Route, Setup, TestGateway};

fn setup(upstream: &ScriptedUpstream, bitcoin: &str, lines: &str) -> Setup {
    let route = Route::at("/paid", upstream).line("price = { usd = \"0.002\" }");
    Setup::new()
        .section(&format!("[rates.fixed]\nusd = \"{bitcoin}\""))
        .route(route.line(lines))
}

#[test]
fn a_price_in_dollars_is_asked_in_msat_at_the_rate_rounded_up() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(setup(&upstream, "99999.50", ""));
    let call = Call::get("/paid/x");
    let problem = gateway.send(&call).expect(402).json();
    assert_eq!(problem["price_msat"], 2001);
    let token = gateway.buy(&call);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 2001);
    gateway.wait_for_log("\"bitcoin_price\":\"99999.5\"");
}

#[test]
fn a_token_keeps_what_was_sold_when_the_rate_changes() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(setup(&upstream, "100000", "calls = 2"));
    let call = Call::get("/paid/x");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.reconfigure(setup(&upstream, "50000", "calls = 2"));
    gateway.restart();
    assert_eq!(gateway.send(&call).expect(402).json()["amount_msat"], 8000);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 4000);
}

#[test]
fn a_balance_is_drawn_at_the_rate_of_the_day() {
    let upstream = ScriptedUpstream::start().unwrap();
    let balance = "balance = { sat = 100 }";
    let mut gateway = TestGateway::start(setup(&upstream, "100000", balance));
    let call = Call::get("/paid/x");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.reconfigure(setup(&upstream, "50000", balance));
    gateway.restart();
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 2000 + 4000);
}

/// The same with a rate from a source that is not there.
fn without_rate(upstream: &ScriptedUpstream, lines: &str) -> Setup {
    let route = Route::at("/paid", upstream).line("price = { usd = \"0.002\" }");
    Setup::new()
        .section(
            "[rates]\nlive = [\"usd\"]\nquorum = 1\nallow_hosts = [\"127.0.0.1:1\"]\n\
             [[rates.source]]\nname = \"away\"\nurl = \"http://127.0.0.1:1/{currency}\"\n\
             pointer = \"/price\"",
        )
        .route(route.line(lines))
}

#[test]
fn without_a_rate_nothing_is_sold_but_calls_that_were_bought_are_served() {
    let upstream = ScriptedUpstream::start().unwrap();
    let call = Call::get("/paid/x");
    for (lines, served) in [
        ("calls = 2", 200),
        ("pass = \"1h\"", 200),
        ("balance = { sat = 100 }", 503),
    ] {
        let mut gateway = TestGateway::start(setup(&upstream, "100000", lines));
        let token = gateway.buy(&call);
        gateway.reconfigure(without_rate(&upstream, lines));
        gateway.restart();
        gateway.send(&call).expect(503);
        gateway.send(&call.clone().with(&token)).expect(served);
    }
}
