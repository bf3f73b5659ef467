//! The official SDKs, unmodified but for URL and credential, against servers that are not ours. What
//! each call is charged is what the test computes from the answer that the SDK shows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{INPUT, OUTPUT, chat, model};
use crate::harness::{Call, Route, Setup, TestGateway, Token};
use crate::parts::{self, Server};

/// What one payment deposits: enough for every call of a test.
const DEPOSIT: u64 = 20_000_000;
const PICTURE: u64 = 40_000;
const QUESTION: &str = "What does a call cost?";

/// The official SDKs.
#[derive(Clone, Copy)]
enum Sdk {
    Python,
    Node,
    Anthropic,
}

/// What an SDK pays with.
enum Credential<'a> {
    /// A token, in a header that replaces the key.
    Token(&'a Token),
    /// Something that is no credential here.
    Nothing,
}

impl Sdk {
    /// Has the SDK make these calls, one after the other.
    fn make(self, gateway: &TestGateway, pays: &Credential<'_>, calls: &[Value]) -> Vec<Value> {
        let program = match self {
            Self::Python => parts::sdk("sdk_openai.py"),
            Self::Node => parts::node("sdk_openai.cjs"),
            Self::Anthropic => parts::sdk("sdk_anthropic.py"),
        };
        let wish = json!({
            "url": gateway.url(""),
            "credential": self.credential(pays),
            "calls": calls,
        });
        let told = parts::answer(&mut program.unwrap(), &wish);
        told["answers"].as_array().unwrap().clone()
    }

    fn credential(self, pays: &Credential<'_>) -> Value {
        match (self, pays) {
            (Self::Anthropic, Credential::Token(token)) => {
                json!({ "default_headers": { "Authorization": token.authorization() } })
            }
            (_, Credential::Token(token)) => json!({
                "api_key": "none",
                "default_headers": { "Authorization": token.authorization() },
            }),
            (_, Credential::Nothing) => json!({ "api_key": "none" }),
        }
    }
}

/// Prices for each name that the tests ask for.
fn shop(upstream_url: &str, names: &[&str]) -> TestGateway {
    let route = Route::to("/v1", upstream_url)
        .line("price = { model_tokens = {} }")
        .line(&format!("balance = {{ msat = {DEPOSIT} }}"));
    let mut setup = Setup::new().route(route);
    for name in names {
        setup = setup.section(&model(name));
    }
    let pictures = model("gpt-image-1");
    setup = setup.section(&format!("{pictures}\nimage = {PICTURE}"));
    TestGateway::start(setup)
}

fn aimock() -> Option<Server> {
    let port = parts::free_port();
    let mut aimock = parts::npm("@copilotkit/aimock/dist/cli.js")?;
    aimock.args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    aimock.args(["--validate-on-load", "-f"]);
    aimock.arg(parts::conformance("models.json"));
    Some(Server::on_port(aimock.env("NO_COLOR", "1"), port))
}

fn mock_ai_api(api: &str) -> Option<Server> {
    let port = parts::free_port();
    let mut command = parts::mock_ai_api(api, port)?;
    Some(Server::on_port(&mut command, port))
}

/// A call, as an SDK's method and what it is given.
fn call(method: &str, with: Value) -> Value {
    let members = [
        ("call".to_owned(), method.into()),
        ("with".to_owned(), with),
    ];
    Value::Object(members.into_iter().collect())
}

fn chat_with(content: &str, more: Value) -> Value {
    let mut with = json!({
        "model": "gpt-4o-mini",
        "max_tokens": 50,
        "messages": [{ "role": "user", "content": content }],
    });
    if let (Value::Object(with), Value::Object(more)) = (&mut with, more) {
        with.extend(more);
    }
    with
}

fn tools() -> Value {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let function = json!({ "name": "get_weather", "parameters": parameters });
    json!([{ "type": "function", "function": function }])
}

/// The last usage that an answer shows, wherever its provider puts it.
fn usage_in(answer: &Value) -> Option<Value> {
    let whole = [&answer["answer"]].into_iter();
    let events = answer["events"].as_array().into_iter().flatten();
    let places = whole.chain(events).flat_map(|part| {
        [
            &part["message"]["usage"],
            &part["response"]["usage"],
            &part["usage"],
        ]
    });
    let mut merged = serde_json::Map::new();
    for usage in places.filter_map(Value::as_object) {
        merged.extend(usage.clone());
    }
    (!merged.is_empty()).then_some(Value::Object(merged))
}

/// Price times usage.
fn cost_of(usage: &Value) -> u64 {
    let sum = |names: &[&str]| -> u64 {
        let counts = names.iter().filter_map(|name| usage[*name].as_u64());
        counts.sum()
    };
    let read = sum(&[
        "prompt_tokens",
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    ]);
    read * INPUT + sum(&["completion_tokens", "output_tokens"]) * OUTPUT
}

