//! One whole answer, read once: what it used, whether it failed, what it says, and where its cost
//! goes.

use std::fmt;

use farebox_core::Msat;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Report, See, Texts, images, is_credible, length, priced_usage};
use crate::density::{BYTES_PER_TOKEN, surplus};
use crate::endpoint::Endpoint;
use crate::json::{BYTE_ORDER_MARK, Name, Object};
use crate::usage::{Unit, Usage};

/// A whole answer and what of it matters here, each part as it was written.
pub struct Whole<'a> {
    endpoint: Endpoint,
    body: &'a [u8],
    /// Nothing where it is no JSON object, or names a member twice.
    parts: Option<Parts<'a>>,
    report: Option<Report>,
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
    /// Google's place for the usage.
    #[serde(borrow, default, rename = "usageMetadata")]
    usage_metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
}

impl Parts<'_> {
    fn report(&self, endpoint: Endpoint) -> Option<Report> {
        let mut places = [self.usage, self.usage_metadata].into_iter().flatten();
        places.find_map(|usage| Report::read(endpoint, usage))
    }
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
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let parts: Option<Parts<'_>> = serde_json::from_slice(body).ok().filter(|_| is_object);
        let report = parts.as_ref().and_then(|parts| parts.report(endpoint));
        Self {
            endpoint,
            body,
            parts,
            report,
        }
    }

    /// The usage that it reports, where that can be true and tells both sides.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let parts = self.parts.as_ref()?;
        let reported = self.reported();
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

    /// What it reports, even of one side only.
    #[must_use]
    pub fn told(&self) -> Usage {
        self.reported().unwrap_or_default()
    }

    fn reported(&self) -> Option<Usage> {
        Some(self.report?.to_usage(self.endpoint))
    }

    pub(crate) const fn report(&self) -> Option<Report> {
        self.report
    }

    /// Whether it is a whole JSON document.
    pub(crate) fn is_complete(&self) -> bool {
        serde_json::from_slice::<IgnoredAny>(self.body).is_ok()
    }

    /// Whether a report tells of no output where there is some.
    fn is_silent(&self, usage: &Usage) -> bool {
        usage.all_output() == 0 && self.content_bytes() > 0
    }

    /// Whether it tells of an error, whatever its status says.
    #[must_use]
    pub fn is_error(&self) -> bool {
        let Some(parts) = &self.parts else {
            return !self.loose()["error"].is_null();
        };
        let object = parts.object.map(RawValue::get);
        parts.error.is_some() || object == Some("\"error\"")
    }

    /// Whether there is anything in it of what its endpoint sells.
    #[must_use]
    pub fn delivers(&self) -> bool {
        match self.endpoint {
            endpoint if endpoint.writes() => self.content_bytes() > 0,
            Endpoint::Images => self.usage().is_some_and(|usage| usage.get(Unit::Image) > 0),
            _ => !self.body.trim_ascii().is_empty() && !self.is_error(),
        }
    }

    /// Bytes of what it says.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        let mut bytes = 0;
        self.each_text(&mut |text| bytes += length(text));
        bytes
    }

    /// Tokens of what it says, where nobody tells them.
    #[must_use]
    pub fn content_tokens(&self) -> u64 {
        let mut weight = 0_u64;
        self.each_text(&mut |text| {
            weight = weight
                .saturating_add(length(text))
                .saturating_add(surplus(text));
        });
        weight.div_ceil(BYTES_PER_TOKEN)
    }

    /// Shows all that it says, where its endpoint's answers say something. What is not JSON is all
    /// shown, for nobody can tell what of it is an answer.
    pub fn each_text(&self, see: See<'_>) {
        if !self.endpoint.writes() || self.is_only_an_error() {
            return;
        }
        // Read twice, so that nothing is shown of what turns out to be broken.
        if self.walk(&mut |_| {}).is_ok() {
            let _ = self.walk(see);
        } else {
            let body = self.body.trim_ascii();
            body.utf8_chunks().for_each(|chunk| see(chunk.valid()));
        }
    }

    fn walk(&self, see: See<'_>) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_slice(self.body);
        let said = Said {
            texts: Texts::of_answer(see),
            repeated: match self.endpoint {
                Endpoint::Responses => &REPEATED,
                _ => &[],
            },
        };
        json.deserialize_map(said)?;
        json.end()
    }

    /// Some tell of an error by members that are not in an `error`.
    fn is_only_an_error(&self) -> bool {
        let object = self.parts.as_ref().and_then(|parts| parts.object);
        object.is_some_and(|object| object.get() == "\"error\"")
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

/// What a whole response repeats of its request.
const REPEATED: [&str; 12] = [
    "instructions",
    "metadata",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
    "truncation",
    "user",
    "prompt_cache_key",
    "safety_identifier",
    "incomplete_details",
    "output_text",
];

/// Shows what the members of an answer say.
struct Said<'a> {
    texts: Texts<'a>,
    repeated: &'a [&'a str],
}

impl<'de> Visitor<'de> for Said<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            if self.repeated.contains(&&*name) {
                map.next_value::<IgnoredAny>()?;
            } else {
                self.texts.member(&name, &mut map)?;
            }
        }
        Ok(())
    }
}

/// Where a part of a body begins in it.
fn place_of(part: &[u8], body: &[u8]) -> Option<usize> {
    let start = part.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    (start + part.len() <= body.len()).then_some(start)
}
