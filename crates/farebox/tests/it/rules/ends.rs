//! How tokens end: by time, by the operator, by a new key; and what stays on them.

use farebox_testkit::ScriptedUpstream;

use super::{Books, MANY_CHALLENGES, account_when, books_when};
use crate::harness::{Call, Challenge, HOUR, Route, Setup, TestClock, TestGateway, Token};

const DAY: i64 = 24 * HOUR;

fn start(clock: &TestClock, route: Route) -> TestGateway {
    let (name, file) = clock.environment();
    let setup = Setup::new().section(MANY_CHALLENGES).route(route);
    TestGateway::start_with(setup, &[(name, &file)])
}

#[track_caller]
fn assert_ended(gateway: &TestGateway, call: &Call, token: &Token, reason: &str) {
    let reply = gateway.send(&call.clone().with(token)).expect(402);
    assert_eq!(reply.json()["reason"], reason);
    Challenge::of(&reply);
}

#[test]
fn usable_time_runs_from_the_first_use() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let route = Route::at("/calls", &upstream).msat(1000).calls(5);
    let gateway = start(&clock, route.line("valid_for = \"2d\""));
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    clock.shift(23 * HOUR);
    gateway.send(&call.clone().with(&token)).expect(200);
    clock.shift(2 * DAY - HOUR);
    gateway.send(&call.clone().with(&token)).expect(200);
    clock.shift(2 * HOUR);
    assert_ended(&gateway, &call, &token, "expired");
    assert_eq!(upstream.total(), 2);
}

#[test]
fn expiry_stops_spending_not_owning() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let route = Route::at("/calls", &upstream).msat(1000).calls(5);
    let gateway = start(&clock, route.line("valid_for = \"1h\""));
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    clock.shift(2 * HOUR);
    assert_ended(&gateway, &call, &token, "expired");
    let account = account_when(&gateway, &token, |account| account["state"] == "expired");
    assert_eq!(account["balance_msat"], 4000);
    books_when(&gateway, &Books::settled(5000, 1000));
}

#[test]
fn a_payment_first_used_too_late_is_credited_but_not_spendable() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let gateway = start(&clock, Route::at("/calls", &upstream).msat(1000).calls(5));
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    // An invoice lives for ten minutes, and a day more may pass until the first use.
    clock.shift(DAY + HOUR);
    assert_ended(&gateway, &call, &token, "expired");
    books_when(&gateway, &Books::settled(5000, 0));
    assert_eq!(upstream.total(), 0);
}

#[test]
fn an_invoice_paid_late_still_counts() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let gateway = start(&clock, Route::at("/paid", &upstream).msat(2000));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    clock.shift(20 * HOUR);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_clock_set_back_gives_no_token_a_second_life_and_takes_none_away() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let route = Route::at("/calls", &upstream).msat(1000).calls(5);
    let gateway = start(&clock, route.line("valid_for = \"1h\""));
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    clock.shift(-3 * DAY);
    gateway.send(&call.clone().with(&token)).expect(200);
    let other = gateway.buy(&call);
    gateway.send(&call.clone().with(&other)).expect(200);
    clock.shift(3 * DAY + 30 * 60_000);
    gateway.send(&call.clone().with(&token)).expect(200);
    assert_ended(&gateway, &call, &other, "expired");
    books_when(&gateway, &Books::settled(10_000, 4000));
}

#[test]
fn a_retry_after_expiry_still_finds_its_answer() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let route = Route::at("/paid", &upstream).msat(2000);
    let gateway = start(&clock, route.line("valid_for = \"1h\""));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    clock.shift(2 * HOUR);
    let again = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(again.find("farebox-replayed"), Some("true"));
}

