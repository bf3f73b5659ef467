//! What an answer says it used, in the words of each provider, and where its cost is written.
//!
//! The numbers come from a stranger's program: whatever is absurd or contradicts itself counts as
//! not said at all, and so does a prompt of nothing, since no prompt is. Unknown is never zero.

mod report;

use farebox_core::Msat;
use serde_json::value::RawValue;

use crate::endpoint::Endpoint;
use crate::json::Object;
use crate::usage::{Unit, Usage};

/// The usage that a whole JSON answer reports.
#[must_use]
pub fn usage(endpoint: Endpoint, body: &[u8]) -> Option<Usage> {
    #[derive(serde::Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default)]
        usage: Option<&'a RawValue>,
        #[serde(borrow, default)]
        data: Option<&'a RawValue>,
        #[serde(default)]
        input_tokens: Option<u64>,
    }

    let answer: Answer<'_> = serde_json::from_slice(body).ok()?;
    let reported = answer.usage.and_then(|usage| reported(endpoint, usage));
    match endpoint {
        Endpoint::Images => images(answer.data, reported),
        Endpoint::CountTokens => answer.input_tokens.map(|_| Usage::of_request()),
        Endpoint::Moderations => Some(reported.unwrap_or_else(Usage::of_request)),
        _ => reported.filter(|usage| is_credible(usage) && !is_silent(usage, body)),
    }
}

/// Bytes of what a whole answer says, for answers that do not tell their usage.
#[must_use]
pub fn content_bytes(body: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    ["choices", "content", "output"]
        .iter()
        .map(|name| texts_within(&answer[name]))
        .sum()
}

/// All texts in a part of an answer, but for those that name what it is or vouch for it.
pub(crate) fn texts_within(part: &serde_json::Value) -> u64 {
    const NAMES: [&str; 10] = [
        "type",
        "id",
        "role",
        "finish_reason",
        "stop_reason",
        "status",
        "call_id",
        "logprobs",
        "signature",
        "encrypted_content",
    ];
    match part {
        serde_json::Value::String(text) => u64::try_from(text.len()).unwrap_or_default(),
        serde_json::Value::Array(parts) => parts.iter().map(texts_within).sum(),
        serde_json::Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !NAMES.contains(&name.as_str()))
            .map(|(_, part)| texts_within(part))
            .sum(),
        _ => 0,
    }
}

/// One usage object, as far as it goes: a fragment of a stream may tell only one side.
#[must_use]
pub fn reported(endpoint: Endpoint, usage: &RawValue) -> Option<Usage> {
    let report: report::Report = serde_json::from_str(usage.get()).ok()?;
    report.to_usage(endpoint)
}

/// Whether a report can be true: there is no request without a prompt.
#[must_use]
pub fn is_credible(usage: &Usage) -> bool {
    usage.all_input() > 0
}

/// Whether a report tells of no output where there is some.
fn is_silent(usage: &Usage, body: &[u8]) -> bool {
    usage.all_output() == 0 && content_bytes(body) > 0
}

/// Pictures are counted by what was delivered, besides the tokens that newer models report.
fn images(data: Option<&RawValue>, reported: Option<Usage>) -> Option<Usage> {
    let pictures: Vec<&RawValue> = serde_json::from_str(data?.get()).ok()?;
    let count = u64::try_from(pictures.len()).ok()?;
    let usage = reported.unwrap_or_else(Usage::of_request);
    Some(usage.with(Unit::Image, count))
}

/// The same answer with what it cost in its `usage`; nothing where it is no JSON object.
#[must_use]
pub fn with_cost(body: &[u8], cost: Msat) -> Option<Vec<u8>> {
    let mut answer: Object = serde_json::from_slice(body).ok()?;
    let usage = priced_usage(answer.get("usage"), cost)?;
    answer.set_raw("usage", usage);
    Some(answer.to_bytes())
}

/// A usage object with its cost: `cost` in satoshi, since that is where clients look for a number,
/// and `cost_msat` for those who count exactly. What the upstream charged the seller moves aside.
pub(crate) fn priced_usage(usage: Option<&RawValue>, cost: Msat) -> Option<Box<RawValue>> {
    let text = usage.map_or("{}", RawValue::get);
    let mut usage: Object = match text {
        "null" => serde_json::from_str("{}").ok()?,
        text => serde_json::from_str(text).ok()?,
    };
    if let Some(theirs) = usage.get("cost").map(ToOwned::to_owned) {
        usage.set_raw("upstream_cost", theirs);
    }
    let msat = cost.get();
    let sat = format!("{}.{:03}", msat / 1000, msat % 1000);
    usage.set_raw("cost", RawValue::from_string(sat).ok()?);
    usage.set("cost_unit", &"sat".into());
    usage.set("cost_msat", &msat.into());
    usage.to_raw()
}

#[cfg(test)]
mod tests;
