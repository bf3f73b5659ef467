//! A node that is not there: nothing stops, tokens that were sold go on working, and challenges
//! come back with it.

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;

use super::node::Node;
use super::wait_until;
use crate::harness::{Call, Challenge, Route, Setup, TestGateway, Token};

fn shop(node: &Node, upstream: &ScriptedUpstream) -> Setup {
    let route = Route::at("/paid", upstream).msat(2_000).calls(5);
    Setup::new().lightning(&node.toml()).route(route)
}

fn buy(gateway: &TestGateway, node: &Node, call: &Call) -> Token {
    let challenge = gateway.challenge(call);
    let preimage = node.pay(&challenge.invoice, 0);
    challenge.paid_with(preimage)
}

#[test]
fn tokens_work_while_the_node_is_away_and_challenges_ask_to_come_again() {
    let (node, upstream) = (Node::start(), ScriptedUpstream::start().unwrap());
    let gateway = TestGateway::start(shop(&node, &upstream));
    let call = Call::get("/paid/a");
    let token = buy(&gateway, &node, &call);
    node.be_away(true);
    let away = gateway.send(&call).expect(503);
    assert!(away.find("retry-after").is_some(), "{away:?}");
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.wait_for_metric("farebox_lightning_up", &["backend=\"lnd\""], 0);
    gateway.wait_for_metric("farebox_lightning_following", &["backend=\"lnd\""], 0);

    node.be_away(false);
    Challenge::of(&gateway.send(&call).expect(402));
    gateway.wait_for_metric("farebox_lightning_up", &["backend=\"lnd\""], 1);
    gateway.wait_for_metric("farebox_lightning_following", &["backend=\"lnd\""], 1);
    assert_eq!(gateway.charged(&token), 2_000);
}

#[test]
fn a_gateway_starts_while_its_node_is_away() {
    let (node, upstream) = (Node::start(), ScriptedUpstream::start().unwrap());
    let mut gateway = TestGateway::start(shop(&node, &upstream));
    let call = Call::get("/paid/a");
    let token = buy(&gateway, &node, &call);
    gateway.stop();
    node.be_away(true);
    gateway.start_again(&[]);
    gateway.wait_for_log("the backend is away");
    gateway.send(&Call::get("/.farebox/health")).expect(200);
    let away = gateway.send(&call).expect(503);
    assert!(away.find("retry-after").is_some(), "{away:?}");
    gateway.send(&call.clone().with(&token)).expect(200);

    node.be_away(false);
    let second = buy(&gateway, &node, &call);
    gateway.send(&call.with(&second)).expect(200);
    assert_eq!(
        (gateway.charged(&token), gateway.charged(&second)),
        (2_000, 2_000)
    );
}

#[test]
fn another_backend_makes_the_invoices_of_one_that_is_away() {
    let (node, upstream) = (Node::start(), ScriptedUpstream::start().unwrap());
    let both = format!(
        "{}\n[[lightning.fallback]]\nbackend = \"mock\"",
        node.toml()
    );
    let route = Route::at("/paid", &upstream).msat(2_000);
    let gateway = TestGateway::start(Setup::new().lightning(&both).route(route));
    let first = Call::get("/paid/first");
    let from_node = buy(&gateway, &node, &first);

    node.be_away(true);
    let second = Call::get("/paid/second");
    let from_mock = gateway.buy(&second);
    gateway.send(&second.with(&from_mock)).expect(200);
    gateway.send(&first.with(&from_node)).expect(200);
    gateway.wait_for_metric("farebox_lightning_up", &["backend=\"lnd\""], 0);
    gateway.wait_for_metric("farebox_lightning_up", &["backend=\"mock\""], 1);
}

#[test]
fn a_reload_follows_the_backends_that_are_there_now() {
    let (first, second) = (Node::start(), Node::start());
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = |node: &Node, name: &str| {
        let route = Route::at("/paid", &upstream).msat(2_000).calls(5);
        let lines = format!("{}\nname = \"{name}\"", node.toml());
        Setup::new().lightning(&lines).route(route)
    };
    let mut gateway = TestGateway::start(setup(&first, "first"));
    let call = Call::get("/paid/a");
    let token = buy(&gateway, &first, &call);
    gateway.wait_for_metric("farebox_lightning_following", &["backend=\"first\""], 1);

    gateway.reconfigure(setup(&second, "second"));
    gateway.signal(Signal::HUP);
    gateway.wait_for_metric("farebox_lightning_following", &["backend=\"second\""], 1);
    assert_eq!(
        gateway.metric("farebox_lightning_up", &["backend=\"first\""]),
        None
    );
    let other = buy(&gateway, &second, &call);
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.send(&call.with(&other)).expect(200);
    assert_eq!(second.subscriptions().len(), 1);

    // The same again: nothing is asked anew.
    gateway.signal(Signal::HUP);
    wait_until("the second reload", || {
        gateway
            .log()
            .matches("the configuration was read again")
            .count()
            == 2
    });
    assert_eq!(second.subscriptions().len(), 1);
}
