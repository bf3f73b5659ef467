//! Limits on connections: whoever dawdles is cut, whoever comes past the limit is turned away, and
//! neither keeps others from being served.

use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Connection, Http2, Route, Setup, TestGateway};

/// How long headers may take in these tests.
const HEADER_TIMEOUT: &str = "header_timeout = \"300ms\"";
/// A connection that is still open then was not cut by that.
const LONG_PAST: Duration = Duration::from_secs(10);

fn free(upstream: &ScriptedUpstream) -> Setup {
    Setup::new().route(Route::at("/free", upstream).free())
}

/// Reads until the end of the connection, which must come before long.
#[track_caller]
fn assert_cut(what: &str, connection: &mut Connection) {
    let began = Instant::now();
    // A 408 may come first.
    while !connection.is_at_end() {
        connection.read_exactly(1).unwrap();
    }
    assert!(began.elapsed() < LONG_PAST, "{what} is not cut");
}

#[test]
fn requests_that_are_begun_and_not_finished_are_cut() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(free(&upstream).server(HEADER_TIMEOUT));
    let beginnings: [(&str, &[u8]); 6] = [
        ("silence", b""),
        ("a letter of a method", b"P"),
        ("the first half of HTTP/2's preface", b"PRI * HTTP/2.0\r\n"),
        ("a request line", b"GET /free/a HTTP/1.1\r\n"),
        ("half a header", b"GET /free/a HTTP/1.1\r\nHost: gat"),
        (
            "everything but the last line",
            b"GET /free/a HTTP/1.1\r\nHost: a\r\n",
        ),
    ];
    for (what, bytes) in beginnings {
        let mut connection = Connection::open(gateway.address).unwrap();
        connection.write(bytes).unwrap();
        assert_cut(what, &mut connection);
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_header_that_drips_does_not_get_more_time_for_it() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(free(&upstream).server(HEADER_TIMEOUT));
    let mut connection = Connection::open(gateway.address).unwrap();
    connection
        .write(b"GET /free/a HTTP/1.1\r\nHost: a\r\n")
        .unwrap();
    let began = Instant::now();
    while connection.write(b"X-Drip: 1\r\n").is_ok() {
        assert!(began.elapsed() < LONG_PAST, "it drips on and on");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_connection_that_rests_after_an_answer_is_closed() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(free(&upstream).server(HEADER_TIMEOUT));
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&Call::get("/free/a")).unwrap();
    connection.read_reply("GET").unwrap().expect(200);
    assert_cut("an idle connection", &mut connection);
}

#[test]
fn an_answer_that_takes_longer_than_the_header_timeout_is_not_cut() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(free(&upstream).server(HEADER_TIMEOUT));
    let mut waiting = Connection::open(gateway.address).unwrap();
    waiting.send(&Call::get("/free/gate/one")).unwrap();
    upstream.wait_for("/free/gate/one", 1);
    // The time-out has passed once a connection that came later was cut by it.
    let mut silent = Connection::open(gateway.address).unwrap();
    assert_cut("silence", &mut silent);
    upstream.open_gate("one");
    waiting.read_reply("GET").unwrap().expect(200);
}

#[test]
fn a_header_section_past_the_limit_is_refused() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(free(&upstream).server("max_header_bytes = \"16KiB\""));
    let small = Call::get("/free/a").header("X-Filler", &"x".repeat(8 * 1024));
    gateway.send(&small).expect(200);
    let large = Call::get("/free/a").header("X-Filler", &"x".repeat(64 * 1024));
    gateway.send(&large).expect(431);
    let many = (0..500).fold(Call::get("/free/a"), |call, number| {
        call.header(&format!("X-{number}"), "x")
    });
    gateway.send(&many).expect(431);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn connections_past_the_limit_are_turned_away_until_one_leaves() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = free(&upstream)
        .server("max_connections = 3")
        .server("trusted_proxies = [\"127.0.0.0/8\"]");
    let gateway = TestGateway::start(setup);
    let call = Call::get("/free/a");
    let mut open: Vec<_> = (0..3)
        .map(|_| {
            let mut connection = Connection::open(gateway.address).unwrap();
            connection.send(&call).unwrap();
            connection.read_reply("GET").unwrap().expect(200);
            connection
        })
        .collect();
    for _ in 0..5 {
        assert!(call.try_send(gateway.address).is_err());
    }
    for connection in &mut open {
        connection.send(&call).unwrap();
        connection.read_reply("GET").unwrap().expect(200);
    }
    open.pop();
    let give_up_at = Instant::now() + LONG_PAST;
    while call.try_send(gateway.address).is_err() {
        assert!(Instant::now() < give_up_at, "the place is not given on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_does_not_read_its_answer_is_cut_and_charged_for_what_began() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000);
    let setup = Setup::new()
        .route(route)
        .server("write_timeout = \"300ms\"");
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/large/100000000");
    let token = gateway.buy(&call);
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call.with(&token)).unwrap();
    buyer.read_head().unwrap().expect(200);
    // Waits until nothing is held any more, while nobody reads.
    assert_eq!(gateway.charged(&token), 2000);
    gateway.wait_for_metric("farebox_connections", &[], 0);
}

#[test]
fn a_stream_that_is_not_read_is_cut_and_charged_for_what_began_while_its_connection_goes_on() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = free(&upstream)
        .route(Route::at("/paid", &upstream).msat(2000))
        .server("write_timeout = \"300ms\"");
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/large/100000000");
    let token = gateway.buy(&call);
    let mut client = Http2::open(gateway.address).unwrap();
    let call = call.with(&token);
    let mut unread = client.start(std::slice::from_ref(&call));
    unread.drive_until(|| {
        let held = gateway.trial_balance()["open_holds"] != 0;
        upstream.count("/paid/large/100000000") == 1 && !held
    });
    assert_eq!(gateway.charged(&token), 2000);
    let line = gateway.wait_for_log("/paid/large/100000000\",\"route\":\"paid\",\"status\":200");
    assert!(line.contains("\"outcome\":\"client_gone\""), "{line}");
    assert!(line.contains("\"charged_msat\":2000"), "{line}");
    drop(unread);
    client.send(&Call::get("/free/a")).unwrap().expect(200);
}
