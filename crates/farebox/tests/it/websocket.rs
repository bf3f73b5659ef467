//! WebSocket through the gateway, between a Python server and a Python client; and upgrades to
//! protocols nobody has heard of.

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Connection, Route, Setup, TestGateway};
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

#[test]
fn an_upgraded_connection_carries_bytes_both_ways_until_either_side_ends_it() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000).bound_to_route();
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/paid/upgrade")
        .header("Connection", "Upgrade")
        .header("Upgrade", "raw");
    let token = gateway.buy(&call);

    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call.with(&token)).unwrap();
    let head = buyer.read_head().unwrap();
    assert_eq!((head.status, head.find("upgrade")), (101, Some("raw")));
    for message in ["ping", "pong"] {
        buyer.write(message.as_bytes()).unwrap();
        assert_eq!(buyer.read_exactly(4).unwrap(), message.as_bytes());
    }
    buyer.close_write().unwrap();
    assert!(buyer.is_at_end());
}
