//! A model of somebody's list, before it is judged.

use std::collections::BTreeMap;

use farebox_meter::{Decimal, Unit, pointer};
use serde_json::value::RawValue;

use crate::absurd::is_apiece;

/// One model.
#[derive(Debug)]
pub(super) struct Entry {
    /// What a selection is compared with.
    pub(super) full_name: String,
    /// The name that the model is asked for by.
    pub(super) name: String,
    /// What it costs, or why that cannot be told.
    pub(super) prices: Result<BTreeMap<Unit, Decimal>, String>,
    pub(super) context_tokens: Option<u64>,
    pub(super) max_output_tokens: Option<u64>,
}

impl Entry {
    /// One that is not of the list's form.
    pub(super) fn unreadable(name: String, error: &serde_json::Error) -> Self {
        Self {
            full_name: name.clone(),
            name,
            prices: Err(error.to_string()),
            context_tokens: None,
            max_output_tokens: None,
        }
    }
}

/// What one key of a list's prices means.
pub(super) enum Meaning {
    /// The price of this.
    Price(Unit),
    /// Something that is never sold, so its price does not matter.
    Ignored,
    /// Something that cannot be expressed, so the model cannot be sold by this list.
    Unknown,
}

/// The prices among the members of an object; `per_token` turns what is written into one unit's.
pub(super) fn prices<'a>(
    members: impl IntoIterator<Item = (&'a str, &'a RawValue)>,
    meaning: impl Fn(&str) -> Meaning,
    is_per_million: bool,
) -> Result<BTreeMap<Unit, Decimal>, String> {
    let mut rows: BTreeMap<Unit, Decimal> = BTreeMap::new();
    for (key, raw) in members {
        let unit = match meaning(key) {
            Meaning::Price(unit) => unit,
            Meaning::Ignored => continue,
            Meaning::Unknown if is_nothing(raw) => continue,
            Meaning::Unknown => return Err(format!("has a price of its own for {key}")),
        };
        if raw.get() == "null" {
            continue;
        }
        let price = pointer::decimal(raw);
        let price = price.map_err(|error| format!("{key} is {}: {error}", raw.get()))?;
        let price = if is_per_million && !is_apiece(unit) {
            let one = price.per_million();
            one.map_err(|error| format!("{key} is {}: {error}", raw.get()))?
        } else {
            price
        };
        // Two keys of one class: the dearer, for the list does not say which applies.
        let known = rows.get(&unit).filter(|known| known.exceeds(price));
        let price = known.copied().unwrap_or(price);
        rows.insert(unit, price);
    }
    Ok(rows)
}

fn is_nothing(raw: &RawValue) -> bool {
    let zero = pointer::decimal(raw).is_ok_and(Decimal::is_zero);
    zero || matches!(raw.get(), "null" | "false" | "{}" | "[]")
}
