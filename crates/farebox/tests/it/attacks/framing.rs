//! Requests whose end two servers see in different places, and heads that are no heads.

use farebox_testkit::ScriptedUpstream;

use super::{send_raw, shop};
use crate::harness::{Call, Connection, Route, Setup, TestGateway, with_upstream};

const SMUGGLED: &str = "GET /paid/smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n";

/// A free and a paid route, and little patience with requests that never end.
fn impatient(upstream: &ScriptedUpstream) -> TestGateway {
    let limit = "idle_timeout = \"300ms\"";
    let setup = Setup::new()
        .server("header_timeout = \"300ms\"")
        .route(Route::at("/free", upstream).free().line(limit))
        .route(Route::at("/paid", upstream).msat(2000));
    TestGateway::start(setup)
}

/// Sends each pair of a head and a body on its own connection, reads until the gateway hangs up,
/// and sees that nothing hidden in there became a request of its own behind the gateway.
#[track_caller]
fn assert_not_smuggled(requests: &[(String, String)]) {
    let (upstream, gateway) = with_upstream(impatient);
    std::thread::scope(|scope| {
        for (head, body) in requests {
            let address = gateway.address;
            scope.spawn(move || {
                let mut connection = Connection::open(address).unwrap();
                let bytes = format!("{head}Host: gateway.test\r\n\r\n{body}");
                connection.write(bytes.as_bytes()).unwrap();
                while connection.read_reply("POST").is_ok() {}
            });
        }
    });
    for request in upstream.requests() {
        assert!(!request.target.contains("smuggled"), "{request:?}");
        let lengths = request.all("content-length").len();
        let codings = request.all("transfer-encoding").len();
        assert!(lengths + codings <= 1, "{request:?}");
    }
}

#[test]
fn a_body_with_two_ends_hides_no_request() {
    let post = "POST /free/a HTTP/1.1\r\n";
    let chunked = format!("0\r\n\r\n{SMUGGLED}");
    let length = chunked.len();
    let heads = [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        format!("Content-Length: {length}\r\nTransfer-Encoding : chunked\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: xchunked\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding:\u{b}chunked\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked, identity\r\n"),
        format!("Content-Length: {length}\r\nX: y\r\n Transfer-Encoding: chunked\r\n"),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding: gzip, chunked\r\n".to_owned(),
        "Transfer-Encoding: \"chunked\"\r\n".to_owned(),
        "Content-Length: 5\r\nContent-Length: 6\r\n".to_owned(),
        "Content-Length: 5, 6\r\n".to_owned(),
        "Content-Length: +5\r\n".to_owned(),
        "Content-Length: 0x5\r\n".to_owned(),
        "Content-Length: 5 \r\nContent-Length: 05\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 99999999999999999999\r\n".to_owned(),
        "Content-Length:\r\n".to_owned(),
    ];
    let old = "POST /free/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n".to_owned();
    assert_not_smuggled(&[(old, chunked.clone())]);
    assert_not_smuggled(&heads.map(|fields| (format!("{post}{fields}"), chunked.clone())));
}

