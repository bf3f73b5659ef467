//! Upgraded connections are paid for when they open.

use farebox_testkit::ScriptedUpstream;

use super::PRICE;
use crate::harness::{Call, Connection, Route, Setup, TestGateway, Token, with_upstream};
use crate::keys;

fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    let route = Route::at("/paid", upstream).msat(PRICE).bound_to_route();
    TestGateway::start(Setup::new().route(route))
}

fn open(gateway: &TestGateway, token: &Token) -> Connection {
    let mut buyer = Connection::open(gateway.address).unwrap();
    let call = Call::websocket("/paid/upgrade").with(token);
    buyer.send(&call).unwrap();
    buyer
}

#[test]
fn an_upgrade_is_charged_when_it_opens_and_carries_bytes_until_either_side_ends() {
    let (_upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::websocket("/paid/upgrade"));
    let mut buyer = open(&gateway, &token);
    let head = buyer.read_head().unwrap();
    assert_eq!(
        (head.status, head.find("upgrade")),
        (101, Some("websocket"))
    );
    assert_eq!(gateway.charged(&token), PRICE);
    let message = vec![7; 100_000];
    for _ in 0..3 {
        buyer.write(&message).unwrap();
        assert_eq!(buyer.read_exactly(message.len()).unwrap(), message);
    }
    buyer.close_write().unwrap();
    assert!(buyer.is_at_end());
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn an_upgrade_without_payment_reaches_no_upstream() {
    let (upstream, gateway) = with_upstream(shop);
    assert_eq!(gateway.send(&Call::websocket("/paid/upgrade")).status, 402);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_used_token_opens_no_second_connection() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::websocket("/paid/upgrade"));
    let mut first = open(&gateway, &token);
    assert_eq!(first.read_head().unwrap().status, 101);
    assert_eq!(
        open(&gateway, &token).read_reply("GET").unwrap().status,
        410
    );
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn an_upgrade_that_the_upstream_declines_is_not_charged() {
    let (_upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::websocket("/paid/status/426"));
    let call = Call::websocket("/paid/status/426").with(&token);
    assert_eq!(gateway.send(&call).status, 426);
    assert_eq!(gateway.charged(&token), 0);
}

#[test]
fn bytes_sent_along_with_the_upgrade_are_not_lost() {
    let (_upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::websocket("/paid/upgrade"));
    let mut buyer = Connection::open(gateway.address).unwrap();
    let head = Call::websocket("/paid/upgrade").with(&token).head();
    buyer.write((head + "early").as_bytes()).unwrap();
    assert_eq!(buyer.read_head().unwrap().status, 101);
    assert_eq!(buyer.read_exactly(5).unwrap(), b"early");
}

#[test]
fn a_tunnel_ends_when_the_upstream_is_gone() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::websocket("/paid/upgrade"));
    let mut buyer = open(&gateway, &token);
    assert_eq!(buyer.read_head().unwrap().status, 101);
    drop(upstream);
    assert!(buyer.is_at_end());
}

#[test]
fn a_tunnel_is_logged_and_counted_at_its_end_with_what_it_cost_and_carried() {
    let (_upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::websocket("/paid/upgrade"));
    let mut buyer = open(&gateway, &token);
    assert_eq!(buyer.read_head().unwrap().status, 101);
    assert_eq!(gateway.charged(&token), PRICE);
    let message = vec![7; 1000];
    buyer.write(&message).unwrap();
    assert_eq!(buyer.read_exactly(message.len()).unwrap(), message);
    buyer.close_write().unwrap();
    let line = gateway.wait_for_log("\"status\":101");
    for part in [
        "\"outcome\":\"paid\"",
        "\"bytes_sent\":1000",
        "\"bytes_received\":1000",
        "\"charged_msat\":2000",
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    gateway.wait_for_metric("farebox_charged_msat_total", &["route=\"paid\""], 2000);
}

#[test]
fn a_tunnel_that_a_shutdown_cuts_is_logged_all_the_same() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE).bound_to_route();
    let setup = Setup::new().server("drain_timeout = \"300ms\"");
    let mut gateway = TestGateway::start(setup.route(route));
    let token = gateway.buy(&Call::websocket("/paid/upgrade"));
    let mut buyer = open(&gateway, &token);
    assert_eq!(buyer.read_head().unwrap().status, 101);
    buyer.write(b"hello").unwrap();
    assert_eq!(buyer.read_exactly(5).unwrap(), b"hello");
    gateway.stop();
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("\"status\":101"));
    let line = line.expect("a line for the tunnel");
    assert!(line.contains("\"charged_msat\":2000"), "{line}");
    assert!(line.contains("\"bytes_sent\":5"), "{line}");
}

#[test]
fn a_websocket_that_offers_its_key_alone_is_told_that_it_was_understood() {
    let (upstream, gateway) = with_upstream(shop);
    let key = keys::buy(&gateway, 10 * PRICE).key;
    let only = format!("openai-insecure-api-key.{key}");
    let call = Call::websocket("/paid/upgrade").header("Sec-WebSocket-Protocol", &only);
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call).unwrap();
    let head = buyer.read_head().unwrap();
    // Browsers close what names none of the subprotocols that they offered.
    assert_eq!(
        (head.status, head.find("sec-websocket-protocol")),
        (101, Some(&*only))
    );
    let seen = upstream.requests();
    assert!(seen[0].all("sec-websocket-protocol").is_empty());
    assert_eq!(keys::balance(&gateway, &key), 9 * PRICE);
}
