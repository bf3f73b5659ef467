//! What an answer says it used, in each provider's words, and what that costs: the arithmetic of
//! these tests, in their own words and not in the meter's.

use serde_json::{Map, Value};

use super::{INPUT, OUTPUT};

/// msat a token, by its class.
pub(super) struct Prices {
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) cache_write: u64,
    pub(super) output: u64,
    pub(super) thought: u64,
    pub(super) heard: u64,
    pub(super) spoken: u64,
}

/// What is charged where a list has prices for input and output alone.
pub(super) const PLAIN: Prices = Prices {
    input: INPUT,
    cached: INPUT,
    cache_write: INPUT,
    output: OUTPUT,
    thought: OUTPUT,
    heard: 0,
    spoken: 0,
};

/// The last usage that an answer shows, wherever its provider puts it.
pub(super) fn usage_in(answer: &Value) -> Option<Value> {
    let whole = [&answer["answer"]].into_iter();
    let events = answer["events"].as_array().into_iter().flatten();
    let places = whole.chain(events).flat_map(|part| {
        [
            &part["message"]["usage"],
            &part["response"]["usage"],
            &part["usage"],
        ]
    });
    let mut merged = Map::new();
    for usage in places.filter_map(Value::as_object) {
        // What a later report leaves open an earlier one has said.
        let said = usage.iter().filter(|(_, value)| !value.is_null());
        merged.extend(said.map(|(name, value)| (name.clone(), value.clone())));
    }
    (!merged.is_empty()).then_some(Value::Object(merged))
}

/// Price times usage.
pub(super) fn cost_of(usage: &Value, prices: &Prices) -> u64 {
    let first = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64());
    let detail = |of: [&str; 2], name: &str| -> u64 {
        of.iter().filter_map(|of| usage[*of][name].as_u64()).sum()
    };
    let (read_in, written_in) = (
        ["prompt_tokens_details", "input_tokens_details"],
        ["completion_tokens_details", "output_tokens_details"],
    );
    let number = |name: &str| usage[name].as_u64().unwrap_or(0);

    // OpenAI's input has the cached and the heard in it, Anthropic's has not.
    let cached = detail(read_in, "cached_tokens");
    let heard = detail(read_in, "audio_tokens");
    let read = first(["prompt_tokens", "input_tokens"]).unwrap_or(0) - cached - heard;
    let thought = detail(written_in, "reasoning_tokens");
    let spoken = detail(written_in, "audio_tokens");
    let written = first(["completion_tokens", "output_tokens"]).unwrap_or(0) - thought - spoken;

    read * prices.input
        + (cached + number("cache_read_input_tokens")) * prices.cached
        + number("cache_creation_input_tokens") * prices.cache_write
        + heard * prices.heard
        + written * prices.output
        + thought * prices.thought
        + spoken * prices.spoken
}

/// The text of a stream, out of its pieces.
pub(super) fn text_of_stream(answer: &Value) -> String {
    let events = answer["events"].as_array().unwrap();
    let pieces = events.iter().filter_map(|event| {
        let chat = event["choices"][0]["delta"]["content"].as_str();
        chat.or_else(|| event["delta"].as_str())
            .or_else(|| event["delta"]["text"].as_str())
    });
    pieces.collect()
}
