//! mock-ai-api, whose usage rides on the chunk that finishes, asked for or not.

use serde_json::{Value, json};

use super::usage::{cost_of, text_of_stream, usage_in};
use super::{
    Credential, PAYS_WITH, PICTURE, PLAIN, QUESTION, Sdk, ask_with, assert_charged, call,
    chat_with, cost_shown, mock_ai_api, shop, tools,
};
use crate::harness::TestGateway;
use crate::parts::Server;

const CLAUDE: &str = "claude-sonnet-4-20250514:mock-text";
const CLAUDE_TOOL: &str = "claude-sonnet-4-20250514:mock-tool-use";
const CLAUDE_TOOL_STREAM: &str = "claude-sonnet-4-20250514:mock-tool-stream";

/// The half of it that speaks one API, sold for each way to pay.
fn each_sale(sdk: Sdk, names: &[&str], buy: fn(Sdk, &TestGateway, &Credential)) {
    let Some(server) = installed(sdk) else { return };
    for pays in PAYS_WITH {
        let gateway = shop(&server.url(), names);
        let pays = pays(&gateway, names[0]);
        buy(sdk, &gateway, &pays);
    }
}

fn installed(sdk: Sdk) -> Option<Server> {
    sdk.program()?;
    mock_ai_api(if sdk == Sdk::Anthropic {
        "anthropic"
    } else {
        "openai"
    })
}

fn buy_openais(sdk: Sdk, gateway: &TestGateway, pays: &Credential) {
    let stream = || json!({ "stream": true });
    let tool = json!({ "model": "gpt-4.1:mock-tool-call", "tools": tools() });
    let tool_stream =
        json!({ "model": "gpt-4.1:mock-tool-stream", "tools": tools(), "stream": true });
    let prompt = json!({ "model": "gpt-4o-mini", "max_tokens": 50, "prompt": "Once" });
    let embedding = json!({
        "model": "text-embedding-3-small",
        "input": ["one", "two"],
        "encoding_format": "float",
    });
    // Two pictures are asked for, and one is made.
    let pictures = json!({ "model": "gpt-image-1", "prompt": "A coin", "n": 2 });
    let calls = [
        call("chat", chat_with(QUESTION, json!({}))),
        call("chat", chat_with(QUESTION, stream())),
        call("chat", chat_with(QUESTION, tool)),
        call("chat", chat_with(QUESTION, tool_stream)),
        call("responses", ask_with(QUESTION, json!({}))),
        call("responses", ask_with(QUESTION, stream())),
        call("completions", prompt),
        call("embeddings", embedding),
        call("images", pictures),
        call("models", json!({})),
    ];
    let answers = sdk.make(gateway, pays, &calls);
    for streamed in [&answers[1], &answers[5]] {
        assert!(!text_of_stream(streamed).is_empty(), "{streamed}");
    }
    for tool in [&answers[2], &answers[3]] {
        assert!(tool.to_string().contains("tool_calls"), "{tool}");
    }
    let count = |at: usize| answers[at]["answer"]["data"].as_array().map(Vec::len);
    assert_eq!((count(7), count(8)), (Some(2), Some(1)));
    assert!(answers[9].to_string().contains("gpt-4"), "{}", answers[9]);
    let mut costs: Vec<_> = answers[..8].iter().map(cost_shown).collect();
    costs.push(PICTURE);
    assert_charged(gateway, pays, costs);
}

fn buy_anthropics(sdk: Sdk, gateway: &TestGateway, pays: &Credential) {
    let with = |name: &str, more: Value| {
        let mut with = chat_with(QUESTION, more);
        with["model"] = name.into();
        call("messages", with)
    };
    let stream = || json!({ "stream": true });
    let count = json!({ "model": CLAUDE, "messages": [{ "role": "user", "content": QUESTION }] });
    let calls = [
        with(CLAUDE, json!({})),
        with(CLAUDE, stream()),
        with(CLAUDE_TOOL, json!({})),
        with(CLAUDE_TOOL_STREAM, stream()),
        call("count_tokens", count),
    ];
    let answers = sdk.make(gateway, pays, &calls);
    let text = &answers[0]["answer"]["content"][0]["text"];
    assert_eq!(text_of_stream(&answers[1]), *text);
    assert_eq!(answers[2]["answer"]["stop_reason"], "tool_use");
    assert!(answers[4]["answer"]["input_tokens"].as_u64().unwrap() > 0);
    let usage = answers[..4].iter().map(|answer| usage_in(answer).unwrap());
    let mut costs: Vec<_> = usage.map(|usage| cost_of(&usage, &PLAIN)).collect();
    // A count of tokens is a call without a price of its own here.
    costs.push(0);
    assert_charged(gateway, pays, costs);
}

const OPENAIS: [&str; 4] = [
    "gpt-4o-mini",
    "gpt-4.1:mock-tool-call",
    "gpt-4.1:mock-tool-stream",
    "text-embedding-3-small",
];

#[test]
fn openai_for_python_buys_from_mock_ai_api() {
    each_sale(Sdk::Python, &OPENAIS, buy_openais);
}

#[test]
fn openai_for_node_buys_from_mock_ai_api() {
    each_sale(Sdk::Node, &OPENAIS, buy_openais);
}

#[test]
fn anthropic_for_python_buys_from_mock_ai_api() {
    let names = [CLAUDE, CLAUDE_TOOL, CLAUDE_TOOL_STREAM];
    each_sale(Sdk::Anthropic, &names, buy_anthropics);
}
