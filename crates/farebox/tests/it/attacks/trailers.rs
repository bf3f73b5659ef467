//! Fields that come after a body, which some servers take for header fields.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use crate::harness::{Call, Route, Setup, TestGateway};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
    Trailer: X-Checksum, WWW-Authenticate, Farebox-Charge-Msat, X-Cashu\r\n\r\n\
    2\r\nok\r\n0\r\nX-Checksum: abc\r\nWWW-Authenticate: L402 upstream\r\n\
    Farebox-Charge-Msat: 0\r\nX-Cashu: creqA\r\n\r\n";

/// An upstream for one request with a chunked body, which it gives back byte for byte.
fn upstream() -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut seen, mut block) = (Vec::new(), [0; 4096]);
        let ended = |seen: &[u8]| {
            let last = seen.windows(5).position(|bytes| bytes == b"\r\n0\r\n");
            last.is_some() && seen.ends_with(b"\r\n\r\n")
        };
        while !ended(&seen) {
            let length = stream.read(&mut block).unwrap();
            assert!(length > 0, "cut short: {seen:?}");
            seen.extend(&block[..length]);
        }
        stream.write_all(ANSWER.as_bytes()).unwrap();
        String::from_utf8(seen).unwrap()
    });
    (url, served)
}

#[test]
fn trailers_neither_pay_nor_steer_nor_speak_for_the_gateway() {
    let (url, served) = upstream();
    let route = Route::to("/calls", &url).msat(1000).calls(2);
    let gateway = TestGateway::start(Setup::new().route(route));
    let mut call = Call::new("POST", "/calls/a")
        .header("Transfer-Encoding", "chunked")
        .header("TE", "trailers")
        .header(
            "Trailer",
            "X-Mine, Authorization, X-Original-URL, X-Forwarded-For",
        );
    call.body = b"2\r\nhi\r\n0\r\nX-Mine: 1\r\nAuthorization: L402 a:b\r\n\
        X-Original-URL: /admin\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
        .to_vec();
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.find("farebox-charge-msat"), Some("1000"));
    let checksum = ("x-checksum".to_owned(), "abc".to_owned());
    assert_eq!(reply.trailers, [checksum]);

    let seen = served.join().unwrap();
    let (_, trailers) = seen.split_once("\r\n0\r\n").unwrap();
    assert_eq!(trailers.to_ascii_lowercase(), "x-mine: 1\r\n\r\n", "{seen}");
}
