//! What the independent servers never report: tokens out of a cache and into it, thoughts and sound;
//! pictures by their size; a count of tokens that has a price. The upstream is ours, the SDKs are not.

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use super::usage::{Prices, text_of_stream};
use super::{
    Credential, DEPOSIT, QUESTION, Sdk, ask_with, assert_charged, call, chat_with, cost_shown_at,
    merged,
};
use crate::harness::{Route, Setup, TestGateway};
use crate::keys;

const PRICES: Prices = Prices {
    input: 100,
    cached: 10,
    cache_write: 125,
    output: 1_000,
    thought: 3_000,
    heard: 400,
    spoken: 5_000,
};
const THINKER: &str = "thinker";
const PAINTER: &str = "painter";
/// A model whose every call costs this much besides.
const COUNTER: &str = "counter";
const REQUEST: u64 = 700;

fn shop(upstream: &ScriptedUpstream) -> (TestGateway, Credential) {
    let Prices {
        input,
        cached,
        cache_write,
        output,
        thought,
        heard,
        spoken,
    } = PRICES;
    let model = |name: &str, rows: &str| {
        format!(
            "[[model]]\nname = \"{name}\"\ncurrency = \"msat\"\nper = \"unit\"\n\
             context_tokens = 2000\nmax_output_tokens = 2000\n{rows}"
        )
    };
    let rows = format!(
        "input = {input}\ncached_input = {cached}\ncache_write = {cache_write}\n\
         output = {output}\nreasoning = {thought}\naudio_input = {heard}\naudio_output = {spoken}"
    );
    let sizes = "input = 0\nimages = { \"*/256x256\" = 16000, \"hd/*\" = 90000, \"*/*\" = 20000 }";
    let setup = Setup::new()
        .section(&model(THINKER, &rows))
        .section(&model(COUNTER, &format!("{rows}\nrequest = {REQUEST}")))
        .section(&model(PAINTER, sizes))
        .route(Route::at("/v1", upstream).line("price = { model_tokens = {} }"));
    let gateway = TestGateway::start(setup);
    let pays = Credential::Key(keys::buy(&gateway, DEPOSIT));
    (gateway, pays)
}

/// A stream of these events, each with its name where its provider gives it one.
fn stream(events: &[Value]) -> String {
    let event = |event: &Value| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    events.iter().map(event).collect()
}

const STREAM: &str = "text/event-stream; charset=utf-8";
const WHOLE: &str = "application/json";

/// A chat that used this much, as a whole and as a stream.
fn tell_chat(upstream: &ScriptedUpstream, usage: &Value) {
    let envelope = |object: &str, more: Value| {
        let envelope =
            json!({ "id": "chatcmpl-1", "object": object, "created": 1, "model": THINKER });
        merged(envelope, more)
    };
    let message = json!({ "role": "assistant", "content": "Two satoshi." });
    let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
    let whole = envelope(
        "chat.completion",
        json!({ "choices": [choice], "usage": usage }),
    );
    let chunk = |more: Value| envelope("chat.completion.chunk", more);
    let delta = |delta: Value, end: Value| json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": end }] });
    let events = [
        chunk(delta(
            json!({ "role": "assistant", "content": "Two " }),
            Value::Null,
        )),
        chunk(delta(json!({ "content": "satoshi." }), Value::Null)),
        chunk(delta(json!({}), json!("stop"))),
        chunk(json!({ "choices": [], "usage": usage })),
    ];
    let path = "/v1/chat/completions";
    upstream.will_tell(path, WHOLE, whole.to_string());
    upstream.will_tell(path, STREAM, stream(&events) + "data: [DONE]\n\n");
}

/// A response out of a cache, after some thought.
fn tell_response(upstream: &ScriptedUpstream) {
    let part = json!({ "type": "output_text", "text": "Two satoshi.", "annotations": [] });
    let item = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [part],
    });
    let whole = json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed",
        "model": THINKER, "output": [item], "tools": [], "tool_choice": "auto",
        "parallel_tool_calls": true,
        "usage": {
            "input_tokens": 70, "input_tokens_details": { "cached_tokens": 50 },
            "output_tokens": 30, "output_tokens_details": { "reasoning_tokens": 20 },
            "total_tokens": 100,
        },
    });
    let mut begun = whole.clone();
    begun["status"] = json!("in_progress");
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    let delta = |text: &str| {
        json!({
            "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,
            "content_index": 0, "delta": text,
        })
    };
    let events = [
        json!({ "type": "response.created", "response": begun }),
        delta("Two "),
        delta("satoshi."),
        json!({ "type": "response.completed", "response": whole }),
    ];
    upstream.will_tell("/v1/responses", WHOLE, whole.to_string());
    upstream.will_tell("/v1/responses", STREAM, stream(&events));
}

/// A message that read from the cache and wrote into it.
fn tell_message(upstream: &ScriptedUpstream) {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": THINKER,
        "content": [{ "type": "text", "text": "Two satoshi." }],
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {
            "input_tokens": 4, "cache_creation_input_tokens": 60, "cache_read_input_tokens": 80,
            "output_tokens": 20,
        },
    });
    let mut begun = message.clone();
    begun["content"] = json!([]);
    begun["stop_reason"] = Value::Null;
    begun["usage"]["output_tokens"] = json!(1);
    let text = |text: &str| {
        let delta = json!({ "type": "text_delta", "text": text });
        json!({ "type": "content_block_delta", "index": 0, "delta": delta })
    };
    let empty = json!({ "type": "text", "text": "" });
    let end = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    let events = [
        json!({ "type": "message_start", "message": begun }),
        json!({ "type": "content_block_start", "index": 0, "content_block": empty }),
        text("Two "),
        json!({ "type": "ping" }),
        text("satoshi."),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": end, "usage": { "output_tokens": 20 } }),
        json!({ "type": "message_stop" }),
    ];
    upstream.will_tell("/v1/messages", WHOLE, message.to_string());
    upstream.will_tell("/v1/messages", STREAM, stream(&events));
    let count = json!({ "input_tokens": 144 }).to_string();
    upstream.will_tell("/v1/messages/count_tokens", WHOLE, count);
}

