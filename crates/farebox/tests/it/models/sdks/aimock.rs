//! aimock, whose usage comes in a chunk of its own where it is asked for.

use serde_json::{Value, json};

use super::usage::{text_of_stream, usage_in};
use super::{
    Credential, PAYS_WITH, PICTURE, QUESTION, Sdk, anthropic_tools, ask_with, assert_charged, call,
    chat_with, cost_shown, shop, tools,
};
use crate::harness::TestGateway;
use crate::parts::Server;

const WEATHER: &str = "What is the weather?";

/// A shop in front of aimock, for each way to pay.
fn each_sale(sdk: Sdk, name: &str, buy: fn(Sdk, &TestGateway, &Credential)) {
    let Some(aimock) = installed(sdk) else { return };
    for pays in PAYS_WITH {
        let gateway = shop(&aimock.url(), &[name]);
        let pays = pays(&gateway, name);
        buy(sdk, &gateway, &pays);
    }
}

fn installed(sdk: Sdk) -> Option<Server> {
    sdk.program()?;
    super::aimock()
}

fn buy_openais(sdk: Sdk, gateway: &TestGateway, pays: &Credential) {
    let stream = || json!({ "stream": true });
    let asks = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let tool_stream = json!({
        "tools": tools(),
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    let picture = json!({ "model": "gpt-image-1", "prompt": "A coin" });
    let calls = [
        call("chat", chat_with(QUESTION, json!({}))),
        call("chat", chat_with(QUESTION, stream())),
        call("chat", chat_with(QUESTION, asks)),
        call("chat", chat_with(WEATHER, json!({ "tools": tools() }))),
        call("chat", chat_with(WEATHER, tool_stream)),
        call("responses", ask_with(QUESTION, json!({}))),
        call("responses", ask_with(QUESTION, stream())),
        call("images", picture),
        call("models", json!({})),
    ];
    let answers = sdk.make(gateway, pays, &calls);
    let text = &answers[0]["answer"]["choices"][0]["message"]["content"];
    for streamed in [&answers[1], &answers[2], &answers[6]] {
        assert_eq!(text_of_stream(streamed), *text, "{streamed}");
    }
    assert_eq!(usage_in(&answers[1]), None, "{}", answers[1]);
    let tool = &answers[3]["answer"]["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(tool["function"]["name"], "get_weather", "{}", answers[3]);
    assert_eq!(streamed_tool(&answers[4]), r#"{"city":"Paris"}"#);
    assert!(answers[7]["answer"]["data"][0]["b64_json"].is_string());
    assert_eq!(answers[7]["answer"]["usage"]["cost_msat"], PICTURE);
    assert!(answers[8].to_string().contains("gpt-4o"), "{}", answers[8]);
    let mut costs: Vec<_> = [0, 2, 3, 4, 5, 6]
        .map(|at| cost_shown(&answers[at]))
        .to_vec();
    // The stream that showed no usage, and the picture.
    costs.extend([costs[1], PICTURE]);
    assert_charged(gateway, pays, costs);
}

/// What a streamed call of a tool was given, out of its pieces.
fn streamed_tool(answer: &Value) -> String {
    let events = answer["events"].as_array().unwrap();
    let pieces = events.iter().filter_map(|event| {
        event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str()
    });
    pieces.collect()
}

fn buy_anthropics(sdk: Sdk, gateway: &TestGateway, pays: &Credential) {
    let with = |content, more: Value| {
        let mut with = chat_with(content, more);
        with["model"] = "claude-sonnet-4-5".into();
        call("messages", with)
    };
    let calls = [
        with(QUESTION, json!({})),
        with(QUESTION, json!({ "stream": true })),
        with(WEATHER, json!({ "tools": anthropic_tools() })),
        with(
            WEATHER,
            json!({ "tools": anthropic_tools(), "stream": true }),
        ),
    ];
    let answers = sdk.make(gateway, pays, &calls);
    let text = &answers[0]["answer"]["content"][0]["text"];
    assert_eq!(text_of_stream(&answers[1]), *text);
    assert_eq!(answers[2]["answer"]["stop_reason"], "tool_use");
    assert!(
        answers[3].to_string().contains("get_weather"),
        "{}",
        answers[3]
    );
    assert_charged(gateway, pays, answers.iter().map(cost_shown).collect());
}

#[test]
fn openai_for_python_buys_from_aimock() {
    each_sale(Sdk::Python, "gpt-4o-mini", buy_openais);
}

#[test]
fn openai_for_node_buys_from_aimock() {
    each_sale(Sdk::Node, "gpt-4o-mini", buy_openais);
}

#[test]
fn anthropic_for_python_buys_from_aimock() {
    each_sale(Sdk::Anthropic, "claude-sonnet-4-5", buy_anthropics);
}
