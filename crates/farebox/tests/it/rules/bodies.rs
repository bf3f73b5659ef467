//! Request bodies: how long they may be, when they are read, and what is kept of them.

use farebox_testkit::{Pattern, ScriptedUpstream};
use sha2::{Digest, Sha256};

use super::{Books, MANY_CHALLENGES, books_when, eventually};
use crate::harness::{Call, Connection, Route, Setup, TestGateway};

fn start(route: Route) -> TestGateway {
    TestGateway::start(Setup::new().section(MANY_CHALLENGES).route(route))
}

/// `call` with its body in chunks of `size` bytes.
fn chunked(mut call: Call, size: usize) -> Call {
    let mut body = Vec::new();
    for chunk in call.body.chunks(size) {
        body.extend(format!("{:x}\r\n", chunk.len()).bytes());
        body.extend(chunk);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    call.body = body;
    call.header("Transfer-Encoding", "chunked")
}

#[test]
fn a_body_above_the_limit_is_refused_before_anybody_pays() {
    let upstream = ScriptedUpstream::start().unwrap();
    let limit = "max_body = \"1KiB\"";
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .route(Route::at("/bound", &upstream).msat(2000).line(limit))
        .route(
            Route::at("/calls", &upstream)
                .msat(2000)
                .calls(5)
                .line(limit),
        )
        .route(Route::at("/free", &upstream).free().line(limit));
    let gateway = TestGateway::start(setup);
    for route in ["/bound", "/calls", "/free"] {
        let call = Call::post(&format!("{route}/a"), [b'x'; 1025]);
        let reply = gateway.send(&call).expect(413);
        assert!(reply.all("www-authenticate").is_empty(), "{route}");
    }
    let in_chunks = chunked(Call::post("/bound/a", [b'x'; 1025]), 100);
    gateway.send(&in_chunks).expect(413);
    assert_eq!(upstream.total(), 0);
    for route in ["/bound", "/calls"] {
        let call = Call::post(&format!("{route}/a"), [b'x'; 1024]);
        assert_eq!(gateway.send(&call).status, 402);
    }
}

#[test]
fn a_paid_body_above_the_limit_is_refused_and_costs_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/calls", &upstream).msat(1000).calls(5);
    let gateway = start(route.line("max_body = \"64KiB\""));
    let token = gateway.buy(&Call::post("/calls/a", "x"));
    let declared = Call::post("/calls/digest", vec![b'x'; 65_537]);
    gateway.send(&declared.clone().with(&token)).expect(413);
    assert_eq!(upstream.total(), 0);
    gateway
        .send(&chunked(declared, 1000).with(&token))
        .expect(413);
    let fits = chunked(Call::post("/calls/digest", vec![b'x'; 65_536]), 1000);
    gateway.send(&fits.with(&token)).expect(200);
    books_when(&gateway, &Books::settled(5000, 1000));
}

#[test]
fn a_bound_body_counts_by_its_bytes_and_not_by_its_framing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let text = "what was asked, at some length".repeat(100);
    let call = Call::post("/paid/a", text.clone());
    for (bought, used) in [
        (call.clone(), chunked(call.clone(), 7)),
        (chunked(call.clone(), 1000), call.clone()),
        (chunked(call.clone(), 13), chunked(call, 17)),
    ] {
        let token = gateway.buy(&bought);
        let other = chunked(
            Call::post("/paid/a", text.replace("asked", "never asked")),
            50,
        );
        gateway.send(&other.with(&token)).expect(402);
        let reply = gateway.send(&used.with(&token)).expect(200);
        assert_eq!(reply.json()["body"], *text);
    }
    assert_eq!(upstream.total(), 3);
}

#[test]
fn an_empty_body_is_one_request_however_it_is_framed() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let plain = Call::new("POST", "/paid/a");
    let framed = plain.clone().header("Content-Length", "0");
    let in_chunks = chunked(plain.clone(), 1);
    for used in [plain.clone(), framed, in_chunks] {
        let token = gateway.buy(&plain);
        gateway.send(&used.with(&token)).expect(200);
    }
}

/// A gateway where one payer has room for two bodies of the size of [`LARGE`], and a call with such
/// a body.
fn cramped(upstream: &ScriptedUpstream) -> (TestGateway, Call) {
    let route = Route::at("/paid", upstream).msat(2000);
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .server("body_budget = \"8MiB\"");
    let gateway = TestGateway::start(setup.route(route.line("max_body = \"1MiB\"")));
    (gateway, Call::post("/paid/digest", vec![b'x'; LARGE]))
}

const LARGE: usize = 600_000;

/// Everything of `call` but a last byte of its body.
fn send_most(gateway: &TestGateway, call: Call) -> Connection {
    let mut connection = Connection::open(gateway.address).unwrap();
    let length = (call.body.len() + 1).to_string();
    let call = call.header("Content-Length", &length);
    // Where there is no room the gateway may hang up before it has read all.
    let _ = connection.send(&call);
    connection
}

#[test]
fn the_bodies_of_unpaid_requests_are_hashed_and_take_no_room() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, call) = cramped(&upstream);
    let mut all: Vec<_> = (0..10).map(|_| send_most(&gateway, call.clone())).collect();
    for connection in &mut all {
        connection.write(b"x").unwrap();
        let reply = connection.read_reply("POST").unwrap().expect(402);
        assert_eq!(reply.all("www-authenticate").len(), 1);
    }
}

