//! Calls of gRPC-Web and Connect, whose answers tell in their bodies how they ended, and of gRPC whose
//! answers never do: a failed call costs no more than one that says so in its headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use crate::harness::{Call, Connection, Route, Setup, TestGateway, Token, with_upstream};

const PRICE: u64 = 1000;
const BINARY: &str = "application/grpc-web+proto";
const CONNECT: &str = "application/connect+proto";
const TEXT: &str = "application/grpc-web-text";

fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    let route = Route::at("/", upstream).msat(PRICE).calls(5);
    TestGateway::start(Setup::new().route(route))
}

fn call(method: &str, kind: &str, body: impl Into<Vec<u8>>) -> Call {
    Call::post(&format!("/echo.v1.Echo/{method}"), body)
        .header("Content-Type", kind)
        .header("X-Grpc-Web", "1")
}

fn frame(flag: u8, content: &str) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], content.as_bytes()].concat()
}

fn message(text: &str) -> Vec<u8> {
    frame(0, text)
}

fn trailers(status: u8) -> Vec<u8> {
    frame(0x80, &format!("grpc-status:{status}\r\ngrpc-message:x\r\n"))
}

/// Sends a call that is answered with this body, whole.
fn answered(gateway: &TestGateway, token: &Token, kind: &str, body: &[u8]) {
    let said = json!({
        "headers": [["content-type", kind]],
        "body_base64": STANDARD.encode(body),
    });
    let call = call("say", kind, said.to_string());
    let reply = gateway.send(&call.with(token)).expect(200);
    assert_eq!(reply.body, body);
}

/// How many of the five calls are left after one more, which is charged.
fn left_after_one(gateway: &TestGateway, token: &Token) -> String {
    let reply = gateway.send(&Call::post("/x", "x").with(token)).expect(200);
    reply.find("farebox-calls-left").unwrap().to_owned()
}

#[test]
fn a_failure_in_the_body_is_neither_charged_nor_a_call_used() {
    for after in [&b""[..], &message("hello")] {
        for kind in [BINARY, TEXT] {
            let (_upstream, gateway) = with_upstream(shop);
            let token = gateway.buy(&Call::post("/x", "x"));
            let mut body = [after, &trailers(7)].concat();
            if kind == TEXT {
                body = STANDARD.encode(body).into_bytes();
            }
            answered(&gateway, &token, kind, &body);
            assert_eq!(gateway.charged(&token), 0, "{kind}");
            assert_eq!(left_after_one(&gateway, &token), "4", "{kind}");
            assert_eq!(gateway.charged(&token), PRICE);
        }
    }
}

#[test]
fn a_call_that_succeeds_in_its_body_is_charged() {
    let (_upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::post("/x", "x"));
    let body = [message("hello"), trailers(0)].concat();
    answered(&gateway, &token, BINARY, &body);
    answered(&gateway, &token, TEXT, STANDARD.encode(&body).as_bytes());
    assert_eq!(gateway.charged(&token), 2 * PRICE);
}

#[test]
fn an_answer_with_messages_that_fails_is_one_that_the_upstream_cut() {
    let (_upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::post("/x", "x"));
    let body = [message("hello"), trailers(13)].concat();
    answered(&gateway, &token, BINARY, &body);
    let line = gateway.wait_for_log("/echo.v1.Echo/say");
    assert!(line.contains("\"outcome\":\"upstream_failed\""), "{line}");
    assert_eq!(gateway.charged(&token), 0);
}

#[test]
fn a_body_that_stops_amid_a_frame_is_one_that_the_upstream_cut() {
    let (_upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::post("/x", "x"));
    let body = &message("hello")[..7];
    answered(&gateway, &token, BINARY, body);
    assert_eq!(gateway.charged(&token), 0);
}

