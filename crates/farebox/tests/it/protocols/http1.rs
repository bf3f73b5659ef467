//! HTTP/1.1: connections that are used again, requests that do not wait for answers.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use farebox_testkit::ScriptedUpstream;

use super::{PRICE, shop};
use crate::harness::{Call, Challenge, Connection, Route, Setup, TestGateway, with_upstream};

#[test]
fn a_connection_serves_a_challenge_a_sale_and_whatever_comes_next() {
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let mut connection = Connection::open(gateway.address).unwrap();
    for round in 0..3 {
        let call = Call::post(&format!("/paid/{round}"), "a body that nobody paid for yet");
        connection.send(&call).unwrap();
        let challenge = Challenge::of(&connection.read_reply("POST").unwrap().expect(402));
        let preimage = gateway.pay(&challenge.invoice);
        let token = challenge.paid_with(preimage);
        connection.send(&call.with(&token)).unwrap();
        let seen = connection.read_reply("POST").unwrap().expect(200).json();
        assert_eq!(seen["body"], "a body that nobody paid for yet");
        assert_eq!(gateway.charged(&token), PRICE);
    }
}

#[test]
fn requests_that_are_written_at_once_are_answered_in_their_order() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(shop(&upstream).route(Route::at("/free", &upstream).free()));
    let paid = Call::get("/paid/two");
    let token = gateway.buy(&paid);
    let calls = [
        Call::get("/free/one"),
        paid.with(&token),
        Call::get("/paid/three"),
        Call::post("/free/four", "4"),
    ];
    let bytes: Vec<u8> = calls
        .iter()
        .flat_map(|call| [call.head().as_bytes(), &call.body].concat())
        .collect();
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.write(&bytes).unwrap();
    let replies = calls.map(|call| connection.read_reply(&call.method).unwrap());
    assert_eq!(
        replies.each_ref().map(|reply| reply.status),
        [200, 200, 402, 200]
    );
    assert_eq!(replies[1].json()["path"], "/paid/two");
    assert_eq!(replies[3].json()["body"], "4");
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_single_use_token_in_two_pipelined_requests_is_charged_once() {
    let (upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let head = call.with(&token).head();
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.write(head.repeat(2).as_bytes()).unwrap();
    let first = connection.read_reply("GET").unwrap().expect(200);
    let second = connection.read_reply("GET").unwrap().expect(200);
    assert_eq!(second.find("farebox-replayed"), Some("true"));
    assert_eq!(first.body, second.body);
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn the_upstream_s_wish_to_close_does_not_close_the_client_s_connection() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/free", &upstream).free();
    let gateway = TestGateway::start(Setup::new().route(route));
    let mut connection = Connection::open(gateway.address).unwrap();
    for _ in 0..2 {
        connection.send(&Call::get("/free/hop")).unwrap();
        let reply = connection.read_reply("GET").unwrap().expect(200);
        assert_eq!(reply.find("x-only-here"), None);
        assert_eq!(reply.find("x-kept"), Some("yes"));
    }
}

#[test]
fn an_upstream_that_restarts_between_requests_costs_nobody_anything() {
    let first = ScriptedUpstream::start().unwrap();
    let port = first.address();
    let gateway = TestGateway::start(shop(&first));
    let call = Call::get("/paid/a");
    let warm = call.clone().with(&gateway.buy(&call));
    gateway.send(&warm).expect(200);
    drop(first);
    let token = gateway.buy(&call);
    let call = call.with(&token);
    gateway.send(&call).expect(502);
    assert_eq!(gateway.charged(&token), 0);
    let hung_up = serve_and_hang_up(TcpListener::bind(port).unwrap(), 1);
    gateway.send(&call).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
    hung_up.recv().unwrap();
}

/// Answers so many requests, each on a connection that it closes afterwards without a word; says
/// when it has.
fn serve_and_hang_up(listener: TcpListener, requests: usize) -> Receiver<()> {
    let (closed, told) = channel();
    std::thread::spawn(move || {
        for _ in 0..requests {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::from("-");
            while line.trim_end() != "" {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.get_mut().write_all(answer).unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    told
}

#[test]
fn an_upstream_that_hangs_up_after_each_answer_is_called_anew() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let hung_up = serve_and_hang_up(upstream, 100);
    let route = Route::to("/free", &url).free();
    let gateway = TestGateway::start(Setup::new().route(route));
    let mut client = Connection::open(gateway.address).unwrap();
    for _ in 0..100 {
        client.send(&Call::post("/free/a", "once")).unwrap();
        let reply = client.read_reply("POST").unwrap().expect(200);
        assert_eq!(reply.text(), "ok");
        hung_up.recv().unwrap();
    }
}

#[test]
fn expect_100_continue_is_answered_where_the_body_is_wanted() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/free", &upstream).free();
    let gateway = TestGateway::start(Setup::new().route(route));
    let mut connection = Connection::open(gateway.address).unwrap();
    let call = Call::post("/free/digest", "five!").header("Expect", "100-continue");
    connection.write(call.head().as_bytes()).unwrap();
    let interim = connection.read_exactly(25).unwrap();
    assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write(&call.body).unwrap();
    let reply = connection.read_reply("POST").unwrap().expect(200);
    assert_eq!(reply.json()["bytes"], 5);
}

#[test]
fn trailers_of_the_upstream_reach_clients_that_take_them() {
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/trailers").header("TE", "trailers");
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.text(), "with trailers");
    assert_eq!(
        reply.trailers,
        [("x-checksum".to_owned(), "abc".to_owned())]
    );
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn http_1_0_clients_are_served_and_their_connection_is_closed() {
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/large/70000");
    let token = gateway.buy(&call);
    let mut connection = Connection::open(gateway.address).unwrap();
    let head = call.with(&token).head().replace("HTTP/1.1", "HTTP/1.0");
    connection.write(head.as_bytes()).unwrap();
    let reply = connection.read_reply("GET").unwrap().expect(200);
    assert_eq!(reply.body.len(), 70_000);
    assert!(connection.is_at_end());
    assert_eq!(gateway.charged(&token), PRICE);
}
