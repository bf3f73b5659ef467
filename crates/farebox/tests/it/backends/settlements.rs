//! What a node tells by itself: more money than was asked for, and where to go on.

use farebox_testkit::ScriptedUpstream;

use super::node::Node;
use super::wait_until;
use crate::harness::{Call, Route, Setup, TestGateway, Token};

fn shop(node: &Node, upstream: &ScriptedUpstream) -> Setup {
    let balance = Route::at("/paid", upstream)
        .msat(2_000)
        .line("balance = { msat = 10000 }");
    Setup::new().lightning(&node.toml()).route(balance)
}

/// Waits until so much is on the token.
#[track_caller]
fn wait_for_balance(gateway: &TestGateway, token: &Token, msat: u64) {
    wait_until("the balance", || {
        let account = gateway.find_account(token).expect("it was used");
        account["balance_msat"] == msat && account["held_msat"] == 0
    });
}

#[test]
fn what_was_paid_beyond_the_price_is_on_the_token() {
    let (node, upstream) = (Node::start(), ScriptedUpstream::start().unwrap());
    let gateway = TestGateway::start(shop(&node, &upstream));
    let call = Call::get("/paid/a");
    wait_until("the node is followed", || !node.subscriptions().is_empty());
    let challenge = gateway.challenge(&call);
    let preimage = node.pay(&challenge.invoice, 3_000);
    let token = challenge.paid_with(preimage);
    gateway.send(&call.with(&token)).expect(200);
    wait_for_balance(&gateway, &token, 10_000 + 3_000 - 2_000);
}

#[test]
fn settlements_are_heard_of_from_where_the_last_run_stopped() {
    let (node, upstream) = (Node::start(), ScriptedUpstream::start().unwrap());
    let mut gateway = TestGateway::start(shop(&node, &upstream));
    let first = gateway.challenge(&Call::get("/paid/a"));
    let late = gateway.challenge(&Call::get("/paid/b"));
    let other = gateway.challenge(&Call::get("/paid/c"));
    wait_until("the node is followed", || !node.subscriptions().is_empty());
    let preimage = node.pay(&first.invoice, 1_000);
    let heard = first.paid_with(preimage);
    gateway.send(&Call::get("/paid/a").with(&heard)).expect(200);
    wait_for_balance(&gateway, &heard, 10_000 + 1_000 - 2_000);
    gateway.stop();

    // Overpaid while nobody listens.
    let preimage = node.pay(&late.invoice, 5_000);
    let token = late.paid_with(preimage);
    node.pay(&other.invoice, 0);
    gateway.start_again(&[]);
    gateway.send(&Call::get("/paid/b").with(&token)).expect(200);
    wait_for_balance(&gateway, &token, 10_000 + 5_000 - 2_000);
}
