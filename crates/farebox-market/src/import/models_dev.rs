//! models.dev's `api.json`: providers, their models, and `cost` in dollars per million tokens.

use std::collections::BTreeMap;

use farebox_meter::{Decimal, Unit};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::entry::{Entry, Meaning, prices};

#[derive(Deserialize)]
struct Provider {
    #[serde(default)]
    models: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct Model {
    cost: Option<BTreeMap<String, Box<RawValue>>>,
    #[serde(default)]
    limit: Limit,
}

#[derive(Default, Deserialize)]
struct Limit {
    context: Option<u64>,
    output: Option<u64>,
}

pub(super) fn entries(list: &[u8]) -> serde_json::Result<Vec<Entry>> {
    let providers: BTreeMap<String, Provider> = serde_json::from_slice(list)?;
    let models = providers.into_iter().flat_map(|(provider, it)| {
        let models = it.models.into_iter();
        models.map(move |(name, model)| entry(&provider, name, &model))
    });
    Ok(models.collect())
}

fn entry(provider: &str, name: String, model: &RawValue) -> Entry {
    let full_name = format!("{provider}/{name}");
    let (prices, limit) = match serde_json::from_str::<Model>(model.get()) {
        Ok(model) => (read_cost(model.cost.as_ref()), model.limit),
        Err(error) => (Err(error.to_string()), Limit::default()),
    };
    Entry {
        full_name,
        name,
        prices,
        context_tokens: limit.context,
        max_output_tokens: limit.output,
    }
}

fn read_cost(
    cost: Option<&BTreeMap<String, Box<RawValue>>>,
) -> Result<BTreeMap<Unit, Decimal>, String> {
    let cost = cost.ok_or("has no price")?;
    let members = cost.iter().map(|(key, raw)| (key.as_str(), raw.as_ref()));
    prices(members, meaning, true)
}

/// Everything else, such as `context_over_200k`, is dearer for some calls, and cannot be expressed.
fn meaning(key: &str) -> Meaning {
    Meaning::Price(match key {
        "input" => Unit::Input,
        "output" => Unit::Output,
        "cache_read" => Unit::CachedInput,
        "cache_write" => Unit::CacheWrite,
        "reasoning" => Unit::Reasoning,
        "input_audio" => Unit::AudioInput,
        "output_audio" => Unit::AudioOutput,
        _ => return Meaning::Unknown,
    })
}