#[test]
fn a_chunked_body_with_tricks_in_its_chunks_hides_no_request() {
    let head = "POST /free/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    let bodies = [
        format!("5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
        format!("0x5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
        format!("-1\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
        format!("5\r\nhello{SMUGGLED}0\r\n\r\n"),
        format!("5\nhello\n0\n\n{SMUGGLED}"),
        format!("fffffffffffffffff\r\n{SMUGGLED}"),
        format!("0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\n\r\n{SMUGGLED}"),
        format!(" 5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
    ];
    assert_not_smuggled(&bodies.map(|body| (head.to_owned(), body)));
}

#[test]
fn contradicting_lengths_are_refused() {
    let (upstream, gateway) = with_upstream(shop);
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: five\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
    ] {
        let head = format!("POST /free/a HTTP/1.1\r\n{fields}Host: gateway.test\r\n");
        let reply = send_raw(gateway.address, format!("{head}\r\nhello").as_bytes());
        assert_eq!(reply.map(|reply| reply.status), Some(400), "{fields:?}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_request_behind_another_is_a_request_of_its_own() {
    let (upstream, gateway) = with_upstream(shop);
    let mut connection = Connection::open(gateway.address).unwrap();
    let first = Call::get("/free/a").head();
    connection
        .write(format!("{first}{SMUGGLED}").as_bytes())
        .unwrap();
    assert_eq!(connection.read_reply("GET").unwrap().status, 200);
    assert_eq!(connection.read_reply("GET").unwrap().status, 402);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_get_with_a_body_hides_no_request() {
    let (upstream, gateway) = with_upstream(shop);
    let mut connection = Connection::open(gateway.address).unwrap();
    let call = Call {
        method: "GET".to_owned(),
        ..Call::post("/free/a", SMUGGLED)
    };
    for _ in 0..2 {
        connection.send(&call).unwrap();
        let reply = connection.read_reply("GET").unwrap().expect(200);
        assert_eq!(reply.json()["body"], SMUGGLED);
    }
    assert_eq!(upstream.count("/paid/smuggled"), 0);
}

#[test]
fn a_body_that_an_upstream_left_unread_is_not_its_next_request() {
    let (upstream, gateway) = with_upstream(shop);
    let call = Call::post("/free/status/404", SMUGGLED.repeat(2000));
    for _ in 0..5 {
        // 502 where the upstream hangs up in the middle of the upload, or in that very moment.
        assert!([404, 502].contains(&gateway.send(&call).status));
        let after = gateway.send(&Call::get("/free/after")).status;
        assert!([200, 502].contains(&after), "{after}");
    }
    assert_eq!(upstream.count("/paid/smuggled"), 0);
}

#[test]
fn a_head_that_breaks_the_grammar_is_refused() {
    let (upstream, gateway) = with_upstream(impatient);
    for head in [
        "GET /free/a HTTP/1.1\r\nX: a\r\n folded\r\n",
        "GET /free/a HTTP/1.1\r\n X: a\r\n",
        "GET /free/a HTTP/1.1\r\nX : a\r\n",
        "GET /free/a HTTP/1.1\r\nX\r\n",
        "GET /free/a HTTP/1.1\r\n: a\r\n",
        "GET /free/a HTTP/1.1\r\nX: a\0b\r\n",
        "GET /free/a HTTP/1.1\r\nX: a\u{1}b\r\n",
        "GET /free/a HTTP/1.1\r\nX: a\rb\r\n",
        "GET /free/a HTTP/1.1\r\nX y: a\r\n",
        "GET  /free/a HTTP/1.1\r\n",
        "GET /free/a b HTTP/1.1\r\n",
        "GET /free/a\0 HTTP/1.1\r\n",
        "GET /free/a HTTP/1.2.3\r\n",
        "GET /free/a HTTP/3.0\r\n",
        "GET /free/a\r\n",
        "G\"T /free/a HTTP/1.1\r\n",
    ] {
        let bytes = format!("{head}Host: gateway.test\r\n\r\n");
        let status = send_raw(gateway.address, bytes.as_bytes()).map(|reply| reply.status);
        assert!(
            matches!(status, None | Some(400 | 505)),
            "{head:?}: {status:?}"
        );
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_head_without_end_is_refused_before_it_fills_the_memory() {
    let (upstream, gateway) = with_upstream(shop);
    let many = "X-Filler: 0123456789\r\n".repeat(100_000);
    let call = Call::get("/free/a").header("X-Long", &"x".repeat(1_000_000));
    for bytes in [format!("GET /free/a HTTP/1.1\r\n{many}"), call.head()] {
        let mut connection = Connection::open(gateway.address).unwrap();
        // The gateway may well hang up before all of it is written.
        let _ = connection.write(bytes.as_bytes());
        let status = connection.read_reply("GET").map(|reply| reply.status);
        assert!(matches!(status, Err(_) | Ok(400 | 414 | 431)), "{status:?}");
    }
    assert_eq!(upstream.total(), 0);
    gateway.send(&Call::get("/free/a")).expect(200);
}
