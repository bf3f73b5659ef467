//! One whole answer, read once: what it used, whether it failed, what it says, and where its cost
//! goes.

use farebox_core::Msat;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{each_text_within, images, is_credible, length, priced_usage, reported};
use crate::endpoint::Endpoint;
use crate::json::Object;
use crate::usage::Usage;

/// A whole answer and what of it matters here, each part as it was written.
pub struct Whole<'a> {
    endpoint: Endpoint,
    body: &'a [u8],
    /// Nothing where it is no JSON object, or names a member twice.
    parts: Option<Parts<'a>>,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default, deserialize_with = "even_null")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
}

/// A member that says `null` has its place all the same.
fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Whole<'a> {
    /// Reads an answer.
    #[must_use]
    pub fn read(endpoint: Endpoint, body: &'a [u8]) -> Self {
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let parts = serde_json::from_slice(body).ok().filter(|_| is_object);
        Self {
            endpoint,
            body,
            parts,
        }
    }

    /// The usage that it reports, where that can be true.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let parts = self.parts.as_ref()?;
        let reported = parts.usage.and_then(|usage| reported(self.endpoint, usage));
        match self.endpoint {
            Endpoint::Images => images(parts.data, reported),
            Endpoint::CountTokens => {
                let tokens: u64 = serde_json::from_str(parts.input_tokens?.get()).ok()?;
                Some(tokens).map(|_| Usage::of_request())
            }
            Endpoint::Moderations => Some(reported.unwrap_or_else(Usage::of_request)),
            _ => reported.filter(|usage| is_credible(usage) && !self.is_silent(usage)),
        }
    }

    /// Whether a report tells of no output where there is some.
    fn is_silent(&self, usage: &Usage) -> bool {
        usage.all_output() == 0 && self.content_bytes() > 0
    }

    /// Whether it tells of an error, whatever its status says.
    #[must_use]
    pub fn is_error(&self) -> bool {
        match &self.parts {
            Some(parts) => parts.error.is_some(),
            None => !self.loose()["error"].is_null(),
        }
    }

    /// Bytes of what it says.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        let mut bytes = 0;
        self.each_text(&mut |text| bytes += length(text));
        bytes
    }

    /// Shows all that it says.
    pub fn each_text(&self, see: &mut dyn FnMut(&str)) {
        let Some(parts) = &self.parts else {
            let answer = self.loose();
            for name in ["choices", "content", "output"] {
                each_text_within(&answer[name], see);
            }
            return;
        };
        let parts = [parts.choices, parts.content, parts.output];
        for part in parts.into_iter().flatten() {
            let part: Value = serde_json::from_str(part.get()).unwrap_or_default();
            each_text_within(&part, see);
        }
    }

    /// The same answer with what it cost in its `usage`, and every other byte as it came; nothing
    /// where it is no JSON object.
    #[must_use]
    pub fn with_cost(&self, cost: Msat) -> Option<Vec<u8>> {
        let Some(parts) = &self.parts else {
            return self.with_cost_rewritten(cost);
        };
        let priced = priced_usage(parts.usage, cost)?;
        let (start, end, name) = match parts.usage {
            Some(usage) => {
                let start = place_of(usage.get().as_bytes(), self.body)?;
                (start, start + usage.get().len(), "")
            }
            None => {
                let end = self.body.iter().rposition(|byte| *byte == b'}')?;
                let before = self.body[..end].trim_ascii_end();
                let is_first = before.ends_with(b"{");
                let name = if is_first {
                    "\"usage\":"
                } else {
                    ",\"usage\":"
                };
                (end, end, name)
            }
        };
        let parts = [
            &self.body[..start],
            name.as_bytes(),
            priced.get().as_bytes(),
            &self.body[end..],
        ];
        Some(parts.concat())
    }

    fn with_cost_rewritten(&self, cost: Msat) -> Option<Vec<u8>> {
        let mut answer: Object = serde_json::from_slice(self.body).ok()?;
        let usage = priced_usage(answer.get("usage"), cost)?;
        answer.set_raw("usage", usage);
        Some(answer.to_bytes())
    }

    /// The answer as it is read by those who are not strict.
    fn loose(&self) -> Value {
        serde_json::from_slice(self.body).unwrap_or_default()
    }
}

/// Where a part of a body begins in it.
fn place_of(part: &[u8], body: &[u8]) -> Option<usize> {
    let start = part.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    (start + part.len() <= body.len()).then_some(start)
}
