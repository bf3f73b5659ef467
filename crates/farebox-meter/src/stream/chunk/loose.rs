//! An event whose members have other types than anybody documents. What it says is counted all the
//! same: nobody gets an answer for nothing because its provider is sloppy.

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Alone, Chunk, See, end_by_kind};
use crate::answer::{each_text_within, reported};
use crate::endpoint::Endpoint;
use crate::stream::StreamEnd;

/// Reads any JSON object as an event.
pub(super) fn read(endpoint: Endpoint, data: &[u8], see: See<'_>) -> Option<Chunk> {
    let event: Value = serde_json::from_slice(data).ok()?;
    let members = event.as_object()?;
    let usage = members.get("usage").and_then(|usage| {
        let raw: Box<RawValue> = serde_json::value::to_raw_value(usage).ok()?;
        reported(endpoint, &raw)
    });
    contents(&event).for_each(|part| each_text_within(part, see));
    let choices = members.get("choices").and_then(Value::as_array);
    Some(Chunk {
        usage,
        alone: if choices.is_some_and(Vec::is_empty) {
            Alone::NoChoices
        } else {
            Alone::No
        },
        end: end(&event),
    })
}

/// The parts of an event that bring an answer.
fn contents(event: &Value) -> impl Iterator<Item = &Value> {
    let choices = event["choices"].as_array();
    let choices = choices.into_iter().flatten();
    let chosen = choices.flat_map(|choice| [&choice["delta"], &choice["text"]]);
    chosen.chain([&event["delta"], &event["content_block"]])
}

fn end(event: &Value) -> StreamEnd {
    let choices = event["choices"].as_array();
    let mut choices = choices.into_iter().flatten();
    match event["type"].as_str().map_or(StreamEnd::Open, end_by_kind) {
        StreamEnd::Open if !event["error"].is_null() => StreamEnd::Failed,
        StreamEnd::Open if choices.any(is_finished) => StreamEnd::Finished,
        end => end,
    }
}

fn is_finished(choice: &Value) -> bool {
    match &choice["finish_reason"] {
        Value::Null => false,
        Value::String(reason) => !reason.is_empty(),
        _ => true,
    }
}
