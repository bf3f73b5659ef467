//! The wall clock is set back and forth under a running gateway.

use farebox_testkit::ScriptedUpstream;

use super::{MINUTE, PRICE, shop, start_by};
use crate::harness::{Call, HOUR, Route, Setup, TestClock, TestGateway, Token};

const DAY: i64 = 24 * HOUR;

/// The problem's reason, of an answer that asks for money again.
#[track_caller]
fn refused_as(gateway: &TestGateway, call: &Call) -> String {
    let problem = gateway.send(call).expect(402).json();
    problem["reason"].as_str().unwrap().to_owned()
}

#[track_caller]
fn balance(gateway: &TestGateway, token: &Token) -> u64 {
    let account = gateway.find_account(token).unwrap();
    account["balance_msat"].as_u64().unwrap()
}

#[test]
fn a_payment_that_comes_late_still_counts() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let gateway = start_by(&clock, shop(&upstream));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    // The invoice has been dead for hours, the claim window of a day beyond it is open.
    clock.shift(23 * HOUR);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_payment_after_the_claim_window_is_credited_but_not_spent() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let mut gateway = start_by(&clock, shop(&upstream));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    clock.shift(DAY + HOUR);
    for _ in 0..2 {
        assert_eq!(refused_as(&gateway, &call), "expired");
        assert_eq!(balance(&gateway, &token), PRICE);
        gateway.restart();
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn time_runs_from_the_first_use_and_what_is_left_stays_on_the_account() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let route = Route::at("/paid", &upstream).msat(PRICE).calls(3);
    let mut gateway = start_by(&clock, Setup::new().route(route.line("valid_for = \"1h\"")));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    clock.shift(2 * HOUR);
    gateway.send(&call).expect(200);
    clock.shift(59 * MINUTE);
    gateway.send(&call).expect(200);
    clock.shift(2 * MINUTE);
    assert_eq!(refused_as(&gateway, &call), "expired");
    gateway.restart();
    assert_eq!(refused_as(&gateway, &call), "expired");
    assert_eq!(balance(&gateway, &token), PRICE);

    clock.shift(-HOUR);
    gateway.send(&call).expect(200);
    assert_eq!(refused_as(&gateway, &call), "used_up");
    assert_eq!(gateway.charged(&token), 3 * PRICE);
    assert_eq!(upstream.total(), 3);
}

#[test]
fn a_pass_ends_with_its_time_and_is_paid_once_whatever_the_clock_does() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let route = Route::at("/paid", &upstream).msat(PRICE);
    let mut gateway = start_by(&clock, Setup::new().route(route.line("pass = \"1h\"")));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    gateway.send(&call).expect(200);
    clock.shift(59 * MINUTE);
    gateway.send(&call).expect(200);
    clock.shift(2 * MINUTE);
    assert_eq!(refused_as(&gateway, &call), "expired");
    gateway.restart();
    assert_eq!(refused_as(&gateway, &call), "expired");
    clock.shift(-2 * HOUR);
    gateway.send(&call).expect(200);
    clock.shift(2 * HOUR);
    assert_eq!(refused_as(&gateway, &call), "expired");
    assert_eq!(gateway.charged(&token), PRICE);
    assert_eq!(gateway.trial_balance()["house_msat"]["revenue:paid"], PRICE);
}

#[test]
fn a_holder_s_own_deadline_goes_by_the_same_clock() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let gateway = start_by(&clock, shop(&upstream));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    // Far beyond any test's time: 2100-01-01.
    let call = call.with(&token.attenuated("valid_until=4102444800"));
    clock.shift(100 * 366 * DAY);
    assert_eq!(refused_as(&gateway, &call), "expired");
    clock.shift(-100 * 366 * DAY);
    gateway.send(&call).expect(200);
}

