//! The objects that a request is made of, each with a closed list of members. What nobody looks at could
//! be a picture, a stored file or a tool of the provider's; and of two spellings of a name, servers
//! differ in which they read.

use serde_json::Value;

use super::{Refused, RequestRules};

/// What a kind of object is called, and the members that it may have.
pub(super) struct Kind {
    name: &'static str,
    members: &'static [&'static str],
}

/// A message of a chat, also as SDKs give back the model's own.
pub(super) const MESSAGE: Kind = Kind {
    name: "messages",
    members: &[
        "role",
        "content",
        "name",
        "refusal",
        "audio",
        "annotations",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "thinking",
        "thinking_blocks",
        "provider_specific_fields",
        "cache_control",
        "prefix",
        "partial",
        "parsed",
        "phase",
        "id",
        "index",
    ],
};

/// A part of a content in OpenAI's forms.
pub(super) const PART: Kind = Kind {
    name: "content",
    members: &[
        "type",
        "text",
        "refusal",
        "image_url",
        "detail",
        "input_audio",
        "file",
        "file_id",
        "file_data",
        "file_url",
        "filename",
        "annotations",
        "logprobs",
        "cache_control",
        "id",
    ],
};

/// An item of the input of a Responses request.
pub(super) const ITEM: Kind = Kind {
    name: "input",
    members: &[
        "type",
        "id",
        "role",
        "status",
        "phase",
        "content",
        "call_id",
        "name",
        "namespace",
        "arguments",
        "input",
        "output",
        "summary",
        "encrypted_content",
    ],
};

/// A tool, in any provider's form.
pub(super) const TOOL: Kind = Kind {
    name: "tools",
    members: &[
        "type",
        "function",
        "custom",
        "name",
        "description",
        "parameters",
        "input_schema",
        "output_schema",
        "input_examples",
        "strict",
        "format",
        "cache_control",
        "defer_loading",
        "allowed_callers",
        "eager_input_streaming",
    ],
};

/// A message in Anthropic's form.
pub(super) const TURN: Kind = Kind {
    name: "messages",
    members: &["role", "content", "cache_control"],
};

/// A block of a content in Anthropic's form.
pub(super) const BLOCK: Kind = Kind {
    name: "content",
    members: &[
        "type",
        "text",
        "citations",
        "cache_control",
        "source",
        "title",
        "context",
        "id",
        "name",
        "input",
        "caller",
        "tool_use_id",
        "content",
        "is_error",
        "thinking",
        "signature",
        "data",
    ],
};

impl Kind {
    /// Refuses what is no object, and a member that is not on the list; `null` counts as absent.
    pub(super) fn check(&self, object: &Value, rules: &RequestRules) -> Result<(), Refused> {
        let Value::Object(members) = object else {
            return Err(Refused::Feature(format!(
                "an entry of {:?} that is no object",
                self.name
            )));
        };
        for (name, value) in members {
            if value.is_null() || self.members.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{}.{name}", self.name);
            if !rules.allow_fields.contains(&path) {
                return Err(Refused::Unknown(path));
            }
        }
        Ok(())
    }
}

/// The parts of what is a text or a list of parts; a text has none.
pub(super) fn parts_of(content: &Value) -> Result<&[Value], Refused> {
    match content {
        Value::Null | Value::String(_) => Ok(&[]),
        Value::Array(parts) => Ok(parts),
        _ => Err(Refused::Feature(
            "content that is neither a text nor a list".to_owned(),
        )),
    }
}

/// Refuses what is neither a text, nor tokens as numbers, nor a list of these.
pub(super) fn check_plain(name: &'static str, input: &Value) -> Result<(), Refused> {
    let is_tokens = |value: &Value| match value {
        Value::Array(tokens) => tokens.iter().all(Value::is_number),
        value => value.is_string() || value.is_number(),
    };
    let is_plain = match input {
        Value::Array(inputs) => inputs.iter().all(is_tokens),
        input => input.is_string(),
    };
    match is_plain {
        true => Ok(()),
        false => Err(Refused::Feature(format!("{name} that is not text"))),
    }
}
