//! SIGTERM: running requests are finished, new ones are not taken, and at the limit what is left
//! is cut with its money in order.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;

use super::{PRICE, shop};
use crate::harness::{Call, Connection, Http2, Route, Setup, TestGateway, Token, with_upstream};

/// A drain that is over long before anybody loses patience.
const SHORT: &str = "drain_timeout = \"300ms\"";

/// Sends a paid call on a connection of its own and leaves it there.
fn send_paid(gateway: &TestGateway, call: &Call) -> (Connection, Call, Token) {
    let token = gateway.buy(call);
    let call = call.clone().with(&token);
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call).unwrap();
    (buyer, call, token)
}

/// Waits until nobody accepts connections any more.
#[track_caller]
fn wait_until_refused(address: SocketAddr) {
    let give_up_at = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_ok() {
        assert!(
            Instant::now() < give_up_at,
            "connections are still accepted"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_running_request_is_finished_while_new_connections_are_refused() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let (mut buyer, _, token) = send_paid(&gateway, &Call::get("/paid/gate/one"));
    let mut idle = Connection::open(gateway.address).unwrap();
    idle.send(&Call::get("/.farebox/health")).unwrap();
    idle.read_reply("GET").unwrap().expect(200);
    upstream.wait_for("/paid/gate/one", 1);

    gateway.signal(Signal::TERM);
    wait_until_refused(gateway.address);
    assert!(idle.is_at_end(), "an idle connection was kept");
    upstream.open_gate("one");
    assert_eq!(buyer.read_reply("GET").unwrap().text(), "the gate is open");
    assert!(
        buyer.is_at_end(),
        "the connection was kept for more requests"
    );
    assert!(gateway.wait_for_exit().success(), "{}", gateway.log());
    let log = gateway.log();
    assert!(log.contains("/paid/gate/one"), "its line is missing: {log}");

    gateway.start_again(&[]);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_stream_runs_to_its_end_during_a_drain() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let stream = upstream.stream("one");
    let (mut buyer, _, token) = send_paid(&gateway, &Call::get("/paid/stream/one"));
    buyer.read_head().unwrap().expect(200);
    stream.send("data: 1\n\n");
    assert_eq!(buyer.read_chunk().unwrap().unwrap(), b"data: 1\n\n");

    gateway.signal(Signal::TERM);
    wait_until_refused(gateway.address);
    for text in ["data: 2\n\n", "data: 3\n\n"] {
        assert!(stream.send(text));
        assert_eq!(buyer.read_chunk().unwrap().unwrap(), text.as_bytes());
    }
    stream.finish();
    assert_eq!(buyer.read_chunk().unwrap(), None);
    assert!(gateway.wait_for_exit().success(), "{}", gateway.log());
    gateway.start_again(&[]);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_request_without_an_answer_is_cut_at_the_limit_and_can_be_made_again() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(shop(&upstream).server(SHORT));
    let (mut buyer, call, token) = send_paid(&gateway, &Call::get("/paid/gate/one"));
    upstream.wait_for("/paid/gate/one", 1);
    gateway.stop();
    assert!(buyer.is_at_end());

    gateway.start_again(&[]);
    assert_eq!(gateway.trial_balance()["open_holds"], 0);
    assert_eq!(gateway.charged(&token), 0);
    upstream.open_gate("one");
    gateway.send(&call).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_stream_that_is_cut_at_the_limit_is_charged_once() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(shop(&upstream).server(SHORT));
    let stream = upstream.stream("one");
    let (mut buyer, call, token) = send_paid(&gateway, &Call::get("/paid/stream/one"));
    buyer.read_head().unwrap().expect(200);
    stream.send("data: 1\n\n");
    buyer.read_chunk().unwrap().unwrap();
    gateway.stop();
    assert!(
        buyer.read_chunk().is_err(),
        "a cut must not look like an end"
    );

    gateway.start_again(&[]);
    assert_eq!(gateway.charged(&token), PRICE);
    gateway.send(&call).expect(410);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_request_over_http_2_is_finished_too() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/gate/one");
    let token = gateway.buy(&call);
    let mut buyer = Http2::open(gateway.address).unwrap();
    let mut sent = buyer.start(&[call.with(&token)]);
    sent.drive_until(|| upstream.count("/paid/gate/one") == 1);
    gateway.signal(Signal::TERM);
    wait_until_refused(gateway.address);
    upstream.open_gate("one");
    let reply = sent.finish().remove(0).unwrap();
    assert_eq!(reply.text(), "the gate is open");
    drop(buyer);
    assert!(gateway.wait_for_exit().success(), "{}", gateway.log());
}

#[test]
fn requests_over_http_2_are_cut_at_the_limit_and_released() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(shop(&upstream).server(SHORT));
    let call = Call::get("/paid/gate/one");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    let mut buyer = Http2::open(gateway.address).unwrap();
    let mut sent = buyer.start(std::slice::from_ref(&call));
    sent.drive_until(|| upstream.count("/paid/gate/one") == 1);
    gateway.stop();
    assert!(sent.finish().remove(0).is_err());
    upstream.open_gate("one");
    gateway.start_again(&[]);
    gateway.send(&call).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn an_upgraded_connection_is_cut_at_the_limit() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE).bound_to_route();
    let mut gateway = TestGateway::start(Setup::new().route(route).server(SHORT));
    let (mut buyer, _, token) = send_paid(&gateway, &Call::websocket("/paid/upgrade"));
    assert_eq!(buyer.read_head().unwrap().status, 101);
    buyer.write(b"ping").unwrap();
    assert_eq!(buyer.read_exactly(4).unwrap(), b"ping");
    gateway.stop();
    assert!(buyer.is_at_end());
    gateway.start_again(&[]);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_client_that_never_finishes_its_request_does_not_hold_the_drain_up() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(shop(&upstream).server(SHORT));
    let mut silent = Connection::open(gateway.address).unwrap();
    let mut slow = Connection::open(gateway.address).unwrap();
    slow.write(b"GET /paid/a HTTP/1.1\r\nHost: gate").unwrap();
    gateway.stop();
    assert!(silent.is_at_end() && slow.is_at_end());
}
