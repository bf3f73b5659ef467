//! Answers whose usage is told, framed or left out in ways that made them cheap: each costs what it is.

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Connection, Route, Setup, TestGateway};

/// msat for a token read, and for one written.
const INPUT: u64 = 100;
const OUTPUT: u64 = 1000;

fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    let model = format!(
        "[[model]]\nname = \"m\"\ncurrency = \"msat\"\nper = \"unit\"\ninput = {INPUT}\n\
         output = {OUTPUT}\ncontext_tokens = 10000\nmax_output_tokens = 2000"
    );
    let route = Route::to("/v1", &format!("{}/stream/s", upstream.url()))
        .line("price = { model_tokens = { tokenizer = \"bytes\" } }")
        .line("balance = { msat = 5000000 }");
    TestGateway::start(Setup::new().section(&model).route(route))
}

fn chat(more: Value) -> Call {
    let mut body = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": "one two three" }],
        "max_tokens": 500
    });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    Call::post("/v1/chat/completions", body.to_string()).header("Content-Type", "application/json")
}

/// What is charged for a stream of these pieces, of which each has reached the client before the next
/// is sent. The client leaves after the last one where the stream `ends` not.
fn charged(pieces: &[String], ends: bool) -> u64 {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let call = chat(json!({ "stream": true }));
    let token = gateway.buy(&call);
    let control = upstream.stream("s");
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&call.with(&token)).unwrap();
    for (at, piece) in pieces.iter().enumerate() {
        assert!(control.send(piece.clone()));
        if at == 0 {
            connection.read_head().unwrap();
        }
        if !piece.contains("usage") {
            connection.read_chunk().unwrap().unwrap();
        }
    }
    if ends {
        control.finish();
        while connection.read_chunk().unwrap().is_some() {}
    } else {
        drop(connection);
    }
    gateway.wait_for_log("\"ended\"");
    gateway.charged(&token)
}

fn delta(delta: &Value) -> String {
    let event = json!({ "choices": [{ "index": 0, "delta": delta }] });
    format!("data: {event}\n\n")
}

#[test]
fn events_without_empty_lines_between_them_pass_as_they_come_and_cost_their_usage() {
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 12, "completion_tokens": 6 } });
    let pieces = [
        delta(&json!({ "content": "Hello there" })),
        delta(&json!({ "content": ", friend." })),
        format!("data: {usage}\n\n"),
        "data: [DONE]\n\n".to_owned(),
    ];
    let pieces = pieces.map(|piece| piece.replace("\n\n", "\n"));
    assert_eq!(charged(&pieces, true), 12 * INPUT + 6 * OUTPUT);
}

#[test]
fn output_in_members_that_nobody_knows_is_not_free_for_who_leaves_early() {
    let call = json!([{ "index": 0, "custom": { "input": "x".repeat(4000) } }]);
    let prompt = u64::try_from(chat(json!({ "stream": true })).body.len()).unwrap();
    let prompt = prompt.div_ceil(4) * INPUT;
    let tools = [delta(&json!({ "tool_calls": call }))];
    assert!(charged(&tools, false) >= prompt + 400 * OUTPUT);
    let role = [delta(&json!({ "role": "assistant" }))];
    assert_eq!(charged(&role, false), prompt);
    // By a comment a server says that it has not begun yet.
    assert_eq!(charged(&[": ping\n\n".to_owned()], false), 0);
}

#[test]
fn a_surplus_of_the_total_is_no_output() {
    let usage = json!({ "prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 417,
                        "cache_read_input_tokens": 400, "cache_creation_input_tokens": 0 });
    let usage = json!({ "choices": [], "usage": usage });
    let pieces = [
        delta(&json!({ "content": "hi" })),
        format!("data: {usage}\n\n"),
    ];
    assert_eq!(charged(&pieces, true), 408 * INPUT + 9 * OUTPUT);
}

#[test]
fn a_limit_of_zero_is_refused() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let reply = gateway.send(&chat(json!({ "max_tokens": 0 })));
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("max_tokens must be 1 at least"));
}
