//! The official SDKs of OpenAI pay with ecash: a token in the place of their key, or in a header.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::Endpoint;
use serde_json::{Value, json};

use super::faults::{mint, models, parts};
use crate::harness::TestGateway;
use crate::parts as outside;

const DEPOSIT: u64 = 100_000;
const CHAT: &str = "/v1/chat/completions";

fn programs() -> impl Iterator<Item = std::process::Command> {
    let python = outside::sdk("sdk_openai.py");
    python.into_iter().chain(outside::node("sdk_openai.cjs"))
}

fn chat(more: &Value) -> Value {
    let mut with = json!({
        "model": "m", "max_tokens": 200,
        "messages": [{ "role": "user", "content": "What does a call cost?" }],
    });
    with.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({ "call": "chat", "with": with })
}

fn streamed() -> Value {
    chat(&json!({ "stream": true, "stream_options": { "include_usage": true } }))
}

/// A call that a token in a header pays for.
fn in_a_header(token: &str, gateway: &TestGateway, call: &Value) -> Value {
    json!({
        "url": gateway.url(""),
        "credential": { "api_key": "none", "default_headers": { "X-Cashu": token } },
        "calls": [call],
    })
}

/// What the answers say that they cost.
fn cost(answers: &[Value]) -> u64 {
    let of = |answer: &Value| {
        let events = answer["events"].as_array().cloned().unwrap_or_default();
        let all = events.into_iter().chain([answer["answer"].clone()]);
        let mut costs = all.filter_map(|said| said["usage"]["cost_msat"].as_u64());
        costs
            .next_back()
            .unwrap_or_else(|| panic!("no cost in {answer}"))
    };
    answers.iter().map(of).sum()
}

#[test]
fn a_token_is_the_key_of_a_program_over_retries_and_streams() {
    for mut sdk in programs() {
        let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
        let gateway = models(&mint, &upstream);
        let token = mint.token("msat", DEPOSIT);
        // The first call is refused once, and sent again by the SDK itself.
        upstream.will_be_busy(CHAT, 1);
        let wish = json!({
            "url": gateway.url(""),
            "credential": { "api_key": token },
            "retries": 2,
            "calls": [chat(&json!({})), streamed(), chat(&json!({}))],
        });
        let told = outside::answer(&mut sdk, &wish);
        let answers = told["answers"].as_array().unwrap();
        assert_eq!((answers.len(), upstream.total()), (3, 4));
        let left = DEPOSIT - cost(answers);
        assert_eq!(mint.count(Endpoint::Swap), 1);
        let parts = parts(&gateway, &token, left, &mint);
        assert_eq!(mint.redeem(&parts[0]).unwrap(), left);
    }
}

#[test]
fn a_token_in_a_header_pays_for_a_whole_answer_and_its_change_is_fetched() {
    for mut sdk in programs() {
        let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
        let gateway = models(&mint, &upstream);
        let token = mint.token("msat", DEPOSIT);
        let wish = in_a_header(&token, &gateway, &chat(&json!({})));
        let told = outside::answer(&mut sdk, &wish);
        let left = DEPOSIT - cost(told["answers"].as_array().unwrap());
        let parts = parts(&gateway, &token, left, &mint);
        let back: u64 = parts.iter().map(|part| mint.redeem(part).unwrap()).sum();
        assert_eq!(back, left);
        mint.assert_sound();
    }
}

#[test]
fn a_stream_with_change_in_a_comment_is_read_to_its_end() {
    for mut sdk in programs() {
        let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
        let gateway = models(&mint, &upstream);
        let token = mint.token("msat", DEPOSIT);
        let told = outside::answer(&mut sdk, &in_a_header(&token, &gateway, &streamed()));
        let answers = told["answers"].as_array().unwrap();
        let events = answers[0]["events"]
            .as_array()
            .unwrap_or_else(|| panic!("{told}"));
        let words = events.iter();
        let words = words.filter_map(|it| it["choices"][0]["delta"]["content"].as_str());
        assert!(words.collect::<String>().contains("What does a call cost?"));
        let parts = parts(&gateway, &token, DEPOSIT - cost(answers), &mint);
        assert_eq!(parts.len(), 2, "one in the head, one in the comment");
    }
}