#[test]
fn a_failure_counts_as_soon_as_it_is_read_however_its_bytes_come() {
    for kind in [BINARY, TEXT] {
        let (upstream, gateway) = with_upstream(shop);
        let token = gateway.buy(&Call::post("/x", "x"));
        let control = upstream.stream("s");
        let mut connection = Connection::open(gateway.address).unwrap();
        let query = format!("stream/s?content-type={kind}");
        connection
            .send(&call(&query, kind, "x").with(&token))
            .unwrap();
        let mut body = [message("hello"), trailers(13)].concat();
        if kind == TEXT {
            let parts = [message("hello"), trailers(13)].map(|part| STANDARD.encode(part));
            body = parts.concat().into_bytes();
        }
        for (at, piece) in body.chunks(4).enumerate() {
            assert!(control.send(piece.to_vec()));
            if at == 0 {
                connection.read_head().unwrap();
            }
            connection.read_chunk().unwrap().unwrap();
        }
        // The client has all that it wants, and leaves before the upstream ends.
        drop(connection);
        gateway.wait_for_log("/echo.v1.Echo/stream/s");
        assert_eq!(gateway.charged(&token), 0, "{kind}");
        control.finish();
    }
}

#[test]
fn an_answer_that_never_says_how_its_call_ended_costs_nothing() {
    for (kind, body) in [
        ("application/grpc", message("hello")),
        ("application/grpc+proto", Vec::new()),
        (BINARY, message("hello")),
        (CONNECT, message("hello")),
    ] {
        let (_upstream, gateway) = with_upstream(shop);
        let token = gateway.buy(&Call::post("/x", "x"));
        answered(&gateway, &token, kind, &body);
        assert_eq!(gateway.charged(&token), 0, "{kind}");
        assert_eq!(left_after_one(&gateway, &token), "4", "{kind}");
    }
}

#[test]
fn who_gives_an_answer_the_name_of_a_call_pays_for_what_is_none() {
    for kind in ["application/grpc", BINARY, CONNECT] {
        let (_upstream, gateway) = with_upstream(shop);
        let token = gateway.buy(&Call::post("/x", "x"));
        answered(&gateway, &token, kind, b"plain text");
        assert_eq!(gateway.charged(&token), PRICE, "{kind}");
    }
}

#[test]
fn a_native_call_is_asked_to_end_with_trailers_whether_its_client_wants_them_or_not() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::post("/x", "x"));
    let asked = call("x", "application/grpc", "x");
    gateway.send(&asked.with(&token)).expect(200);
    assert_eq!(upstream.requests()[0].all("te"), ["trailers"]);
}

#[test]
fn a_stream_of_connect_that_ends_with_an_error_is_neither_charged_nor_a_call_used() {
    let end = |json: &str| frame(2, json);
    let failed = end("{\"error\":{\"code\":\"internal\",\"message\":\"x\"}}");
    for (body, charged) in [
        (failed.clone(), 0),
        ([message("hello"), failed].concat(), 0),
        ([message("hello"), end("{}")].concat(), PRICE),
    ] {
        let (_upstream, gateway) = with_upstream(shop);
        let token = gateway.buy(&Call::post("/x", "x"));
        answered(&gateway, &token, CONNECT, &body);
        assert_eq!(gateway.charged(&token), charged);
    }
}

#[test]
fn the_upstream_is_asked_for_a_body_that_can_be_read() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&Call::post("/x", "x"));
    let asked = call("x", BINARY, "x").header("Accept-Encoding", "gzip, br");
    gateway.send(&asked.with(&token)).expect(200);
    assert_eq!(upstream.requests()[0].all("accept-encoding"), ["identity"]);
}

#[test]
fn an_unpaid_call_is_answered_in_the_form_that_it_came_in() {
    let (upstream, gateway) = with_upstream(shop);
    for kind in [
        "application/grpc-web",
        BINARY,
        TEXT,
        "application/grpc-web-text+proto",
    ] {
        let reply = gateway.send(&call("x", kind, "\0\0\0\0\0")).expect(200);
        assert_eq!(reply.find("content-type"), Some(kind));
        assert_eq!(reply.find("grpc-status"), Some("13"));
        assert_eq!(reply.find("grpc-message"), Some("payment required"));
        assert!(!reply.all("www-authenticate").is_empty());
    }
    assert_eq!(upstream.total(), 0);
}