fn asks() -> Value {
    json!({ "model": THINKER, "stream": true, "stream_options": { "include_usage": true } })
}

fn buy_thoughts_and_sizes(sdk: Sdk, gateway: &TestGateway, pays: &Credential) -> Vec<u64> {
    let model = || json!({ "model": THINKER });
    let silent = json!({ "model": THINKER, "stream": true });
    let picture = |more: Value| {
        let with = json!({ "model": PAINTER, "prompt": "A coin" });
        call("images", merged(with, more))
    };
    let embedding = json!({
        "model": THINKER, "input": ["one two", "three"], "encoding_format": "float",
    });
    let calls = [
        call("chat", chat_with(QUESTION, model())),
        call("chat", chat_with(QUESTION, asks())),
        call("responses", ask_with(QUESTION, model())),
        call("responses", ask_with(QUESTION, silent.clone())),
        call("embeddings", embedding),
        call("chat", chat_with(QUESTION, silent)),
        picture(json!({ "size": "256x256", "n": 2 })),
        picture(json!({ "quality": "hd" })),
        picture(json!({})),
        call("models", json!({})),
    ];
    let answers = sdk.make(gateway, pays, &calls);
    for streamed in [&answers[1], &answers[3], &answers[5]] {
        assert_eq!(text_of_stream(streamed), "Two satoshi.", "{streamed}");
    }
    assert!(answers[9].to_string().contains("farebox-demo-1"));
    let mut costs: Vec<_> = answers[..5]
        .iter()
        .map(|answer| cost_shown_at(&PRICES, answer))
        .collect();
    // The same chat again, whose stream shows no usage.
    costs.push(costs[1]);
    let sizes = [2 * 16_000, 90_000, 20_000];
    for (answer, cost) in answers[6..9].iter().zip(sizes) {
        assert_eq!(answer["answer"]["usage"]["cost_msat"], cost, "{answer}");
    }
    costs.extend(sizes);
    costs
}

fn buy_sound(sdk: Sdk, gateway: &TestGateway, pays: &Credential) -> Vec<u64> {
    let sound = json!({ "data": "UklGRg==", "format": "wav" });
    let content = json!([{ "type": "input_audio", "input_audio": sound }]);
    let spoken = |more: Value| {
        let with = json!({
            "messages": [{ "role": "user", "content": content }],
            "modalities": ["text", "audio"],
            "audio": { "voice": "alloy", "format": "wav" },
        });
        call("chat", chat_with("", merged(with, more)))
    };
    let calls = [spoken(json!({ "model": THINKER })), spoken(asks())];
    let answers = sdk.make(gateway, pays, &calls);
    let costs = answers.iter().map(|answer| cost_shown_at(&PRICES, answer));
    costs.collect()
}

fn openai_buys(sdk: Sdk) {
    if sdk.program().is_none() {
        return;
    }
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, pays) = shop(&upstream);
    tell_response(&upstream);
    let thought = json!({
        "prompt_tokens": 90, "completion_tokens": 45, "total_tokens": 135,
        "prompt_tokens_details": { "cached_tokens": 64 },
        "completion_tokens_details": { "reasoning_tokens": 32 },
    });
    tell_chat(&upstream, &thought);
    let mut costs = buy_thoughts_and_sizes(sdk, &gateway, &pays);
    let sound = json!({
        "prompt_tokens": 60, "completion_tokens": 44, "total_tokens": 104,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 50 },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 40 },
    });
    tell_chat(&upstream, &sound);
    costs.extend(buy_sound(sdk, &gateway, &pays));
    assert_charged(&gateway, &pays, costs);
}

#[test]
fn openai_for_python_pays_for_caches_thoughts_sound_and_pictures_by_size() {
    openai_buys(Sdk::Python);
}

#[test]
fn openai_for_node_pays_for_caches_thoughts_sound_and_pictures_by_size() {
    openai_buys(Sdk::Node);
}

#[test]
fn anthropic_for_python_pays_for_caches_and_counts() {
    if Sdk::Anthropic.program().is_none() {
        return;
    }
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, pays) = shop(&upstream);
    tell_message(&upstream);
    let keep = json!({ "type": "ephemeral" });
    let system = json!([{ "type": "text", "text": "Be brief.", "cache_control": keep }]);
    let with = |more: Value| {
        let with = json!({ "model": THINKER, "system": system });
        call("messages", chat_with(QUESTION, merged(with, more)))
    };
    let count = json!({ "model": COUNTER, "messages": [{ "role": "user", "content": QUESTION }] });
    let calls = [
        with(json!({})),
        with(json!({ "stream": true })),
        call("count_tokens", count),
    ];
    let answers = Sdk::Anthropic.make(&gateway, &pays, &calls);
    assert_eq!(text_of_stream(&answers[1]), "Two satoshi.");
    assert_eq!(answers[2]["answer"]["input_tokens"], 144);
    let mut costs: Vec<_> = answers[..2]
        .iter()
        .map(|answer| cost_shown_at(&PRICES, answer))
        .collect();
    costs.push(REQUEST);
    assert_charged(&gateway, &pays, costs);
}
