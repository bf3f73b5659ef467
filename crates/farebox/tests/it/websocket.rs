//! WebSocket through the gateway, between a Python server and a Python client.

use crate::harness::{Call, Route, Setup, TestGateway};
use crate::parts::{self, Server};

fn handshake() -> Call {
    let call = Call::get("/paid/socket").header("Connection", "Upgrade");
    let call = call
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13");
    call.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[test]
fn a_websocket_opens_for_those_who_paid_and_for_nobody_else() {
    let Some(mut server) = parts::python("websocket_server.py") else {
        return;
    };
    let mut server = Server::announced(&mut server);
    let route = Route::to("/paid", &server.url())
        .msat(2000)
        .bound_to_route();
    let gateway = TestGateway::start(Setup::new().route(route));
    let url = format!("ws://{}/paid/socket", gateway.address);
    let talk = |authorization: Option<String>| {
        let mut client = parts::python("websocket_client.py").expect("the server ran");
        parts::outcome(client.arg(&url).args(authorization))
    };

    assert_eq!(talk(None)["status"], 402);
    let token = gateway.buy(&handshake());
    let told = talk(Some(token.authorization()));
    assert_eq!(told["status"], 101, "{told}");
    assert_eq!(told["texts"], serde_json::json!(["one", "two", "three"]));
    assert_eq!(told["large_is_intact"], true);

    let opened = server.read_line();
    assert!(opened.starts_with("open /paid/socket "), "{opened}");
    assert!(!opened.contains("authorization"), "{opened}");
}
