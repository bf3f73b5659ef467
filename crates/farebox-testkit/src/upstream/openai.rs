//! Just enough of OpenAI's API, with an answer that follows from the question alone.

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::body;
use crate::background::Body;

const MODEL: &str = "farebox-demo-1";
/// 2026-01-01; the real API tells the present time, which no test could compare.
const CREATED: u64 = 1_767_225_600;
/// As many as OpenAI makes in one call.
const MAX_PICTURES: u64 = 10;

pub(super) fn answer(method: &Method, path: &str, body: &[u8]) -> Response<Body> {
    if path.ends_with("/models") {
        return json_reply(StatusCode::OK, &models());
    }
    let asked = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let (kind, needed) = match path.rsplit_once("/v1/") {
        Some((_, kind @ "chat/completions")) => (kind, "messages"),
        Some((_, kind @ "embeddings")) => (kind, "input"),
        Some((_, kind @ "images/generations")) => (kind, "prompt"),
        _ => return refuse(StatusCode::NOT_FOUND, "unknown path"),
    };
    if method != Method::POST {
        return refuse(StatusCode::NOT_FOUND, "unknown path");
    }
    if asked[needed].is_null() {
        return refuse(StatusCode::BAD_REQUEST, &format!("{needed} is missing"));
    }
    match kind {
        "embeddings" => json_reply(StatusCode::OK, &embed(&asked)),
        "images/generations" => json_reply(StatusCode::OK, &paint(&asked)),
        _ => complete(&asked),
    }
}

/// One vector for each text, and as many tokens as words.
fn embed(asked: &Value) -> Value {
    let texts = match &asked["input"] {
        Value::Array(texts) => texts.as_slice(),
        text => std::slice::from_ref(text),
    };
    let vector =
        |index| json!({ "object": "embedding", "index": index, "embedding": [0.5, -0.25] });
    let data: Vec<Value> = (0..texts.len()).map(vector).collect();
    let words: usize = texts
        .iter()
        .filter_map(Value::as_str)
        .map(count_words)
        .sum();
    let usage = json!({ "prompt_tokens": words, "total_tokens": words });
    json!({ "object": "list", "data": data, "model": asked["model"], "usage": usage })
}

/// As many pictures as were asked for, each of nothing.
fn paint(asked: &Value) -> Value {
    let picture = json!({ "b64_json": "iVBORw0KGgo=" });
    let count = asked["n"].as_u64().unwrap_or(1).min(MAX_PICTURES);
    let data: Vec<&Value> = (0..count).map(|_| &picture).collect();
    json!({ "created": CREATED, "data": data })
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
