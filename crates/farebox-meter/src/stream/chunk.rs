//! One event's data, in the words of each provider, read in one walk.

use std::cell::Cell;
use std::fmt;

use farebox_core::Msat;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Length, StreamEnd};
use crate::answer::{Report, See, Texts, length, priced_usage};
use crate::endpoint::Endpoint;
use crate::json::{Name, Object, plain};

/// What one event says.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) usage: Option<Report>,
    pub(super) end: StreamEnd,
    /// Text that repeats what other events have brought, if they came.
    pub(super) repeated: Length,
    /// Bytes of text that it brings.
    said: u64,
    choices: Option<Choices>,
}

/// The choices of an event.
#[derive(Clone, Copy)]
struct Choices {
    count: usize,
    /// One of them has come to its end.
    is_finished: bool,
}

impl Chunk {
    /// Reads one event, and shows what of an answer it brings. None where it is no JSON object.
    pub(super) fn read(endpoint: Endpoint, data: &[u8], see: See<'_>) -> Option<Self> {
        let said = Cell::new(0);
        let mut shown = |text: &str| {
            said.set(said.get() + length(text));
            see(text);
        };
        let mut event = Event {
            endpoint,
            see: &mut shown,
            chunk: Self::default(),
            usages: Usages::default(),
        };
        let mut json = serde_json::Deserializer::from_slice(data);
        json.deserialize_map(&mut event).ok()?;
        json.end().ok()?;
        let Event {
            mut chunk, usages, ..
        } = event;
        chunk.usage = usages.merged();
        chunk.said = said.get();
        Some(chunk)
    }

    /// Whether it tells of an error, and brings no part of an answer beside it.
    pub(super) fn is_error(&self) -> bool {
        self.end == StreamEnd::Failed && self.choices.is_none_or(|choices| choices.count == 0)
    }

    /// Whether the event says nothing but its usage, in a stream whose answers are over or not:
    /// the choices of the chunk that opens a stream are empty too.
    pub(super) fn is_usage_alone(&self, is_over: bool) -> bool {
        let is_empty = |choices: Choices| choices.count == 0 || (is_over && !choices.is_finished);
        self.said == 0 && self.choices.is_some_and(is_empty)
    }
}

/// The reports in one event, the most trusted last.
#[derive(Default)]
struct Usages {
    /// Moonshot's place is in the choice.
    chosen: Option<Report>,
    /// Anthropic's in `message`, that of Responses in `response`, Groq's in `x_groq`.
    held: Option<Report>,
    own: Option<Report>,
}

impl Usages {
    fn merged(self) -> Option<Report> {
        let told = [self.chosen, self.held, self.own].into_iter().flatten();
        told.reduce(Report::updated_by)
    }
}

/// The walk through one event.
struct Event<'a> {
    endpoint: Endpoint,
    see: See<'a>,
    chunk: Chunk,
    usages: Usages,
}

impl Event<'_> {
    /// The events of Responses bring each part by `delta`, and repeat it when it is complete.
    fn repeats(&self, name: &str) -> bool {
        self.endpoint == Endpoint::Responses && name != "delta"
    }

    fn repeat<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let repeated = &mut self.chunk.repeated;
        let mut count = |text: &str| repeated.add(text);
        Texts::of_answer(&mut count).member(name, map)
    }

    fn show<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        Texts::of_answer(&mut *self.see).member(name, map)
    }

    /// That of Responses repeats the request and the whole answer.
    fn holder<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let mut unheard = |_: &str| {};
        map.next_value_seed(Holder {
            endpoint: self.endpoint,
            texts: Texts::of_answer(match self.endpoint {
                Endpoint::Responses => &mut unheard,
                _ => &mut *self.see,
            }),
            usage: &mut self.usages.held,
            is_finished: &mut false,
        })
    }

    fn choices<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let mut choices = Choices {
            count: 0,
            is_finished: false,
        };
        map.next_value_seed(List {
            count: &mut choices.count,
            choice: Holder {
                endpoint: self.endpoint,
                texts: Texts::of_answer(&mut *self.see),
                usage: &mut self.usages.chosen,
                is_finished: &mut choices.is_finished,
            },
        })?;
        if choices.is_finished {
            self.chunk.end.follow(StreamEnd::Finished);
        }
        self.chunk.choices = Some(choices);
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Event<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                "type" | "object" => {
                    let kind: &RawValue = map.next_value()?;
                    self.chunk.end.follow(end_by_kind(kind.get()));
                }
                "error" => {
                    let error: &RawValue = map.next_value()?;
                    if error.get() != "null" {
                        self.chunk.end.follow(StreamEnd::Failed);
                    }
                }
                "usage" | "usageMetadata" => {
                    let usage: &RawValue = map.next_value()?;
                    self.usages.own = Report::read(self.endpoint, usage).or(self.usages.own);
                }
                "choices" => self.choices(&mut map)?,
                "message" | "response" | "x_groq" => self.holder(&mut map)?,
                name if self.repeats(name) => self.repeat(name, &mut map)?,
                name => self.show(name, &mut map)?,
            }
        }
        Ok(())
    }
}

/// The end that an event of this `type`, as it is written, tells.
fn end_by_kind(kind: &str) -> StreamEnd {
    match kind.trim_matches('"') {
        "message_stop" | "response.completed" => StreamEnd::Complete,
        "response.incomplete" | "response.cancelled" => StreamEnd::Incomplete,
        "error" | "response.failed" => StreamEnd::Failed,
        _ => StreamEnd::Open,
    }
}

/// A list of choices.
struct List<'a> {
    count: &'a mut usize,
    choice: Holder<'a>,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("choices")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.choice.again())?.is_some() {
            *self.count += 1;
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// An object with texts, perhaps a usage, perhaps the reason why it ended.
struct Holder<'a> {
    endpoint: Endpoint,
    texts: Texts<'a>,
    usage: &'a mut Option<Report>,
    is_finished: &'a mut bool,
}

impl Holder<'_> {
    fn again(&mut self) -> Holder<'_> {
        Holder {
            endpoint: self.endpoint,
            texts: self.texts.again(),
            usage: self.usage,
            is_finished: self.is_finished,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Holder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Holder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of an event")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                "usage" => {
                    let usage: &RawValue = map.next_value()?;
                    *self.usage = Report::read(self.endpoint, usage).or(*self.usage);
                }
                // Some write an empty reason until there is one.
                "finish_reason" => {
                    let reason: &RawValue = map.next_value()?;
                    *self.is_finished |= !matches!(reason.get(), "null" | "\"\"");
                }
                name => self.texts.member(name, &mut map)?,
            }
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.texts.visit_str(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.texts.visit_seq(list)
    }

    plain!(());
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