/// What an answer costs; where it shows its usage it says the same.
#[track_caller]
fn cost_shown(answer: &Value) -> u64 {
    let usage = usage_in(answer).unwrap_or_else(|| panic!("no usage: {answer}"));
    let cost = cost_of(&usage);
    assert!(cost > 0, "{answer}");
    assert_eq!(usage["cost_msat"], cost, "{answer}");
    cost
}

/// Fails unless the metered calls so far were charged exactly so much each, in any order.
#[track_caller]
fn assert_charged(gateway: &TestGateway, token: &Token, mut costs: Vec<u64>) {
    assert_eq!(gateway.charged(token), costs.iter().sum::<u64>());
    // A line of the log may come after its answer.
    let give_up_at = Instant::now() + Duration::from_secs(10);
    let mut logged = charges(&gateway.log());
    while logged.len() < costs.len() && Instant::now() < give_up_at {
        std::thread::sleep(Duration::from_millis(10));
        logged = charges(&gateway.log());
    }
    logged.sort_unstable();
    costs.sort_unstable();
    assert_eq!(logged, costs, "{}", gateway.log());
    assert_eq!(gateway.trial_balance()["sound"], true);
}

/// What the log says that each metered call was charged.
fn charges(log: &str) -> Vec<u64> {
    let lines = log.lines().filter(|line| line.contains("\"model\":"));
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .map(|line| line["charged_msat"].as_u64().unwrap())
        .collect()
}

fn text_of_stream(answer: &Value) -> String {
    let events = answer["events"].as_array().unwrap();
    let pieces = events.iter().filter_map(|event| {
        let chat = event["choices"][0]["delta"]["content"].as_str();
        chat.or_else(|| event["delta"].as_str())
            .or_else(|| event["delta"]["text"].as_str())
    });
    pieces.collect()
}

