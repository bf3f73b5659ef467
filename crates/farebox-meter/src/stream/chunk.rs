//! One event's data, in the words of each provider.

use std::borrow::Cow;

use farebox_core::Msat;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::StreamEnd;
use crate::answer::{priced_usage, reported, texts_within};
use crate::endpoint::Endpoint;
use crate::json::Object;
use crate::usage::Usage;

/// What one event says.
pub(super) struct Chunk {
    pub(super) usage: Option<Usage>,
    /// Whether the event says nothing but its usage.
    pub(super) is_usage_alone: bool,
    pub(super) output_bytes: u64,
    pub(super) end: StreamEnd,
}

/// The members that matter, of every provider's events.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    /// Anthropic's and the Responses API's.
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    /// Anthropic's `message_start`.
    #[serde(borrow, default)]
    message: Option<Holder<'a>>,
    /// The Responses API's `response.*`.
    #[serde(borrow, default)]
    response: Option<Holder<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    /// The old completions.
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
    // Anthropic's.
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    partial_json: Option<Cow<'a, str>>,
}

/// Most send a text; Mistral sends parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Parts(Vec<serde_json::Value>),
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    arguments: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Holder<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

impl Chunk {
    pub(super) fn read(endpoint: Endpoint, data: &[u8]) -> Option<Self> {
        let event: Event<'_> = serde_json::from_slice(data).ok()?;
        let usage = event.usages().filter_map(|usage| reported(endpoint, usage));
        let usage = usage.reduce(Usage::max);
        Some(Self {
            is_usage_alone: usage.is_some() && event.has_empty_choices(),
            usage,
            output_bytes: event.output_bytes(),
            end: event.end(),
        })
    }
}

impl<'a> Event<'a> {
    fn usages(&self) -> impl Iterator<Item = &'a RawValue> {
        let nested = [self.message.as_ref(), self.response.as_ref()];
        let nested = nested.map(|holder| holder.and_then(|holder| holder.usage));
        let all = [self.usage, nested[0], nested[1]];
        all.into_iter().flatten()
    }

    /// A chunk of OpenAI's form that brings no part of an answer.
    fn has_empty_choices(&self) -> bool {
        let choices = self.choices.as_deref();
        choices.is_some_and(|choices| choices.iter().all(Choice::is_empty))
    }

    fn output_bytes(&self) -> u64 {
        let choices = self.choices.iter().flatten().map(Choice::bytes);
        choices.sum::<u64>() + self.own_delta()
    }

    /// Anthropic's deltas are objects; those of the Responses API are texts, but for those of whole
    /// parts, whose texts came before.
    fn own_delta(&self) -> u64 {
        let Some(delta) = self.delta.map(RawValue::get) else {
            return 0;
        };
        if let Ok(text) = serde_json::from_str::<Cow<'_, str>>(delta) {
            return length(Some(&text));
        }
        serde_json::from_str::<Delta<'_>>(delta).map_or(0, |delta| delta.bytes())
    }

    fn end(&self) -> StreamEnd {
        match self.kind.as_deref() {
            Some("message_stop" | "response.completed") => StreamEnd::Complete,
            Some("response.incomplete" | "response.cancelled") => StreamEnd::Incomplete,
            Some("error" | "response.failed") => StreamEnd::Failed,
            _ if self.error.is_some_and(|error| error.get() != "null") => StreamEnd::Failed,
            _ if self.are_finished() => StreamEnd::Finished,
            _ => StreamEnd::Open,
        }
    }

    fn are_finished(&self) -> bool {
        let mut choices = self.choices.iter().flatten();
        choices.any(|choice| choice.finish_reason.is_some())
    }
}

impl Choice<'_> {
    fn is_empty(&self) -> bool {
        self.bytes() == 0 && self.finish_reason.is_none()
    }

    fn bytes(&self) -> u64 {
        let delta = self.delta.as_ref().map_or(0, Delta::bytes);
        delta + length(self.text.as_ref())
    }
}

impl Delta<'_> {
    fn bytes(&self) -> u64 {
        let texts = [
            &self.refusal,
            &self.reasoning_content,
            &self.text,
            &self.thinking,
            &self.partial_json,
        ];
        let texts: u64 = texts.iter().map(|text| length(text.as_ref())).sum();
        // The same thought under two names is one thought.
        let reasoning = if self.reasoning_content.is_some() {
            0
        } else {
            length(self.reasoning.as_ref())
        };
        let calls = self.tool_calls.iter().flatten();
        let calls = calls.filter_map(|call| call.function.as_ref());
        let calls: u64 = calls.chain(&self.function_call).map(Function::bytes).sum();
        texts + reasoning + calls + self.content.as_ref().map_or(0, Content::bytes)
    }
}

impl Content<'_> {
    fn bytes(&self) -> u64 {
        match self {
            Self::Text(text) => length(Some(text)),
            Self::Parts(parts) => parts.iter().map(texts_within).sum(),
        }
    }
}

impl Function<'_> {
    fn bytes(&self) -> u64 {
        length(self.name.as_ref()) + length(self.arguments.as_ref())
    }
}

fn length(text: Option<&Cow<'_, str>>) -> u64 {
    text.map_or(0, |text| u64::try_from(text.len()).unwrap_or_default())
}

/// The data with its cost where its usage is.
pub(super) fn with_cost(data: &[u8], cost: Msat) -> Option<Vec<u8>> {
    let mut event: Object = serde_json::from_slice(data).ok()?;
    if event.has("usage") {
        let usage = priced_usage(event.get("usage"), cost)?;
        event.set_raw("usage", usage);
        return Some(event.to_bytes());
    }
    for name in ["response", "message"] {
        let Some(Ok(mut holder)) = event
            .get(name)
            .map(|raw| serde_json::from_str::<Object>(raw.get()))
        else {
            continue;
        };
        if holder.has("usage") {
            let usage = priced_usage(holder.get("usage"), cost)?;
            holder.set_raw("usage", usage);
            event.set_raw(name, holder.to_raw()?);
            return Some(event.to_bytes());
        }
    }
    None
}
