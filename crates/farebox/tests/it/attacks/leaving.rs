//! Answers on their way out: who does not read them, who is still sending when they come, and who
//! keeps a connection for longer than was paid.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway, with_upstream};
use crate::rules::MANY_CHALLENGES;

const MIB: usize = 1024 * 1024;
/// Far more than the sockets on the way can hold.
const LONG: usize = 20 * MIB;
const UPLOADS: usize = 30;

/// The answers that a client sees which writes all of its request before it reads.
fn answers(gateway: &TestGateway, call: &Call) -> Vec<Reply> {
    let sent = (0..UPLOADS).map(|_| {
        let mut client = Connection::open(gateway.address).unwrap();
        client.send(call).expect("all of it can be written");
        client.read_reply(&call.method).expect("the answer is read")
    });
    sent.collect()
}

#[track_caller]
fn assert_all_seen(gateway: &TestGateway, call: &Call, status: u16) {
    for reply in answers(gateway, call) {
        assert_eq!(reply.status, status, "{}", reply.text());
    }
}

#[test]
fn who_writes_all_of_a_long_body_before_reading_sees_the_402() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000).bound_to_route();
    let route = route.line("max_body = \"64MiB\"");
    let gateway = TestGateway::start(Setup::new().section(MANY_CHALLENGES).route(route));
    assert_all_seen(&gateway, &Call::post("/paid/a", vec![7; LONG]), 402);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn who_writes_all_of_what_is_too_long_before_reading_sees_why_it_is_refused() {
    let (upstream, gateway) = with_upstream(|upstream| {
        let route = Route::at("/free", upstream).free();
        TestGateway::start(Setup::new().route(route.line("max_body = \"1MiB\"")))
    });
    let body = vec![7; LONG];
    assert_all_seen(&gateway, &Call::post("/free/a", body.clone()), 413);
    assert_all_seen(&gateway, &Call::post("/nowhere", body), 404);
    let head = Call::get("/free/a").header("X-Filler", &"x".repeat(LONG));
    assert_all_seen(&gateway, &head, 431);
    assert_eq!(upstream.total(), 0);
}

/// An upstream that reads the head of each request, answers, and hangs up.
fn hasty_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::from("-");
            while line.trim_end() != "" {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            let answer = b"HTTP/1.1 507 Full\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull";
            stream.get_mut().write_all(answer).unwrap();
        }
    });
    address
}

#[test]
fn what_an_upstream_answers_before_it_has_read_the_body_reaches_the_client() {
    let upstream = hasty_upstream();
    let route = Route::to("/free", &format!("http://{upstream}")).free();
    let gateway = TestGateway::start(Setup::new().route(route.line("max_body = \"64MiB\"")));
    assert_all_seen(&gateway, &Call::post("/free/a", vec![7; LONG]), 507);
}
