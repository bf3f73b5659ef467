//! `on_failure = "cancel"` over a real channel: the payment is held while the call runs, and comes
//! back when the call fails.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::lab::LabError;
use rustix::process::Signal;

use crate::harness::{Call, Route, Setup, TestGateway};
use crate::stage::{Balances, PRICE, Paying, Stage, alone, paid, upstream};

/// A gateway of alice's that holds payments, its upstream, and what both nodes own before anything
/// is paid. The gateway ends first.
type Shop = (Stage, ScriptedUpstream, TestGateway, Balances);

fn held(upstream: &ScriptedUpstream) -> Route {
    paid(upstream).line("on_failure = \"cancel\"")
}

fn open() -> Option<Shop> {
    let (stage, upstream) = (alone()?, upstream());
    let gateway = TestGateway::start(stage.setup(held(&upstream)));
    let before = stage.balances();
    Some((stage, upstream, gateway, before))
}

#[track_caller]
fn assert_came_back(stage: &Stage, paying: Paying, hash: &str) {
    let outcome = paying.outcome();
    assert!(matches!(outcome, Err(LabError::NotPaid(_))), "{outcome:?}");
    stage.alice().wait_for_invoice(hash, "CANCELED").unwrap();
}

/// Asks until the payment is booked, and the answer given out: its payer may hear of it before.
#[track_caller]
fn wait_for_answer(gateway: &TestGateway, call: &Call) {
    for _ in 0..600 {
        let reply = gateway.send(call);
        if reply.status == 200 {
            return;
        }
        let reply = reply.expect(409);
        assert_eq!(reply.all("retry-after").len(), 1);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("no answer after 30 s");
}

#[test]
fn a_call_that_goes_well_is_paid_and_its_answer_is_kept() {
    let Some((stage, upstream, gateway, before)) = open() else {
        return;
    };
    let call = Call::get("/paid/gate/slow");
    let challenge = gateway.challenge(&call);
    let paying = stage.start_paying(&challenge);
    upstream.wait_for("/paid/gate/slow", 1);
    let hash = stage.hash_of(&challenge);
    stage.alice().wait_for_invoice(&hash, "ACCEPTED").unwrap();
    upstream.open_gate("slow");
    let token = challenge.paid_with(paying.outcome().unwrap().preimage);
    let call = call.with(&token);
    wait_for_answer(&gateway, &call);
    assert_eq!(gateway.send(&call).expect(200).text(), "the gate is open");
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), PRICE);
    stage.assert_paid(before, 2000);
}

#[test]
fn a_call_that_fails_gives_the_payment_back() {
    let Some((stage, _upstream, gateway, before)) = open() else {
        return;
    };
    for target in ["/paid/status/500", "/paid/refuse", "/paid/cut/10/100"] {
        let challenge = gateway.challenge(&Call::get(target));
        let hash = stage.hash_of(&challenge);
        assert_came_back(&stage, stage.start_paying(&challenge), &hash);
    }
    assert_eq!(gateway.trial_balance()["accounts"], 0);
    stage.assert_paid(before, 0);
}

#[test]
fn an_upstream_that_is_down_gives_the_payment_back() {
    let Some(stage) = alone() else { return };
    let gone = upstream();
    let route = held(&gone);
    drop(gone);
    let gateway = TestGateway::start(stage.setup(route));
    let before = stage.balances();
    let challenge = gateway.challenge(&Call::get("/paid/a"));
    let hash = stage.hash_of(&challenge);
    assert_came_back(&stage, stage.start_paying(&challenge), &hash);
    stage.assert_paid(before, 0);
}

#[test]
fn a_gateway_that_died_in_the_middle_of_a_call_gives_the_payment_back() {
    let Some((stage, upstream, mut gateway, before)) = open() else {
        return;
    };
    let challenge = gateway.challenge(&Call::get("/paid/gate/slow"));
    let hash = stage.hash_of(&challenge);
    let paying = stage.start_paying(&challenge);
    upstream.wait_for("/paid/gate/slow", 1);
    gateway.kill();
    gateway.start_again(&[]);
    assert_came_back(&stage, paying, &hash);
    assert_eq!(upstream.total(), 1);
    stage.assert_paid(before, 0);
}

#[cfg(feature = "crash-points")]
#[test]
fn a_gateway_that_died_with_the_answer_stored_takes_the_payment_once() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let points = ["held-answered", "held-taken"].into_iter();
    for point in points.chain(farebox_ledger::HELD_CRASH_POINTS) {
        let crash = [("FAREBOX_CRASH_AT", point)];
        let mut gateway = TestGateway::start_with(stage.setup(held(&upstream)), &crash);
        let before = stage.balances();
        let call = Call::get(&format!("/paid/{point}"));
        let challenge = gateway.challenge(&call);
        let paying = stage.start_paying(&challenge);
        gateway.wait_for_exit();
        gateway.start_again(&[]);
        let token = challenge.paid_with(paying.outcome().unwrap().preimage);
        wait_for_answer(&gateway, &call.clone().with(&token));
        assert_eq!(upstream.count(&call.target), 1, "at {point}");
        assert_eq!(gateway.charged(&token), PRICE, "at {point}");
        stage.assert_paid(before, 2000);
    }
}

