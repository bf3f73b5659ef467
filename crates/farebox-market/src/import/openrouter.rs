//! OpenRouter's `/models`, and the same form in an upstream's own `/v1/models`: dollars per token.

use std::collections::BTreeMap;

use farebox_meter::Unit;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::entry::{Entry, Meaning, prices};

#[derive(Deserialize)]
struct List {
    data: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    pricing: Option<BTreeMap<String, Box<RawValue>>>,
    context_length: Option<u64>,
    top_provider: Option<TopProvider>,
}

#[derive(Deserialize)]
struct TopProvider {
    max_completion_tokens: Option<u64>,
}

pub(super) fn entries(list: &[u8]) -> serde_json::Result<Vec<Entry>> {
    let list: List = serde_json::from_slice(list)?;
    let entries = list.data.iter().enumerate();
    let entries = entries.map(|(place, raw)| match serde_json::from_str(raw.get()) {
        Ok(model) => entry(model),
        Err(error) => Entry::unreadable(format!("data[{place}]"), &error),
    });
    Ok(entries.collect())
}

fn entry(model: Model) -> Entry {
    let prices = match &model.pricing {
        None => Err("has no price".to_owned()),
        Some(pricing) => {
            let members = pricing
                .iter()
                .map(|(key, raw)| (key.as_str(), raw.as_ref()));
            prices(members, meaning, false)
        }
    };
    let top = model.top_provider;
    Entry {
        full_name: model.id.clone(),
        name: model.id,
        prices,
        context_tokens: model.context_length,
        max_output_tokens: top.and_then(|top| top.max_completion_tokens),
    }
}

fn meaning(key: &str) -> Meaning {
    Meaning::Price(match key {
        "prompt" => Unit::Input,
        "completion" => Unit::Output,
        "request" => Unit::Request,
        "input_cache_read" => Unit::CachedInput,
        "input_cache_write" => Unit::CacheWrite,
        "internal_reasoning" => Unit::Reasoning,
        "audio" => Unit::AudioInput,
        // `image` is a picture read, which is counted in tokens anyway; the web is never searched;
        // the highest costs of a call are made from the other prices.
        "image"
        | "web_search"
        | "discount"
        | "max_cost"
        | "max_prompt_cost"
        | "max_completion_cost" => return Meaning::Ignored,
        _ => return Meaning::Unknown,
    })
}
