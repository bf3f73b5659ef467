//! LiteLLM's `model_prices_and_context_window.json`: a flat list, dollars per token.

use std::collections::BTreeMap;

use farebox_meter::Unit;
use serde_json::value::RawValue;

use super::entry::{Entry, Meaning, prices};

/// The entry that explains the others.
const SPECIMEN: &str = "sample_spec";
/// What is sold of the kinds of models that are listed.
const MODES: [&str; 8] = [
    "chat",
    "completion",
    "responses",
    "embedding",
    "image_generation",
    "audio_speech",
    "audio_transcription",
    "moderation",
];

type Members = BTreeMap<String, Box<RawValue>>;

pub(super) fn entries(list: &[u8]) -> serde_json::Result<Vec<Entry>> {
    let models: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(list)?;
    let models = models.into_iter().filter(|(name, _)| name != SPECIMEN);
    let entries = models.map(|(name, raw)| match serde_json::from_str(raw.get()) {
        Ok(members) => entry(name, &members),
        Err(error) => Entry::unreadable(name, &error),
    });
    Ok(entries.collect())
}

fn entry(name: String, members: &Members) -> Entry {
    let mode = text(members, "mode").unwrap_or_default();
    let prices = if MODES.contains(&mode.as_str()) {
        let costs = members
            .iter()
            .filter(|(key, _)| key.contains("cost") || key.contains("pric"));
        prices(
            costs.map(|(key, raw)| (key.as_str(), raw.as_ref())),
            meaning,
            false,
        )
    } else {
        Err(format!("a model of mode {mode:?} is not sold"))
    };
    Entry {
        full_name: name.clone(),
        name,
        prices,
        context_tokens: context(members),
        max_output_tokens: number(members, "max_output_tokens"),
    }
}

/// Its "input" is the whole context with some providers and without the answer with others.
fn context(members: &Members) -> Option<u64> {
    let input = number(members, "max_input_tokens")?;
    Some(input.saturating_add(number(members, "max_output_tokens").unwrap_or(0)))
}

fn number(members: &Members, key: &str) -> Option<u64> {
    serde_json::from_str(members.get(key)?.get()).ok()
}

fn text(members: &Members, key: &str) -> Option<String> {
    serde_json::from_str(members.get(key)?.get()).ok()
}

fn meaning(key: &str) -> Meaning {
    Meaning::Price(match key {
        "input_cost_per_token" => Unit::Input,
        "output_cost_per_token" => Unit::Output,
        "cache_read_input_token_cost" | "input_cost_per_token_cache_hit" => Unit::CachedInput,
        "cache_creation_input_token_cost" => Unit::CacheWrite,
        // Requests to keep it for an hour are refused.
        "cache_creation_input_token_cost_above_1hr" => return Meaning::Ignored,
        "output_cost_per_reasoning_token" => Unit::Reasoning,
        "input_cost_per_audio_token" => Unit::AudioInput,
        "output_cost_per_audio_token" => Unit::AudioOutput,
        "input_cost_per_image_token" => Unit::ImageInput,
        "output_cost_per_image_token" => Unit::ImageOutput,
        "output_cost_per_image" => Unit::Image,
        "input_cost_per_character" => Unit::Character,
        "input_cost_per_request" => Unit::Request,
        "input_cost_per_second" => Unit::Second,
        _ if is_never_sold(key) => return Meaning::Ignored,
        _ => return Meaning::Unknown,
    })
}

/// Service tiers and tools at the provider: requests for them are refused.
fn is_never_sold(key: &str) -> bool {
    const TIERS: [&str; 4] = ["_batches", "_batch_requests", "_flex", "_priority"];
    const TOOLS: [&str; 5] = [
        "search_context_cost_per_query",
        "file_search_cost",
        "code_interpreter_cost",
        "computer_use_",
        "vector_store_cost",
    ];
    TIERS.iter().any(|tier| key.ends_with(tier)) || TOOLS.iter().any(|tool| key.starts_with(tool))
}
