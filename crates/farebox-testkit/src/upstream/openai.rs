//! Just enough of OpenAI's API, with an answer that follows from the question alone.

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::body;
use crate::background::Body;

const MODEL: &str = "farebox-demo-1";
/// 2026-01-01; the real API tells the present time, which no test could compare.
const CREATED: u64 = 1_767_225_600;

pub(super) fn answer(method: &Method, path: &str, body: &[u8]) -> Response<Body> {
    if path.ends_with("/models") {
        return json_reply(StatusCode::OK, &models());
    }
    if !path.ends_with("/chat/completions") || method != Method::POST {
        return refuse(StatusCode::NOT_FOUND, "unknown path");
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(asked) if asked["messages"].is_array() => complete(&asked),
        _ => refuse(StatusCode::BAD_REQUEST, "messages are missing"),
    }
}

fn models() -> Value {
    let model =
        json!({ "id": MODEL, "object": "model", "created": CREATED, "owned_by": "farebox" });
    json!({ "object": "list", "data": [model] })
}

fn complete(asked: &Value) -> Response<Body> {
    let question = last_question(asked);
    let words = format!("You asked: {question} A call was sold for this answer.");
    let usage = usage(question, &words);
    if asked["stream"] == true {
        return stream(
            &words,
            (asked["stream_options"]["include_usage"] == true).then_some(usage),
        );
    }
    let message = json!({ "role": "assistant", "content": words });
    let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
    let mut reply = envelope("chat.completion", &json!([choice]));
    reply["usage"] = usage;
    json_reply(StatusCode::OK, &reply)
}

fn last_question(asked: &Value) -> &str {
    let messages = asked["messages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    messages
        .last()
        .and_then(|message| message["content"].as_str())
        .unwrap_or_default()
}

fn usage(question: &str, words: &str) -> Value {
    let (prompt, completion) = (count_words(question), count_words(words));
    let total = prompt + completion;
    json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total })
}

fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn stream(words: &str, usage: Option<Value>) -> Response<Body> {
    let mut events = vec![event(&delta(
        &json!({ "role": "assistant", "content": "" }),
        None,
    ))];
    for word in words.split_inclusive(' ') {
        events.push(event(&delta(&json!({ "content": word }), None)));
    }
    events.push(event(&delta(&json!({}), Some("stop"))));
    if let Some(usage) = usage {
        let mut last = envelope("chat.completion.chunk", &json!([]));
        last["usage"] = usage;
        events.push(event(&last));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    let mut response = Response::new(body::in_pieces(events));
    let kind = header::HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn delta(delta: &Value, finish_reason: Option<&str>) -> Value {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish_reason });
    envelope("chat.completion.chunk", &json!([choice]))
}

fn envelope(object: &str, choices: &Value) -> Value {
    json!({
        "id": "chatcmpl-farebox",
        "object": object,
        "created": CREATED,
        "model": MODEL,
        "choices": choices,
    })
}

fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    let error = json!({ "message": message, "type": "invalid_request_error" });
    json_reply(status, &json!({ "error": error }))
}

pub(super) fn json_reply(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body::whole(value.to_string()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
