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
fn what_nobody_looks_at_is_refused_and_reaches_nobody() {
    let (upstream, gateway) = with_upstream(shop);
    let picture = json!({ "type": "image_url", "image_url": { "url": "https://example.com/x" } });
    let said = |message| chat(json!({ "messages": [message] }));
    for (call, name) in [
        (
            said(json!({ "role": "user", "content": picture })),
            "content",
        ),
        (
            said(json!({ "role": "user", "content": "x", "images": ["https://example.com/x"] })),
            "messages.images",
        ),
        (
            said(
                json!({ "role": "user", "content": [{ "type": "text", "text": "x", "TYPE": "file" }] }),
            ),
            "content.TYPE",
        ),
        (
            chat(
                json!({ "tools": [{ "type": "function", "function": {}, "Type": "web_search" }] }),
            ),
            "tools.Type",
        ),
        (
            post(
                "/v1/embeddings",
                &json!({ "model": "small", "input": [{ "image": "x" }] }),
            ),
            "input",
        ),
    ] {
        let refused = gateway.send(&call).expect(400).json();
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(name), "{name}: {detail}");
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
