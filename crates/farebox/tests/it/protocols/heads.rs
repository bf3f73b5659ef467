//! Heads as old and new clients and servers write them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Connection, Http2, Route, Setup, TestGateway};

fn free(upstream: &ScriptedUpstream) -> TestGateway {
    TestGateway::start(Setup::new().route(Route::at("/free", upstream).free()))
}

#[test]
fn cookie_lines_of_http2_are_one_for_http1() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = free(&upstream);
    let mut connection = Http2::open(gateway.address).unwrap();
    let call = Call::get("/free/a")
        .header("cookie", "sid=abc")
        .header("cookie", "theme=dark");
    assert_eq!(connection.send(&call).unwrap().status, 200);
    assert_eq!(
        upstream.requests()[0].all("cookie"),
        ["sid=abc; theme=dark"]
    );
}

#[test]
fn a_hundred_and_twenty_header_lines_pass_in_a_request() {
    let (url, served) = upstream_of_lines(0);
    let gateway = TestGateway::start(Setup::new().route(Route::to("/free", &url).free()));
    let call = (0..119).fold(Call::get("/free/a"), |call, n| {
        call.header("X-Line", &n.to_string())
    });
    gateway.send(&call).expect(200);
    let seen = served.join().unwrap().to_ascii_lowercase();
    assert_eq!(seen.matches("x-line: ").count(), 119);
}

/// An upstream for one request, which it answers with so many lines; and what it was sent.
fn upstream_of_lines(lines: usize) -> (String, JoinHandle<String>) {
    let links: String = (0..lines)
        .map(|n| format!("Link: </asset/{n}.js>; rel=preload\r\n"))
        .collect();
    upstream_of(format!(
        "HTTP/1.1 200 OK\r\n{links}Content-Length: 2\r\n\r\nok"
    ))
}

/// An upstream that answers one request so; and what it was sent.
fn upstream_of(answer: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.extend(byte);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(seen).unwrap()
    });
    (url, served)
}

#[test]
fn a_hundred_and_twenty_header_lines_pass_in_an_answer_and_too_many_are_named() {
    for (lines, status) in [(119, 200), (200, 502)] {
        let (url, _served) = upstream_of_lines(lines);
        let route = Route::to("/free", &url).free();
        let mut gateway = TestGateway::start(Setup::new().route(route));
        gateway.expect_alarms();
        let reply = gateway.send(&Call::get("/free/a")).expect(status);
        if status == 200 {
            assert_eq!(reply.all("link").len(), lines);
        } else {
            gateway.wait_for_log("header lines");
        }
    }
}

#[test]
fn a_health_check_of_http_1_0_without_a_host_is_served() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = free(&upstream);
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.write(b"GET /free/a HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(connection.read_reply("GET").unwrap().status, 200);
    let seen = &upstream.requests()[0];
    assert_eq!(seen.all("host"), [upstream.address().to_string()]);
    assert!(seen.all("x-forwarded-host").is_empty());
}

#[test]
fn the_upstream_is_told_the_host_with_its_port() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = free(&upstream);
    let call = Call::get("/free/a").header("Host", "shop.test:8402");
    gateway.send(&call).expect(200);
    let seen = &upstream.requests()[0];
    assert_eq!(seen.all("x-forwarded-host"), ["shop.test:8402"]);
}

#[test]
fn an_answer_that_has_no_body_by_its_nature_is_not_said_to_be_empty() {
    let json = "Content-Type: application/json\r\n";
    for (method, head, length) in [
        ("GET", format!("204 No Content\r\n{json}"), None),
        ("GET", format!("304 Not Modified\r\n{json}"), None),
        (
            "GET",
            format!("304 Not Modified\r\n{json}Content-Length: 7\r\n"),
            Some("7"),
        ),
        (
            "HEAD",
            format!("200 OK\r\n{json}Content-Length: 7\r\n"),
            Some("7"),
        ),
        (
            "GET",
            format!("200 OK\r\n{json}Content-Length: 2\r\n\r\n{{}}"),
            Some("2"),
        ),
    ] {
        let (url, _served) = upstream_of(format!("HTTP/1.1 {head}\r\n"));
        let price = "upstream_json = \"/cost\", unit = \"msat\", at_most = { msat = 5000 }";
        let route = Route::to("/paid", &url).line(&format!("price = {{ {price} }}"));
        let route = route.line("balance = { msat = 100000 }");
        let gateway = TestGateway::start(Setup::new().route(route));
        let mut call = Call::get("/paid/a");
        let token = gateway.buy(&call);
        call.method = method.to_owned();
        // Over HTTP/1.1 hyper takes most of them off by itself.
        let mut connection = Http2::open(gateway.address).unwrap();
        let reply = connection.send(&call.with(&token)).unwrap();
        assert_eq!(reply.find("content-length"), length, "{method} {head}");
    }
}
