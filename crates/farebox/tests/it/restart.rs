//! A gateway that ends and starts again: what was sold stays good, the store has one owner at a
//! time, running requests are finished, and neither a reload nor a wrong clock costs anybody money.

mod clock;
mod drain;
mod reload;
mod store;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Route, Setup, TestClock, TestGateway, with_upstream};

const PRICE: u64 = 2000;
const MINUTE: i64 = 60_000;

/// Lets a mock node that was started again be paid the invoices it made before.
const SAME_NODE: (&str, &str) = (
    "FAREBOX_TEST_NODE_SECRET",
    "0101010101010101010101010101010101010101010101010101010101010101",
);

fn shop(upstream: &ScriptedUpstream) -> Setup {
    Setup::new().route(Route::at("/paid", upstream).msat(PRICE))
}

/// A gateway that goes by `clock`.
fn start_by(clock: &TestClock, setup: Setup) -> TestGateway {
    let (name, value) = clock.environment();
    TestGateway::start_with(setup, &[(name, &value), SAME_NODE])
}

#[track_caller]
fn rotate_keys(gateway: &TestGateway, emergency: bool) {
    let body = serde_json::json!({ "emergency": emergency }).to_string();
    let call = Call::post("/admin/v1/keys/rotate", body);
    let call = call.header("Content-Type", "application/json");
    gateway.admin(call).expect(200);
}

#[test]
fn an_invoice_can_be_paid_and_spent_after_restarts_in_between() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start_with(shop(&upstream), &[SAME_NODE]);
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    gateway.restart();
    let preimage = gateway.pay(&challenge.invoice);
    gateway.restart();
    let token = challenge.paid_with(preimage);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn what_is_left_of_a_token_outlives_restarts_and_kills() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE).calls(3);
    let mut gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    for (used, left) in [(1, "2"), (2, "1"), (3, "0")] {
        let reply = gateway.send(&call).expect(200);
        assert_eq!(reply.find("farebox-calls-left"), Some(left));
        assert_eq!(gateway.charged(&token), used * PRICE);
        if left == "1" {
            gateway.kill();
            gateway.start_again(&[]);
        } else {
            gateway.restart();
        }
    }
    assert_eq!(gateway.send(&call).status, 402);
}

#[test]
fn a_revoked_token_stays_revoked() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let revoke = format!("/admin/v1/tokens/{}/revoke", token.payment_hash());
    gateway.admin(Call::new("POST", &revoke)).expect(200);
    gateway.restart();
    assert_eq!(gateway.send(&call.with(&token)).status, 402);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_token_sold_before_the_keys_were_rotated_outlives_a_restart_too() {
    let (_upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    rotate_keys(&gateway, false);
    gateway.restart();
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_token_signed_with_a_fresh_key_outlives_a_kill() {
    let (_upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/a");
    for emergency in [false, true] {
        rotate_keys(&gateway, emergency);
        let token = gateway.buy(&call);
        gateway.kill();
        gateway.start_again(&[]);
        gateway.send(&call.clone().with(&token)).expect(200);
    }
}

#[test]
fn an_emergency_rotation_that_was_answered_is_not_undone_by_a_kill() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE).calls(2);
    let mut gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/paid/a");
    let (used, unused) = (gateway.buy(&call), gateway.buy(&call));
    gateway.send(&call.clone().with(&used)).expect(200);
    assert_eq!(gateway.charged(&used), PRICE);
    rotate_keys(&gateway, true);
    for round in 0..2 {
        assert_eq!(gateway.send(&call.clone().with(&unused)).status, 402);
        if round == 0 {
            gateway.kill();
            gateway.start_again(&[]);
        }
    }
    gateway.send(&call.with(&used)).expect(200);
}
