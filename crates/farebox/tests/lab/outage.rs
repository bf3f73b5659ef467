//! A node that restarts or cannot be reached: what was sold goes on working, what would need the
//! node says when to come again, and afterwards nothing is missing.

use crate::harness::{Call, Reply, TestGateway};
use crate::stage::{PRICE, Stage, alone, paid, shared, upstream, wait_for_account};
use crate::wire::Wire;

/// Alice, behind a wire of the test's own.
fn wired(stage: &Stage) -> (Wire, String) {
    let wire = Wire::to(stage.alice().rest.trim_start_matches("https://"));
    let lightning = stage.lightning_at(&wire.url());
    (wire, lightning)
}

#[track_caller]
fn assert_come_again(reply: Reply) {
    let reply = reply.expect(503);
    let after: u64 = reply.find("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after} s");
}

/// Asks until the answer to `call` is `status`, and no longer "come again".
#[track_caller]
fn wait_for(status: u16, gateway: &TestGateway, call: &Call) {
    for _ in 0..600 {
        let reply = gateway.send(call);
        if reply.status == status {
            return;
        }
        assert_come_again(reply);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("no {status} after 30 s");
}

#[test]
fn a_restarted_node_is_found_again_and_sold_tokens_never_notice() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream).calls(3)));
    let call = Call::get("/paid/a");
    let token = stage.buy(&gateway, &call);
    let pending = gateway.challenge(&call);
    gateway.send(&call.clone().with(&token)).expect(200);

    stage.alice().daemon.stop().unwrap();
    assert_come_again(gateway.send(&call));
    gateway.send(&call.clone().with(&token)).expect(200);

    stage.lab.start(stage.alice()).unwrap();
    wait_for(402, &gateway, &call);
    gateway.send(&call.clone().with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 3 * PRICE);
    // The invoice from before the restart is still good, too.
    stage.bob().wait_until_it_can_pay(stage.alice()).unwrap();
    let token = stage.pay(pending);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_gateway_starts_without_its_node_and_finds_it_later() {
    let Some(stage) = shared() else { return };
    let (wire, lightning) = wired(&stage);
    wire.cut();
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)).lightning(&lightning));
    let call = Call::get("/paid/a");
    assert_come_again(gateway.send(&call));
    wire.mend();
    wait_for(402, &gateway, &call);
    let token = stage.buy(&gateway, &call);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_payment_made_while_the_line_was_cut_counts_once_the_line_is_back() {
    let Some(stage) = shared() else { return };
    let (wire, lightning) = wired(&stage);
    let lightning = format!("{lightning}\nstrict = true");
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)).lightning(&lightning));
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    wire.cut();
    let token = stage.pay(challenge);
    let paid = call.with(&token);
    // Unknown is neither yes nor no: a challenge would make the client pay again.
    assert_come_again(gateway.send(&paid));
    wire.mend();
    wait_for(200, &gateway, &paid);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn the_stream_of_settlements_goes_on_where_it_broke() {
    let Some(stage) = shared() else { return };
    let (wire, lightning) = wired(&stage);
    let upstream = upstream();
    let route = paid(&upstream).line("balance = { msat = 2000 }");
    let gateway = TestGateway::start(stage.setup(route).lightning(&lightning));
    let call = Call::get("/paid/a");
    // One before, so that there is a place to go on from.
    let first = stage.buy(&gateway, &call);
    gateway.send(&call.clone().with(&first)).expect(200);
    let challenge = gateway.challenge(&call);
    wire.cut();
    let paid = stage.bob().overpay(&challenge.invoice, 3000).unwrap();
    let token = challenge.paid_with(paid.preimage);
    gateway.send(&call.clone().with(&token)).expect(200);
    wire.mend();
    // Only the stream tells of what was paid beyond the price.
    let account = wait_for_account(&gateway, &token, |account| account["balance_msat"] == 1000);
    assert_eq!(account["held_msat"], 0);
    wire.shake();
    let token = stage.buy(&gateway, &call);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn what_was_overpaid_while_the_gateway_was_down_is_found_at_the_next_start() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let route = paid(&upstream).line("balance = { msat = 2000 }");
    let mut gateway = TestGateway::start(stage.setup(route));
    let call = Call::get("/paid/a");
    let first = stage.buy(&gateway, &call);
    gateway.send(&call.clone().with(&first)).expect(200);
    let challenge = gateway.challenge(&call);
    gateway.kill();
    let paid = stage.bob().overpay(&challenge.invoice, 3000).unwrap();
    gateway.start_again(&[]);
    let token = challenge.paid_with(paid.preimage);
    gateway.send(&call.with(&token)).expect(200);
    wait_for_account(&gateway, &token, |account| account["balance_msat"] == 1000);
}
