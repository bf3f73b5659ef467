//! What of a request a model reads, kept to be counted by who knows the model's tokens.

use serde_json::Value;
use serde_json::value::RawValue;

use super::ModelRequest;
use crate::answer::each_text_within;
use crate::endpoint::Endpoint;

/// The longest request, in bytes, whose prompt is kept.
const MAX_KEPT_PROMPT: u64 = 128 * 1024;
/// Tokens around each message, its role among them, and before the answer, as OpenAI's chat models
/// have them.
const MESSAGE_MARKS: u64 = 4;
const ANSWER_MARKS: u64 = 3;

/// The parts of a request that a model reads, as they were written.
#[derive(Debug)]
pub struct Prompt {
    parts: Vec<Box<RawValue>>,
    tools: Vec<Box<RawValue>>,
    has_messages: bool,
}

impl Prompt {
    /// The prompt of a request; none where it is too long to be kept, or more than text.
    #[must_use]
    pub fn of(mut request: ModelRequest) -> Option<Self> {
        let media = &request.media;
        let media = media.image_in || media.audio_in || media.file_in;
        if media || request.length > MAX_KEPT_PROMPT {
            return None;
        }
        let (parts, has_messages): (&[&str], _) = match request.endpoint {
            Endpoint::ChatCompletions => (&["messages"], true),
            Endpoint::Responses => (&["instructions", "input"], true),
            Endpoint::Completions => (&["prompt"], false),
            _ => return None,
        };
        let mut members = |names: &[&str]| {
            let taken = names.iter().filter_map(|name| request.body.take(name));
            taken.collect()
        };
        Some(Self {
            parts: members(parts),
            tools: members(&["tools", "functions", "response_format", "text"]),
            has_messages,
        })
    }

    /// Shows every text in it.
    pub fn each_text(&self, see: &mut dyn FnMut(&str)) {
        for part in &self.parts {
            each_text_within(&value(part), see);
        }
        for tools in &self.tools {
            see(tools.get());
        }
    }

    /// Tokens that are in no text: around messages, and those that are written as numbers.
    #[must_use]
    pub fn marks(&self) -> u64 {
        let parts: Vec<Value> = self.parts.iter().map(|part| value(part)).collect();
        if !self.has_messages {
            return parts.iter().map(numbers_within).sum();
        }
        let messages: u64 = parts.iter().map(messages_in).sum();
        messages * MESSAGE_MARKS + ANSWER_MARKS
    }
}

fn value(part: &RawValue) -> Value {
    serde_json::from_str(part.get()).unwrap_or_default()
}

fn messages_in(part: &Value) -> u64 {
    let several = part.as_array().map(Vec::len);
    u64::try_from(several.unwrap_or(1)).unwrap_or_default()
}

fn numbers_within(part: &Value) -> u64 {
    match part {
        Value::Number(_) => 1,
        Value::Array(parts) => parts.iter().map(numbers_within).sum(),
        _ => 0,
    }
}
