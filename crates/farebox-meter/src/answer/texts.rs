//! Every text of an answer that is not known to be its frame.
//!
//! What a provider adds to its answers tomorrow is counted today: the list is of what is no output,
//! not of what is.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json::{Name, plain};

/// Who is shown each text.
pub(crate) type See<'a> = &'a mut dyn FnMut(&str);

/// Members that name what something is, vouch for it, or repeat it.
const FRAME: &[&str] = &[
    "type",
    "id",
    "object",
    "model",
    "role",
    "provider",
    "created",
    "created_at",
    "system_fingerprint",
    "service_tier",
    "obfuscation",
    "p",
    "provider_specific_fields",
    "finish_reason",
    "native_finish_reason",
    "stop_reason",
    "stop_sequence",
    "matched_stop",
    "status",
    "call_id",
    "item_id",
    "tool_call_id",
    "request_id",
    "logprobs",
    "signature",
    "thought_signature",
    "encrypted_content",
    "annotations",
    "citation",
    "citations",
    "search_results",
    "content_filter_results",
    "content_filter_result",
    "prompt_filter_results",
    "error",
    "usage",
    "usageMetadata",
];

/// The names that one thought goes by: several of them in one object say the same.
const THOUGHT: [&str; 4] = [
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking_blocks",
];

/// What a model writes into members that its client has named: no name in it means anything.
const WRITTEN_BY_MODEL: [&str; 2] = ["input", "arguments"];

/// Members that hold sound or pictures, where they hold base64.
const ENCODED: [&str; 4] = ["audio", "url", "b64_json", "partial_image_b64"];

/// Bytes of base64 that count like one byte of text. A second of sound is some 64,000 of them and 20
/// tokens, of which each costs up to eight of text; pictures have about as many.
const ENCODED_BYTES: usize = 100;
/// Stands for them: a token for four bytes, however it is counted.
const WORDS: &str = " the the the the the the the the the the the the the the the the";

/// Shows all texts in one value.
pub(crate) struct Texts<'a> {
    see: See<'a>,
    within: Within,
}

/// What the value belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Answer,
    /// What a client has named the members of.
    Written,
    Encoded,
}

impl<'a> Texts<'a> {
    pub(crate) fn of_answer(see: See<'a>) -> Self {
        let within = Within::Answer;
        Self { see, within }
    }

    /// The same for another value beside this one.
    pub(crate) fn again(&mut self) -> Texts<'_> {
        self.below(self.within)
    }

    fn below(&mut self, within: Within) -> Texts<'_> {
        Texts {
            see: &mut *self.see,
            within,
        }
    }

    fn see_encoded(&mut self, text: &str) {
        // As so much text of words, whatever the digits are.
        let mut left = text.len().div_ceil(ENCODED_BYTES);
        while left > 0 {
            let part = &WORDS[..left.min(WORDS.len())];
            (self.see)(part);
            left -= part.len();
        }
    }

    /// Shows what one member of an object holds.
    pub(crate) fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let below = match self.within {
            Within::Written => {
                (self.see)(name);
                Within::Written
            }
            _ if FRAME.contains(&name) => return map.next_value::<IgnoredAny>().map(|_| ()),
            _ if WRITTEN_BY_MODEL.contains(&name) => Within::Written,
            Within::Answer if ENCODED.contains(&name) => Within::Encoded,
            within => within,
        };
        map.next_value_seed(self.below(below))
    }
}

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of an answer")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut has_thought = false;
        while let Some(Name(name)) = map.next_key()? {
            if self.within == Within::Written || !THOUGHT.contains(&&*name) {
                self.member(&name, &mut map)?;
            } else if has_thought {
                map.next_value::<IgnoredAny>()?;
            } else {
                let see = &mut *self.see;
                let mut first = |text: &str| {
                    has_thought |= !text.is_empty();
                    see(text);
                };
                map.next_value_seed(Texts::of_answer(&mut first))?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.again())?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        if self.within == Within::Encoded && is_base64(text) {
            self.see_encoded(text);
        } else {
            (self.see)(text);
        }
        Ok(())
    }

    plain!(());
}

/// Whether a text can be sound or a picture: transcripts have spaces, and addresses points.
fn is_base64(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte);
    let data = text
        .strip_prefix("data:")
        .and_then(|url| url.split_once(','));
    let data = data.map_or(text, |(_, data)| data);
    data.len() > 64 && data.bytes().all(is_digit)
}