/// OpenAI's API on aimock, whose usage comes in a chunk of its own where it is asked for.
fn buy_from_aimock(sdk: Sdk) {
    let Some(aimock) = aimock() else { return };
    if parts::sdk("sdk_openai.py").is_none() {
        return;
    }
    let gateway = shop(&aimock.url(), &["gpt-4o-mini"]);
    let token = gateway.buy(&chat(json!({ "model": "gpt-4o-mini" })));
    let asks = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let ask = |more: Value| {
        let mut with =
            json!({ "model": "gpt-4o-mini", "max_output_tokens": 50, "input": QUESTION });
        with.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        call("responses", with)
    };
    let picture = json!({ "model": "gpt-image-1", "prompt": "A coin" });
    let calls = [
        call("chat", chat_with(QUESTION, json!({}))),
        call("chat", chat_with(QUESTION, json!({ "stream": true }))),
        call("chat", chat_with(QUESTION, asks)),
        call(
            "chat",
            chat_with("What is the weather?", json!({ "tools": tools() })),
        ),
        ask(json!({})),
        ask(json!({ "stream": true })),
        call("images", picture),
        call("models", json!({})),
    ];
    let answers = sdk.make(&gateway, &Credential::Token(&token), &calls);
    let text = &answers[0]["answer"]["choices"][0]["message"]["content"];
    for streamed in [&answers[1], &answers[2], &answers[5]] {
        assert_eq!(text_of_stream(streamed), *text, "{streamed}");
    }
    assert_eq!(usage_in(&answers[1]), None, "{}", answers[1]);
    let tool = &answers[3]["answer"]["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(tool["function"]["name"], "get_weather", "{}", answers[3]);
    assert!(answers[6]["answer"]["data"][0]["b64_json"].is_string());
    assert_eq!(answers[6]["answer"]["usage"]["cost_msat"], PICTURE);
    assert!(answers[7].to_string().contains("gpt-4o"), "{}", answers[7]);
    let mut costs: Vec<_> = [0, 2, 3, 4, 5].map(|at| cost_shown(&answers[at])).to_vec();
    // The stream that showed no usage, and the picture.
    costs.extend([costs[1], PICTURE]);
    assert_charged(&gateway, &token, costs);
}

#[test]
fn openai_for_python_buys_from_aimock() {
    buy_from_aimock(Sdk::Python);
}

#[test]
fn openai_for_node_buys_from_aimock() {
    buy_from_aimock(Sdk::Node);
}

/// OpenAI's API on mock-ai-api, whose usage rides on the chunk that finishes, asked for or not.
fn buy_from_mock_ai_api(sdk: Sdk) {
    let Some(openai) = mock_ai_api("openai") else {
        return;
    };
    let names = [
        "gpt-4o-mini",
        "gpt-4.1:mock-tool-call",
        "gpt-4.1:mock-tool-stream",
        "text-embedding-3-small",
    ];
    let gateway = shop(&openai.url(), &names);
    let token = gateway.buy(&chat(json!({ "model": "gpt-4o-mini" })));
    let stream = json!({ "stream": true });
    let tool = json!({ "model": "gpt-4.1:mock-tool-call", "tools": tools() });
    let tool_stream =
        json!({ "model": "gpt-4.1:mock-tool-stream", "tools": tools(), "stream": true });
    let response = json!({ "model": "gpt-4o-mini", "max_output_tokens": 50, "input": QUESTION });
    let prompt = json!({ "model": "gpt-4o-mini", "max_tokens": 50, "prompt": "Once" });
    let embedding = json!({
        "model": "text-embedding-3-small",
        "input": ["one", "two"],
        "encoding_format": "float",
    });
    let calls = [
        call("chat", chat_with(QUESTION, json!({}))),
        call("chat", chat_with(QUESTION, stream)),
        call("chat", chat_with(QUESTION, tool)),
        call("chat", chat_with(QUESTION, tool_stream)),
        call("responses", response),
        call("completions", prompt),
        call("embeddings", embedding),
        call("models", json!({})),
    ];
    let answers = sdk.make(&gateway, &Credential::Token(&token), &calls);
    assert!(!text_of_stream(&answers[1]).is_empty(), "{}", answers[1]);
    assert!(
        answers[3].to_string().contains("tool_calls"),
        "{}",
        answers[3]
    );
    let vectors = answers[6]["answer"]["data"].as_array().unwrap();
    assert_eq!(vectors.len(), 2);
    let costs = answers[..7].iter().map(cost_shown).collect();
    assert_charged(&gateway, &token, costs);
}

#[test]
fn openai_for_python_buys_from_mock_ai_api() {
    buy_from_mock_ai_api(Sdk::Python);
}

#[test]
fn openai_for_node_buys_from_mock_ai_api() {
    if parts::node("sdk_openai.cjs").is_some() {
        buy_from_mock_ai_api(Sdk::Node);
    }
}

#[test]
fn anthropic_for_python_buys_from_mock_ai_api() {
    let Some(anthropic) = mock_ai_api("anthropic") else {
        return;
    };
    let name = "claude-sonnet-4-20250514:mock-text";
    let tool = "claude-sonnet-4-20250514:mock-tool-use";
    let tool_stream = "claude-sonnet-4-20250514:mock-tool-stream";
    let gateway = shop(&anthropic.url(), &[name, tool, tool_stream]);
    let question = chat_with(QUESTION, json!({ "model": name }));
    let count = json!({ "model": name, "messages": question["messages"] });
    let token = gateway.buy(&super::post("/v1/messages", &question));
    let calls = [
        call("messages", question),
        call(
            "messages",
            chat_with(QUESTION, json!({ "model": name, "stream": true })),
        ),
        call("messages", chat_with(QUESTION, json!({ "model": tool }))),
        call(
            "messages",
            chat_with(QUESTION, json!({ "model": tool_stream, "stream": true })),
        ),
        call("count_tokens", count),
    ];
    let answers = Sdk::Anthropic.make(&gateway, &Credential::Token(&token), &calls);
    let text = &answers[0]["answer"]["content"][0]["text"];
    assert_eq!(text_of_stream(&answers[1]), *text);
    assert_eq!(answers[2]["answer"]["stop_reason"], "tool_use");
    assert!(answers[4]["answer"]["input_tokens"].as_u64().unwrap() > 0);
    let costs: Vec<_> = answers[..4]
        .iter()
        .map(|answer| cost_of(&usage_in(answer).unwrap()))
        .collect();
    // A count of tokens is a call without a price of its own here.
    assert_charged(&gateway, &token, [costs, vec![0]].concat());
}

#[test]
fn a_refusal_reads_as_the_sdks_own_errors() {
    let Some(aimock) = aimock() else { return };
    if parts::sdk("sdk_openai.py").is_none() {
        return;
    }
    let gateway = shop(&aimock.url(), &["gpt-4o-mini"]);
    let calls = [
        call("chat", chat_with(QUESTION, json!({}))),
        call("chat", chat_with(QUESTION, json!({ "model": "unknown" }))),
        call(
            "chat",
            chat_with(QUESTION, json!({ "service_tier": "priority" })),
        ),
    ];
    for sdk in [Sdk::Python, Sdk::Node] {
        let told = sdk.make(&gateway, &Credential::Nothing, &calls);
        let [unpaid, unknown, dear] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(unpaid["status"], 402, "{unpaid}");
        assert_eq!(unpaid["type"], "insufficient_quota", "{unpaid}");
        assert_eq!(unknown["kind"], "NotFoundError", "{unknown}");
        assert!(unknown["text"].as_str().unwrap().contains("unknown"));
        assert_eq!(dear["kind"], "BadRequestError", "{dear}");
        assert!(dear["text"].as_str().unwrap().contains("service_tier"));
        assert_eq!(dear["type"], "invalid_request_error", "{dear}");
    }
    let message = chat_with(QUESTION, json!({ "model": "unknown" }));
    let told = Sdk::Anthropic.make(&gateway, &Credential::Nothing, &[call("messages", message)]);
    assert_eq!(told[0]["kind"], "NotFoundError", "{}", told[0]);
    assert_eq!(told[0]["type"], "not_found_error", "{}", told[0]);
    assert!(told[0]["text"].as_str().unwrap().contains("not sold here"));
    let bare = gateway.send(&Call::get("/v1/files")).expect(404).json();
    assert_eq!(bare["error"]["message"], bare["detail"]);
}