#[test]
fn a_pass_works_many_times_writes_once_and_ends() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let gateway = start(
        &clock,
        Route::at("/pass", &upstream)
            .msat(5000)
            .line("pass = \"1h\""),
    );
    let token = gateway.buy(&Call::get("/pass/a"));
    for number in 0..20 {
        let call = Call::get(&format!("/pass/{number}"));
        gateway.send(&call.with(&token)).expect(200);
    }
    books_when(&gateway, &Books::settled(5000, 5000));
    let books = gateway.trial_balance();
    // The payment and its one transfer to the seller; twenty uses left no other trace.
    assert_eq!(books["transfers"], 2, "{books}");
    clock.shift(HOUR + 1000);
    assert_ended(&gateway, &Call::get("/pass/a"), &token, "expired");
    assert_eq!(upstream.total(), 20);
    books_when(&gateway, &Books::settled(5000, 5000));
}

#[track_caller]
fn admin(gateway: &TestGateway, words: &[&str]) {
    let console = gateway.console.to_string();
    let output = gateway.command(&[&["admin", "--console", &console], words].concat());
    assert!(output.status.success(), "{output:?}");
}

#[track_caller]
fn revoke(gateway: &TestGateway, token: &Token) {
    admin(gateway, &["tokens", "revoke", &token.payment_hash()]);
}

#[test]
fn a_revoked_token_is_refused_at_once_and_keeps_its_value() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway =
        TestGateway::start(Setup::new().route(Route::at("/calls", &upstream).msat(1000).calls(5)));
    let call = Call::get("/calls/a");
    let (token, other) = (gateway.buy(&call), gateway.buy(&call));
    gateway.send(&call.clone().with(&token)).expect(200);
    revoke(&gateway, &token);
    assert_ended(&gateway, &call, &token, "revoked");
    assert_ended(&gateway, &call, &token.attenuated("count=5"), "revoked");
    gateway.send(&call.with(&other)).expect(200);
    books_when(&gateway, &Books::settled(10_000, 2000));
}

#[test]
fn a_token_revoked_before_its_first_use_is_refused_at_it_also_after_a_restart() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway =
        TestGateway::start(Setup::new().route(Route::at("/calls", &upstream).msat(1000).calls(5)));
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    revoke(&gateway, &token);
    assert_ended(&gateway, &call, &token, "revoked");
    gateway.restart();
    assert_ended(&gateway, &call, &token, "revoked");
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_revoked_pass_is_refused_from_memory_too() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/pass", &upstream)
        .msat(5000)
        .line("pass = \"1h\"");
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/pass/a");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    revoke(&gateway, &token);
    assert_ended(&gateway, &call, &token, "revoked");
}

/// A token that was used once and one that never was.
fn used_and_unused(gateway: &TestGateway) -> [Token; 2] {
    let call = Call::get("/calls/a");
    let tokens = [gateway.buy(&call), gateway.buy(&call)];
    gateway.send(&call.with(&tokens[0])).expect(200);
    tokens
}

#[test]
fn a_normal_rotation_voids_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway =
        TestGateway::start(Setup::new().route(Route::at("/calls", &upstream).msat(1000).calls(5)));
    let call = Call::get("/calls/a");
    let old = used_and_unused(&gateway);
    admin(&gateway, &["keys", "rotate"]);
    let new = gateway.buy(&call);
    for token in old.iter().chain([&new]) {
        gateway.send(&call.clone().with(token)).expect(200);
    }
    gateway.restart();
    for token in old.iter().chain([&new]) {
        gateway.send(&call.clone().with(token)).expect(200);
    }
}

#[test]
fn an_emergency_rotation_voids_the_unclaimed_tokens_and_no_other() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway =
        TestGateway::start(Setup::new().route(Route::at("/calls", &upstream).msat(1000).calls(5)));
    let call = Call::get("/calls/a");
    let [used, unused] = used_and_unused(&gateway);
    admin(&gateway, &["keys", "rotate", "--emergency"]);
    let new = gateway.buy(&call);
    for _ in 0..2 {
        gateway.send(&call.clone().with(&used)).expect(200);
        gateway.send(&call.clone().with(&new)).expect(200);
        assert_ended(&gateway, &call, &unused, "voided_by_rotation");
        gateway.restart();
    }
    books_when(&gateway, &Books::settled(10_000, 5000));
}