#[test]
fn a_paid_body_without_room_is_told_to_come_again() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, call) = cramped(&upstream);
    let token = gateway.buy(&call);
    let paid = call.with(&token);
    // Two of three take the room; it is a matter of luck which, and of a few attempts.
    let slow = || send_most(&gateway, paid.clone());
    let three = || ([slow(), slow()], gateway.send(&paid));
    let (slow, reply) = eventually(three, |(_, reply)| reply.status == 503);
    assert_eq!(reply.expect(503).find("retry-after"), Some("5"));
    drop(slow);
    let again = eventually(|| gateway.send(&paid), |reply| reply.status == 200);
    assert_eq!(again.json()["bytes"], LARGE);
    books_when(&gateway, &Books::settled(2000, 2000));
    assert_eq!(upstream.total(), 1);
}

#[test]
fn who_expects_100_continue_is_not_made_to_send_an_unpaid_body() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(5));
    let head = Call::new("POST", "/calls/digest")
        .header("Expect", "100-continue")
        .header("Content-Length", "5");
    let mut unpaid = Connection::open(gateway.address).unwrap();
    unpaid.send(&head).unwrap();
    assert_eq!(unpaid.read_exactly(12).unwrap(), b"HTTP/1.1 402");

    let token = gateway.buy(&Call::post("/calls/digest", "hello"));
    let mut paid = Connection::open(gateway.address).unwrap();
    paid.send(&head.with(&token)).unwrap();
    assert_eq!(
        paid.read_exactly(25).unwrap(),
        b"HTTP/1.1 100 Continue\r\n\r\n"
    );
    paid.write(b"hello").unwrap();
    let reply = paid.read_reply("POST").unwrap().expect(200);
    assert_eq!(reply.json()["bytes"], 5);
    assert!(upstream.requests()[0].all("expect").is_empty());
}

#[test]
fn who_expects_100_continue_is_asked_for_a_body_that_a_token_is_bound_to() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let call = Call::post("/paid/a", "hello");
    let head = Call::new("POST", "/paid/a")
        .header("Expect", "100-continue")
        .header("Content-Length", "5");
    let token = gateway.buy(&call);
    for (head, status) in [(head.clone(), 402), (head.with(&token), 200)] {
        let mut connection = Connection::open(gateway.address).unwrap();
        connection.send(&head).unwrap();
        assert_eq!(
            connection.read_exactly(25).unwrap(),
            b"HTTP/1.1 100 Continue\r\n\r\n"
        );
        connection.write(b"hello").unwrap();
        connection.read_reply("POST").unwrap().expect(status);
    }
}

#[test]
fn a_large_upload_streams_through_byte_for_byte() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(5));
    let token = gateway.buy(&Call::post("/calls/digest", "x"));
    let length = 24 << 20;
    let head = Call::new("POST", "/calls/digest").header("Content-Length", &length.to_string());
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&head.with(&token)).unwrap();
    let mut hasher = Sha256::new();
    for block in Pattern::new(length) {
        connection.write(&block).unwrap();
        hasher.update(&block);
    }
    let reply = connection.read_reply("POST").unwrap().expect(200);
    assert_eq!(reply.json()["bytes"], length);
    assert_eq!(reply.json()["sha256"], hex::encode(hasher.finalize()));
}

#[test]
fn the_price_of_a_huge_upload_is_told_before_all_of_it_is_sent() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(5));
    let call = Call::post("/calls/digest", vec![b'x'; 32 << 20]);
    let mut connection = Connection::open(gateway.address).unwrap();
    // The gateway stops reading and says so; the rest cannot be sent any more.
    let _ = connection.send(&call);
    let reply = connection.read_reply("POST").unwrap().expect(402);
    assert_eq!(reply.all("www-authenticate").len(), 1);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn an_upload_reaches_the_upstream_while_it_is_still_being_sent() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(5));
    let token = gateway.buy(&Call::post("/calls/digest", "x"));
    let head = Call::new("POST", "/calls/digest").header("Content-Length", "10");
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&head.with(&token)).unwrap();
    connection.write(b"hello").unwrap();
    upstream.wait_for("/calls/digest", 1);
    connection.write(b"there").unwrap();
    assert_eq!(connection.read_reply("POST").unwrap().json()["bytes"], 10);
}

#[test]
fn a_single_upload_too_long_to_be_read_first_is_still_sold_once() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000).bound_to_route());
    let upload = |byte: u8| Call::post("/paid/digest", vec![byte; 9 << 20]);
    let token = gateway.buy(&Call::post("/paid/digest", "x"));
    gateway.send(&upload(b'x').with(&token)).expect(200);
    // The same outline: told that it was served, whatever the bytes are, and never charged again.
    for byte in [b'x', b'y'] {
        let mut connection = Connection::open(gateway.address).unwrap();
        let _ = connection.send(&upload(byte).with(&token));
        let reply = connection.read_reply("POST").unwrap();
        assert!([402, 410].contains(&reply.status), "{}", reply.status);
    }
    assert_eq!(upstream.total(), 1);
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn past_the_challenge_limit_no_body_is_read_for_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let limits = "[server.challenges]\nper_client = \"1/1h\"";
    let setup = Setup::new().section(limits);
    let gateway = TestGateway::start(setup.route(Route::at("/paid", &upstream).msat(2000)));
    let call = Call::post("/paid/a", "hello");
    gateway.challenge(&call);
    // The body never comes, and the price is told nevertheless.
    let head = Call::new("POST", "/paid/a")
        .header("Content-Length", "5")
        .header("Expect", "100-continue");
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&head).unwrap();
    assert_eq!(connection.read_exactly(12).unwrap(), b"HTTP/1.1 402");
}
