//! An OpenAI-compatible server that is not ours, sold by the call; and the first event of a stream,
//! which must not wait for the second.

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Connection, Route, Setup, TestGateway};
use crate::parts::{self, Server};

const API_KEY: &str = "sk-sold-by-the-call";
const ANSWER: &str = "Two satoshi, and you get exact change for anything above that.";

/// aimock, which asks for a key that buyers never learn, behind a gateway that adds it.
fn shop() -> Option<(Server, TestGateway)> {
    let port = parts::free_port();
    let mut aimock = parts::npm("@copilotkit/aimock/dist/cli.js")?;
    aimock.args([
        "-p",
        &port.to_string(),
        "-h",
        "127.0.0.1",
        "--validate-on-load",
        "-f",
    ]);
    aimock
        .arg(parts::conformance("aimock.json"))
        .env("AIMOCK_API_KEYS", API_KEY);
    let aimock = Server::on_port(aimock.env("NO_COLOR", "1"), port);

    let key = r#"headers = { Authorization = { env = "UPSTREAM_KEY", prefix = "Bearer " } }"#;
    let route = Route::to("/v1", &aimock.url()).msat(2000).line(key);
    let gateway = TestGateway::start_with(Setup::new().route(route), &[("UPSTREAM_KEY", API_KEY)]);
    Some((aimock, gateway))
}

fn chat(stream: bool) -> Call {
    let message = json!({ "role": "user", "content": "What does a call cost?" });
    let body = json!({ "model": "gpt-4o-mini", "messages": [message], "stream": stream });
    Call::post("/v1/chat/completions", body.to_string()).header("Content-Type", "application/json")
}

#[test]
fn a_chat_completion_is_sold_without_the_buyer_having_an_api_key() {
    let Some((aimock, gateway)) = shop() else {
        return;
    };
    assert_eq!(chat(false).send(aimock.address).status, 401);
    let token = gateway.buy(&chat(false));
    let reply = gateway.send(&chat(false).with(&token)).expect(200);
    assert_eq!(reply.json()["choices"][0]["message"]["content"], ANSWER);
}

#[test]
fn a_streamed_chat_completion_is_sold_event_by_event() {
    let Some((_aimock, gateway)) = shop() else {
        return;
    };
    let token = gateway.buy(&chat(true));
    let reply = gateway.send(&chat(true).with(&token)).expect(200);
    assert!(
        reply
            .find("content-type")
            .unwrap()
            .starts_with("text/event-stream")
    );
    let text = reply.text();
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let pieces: Vec<String> = events
        .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    assert!(pieces.len() > 1, "{pieces:?}");
    assert_eq!(pieces.concat(), ANSWER);
    assert!(text.trim_end().ends_with("data: [DONE]"));
}

#[test]
fn an_event_reaches_the_buyer_before_the_upstream_sends_the_next_one() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().route(Route::at("/paid", &upstream).msat(2000));
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/stream/one");
    let token = gateway.buy(&call);

    let stream = upstream.stream("one");
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call.with(&token)).unwrap();
    assert_eq!(buyer.read_head().unwrap().status, 200);
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        assert!(stream.send(event));
        assert_eq!(buyer.read_chunk().unwrap().unwrap(), event.as_bytes());
    }
    stream.finish();
    assert_eq!(buyer.read_chunk().unwrap(), None);
}
