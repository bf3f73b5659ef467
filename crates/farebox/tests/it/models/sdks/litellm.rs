//! LiteLLM's proxy, whose usage comes in a chunk with a choice in it, with a cost of its own. One
//! test for all SDKs: it takes its time to start.

use serde_json::{Value, json};

use super::usage::{text_of_stream, usage_in};
use super::{
    Credential, DEPOSIT, QUESTION, Sdk, assert_charged, call, chat_with, cost_shown, priced,
};
use crate::harness::{Route, Setup, TestGateway};
use crate::keys;
use crate::parts::{self, Server};

/// As in `conformance/litellm.yaml`.
const NAME: &str = "plain";
const TEXT: &str = "Two satoshi, and you get exact change for anything above that.";

/// The proxy, and the key that it asks for. Buyers never learn that.
fn litellm() -> Option<(Server, String)> {
    let port = parts::free_port();
    let mut secret = [0; 24];
    getrandom::fill(&mut secret).unwrap();
    let key = format!("sk-{}", hex::encode(secret));
    let mut command = parts::litellm(port)?;
    let server = Server::on_port(command.env("LITELLM_MASTER_KEY", &key), port);
    Some((server, key))
}

/// A shop in front of it, and a key for it.
fn shop(url: &str, master_key: &str) -> (TestGateway, Credential) {
    let header = r#"headers = { Authorization = { env = "UPSTREAM_KEY", prefix = "Bearer " } }"#;
    let route = Route::to("/v1", url)
        .line("price = { model_tokens = {} }")
        .line(header);
    let setup = priced(Setup::new().route(route), &[NAME]);
    let gateway = TestGateway::start_with(setup, &[("UPSTREAM_KEY", master_key)]);
    let pays = Credential::Key(keys::buy(&gateway, DEPOSIT));
    (gateway, pays)
}

fn with(more: Value) -> Value {
    let mut with = chat_with(QUESTION, more);
    with["model"] = NAME.into();
    with
}

fn buy_openais(sdk: Sdk, gateway: &TestGateway, pays: &Credential) {
    let asks = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let calls = [
        call("chat", with(json!({}))),
        call("chat", with(asks)),
        call("chat", with(json!({ "stream": true }))),
        call("models", json!({})),
    ];
    let answers = sdk.make(gateway, pays, &calls);
    let text = &answers[0]["answer"]["choices"][0]["message"]["content"];
    assert_eq!(*text, TEXT, "{}", answers[0]);
    for streamed in [&answers[1], &answers[2]] {
        assert!(text_of_stream(streamed).ends_with("above that."));
    }
    assert_eq!(usage_in(&answers[2]), None, "{}", answers[2]);
    // What LiteLLM says that it cost, in dollars, is not what the buyer pays.
    let usage = usage_in(&answers[1]).unwrap();
    assert!(usage["upstream_cost"].is_number(), "{usage}");
    assert_eq!(usage["cost_unit"], "sat", "{usage}");
    assert!(answers[3].to_string().contains(NAME), "{}", answers[3]);
    let costs = [&answers[0], &answers[1]].map(cost_shown);
    // The stream that did not ask for its usage is the same one again.
    assert_charged(gateway, pays, vec![costs[0], costs[1], costs[1]]);
}

/// Its words for an Anthropic message are constants, which no short question and answer could use.
fn buy_anthropics(gateway: &TestGateway, pays: &Credential) {
    let long = QUESTION.repeat(100);
    let mut message = chat_with(&long, json!({ "max_tokens": 600 }));
    message["model"] = NAME.into();
    let answers = Sdk::Anthropic.make(gateway, pays, &[call("messages", message)]);
    assert_eq!(answers[0]["answer"]["content"][0]["text"], TEXT);
    assert_charged(gateway, pays, vec![cost_shown(&answers[0])]);
}

#[test]
fn all_sdks_buy_chats_from_litellm() {
    let sdks = [Sdk::Python, Sdk::Node, Sdk::Anthropic];
    if sdks.iter().any(|sdk| sdk.program().is_none()) {
        return;
    }
    let Some((litellm, master_key)) = litellm() else {
        return;
    };
    for sdk in sdks {
        let (gateway, pays) = shop(&litellm.url(), &master_key);
        match sdk {
            Sdk::Anthropic => buy_anthropics(&gateway, &pays),
            Sdk::Python | Sdk::Node => buy_openais(sdk, &gateway, &pays),
        }
        assert!(!gateway.log().contains(&master_key));
    }
}
