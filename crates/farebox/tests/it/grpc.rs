//! gRPC through the gateway, between a Python server and a Python client: unpaid it is told so in
//! gRPC's own terms, paid it works with streams, metadata and trailers.

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Challenge, Reply, Route, Setup, TestGateway, Token};
use crate::parts::{self, Server};

struct Shop {
    server: Server,
    gateway: TestGateway,
}

fn shop() -> Option<Shop> {
    let server = Server::announced(&mut parts::python("grpc_server.py")?);
    let route = Route::to("/echo.Echo", &server.url())
        .msat(2000)
        .bound_to_route();
    let route = route.line("calls = 3").line("protocol = \"http2\"");
    let gateway = TestGateway::start(Setup::new().route(route));
    Some(Shop { server, gateway })
}

impl Shop {
    fn call(&self, method: &str, message: &str, metadata: &[String]) -> Value {
        let mut client = parts::python("grpc_client.py").expect("the server ran");
        client
            .args([&self.gateway.address.to_string(), method, message])
            .args(metadata);
        parts::outcome(&mut client)
    }

    /// Buys three calls with the challenge that came as metadata.
    fn buy(&self) -> Token {
        let told = self.call("Unary", "", &[]);
        let challenge = Challenge::of(&as_reply(&told["initial"], &told["trailing"]));
        let preimage = self.gateway.pay(&challenge.invoice);
        challenge.paid_with(preimage)
    }
}

/// Metadata as header fields. A trailers-only answer shows up as either kind.
fn as_reply(initial: &Value, trailing: &Value) -> Reply {
    let mut reply = Reply::default();
    for (name, values) in [initial, trailing]
        .into_iter()
        .flat_map(|m| m.as_object().unwrap())
    {
        let values = values.as_array().unwrap().iter();
        let texts = values.map(|value| value.as_str().unwrap().to_owned());
        reply
            .headers
            .extend(texts.map(|value| (name.clone(), value)));
    }
    reply
}

#[test]
fn an_unpaid_grpc_call_fails_with_payment_required_and_a_challenge() {
    let Some(shop) = shop() else { return };
    for method in ["Unary", "Stream"] {
        let told = shop.call(method, "a b", &[]);
        assert_eq!(
            (&told["code"], &told["details"]),
            (&json!(13), &json!("payment required"))
        );
        let challenge = Challenge::of(&as_reply(&told["initial"], &told["trailing"]));
        assert!(challenge.invoice.starts_with("ln"), "{told}");
    }
}

#[test]
fn paid_grpc_calls_keep_messages_metadata_and_trailers() {
    let Some(mut shop) = shop() else { return };
    let token = shop.buy();
    let metadata = [
        format!("authorization={}", token.authorization()),
        "x-a=1".to_owned(),
    ];

    let unary = shop.call("Unary", "a b c", &metadata);
    assert_eq!(
        (&unary["code"], &unary["messages"]),
        (&json!(0), &json!(["a b c"])),
        "{unary}"
    );
    assert_eq!(unary["initial"]["x-a"], json!(["1"]));
    assert_eq!(unary["trailing"]["echo-bytes"], json!(["5"]));

    let stream = shop.call("Stream", "a b c", &metadata);
    assert_eq!(
        (&stream["code"], &stream["messages"]),
        (&json!(0), &json!(["a", "b", "c"]))
    );
    assert_eq!(stream["trailing"]["echo-bytes"], json!(["5"]));

    let first_call = shop.server.read_line();
    assert!(first_call.starts_with("call Unary "), "{first_call}");
    assert!(!first_call.contains("authorization"), "{first_call}");
}

#[test]
fn a_grpc_server_s_own_error_reaches_the_buyer_as_it_was_said() {
    let Some(shop) = shop() else { return };
    let token = shop.buy();
    let told = shop.call(
        "Fail",
        "abc",
        &[format!("authorization={}", token.authorization())],
    );
    assert_eq!(told["code"], 9, "{told}");
    assert_eq!(told["details"], "the echo is out of order");
    assert_eq!(told["trailing"]["echo-bytes"], json!(["3"]));
}

#[test]
fn a_macaroon_in_grpc_metadata_pays_as_aperture_s_clients_send_it() {
    let Some(shop) = shop() else { return };
    let token = shop.buy();
    let macaroon = token
        .attenuated(&format!("preimage={}", token.preimage))
        .macaroon();
    let metadata = [format!("macaroon={}", hex::encode(macaroon.to_bytes()))];
    let told = shop.call("Unary", "abc", &metadata);
    assert_eq!(
        (&told["code"], &told["messages"]),
        (&json!(0), &json!(["abc"])),
        "{told}"
    );
}

/// A call without a client library: what it looks like over HTTP/1.1.
fn raw(path: &str) -> Call {
    Call::post(path, "x").header("Content-Type", "application/grpc+proto")
}

#[track_caller]
fn refused(reply: Reply, code: &str, message: &str) -> Reply {
    let reply = reply.expect(200);
    assert_eq!(reply.find("content-type"), Some("application/grpc"));
    assert_eq!(reply.find("grpc-status"), Some(code), "{reply:?}");
    let told = reply.find("grpc-message").unwrap();
    assert!(told.contains(message), "{told}");
    assert!(reply.body.is_empty());
    reply
}

#[test]
fn a_refused_grpc_call_has_the_code_of_what_is_wrong() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .section("[server.challenges]\nper_client = \"2/1h\"\ntotal = \"2/1h\"")
        .route(Route::at("/paid", &upstream).msat(2000).calls(2))
        .route(Route::to("/away", "http://127.0.0.1:1").free());
    let gateway = TestGateway::start(setup);
    refused(gateway.send(&raw("/nowhere")), "5", "no route");
    refused(gateway.send(&raw("/away/echo")), "14", "cannot be reached");

    let key = |key: &str| raw("/paid/echo").header("Authorization", &format!("Bearer {key}"));
    let malformed = refused(
        gateway.send(&key("sk-farebox-abc")),
        "16",
        "sk-farebox- and 64 hex digits",
    );
    assert_eq!(malformed.find("x-reason"), Some("malformed"));
    assert!(malformed.find("www-authenticate").is_some());

    let buy = || gateway.send(&raw("/paid/echo"));
    for _ in 0..2 {
        refused(buy(), "13", "payment required");
    }
    let limited = refused(buy(), "8", "too many invoices");
    assert!(limited.all("www-authenticate").is_empty());
    assert!(limited.find("retry-after").is_some());
    assert_eq!(upstream.total(), 0);
}