#[test]
fn a_retry_is_not_charged_again_when_the_clock_goes_back_before_the_sale() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let mut gateway = start_by(&clock, shop(&upstream));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    gateway.send(&call).expect(200);
    clock.shift(-HOUR);
    let again = gateway.send(&call).expect(200);
    assert_eq!(again.find("farebox-replayed"), Some("true"));
    gateway.restart();
    gateway.send(&call).expect(410);
    assert_eq!(gateway.charged(&token), PRICE);
    assert_eq!(upstream.total(), 1);
}

/// The transfers of one token, newest first.
fn transfers(gateway: &TestGateway, token: &Token) -> Vec<serde_json::Value> {
    let path = format!("/admin/v1/tokens/{}/transfers", token.payment_hash());
    let page = gateway.admin(Call::get(&path)).expect(200).json();
    page["transfers"].as_array().unwrap().clone()
}

#[test]
fn the_ledger_keeps_its_books_while_the_clock_jumps() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let route = Route::at("/paid", &upstream).msat(PRICE).calls(12);
    let mut gateway = start_by(&clock, Setup::new().route(route));
    let call = Call::get("/paid/a");
    let first = gateway.buy(&call);
    for (round, jump) in [-HOUR, 2 * HOUR, -3 * HOUR, -DAY, DAY, HOUR]
        .into_iter()
        .enumerate()
    {
        gateway.send(&call.clone().with(&first)).expect(200);
        clock.shift(jump);
        gateway.send(&call.clone().with(&first)).expect(200);
        let other = gateway.buy(&call);
        gateway.send(&call.clone().with(&other)).expect(200);
        assert_eq!(gateway.charged(&other), PRICE);
        match round % 3 {
            0 => gateway.restart(),
            1 => {
                gateway.kill();
                let (name, value) = clock.environment();
                gateway.start_again(&[(name, &value), super::SAME_NODE]);
            }
            _ => (),
        }
    }
    assert_eq!(gateway.charged(&first), 12 * PRICE);
    let list = transfers(&gateway, &first);
    let kinds: Vec<_> = list
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..12], ["settle"; 12]);
    assert_eq!(kinds[12..], ["claim"]);
    assert_eq!(gateway.trial_balance()["sound"], true);
}

#[test]
fn a_hold_that_is_open_while_the_clock_jumps_is_settled() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let gateway = start_by(&clock, shop(&upstream));
    for (gate, jump) in [("back", -DAY), ("forth", 400 * DAY)] {
        let call = Call::get(&format!("/paid/gate/{gate}"));
        let token = gateway.buy(&call);
        let call = call.with(&token);
        let mut buyer = crate::harness::Connection::open(gateway.address).unwrap();
        buyer.send(&call).unwrap();
        upstream.wait_for(&format!("/paid/gate/{gate}"), 1);
        clock.shift(jump);
        upstream.open_gate(gate);
        buyer.read_reply("GET").unwrap().expect(200);
        assert_eq!(gateway.charged(&token), PRICE);
    }
}

#[test]
fn a_machine_that_wakes_up_years_off_keeps_sound_books() {
    let upstream = ScriptedUpstream::start().unwrap();
    for years in [-50, 70] {
        let clock = TestClock::new();
        let wrong = years * 365 * DAY;
        clock.shift(wrong);
        let route = Route::at("/paid", &upstream).msat(PRICE).calls(2);
        let mut gateway = start_by(&clock, Setup::new().route(route));
        let call = Call::get("/paid/a");
        let early = gateway.buy(&call);
        gateway.send(&call.clone().with(&early)).expect(200);

        clock.shift(-wrong);
        for _ in 0..2 {
            let token = gateway.buy(&call);
            gateway.send(&call.clone().with(&token)).expect(200);
            gateway.send(&call.clone().with(&token)).expect(200);
            assert_eq!(gateway.charged(&token), 2 * PRICE);
            gateway.restart();
        }
        let status = gateway.send(&call.clone().with(&early)).status;
        let (expected, used) = if years < 0 { (402, 1) } else { (200, 2) };
        assert_eq!(status, expected, "{years} years off");
        assert_eq!(gateway.charged(&early), used * PRICE);
        assert_eq!(gateway.trial_balance()["sound"], true);
    }
}
