//! What an answer says it used, in the words of each provider, and where its cost is written.
//!
//! The numbers come from a stranger's program: a count that is absurd counts as not said, a detail that
//! contradicts its sum is cut to it, and a prompt of nothing is not believed, since no prompt is.
//! Unknown is never zero: what is not said is counted by the texts.

mod names;
mod report;
mod texts;
mod whole;

use farebox_core::Msat;
use serde::de::DeserializeSeed;
use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) use report::Report;
pub(crate) use texts::{See, Texts};
pub use whole::Whole;

use crate::json::Object;
use crate::usage::{Unit, Usage};

/// Shows all texts in a part of an answer, but for its frame.
pub(crate) fn each_text_within(part: &Value, see: See<'_>) {
    // A value that is there already cannot fail to be read.
    let _ = Texts::of_answer(see).deserialize(part);
}

pub(crate) fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or_default()
}

/// Whether a report can be true: there is no request without a prompt.
#[must_use]
pub fn is_credible(usage: &Usage) -> bool {
    usage.all_input() > 0
}

/// Pictures are counted by what was delivered, besides the tokens that newer models report.
fn images(data: Option<&RawValue>, reported: Option<Usage>) -> Option<Usage> {
    let pictures: Vec<&RawValue> = serde_json::from_str(data?.get()).ok()?;
    let count = u64::try_from(pictures.len()).ok()?;
    let usage = reported.unwrap_or_else(Usage::of_request);
    Some(usage.with(Unit::Image, count))
}

/// A usage object with its cost: `cost` in satoshi, since that is where clients look for a number,
/// and `cost_msat` for those who count exactly. What the upstream charged the seller moves aside.
pub(crate) fn priced_usage(usage: Option<&RawValue>, cost: Msat) -> Option<Box<RawValue>> {
    let text = usage.map_or("{}", RawValue::get);
    let text = if text == "null" { "{}" } else { text };
    if let Some(members) = without_cost(text) {
        let comma = if members == "{" { "" } else { "," };
        let (msat, sat) = (cost.get(), in_sat(cost));
        let priced =
            format!("{members}{comma}\"cost\":{sat},\"cost_unit\":\"sat\",\"cost_msat\":{msat}}}");
        return RawValue::from_string(priced).ok();
    }
    let mut usage: Object = serde_json::from_str(text).ok()?;
    if let Some(theirs) = usage.get("cost").map(ToOwned::to_owned) {
        usage.set_raw("upstream_cost", theirs);
    }
    usage.set_raw("cost", RawValue::from_string(in_sat(cost)).ok()?);
    usage.set("cost_unit", &"sat".into());
    usage.set("cost_msat", &cost.get().into());
    usage.to_raw()
}

/// The text of an object up to its end, where no member of it can be about a cost.
fn without_cost(text: &str) -> Option<&str> {
    let members = text.strip_prefix('{')?.strip_suffix('}')?;
    let has_none = !members.contains("cost") && !members.contains('\\');
    let members = text.strip_suffix('}')?.trim_end();
    has_none.then_some(members)
}

fn in_sat(cost: Msat) -> String {
    let msat = cost.get();
    format!("{}.{:03}", msat / 1000, msat % 1000)
}

#[cfg(test)]
mod tests;
