//! HTTP/2 with prior knowledge, from clients and to upstreams.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use farebox_testkit::ScriptedUpstream;

use super::{PRICE, shop};
use crate::harness::{Call, Challenge, Http2, Route, Setup, TestGateway, with_upstream};
use crate::parts;

#[test]
fn a_call_is_sold_over_http_2() {
    let (upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let mut client = Http2::open(gateway.address).unwrap();
    let call = Call::post("/paid/a?b=c", "hello");
    let challenge = Challenge::of(&client.send(&call).unwrap().expect(402));
    let preimage = gateway.pay(&challenge.invoice);
    let token = challenge.paid_with(preimage);
    let reply = client.send(&call.with(&token)).unwrap().expect(200);
    assert_eq!(reply.json()["body"], "hello");
    assert_eq!(reply.find("cache-control"), Some("private, no-store"));
    let seen = &upstream.requests()[0];
    assert_eq!(
        (seen.version.as_str(), seen.target.as_str()),
        ("HTTP/1.1", "/paid/a?b=c")
    );
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_hundred_streams_of_one_connection_are_sold_each_on_its_own() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE).calls(50);
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/paid/gate/all");
    let token = gateway.buy(&call);
    let mut client = Http2::open(gateway.address).unwrap();
    let mut sent = client.start(&vec![call.with(&token); 100]);
    sent.drive_until(|| upstream.count("/paid/gate/all") == 50);
    upstream.open_gate("all");
    let replies = sent.finish().into_iter().map(|reply| reply.unwrap().status);
    let statuses: Vec<_> = replies.collect();
    let count = |status: u16| statuses.iter().filter(|seen| **seen == status).count();
    assert_eq!((count(200), count(429)), (50, 50), "{statuses:?}");
    assert_eq!(gateway.charged(&token), 50 * PRICE);
    assert_eq!(upstream.total(), 50);
}

#[test]
fn a_stream_that_is_reset_before_the_answer_is_not_charged() {
    let (upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/gate/one");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    let mut client = Http2::open(gateway.address).unwrap();
    let mut sent = client.start(std::slice::from_ref(&call));
    sent.drive_until(|| upstream.count("/paid/gate/one") == 1);
    drop(sent);
    client.drive_until(|| gateway.trial_balance()["open_holds"] == 0);
    assert_eq!(gateway.charged(&token), 0);
    upstream.open_gate("one");
    client.send(&call).unwrap().expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn trailers_come_through() {
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/trailers").header("TE", "trailers");
    let token = gateway.buy(&call);
    let mut client = Http2::open(gateway.address).unwrap();
    let reply = client.send(&call.with(&token)).unwrap().expect(200);
    assert_eq!(
        reply.trailers,
        [("x-checksum".to_owned(), "abc".to_owned())]
    );
}

#[test]
fn an_upstream_is_spoken_to_in_http_2_where_the_route_says_so() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE);
    let gateway = TestGateway::start(Setup::new().route(route.line("protocol = \"http2\"")));
    let call = Call::post("/paid/a", "from HTTP/1.1");
    let token = gateway.buy(&call);
    let seen = gateway.send(&call.with(&token)).expect(200).json();
    assert_eq!(seen["version"], "HTTP/2.0");
    assert_eq!(seen["body"], "from HTTP/1.1");

    let call = Call::get("/paid/trailers").header("TE", "trailers");
    let token = gateway.buy(&call);
    let mut client = Http2::open(gateway.address).unwrap();
    let reply = client.send(&call.with(&token)).unwrap().expect(200);
    assert_eq!(reply.trailers.len(), 1);
    assert_eq!(gateway.charged(&token), PRICE);
}

/// Passes connections on, and can break them.
struct Relay {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::<Mutex<Vec<TcpStream>>>::default();
        let kept = Arc::clone(&open);
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let there = TcpStream::connect(upstream).unwrap();
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    // It ends with the connection.
                    std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
                }
                kept.lock().unwrap().extend([here, there]);
            }
        });
        Self { address, open }
    }

    /// Breaks every connection that passes through it now; gives how many there were.
    fn break_all(&self) -> usize {
        let broken = std::mem::take(&mut *self.open.lock().unwrap());
        for stream in &broken {
            // One side may be gone already.
            drop(stream.shutdown(Shutdown::Both));
        }
        broken.len() / 2
    }
}

#[test]
fn a_connection_to_an_upstream_is_shared_and_made_anew_when_it_broke() {
    let upstream = ScriptedUpstream::start().unwrap();
    let relay = Relay::to(upstream.address());
    let url = format!("http://{}", relay.address);
    let route = Route::to("/paid", &url).msat(PRICE).calls(10);
    let setup = Setup::new().route(route.line("protocol = \"http2\""));
    let gateway = TestGateway::start(setup.server("threads = 1"));
    let next = Call::get("/paid/a");
    let token = gateway.buy(&next);
    let next = next.with(&token);
    gateway.send(&next).expect(200);
    for round in 1..3 {
        let call = Call::get(&format!("/paid/gate/{round}")).with(&token);
        let mut client = Http2::open(gateway.address).unwrap();
        let mut sent = client.start(&vec![call; 3]);
        sent.drive_until(|| upstream.count(&format!("/paid/gate/{round}")) == 3);
        assert_eq!(relay.break_all(), 1, "connections in round {round}");
        let replies = sent.finish().into_iter().map(|reply| reply.unwrap().status);
        assert_eq!(replies.collect::<Vec<_>>(), [502; 3]);
        assert_eq!(gateway.charged(&token), round * PRICE);
        gateway.send(&next).expect(200);
        assert_eq!(gateway.charged(&token), (round + 1) * PRICE);
    }
}

#[test]
fn an_upstream_without_http_2_is_a_bad_gateway_and_costs_nothing() {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in upstream.incoming().map_while(Result::ok) {
            use std::io::Write;
            let mut stream = stream;
            // The peer may be gone already.
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let route = Route::to("/paid", &url).msat(PRICE);
    let gateway = TestGateway::start(Setup::new().route(route.line("protocol = \"http2\"")));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.send(&call.with(&token)).expect(502);
    assert_eq!(gateway.charged(&token), 0);
}

#[test]
fn nghttp_reads_a_paid_answer() {
    let Some(mut nghttp) = parts::nghttp() else {
        return;
    };
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/large/300000");
    let token = gateway.buy(&call);
    let length = output(
        nghttp
            .arg("-H")
            .arg(format!("authorization: {}", token.authorization()))
            .arg(gateway.url("/paid/large/300000")),
    );
    assert_eq!(length, 300_000);
    assert_eq!(gateway.charged(&token), PRICE);
}

/// How many bytes a command prints.
#[track_caller]
fn output(command: &mut Command) -> usize {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout.len()
}
