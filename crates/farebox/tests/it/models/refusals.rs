//! What is not sold, said before anybody pays for it.

use serde_json::json;

use super::{chat, post, shop};
use crate::harness::{Call, with_upstream};

#[test]
fn what_has_no_price_is_refused_by_name_and_reaches_nobody() {
    let (upstream, gateway) = with_upstream(shop);
    for (call, status, name) in [
        (chat(json!({ "model": "unknown" })), 404, "unknown"),
        (
            chat(json!({ "tools": [{ "type": "web_search" }] })),
            400,
            "web_search",
        ),
        (chat(json!({ "service_tier": "priority" })), 400, "priority"),
        (chat(json!({ "brand_new": true })), 400, "brand_new"),
        (
            chat(json!({})).header("OpenAI-Beta", "assistants=v2"),
            400,
            "openai-beta",
        ),
        (post("/v1/batches", &json!({})), 404, "endpoint"),
        (Call::get("/v1/files"), 404, "endpoint"),
        (
            post(
                "/v1/responses",
                &json!({ "model": "small", "input": "x", "background": true }),
            ),
            400,
            "background",
        ),
        (
            Call::post("/v1/chat/completions", "{\"model\":1,\"model\":2}")
                .header("Content-Type", "application/json"),
            400,
            "model",
        ),
        (
            Call::post("/v1/chat/completions", "x").header("Content-Type", "text/plain"),
            400,
            "call",
        ),
    ] {
        let reply = gateway.send(&call).expect(status);
        let detail = reply.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(detail.contains(name), "{name}: {detail}");
        assert!(reply.all("www-authenticate").is_empty(), "{name}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_paid_token_buys_nothing_that_has_no_price() {
    let (upstream, gateway) = with_upstream(shop);
    let token = gateway.buy(&chat(json!({})));
    let call = chat(json!({ "model": "unknown" })).with(&token);
    gateway.send(&call).expect(404);
    assert_eq!((upstream.total(), gateway.charged(&token)), (0, 0));
}
