//! One event's data, in the words of each provider.

mod loose;

use std::borrow::Cow;

use farebox_core::Msat;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::StreamEnd;
use crate::answer::{each_text_within, priced_usage, reported};
use crate::endpoint::Endpoint;
use crate::json::Object;
use crate::usage::Usage;

/// Who is shown each text of an event.
pub(super) type See<'a> = &'a mut dyn FnMut(&str);

/// What one event says.
pub(super) struct Chunk {
    pub(super) usage: Option<Usage>,
    alone: Alone,
    pub(super) end: StreamEnd,
}

/// Whether an event says nothing but its usage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    /// It says more.
    No,
    /// Its choices are empty, as those of the chunk that opens a stream are too.
    EmptyChoices,
    /// It has no choices.
    NoChoices,
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
    /// Groq's place for the usage.
    #[serde(borrow, default)]
    x_groq: Option<Holder<'a>>,
    /// Anthropic's `content_block_start`.
    #[serde(default)]
    content_block: Option<serde_json::Value>,
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
    /// Moonshot's place for the usage.
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
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
    /// Reads one event, and shows what of an answer it brings.
    pub(super) fn read(endpoint: Endpoint, data: &[u8], see: See<'_>) -> Option<Self> {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            return loose::read(endpoint, data, see);
        };
        event.each_text(see);
        let usage = event.usages().filter_map(|usage| reported(endpoint, usage));
        Some(Self {
            usage: usage.reduce(Usage::updated_by),
            alone: event.alone(),
            end: event.end(),
        })
    }

    /// Whether the event says nothing but its usage, in a stream whose answers are over or not.
    pub(super) fn is_usage_alone(&self, is_over: bool) -> bool {
        match self.alone {
            Alone::No => false,
            Alone::EmptyChoices => is_over,
            Alone::NoChoices => true,
        }
    }
}

impl<'a> Event<'a> {
    fn usages(&self) -> impl Iterator<Item = &'a RawValue> {
        let holders = [&self.message, &self.response, &self.x_groq];
        let held = holders.into_iter().flatten();
        let held = held.filter_map(|holder| holder.usage);
        let chosen = self.choices.iter().flatten();
        let chosen = chosen.filter_map(|choice| choice.usage);
        self.usage.into_iter().chain(held).chain(chosen)
    }

    /// Whether a chunk of OpenAI's form brings any part of an answer.
    fn alone(&self) -> Alone {
        match self.choices.as_deref() {
            Some([]) => Alone::NoChoices,
            Some(choices) if choices.iter().all(Choice::is_empty) => Alone::EmptyChoices,
            _ => Alone::No,
        }
    }

    fn each_text(&self, see: See<'_>) {
        for choice in self.choices.iter().flatten() {
            choice.each_text(see);
        }
        self.own_delta(see);
        if let Some(block) = &self.content_block {
            each_text_within(block, see);
        }
    }

    /// Anthropic's deltas are objects; those of the Responses API are texts, but for those of whole
    /// parts, whose texts came before.
    fn own_delta(&self, see: See<'_>) {
        let Some(delta) = self.delta.map(RawValue::get) else {
            return;
        };
        if let Ok(text) = serde_json::from_str::<Cow<'_, str>>(delta) {
            see(&text);
        } else if let Ok(delta) = serde_json::from_str::<Delta<'_>>(delta) {
            delta.each_text(see);
        }
    }

    fn end(&self) -> StreamEnd {
        match self.kind.as_deref().map_or(StreamEnd::Open, end_by_kind) {
            StreamEnd::Open if self.error.is_some_and(|error| error.get() != "null") => {
                StreamEnd::Failed
            }
            StreamEnd::Open if self.are_finished() => StreamEnd::Finished,
            end => end,
        }
    }

    fn are_finished(&self) -> bool {
        let mut choices = self.choices.iter().flatten();
        choices.any(Choice::is_finished)
    }
}

/// The end that an event of this `type` tells.
fn end_by_kind(kind: &str) -> StreamEnd {
    match kind {
        "message_stop" | "response.completed" => StreamEnd::Complete,
        "response.incomplete" | "response.cancelled" => StreamEnd::Incomplete,
        "error" | "response.failed" => StreamEnd::Failed,
        _ => StreamEnd::Open,
    }
}

impl Choice<'_> {
    fn is_empty(&self) -> bool {
        let mut is_empty = true;
        self.each_text(&mut |text| is_empty &= text.is_empty());
        is_empty && !self.is_finished()
    }

    /// Some write an empty reason until there is one.
    fn is_finished(&self) -> bool {
        let reason = self.finish_reason.as_deref();
        reason.is_some_and(|reason| !reason.is_empty())
    }

    fn each_text(&self, see: See<'_>) {
        if let Some(delta) = &self.delta {
            delta.each_text(see);
        }
        show(&self.text, see);
    }
}

impl Delta<'_> {
    fn each_text(&self, see: See<'_>) {
        // The same thought under two names is one thought.
        let reasoning = match self.reasoning_content {
            Some(_) => &self.reasoning_content,
            None => &self.reasoning,
        };
        let texts = [
            reasoning,
            &self.refusal,
            &self.text,
            &self.thinking,
            &self.partial_json,
        ];
        for text in texts {
            show(text, see);
        }
        match &self.content {
            Some(Content::Text(text)) => see(text),
            Some(Content::Parts(parts)) => {
                parts.iter().for_each(|part| each_text_within(part, see));
            }
            None => {}
        }
        let calls = self.tool_calls.iter().flatten();
        let calls = calls.filter_map(|call| call.function.as_ref());
        for call in calls.chain(&self.function_call) {
            show(&call.name, see);
            show(&call.arguments, see);
        }
    }
}

fn show(text: &Option<Cow<'_, str>>, see: See<'_>) {
    if let Some(text) = text {
        see(text);
    }
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
