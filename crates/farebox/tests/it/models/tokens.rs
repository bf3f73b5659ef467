//! Answers that do not tell their usage, of models whose vocabulary is public: their tokens are
//! counted, after they have ended.

use farebox_testkit::{ScriptedUpstream, StreamControl};
use serde_json::{Value, json};

use super::{DEPOSIT, INPUT, OUTPUT, chat, model, route};
use crate::harness::{Call, Connection, Route, Setup, TestGateway, Token};

/// The prompt is "one two three": three tokens, four for the message and three before the answer.
const PROMPT: u64 = (3 + 4 + 3) * INPUT;

struct Stage {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
    token: Token,
    call: Call,
}

impl Stage {
    fn new(name: &str, more: Value) -> Self {
        Self::with(name, more, route)
    }

    fn with(name: &str, more: Value, route: impl FnOnce(&str) -> Route) -> Self {
        let upstream = ScriptedUpstream::start().unwrap();
        let route = route(&format!("{}/stream/s", upstream.url()));
        let gateway = TestGateway::start(Setup::new().section(&model(name)).route(route));
        let mut call = chat(json!({ "model": name }));
        let mut body: Value = serde_json::from_slice(&call.body).unwrap();
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        call.body = body.to_string().into();
        let token = gateway.buy(&call);
        let call = call.with(&token);
        Self {
            upstream,
            gateway,
            token,
            call,
        }
    }

    fn begin(&self, headers: &str) -> (Connection, StreamControl) {
        let control = self.upstream.stream("s");
        let mut connection = Connection::open(self.gateway.address).unwrap();
        let mut call = self.call.clone();
        call.target = format!("{}?{headers}", call.target);
        connection.send(&call).unwrap();
        (connection, control)
    }

    fn charged(&self) -> u64 {
        self.gateway.charged(&self.token)
    }

    /// What bytes over four come to.
    fn by_bytes(&self, output: u64) -> u64 {
        let input = u64::try_from(self.call.body.len()).unwrap().div_ceil(4);
        input * INPUT + output.div_ceil(4) * OUTPUT
    }
}

fn piece(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({ "choices": [{ "index": 0, "delta": { "content": text } }] })
    )
}

const DONE: &str = "data: [DONE]\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}}\n\n";

fn streamed() -> Value {
    json!({ "stream": true })
}

#[test]
fn a_complete_stream_without_usage_costs_its_tokens_and_the_log_says_them() {
    for name in ["gpt-4o", "openai/gpt-4"] {
        let stage = Stage::new(name, streamed());
        let (mut connection, control) = stage.begin("");
        for event in [&piece("hello"), &piece(" world"), DONE] {
            control.send(event.to_owned());
        }
        control.finish();
        let text = connection.read_reply("POST").unwrap().text();
        assert!(text.ends_with(DONE), "{text}");
        assert_eq!(stage.charged(), PROMPT + 2 * OUTPUT, "{name}");
        let line = stage.gateway.wait_for_log("\"ended\":\"usage_missing\"");
        assert!(
            line.contains("\"used_input\":10,\"used_output\":2"),
            "{line}"
        );
        let charged = format!("\"charged_msat\":{}", PROMPT + 2 * OUTPUT);
        assert!(line.contains(&charged), "{line}");
    }
}

#[test]
fn an_answer_that_is_cut_costs_its_tokens_too() {
    let stage = Stage::new("gpt-4o", streamed());
    let (mut connection, control) = stage.begin("");
    control.send(piece("hello world"));
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    drop(connection);
    control.wait_until_abandoned();
    let once = PROMPT + 2 * OUTPUT;
    assert_eq!(stage.charged(), once);
    stage.gateway.wait_for_log("\"ended\":\"cut_by_client\"");

    let (mut connection, control) = stage.begin("");
    control.send(piece("hello world"));
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    control.cut();
    assert!(connection.read_chunk().is_err());
    assert_eq!(stage.charged(), 2 * once);
    stage.gateway.wait_for_log("\"ended\":\"cut_by_upstream\"");
}

#[test]
fn what_came_after_a_report_is_counted_on_top_of_it() {
    let stage = Stage::new("gpt-4o", streamed());
    let (mut connection, control) = stage.begin("");
    control.send([USAGE, &piece("hello world")].concat());
    connection.read_head().unwrap();
    connection.read_chunk().unwrap();
    control.cut();
    assert!(connection.read_chunk().is_err());
    assert_eq!(stage.charged(), 7 * INPUT + (9 + 2) * OUTPUT);
}

#[test]
fn a_whole_answer_is_not_kept_waiting_and_its_headers_tell_what_is_held() {
    let stage = Stage::new("gpt-4o", json!({}));
    let (mut connection, control) = stage.begin("content-type=application/json");
    let answer = json!({ "choices": [{ "message": { "content": "hello world" } }] });
    control.send(answer.to_string());
    control.finish();
    let reply = connection.read_reply("POST").unwrap().expect(200);
    assert_eq!(reply.json(), answer);
    assert_eq!(reply.all("farebox-held-msat").len(), 1);
    assert!(reply.all("farebox-charge-msat").is_empty());
    drop(connection);
    assert_eq!(stage.charged(), PROMPT + 2 * OUTPUT);
    stage.gateway.wait_for_log("\"used_output\":2");
}

#[test]
fn other_models_and_sellers_who_say_so_count_bytes() {
    let answer = [&piece("hello world"), DONE].concat();
    let play = |stage: &Stage| {
        let (mut connection, control) = stage.begin("");
        control.send(answer.clone());
        control.finish();
        connection.read_reply("POST").unwrap();
        stage.charged()
    };
    let unknown = Stage::new("claude-5", streamed());
    assert_eq!(play(&unknown), unknown.by_bytes(11));
    let by_bytes = |upstream: &str| {
        Route::to("/v1", upstream)
            .line("price = { model_tokens = { tokenizer = \"bytes\" } }")
            .line(&format!("balance = {{ msat = {DEPOSIT} }}"))
    };
    let unwilling = Stage::with("gpt-4o", streamed(), by_bytes);
    assert_eq!(play(&unwilling), unwilling.by_bytes(11));
}

#[test]
fn more_text_than_is_kept_is_counted_by_bytes_from_there() {
    let stage = Stage::new("gpt-4o", streamed());
    let (mut connection, control) = stage.begin("");
    control.send(piece("hello world"));
    control.send(piece(&"x".repeat(200_000)));
    control.send(DONE);
    control.finish();
    connection.read_reply("POST").unwrap();
    // More than the hold, which is what it costs then: 50 tokens were asked for.
    let most = (u64::try_from(stage.call.body.len()).unwrap() + 64) * INPUT + 50 * OUTPUT;
    assert_eq!(stage.charged(), most);
}

#[test]
fn a_process_that_ends_has_settled_what_it_counted() {
    let mut stage = Stage::new("gpt-4o", streamed());
    let (mut connection, control) = stage.begin("");
    control.send([&piece("hello world"), DONE].concat());
    control.finish();
    connection.read_reply("POST").unwrap();
    drop(connection);
    stage.gateway.stop();
    stage.gateway.start_again(&[]);
    assert_eq!(stage.charged(), PROMPT + 2 * OUTPUT);
}