#[test]
fn a_payment_made_while_the_gateway_is_down_is_served_when_it_is_back() {
    let Some((stage, upstream, mut gateway, before)) = open() else {
        return;
    };
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    gateway.kill();
    let paying = stage.start_paying(&challenge);
    let hash = stage.hash_of(&challenge);
    stage.alice().wait_for_invoice(&hash, "ACCEPTED").unwrap();
    gateway.start_again(&[]);
    let token = challenge.paid_with(paying.outcome().unwrap().preimage);
    wait_for_answer(&gateway, &call.with(&token));
    assert_eq!(upstream.total(), 1);
    stage.assert_paid(before, 2000);
}

#[test]
fn a_payment_is_held_over_a_restart_of_the_node() {
    let Some((stage, upstream, gateway, before)) = open() else {
        return;
    };
    let call = Call::get("/paid/gate/slow");
    let challenge = gateway.challenge(&call);
    let paying = stage.start_paying(&challenge);
    upstream.wait_for("/paid/gate/slow", 1);
    stage.alice().daemon.stop().unwrap();
    upstream.open_gate("slow");
    stage.lab.start(stage.alice()).unwrap();
    let token = challenge.paid_with(paying.outcome().unwrap().preimage);
    wait_for_answer(&gateway, &call.with(&token));
    assert_eq!(upstream.total(), 1);
    stage.assert_paid(before, 2000);
}

#[test]
fn a_call_ends_with_the_node_that_a_reload_took_away() {
    let Some((stage, upstream, mut gateway, before)) = open() else {
        return;
    };
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    gateway.reconfigure(Setup::new().route(held(&upstream)));
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("the configuration was read again");
    // The line to the node breaks, so the call is looked at anew, by the new configuration.
    stage.alice().daemon.stop().unwrap();
    gateway.wait_for_log("a held call has to wait");
    stage.lab.start(stage.alice()).unwrap();
    let paying = stage.start_paying(&challenge);
    let token = challenge.paid_with(paying.outcome().unwrap().preimage);
    wait_for_answer(&gateway, &call.with(&token));
    assert_eq!(upstream.total(), 1);
    assert!(!gateway.log().contains("holds payments"));
    stage.assert_paid(before, 2000);
}

/// Mines until so many blocks are left to a held payment.
fn leave_blocks(stage: &Stage, hash: &str, blocks: u64) {
    let falls_back_at = stage.alice().falls_back_at(hash).unwrap();
    let mined = falls_back_at - stage.lab.btcd.height().unwrap() - blocks;
    stage.lab.mine(u32::try_from(mined).unwrap()).unwrap();
}

#[test]
fn a_call_is_not_begun_with_too_few_blocks_left() {
    let Some((stage, upstream, mut gateway, before)) = open() else {
        return;
    };
    let challenge = gateway.challenge(&Call::get("/paid/a"));
    gateway.kill();
    let hash = stage.hash_of(&challenge);
    let paying = stage.start_paying(&challenge);
    stage.alice().wait_for_invoice(&hash, "ACCEPTED").unwrap();
    // LND itself gives it back 12 blocks before the end.
    leave_blocks(&stage, &hash, 16);
    gateway.start_again(&[]);
    assert_came_back(&stage, paying, &hash);
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"canceled\""], 1);
    assert_eq!(upstream.total(), 0);
    stage.assert_paid(before, 0);
}

#[test]
fn a_payment_that_fell_back_while_its_call_ran_buys_nothing() {
    let Some((stage, upstream, mut gateway, before)) = open() else {
        return;
    };
    gateway.expect_alarms();
    let challenge = gateway.challenge(&Call::get("/paid/gate/slow"));
    let hash = stage.hash_of(&challenge);
    let paying = stage.start_paying(&challenge);
    upstream.wait_for("/paid/gate/slow", 1);
    leave_blocks(&stage, &hash, 10);
    assert_came_back(&stage, paying, &hash);
    upstream.open_gate("slow");
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"lost\""], 1);
    assert_eq!(gateway.trial_balance()["accounts"], 0);
    stage.assert_paid(before, 0);
}

#[test]
fn a_held_payment_in_several_parts_is_taken_whole() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let route = Route::at("/paid", &upstream).msat(35_000_000);
    let route = route.line("on_failure = \"cancel\"");
    let gateway = TestGateway::start(stage.setup(route));
    let before = stage.balances();
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let paid = stage.bob().pay_in_parts(&challenge.invoice).unwrap();
    let token = challenge.paid_with(paid.preimage);
    wait_for_answer(&gateway, &call.with(&token));
    assert_eq!(gateway.charged(&token), 35_000_000);
    stage.assert_paid(before, 35_000_000);
}
