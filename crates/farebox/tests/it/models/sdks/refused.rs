//! What an SDK makes of a refusal: the error that its provider's own refusals become.

use serde_json::json;

use super::{Credential, QUESTION, Sdk, aimock, call, chat_with, shop};
use crate::harness::Call;
use crate::keys;

#[test]
fn a_refusal_reads_as_the_sdks_own_errors() {
    let Some(aimock) = aimock() else { return };
    if Sdk::Python.program().is_none() {
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

#[test]
fn a_key_that_is_unknown_or_used_up_reads_as_the_sdks_own_errors() {
    let Some(aimock) = aimock() else { return };
    if Sdk::Python.program().is_none() {
        return;
    }
    let gateway = shop(&aimock.url(), &["gpt-4o-mini", "claude-sonnet-4-5"]);
    let poor = Credential::Key(keys::buy(&gateway, 1_000));
    let mut unknown = keys::buy(&gateway, 1_000);
    let last = if unknown.key.pop() == Some('a') {
        'b'
    } else {
        'a'
    };
    unknown.key.push(last);
    let unknown = Credential::Key(unknown);
    for sdk in [Sdk::Python, Sdk::Node, Sdk::Anthropic] {
        let call = if sdk == Sdk::Anthropic {
            let model = json!({ "model": "claude-sonnet-4-5" });
            call("messages", chat_with(QUESTION, model))
        } else {
            call("chat", chat_with(QUESTION, json!({})))
        };
        let told = sdk.make(&gateway, &unknown, std::slice::from_ref(&call));
        assert_eq!(told[0]["kind"], "AuthenticationError", "{}", told[0]);
        let text = told[0]["text"].as_str().unwrap();
        assert!(text.contains("this key is not known here"), "{text}");
        let told = sdk.make(&gateway, &poor, &[call]);
        assert_eq!(told[0]["status"], 402, "{}", told[0]);
        let text = told[0]["text"].as_str().unwrap();
        assert!(text.contains("/.farebox/keys/top-up"), "{text}");
        assert_eq!(keys::balance(&gateway, poor.key()), 1_000);
    }
}
