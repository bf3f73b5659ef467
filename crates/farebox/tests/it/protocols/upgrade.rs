//! Upgraded connections are paid for when they open.

use farebox_testkit::ScriptedUpstream;

use super::PRICE;
use crate::harness::{Call, Connection, Route, Setup, TestGateway, Token, with_upstream};

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
