//! What a request asks of a model, what it can cost at most, and what it is allowed to ask.
//!
//! Each endpoint has a list of members that are known to cost no more than their tokens. Whatever is
//! not on it is refused by its name: a feature that nobody priced would be paid by the seller, and
//! one that reaches into his account (stored answers, files, other people's conversations) is not
//! his to sell. The body that is forwarded is written from what was read here.

mod anthropic;
mod bound;
mod fields;
mod openai;
mod parts;
mod prompt;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use bound::Bound;
pub use prompt::Prompt;

use crate::density;
use crate::endpoint::Endpoint;
use crate::json::{JsonError, Object, WrongType};

/// The most answers to one prompt, where the rules do not say otherwise.
const MAX_CHOICES: u64 = 16;
/// Whom a request for pictures is for that names no model, as OpenAI's API says.
const DEFAULT_PAINTER: &str = "dall-e-2";
/// The longest name of a model, in bytes.
const MAX_MODEL_NAME: usize = 200;

/// What a seller lets through beyond the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// Further members of the body that cost nothing beyond their tokens.
    pub allow_fields: BTreeSet<String>,
    /// The most answers to one prompt (`n`, `best_of`).
    pub max_choices: u64,
    /// Whether a stream's usage is asked for at its end (`stream_options`). Some servers refuse who
    /// asks: their streams are counted where they do not tell it by themselves.
    pub asks_for_usage: bool,
    /// The member that bounds a chat's answer, for models whose server obeys only that one.
    pub limit_fields: BTreeMap<String, LimitField>,
}

/// By which member a server bounds the answer of a chat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitField {
    /// Whichever the client wrote, else `max_completion_tokens`.
    #[default]
    AsWritten,
    /// `max_tokens`
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
    /// Both, with the same number.
    Both,
}

impl LimitField {
    /// For a model of which the seller says nothing. Every server obeys `max_tokens` but for OpenAI's,
    /// whose newer models refuse it. Elsewhere `max_completion_tokens` alone may bound nothing.
    fn of(model: &str, body: &Object) -> Self {
        const OPENAIS: [&str; 7] = ["gpt-3.5", "gpt-4", "gpt-5", "chatgpt-", "o1", "o3", "o4"];
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = name.strip_prefix("ft:").unwrap_or(name);
        let is_openais = OPENAIS.iter().any(|start| name.starts_with(start));
        if is_openais || body.has("max_tokens") {
            Self::AsWritten
        } else if body.has("max_completion_tokens") {
            Self::Both
        } else {
            Self::MaxTokens
        }
    }
}

/// A request that may be priced.
#[derive(Clone)]
pub struct ModelRequest {
    endpoint: Endpoint,
    body: Object,
    length: u64,
    /// What its strings weigh beyond their bytes, in bytes of words.
    surplus: u64,
    /// The model that is asked.
    pub model: String,
    /// Whether the answer is to be a stream.
    pub stream: bool,
    /// Whether the client itself asked for the usage at the end of the stream.
    pub wants_usage: bool,
    /// Answers to one prompt.
    choices: u64,
    /// The most tokens of one answer, as the client wrote it.
    output_limit: Option<u64>,
    limit_field: LimitField,
    media: Media,
    has_tools: bool,
    writes_cache: bool,
    /// Pictures to make, and which kind (`quality/size`).
    images: Option<(u64, String)>,
    /// Characters to speak.
    characters: Option<u64>,
}

/// What besides text is in the prompt or wanted in the answer. Its tokens are not bounded by bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Media {
    image_in: bool,
    audio_in: bool,
    /// Documents and whatever else is fetched or unpacked.
    file_in: bool,
    audio_out: bool,
    image_out: bool,
}

/// Why a request is not sold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The body itself.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member has another type than the API says.
    #[error(transparent)]
    Type(#[from] WrongType),
    /// A member that the API demands is missing.
    #[error("{0:?} is missing")]
    Missing(&'static str),
    /// Something that has no price here, by its place in the body.
    #[error("{0} is not sold here")]
    Feature(String),
    /// A member that nobody knows the price of.
    #[error("{0:?} is not known here; the seller may allow it by its name")]
    Unknown(String),
    /// A number beyond the limit.
    #[error("{name} may be {most} at most")]
    TooMany {
        /// Which.
        name: &'static str,
        /// The limit.
        most: u64,
    },
    /// A limit of zero, which some servers read as none.
    #[error("{0} must be 1 at least")]
    NoOutput(&'static str),
    /// Nothing bounds what the answer may cost.
    #[error("nothing says how long the answer may be: set max_tokens")]
    NoLimit,
    /// Pictures, sound or documents for a model whose context nobody knows.
    #[error("the tokens of pictures, sound and documents are not bounded for this model")]
    NoMediaLimit,
    /// The body of this endpoint is not JSON, and nothing bounds its price.
    #[error("this endpoint is sold by the call only")]
    NotJson,
}

/// Whether a model of this name thinks before it answers unless it is told not to.
fn thinks_unasked(model: &str) -> bool {
    const FAMILIES: [&str; 14] = [
        "o1",
        "o3",
        "o4",
        "gpt-5",
        "gpt-oss",
        "deepseek-r",
        "qwq",
        "qwen3",
        "gemini-2.5",
        "gemini-3",
        "grok-3-mini",
        "grok-4",
        "magistral",
        "minimax-m",
    ];
    const WORDS: [&str; 3] = ["think", "reason", "-r1"];
    let name = model.rsplit('/').next().unwrap_or(model).to_lowercase();
    FAMILIES.iter().any(|start| name.starts_with(start))
        || WORDS.iter().any(|word| name.contains(word))
}

/// A member that the API demands.
fn needed<T: DeserializeOwned>(body: &Object, name: &'static str) -> Result<T, Refused> {
    body.read(name)?.ok_or(Refused::Missing(name))
}

impl Default for RequestRules {
    fn default() -> Self {
        Self {
            allow_fields: BTreeSet::new(),
            max_choices: MAX_CHOICES,
            asks_for_usage: true,
            limit_fields: BTreeMap::new(),
        }
    }
}

impl ModelRequest {
    /// Reads a request with a JSON body.
    ///
    /// # Errors
    /// [`Refused`], with the name of what is not sold.
    pub fn read(endpoint: Endpoint, body: &[u8], rules: &RequestRules) -> Result<Self, Refused> {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let surplus = density::surplus_in_json(body);
        let mut body = Object::parse(body)?;
        fields::check(endpoint, &body, rules)?;
        if endpoint == Endpoint::Images && !body.has("model") {
            body.set("model", &DEFAULT_PAINTER.into());
        }
        let model: String = needed(&body, "model")?;
        if model.is_empty() || model.len() > MAX_MODEL_NAME {
            return Err(Refused::Missing("model"));
        }
        let stream = body.read("stream")?.unwrap_or(false);
        if stream && !endpoint.writes() {
            return Err(Refused::Feature("stream".to_owned()));
        }
        let limit_field = rules.limit_fields.get(&model).copied();
        let limit_field = limit_field.unwrap_or_else(|| LimitField::of(&model, &body));
        let mut request = Self {
            endpoint,
            length,
            // The name of the model is no part of the prompt.
            surplus: surplus.saturating_sub(density::surplus(&model)),
            limit_field,
            model,
            stream,
            wants_usage: false,
            choices: 1,
            output_limit: None,
            media: Media::default(),
            has_tools: body.has("tools") || body.has("functions"),
            writes_cache: false,
            images: None,
            characters: None,
            body,
        };
        request.look_closer(rules)?;
        Ok(request)
    }

    fn look_closer(&mut self, rules: &RequestRules) -> Result<(), Refused> {
        match self.endpoint {
            Endpoint::ChatCompletions => self.read_chat(rules),
            Endpoint::Completions => self.read_completion(rules),
            Endpoint::Responses => self.read_response(rules),
            Endpoint::Messages | Endpoint::CountTokens => self.read_messages(rules),
            Endpoint::Images => self.read_images(rules),
            Endpoint::Speech => self.read_speech(),
            Endpoint::Embeddings => self.read_embeddings(),
            Endpoint::Moderations => self.read_moderations(rules),
            Endpoint::Transcriptions | Endpoint::Models => Err(Refused::NotJson),
        }
    }

    /// The endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Whether it asks the model to think, in any provider's words. What it then writes may be more
    /// than is seen of it.
    #[must_use]
    pub fn asks_to_think(&self) -> bool {
        const OFF: [&str; 4] = ["none", "disabled", "off", "false"];
        let asks = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(word) => !OFF.contains(&word.as_str()),
            _ => true,
        };
        let read = |name: &str| self.body.read::<Value>(name).ok().flatten();
        let said = ["reasoning_effort", "reasoning", "thinking"];
        let said: Vec<Value> = said.into_iter().filter_map(read).collect();
        if said.is_empty() {
            return thinks_unasked(&self.model);
        }
        said.iter().any(|value| {
            let switches = ["effort", "type", "enabled"].map(|name| value.get(name));
            let limits = ["max_tokens", "budget_tokens"].map(|name| value.get(name));
            let has_limit = limits.into_iter().flatten().any(asks);
            asks(value) && (has_limit || switches.into_iter().flatten().all(asks))
        })
    }

    /// The body to forward.
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        self.body.to_bytes()
    }

    /// Lets the answer have no more than `tokens` tokens, in the body that is forwarded.
    pub fn lower_output(&mut self, tokens: u64) {
        self.output_limit = Some(tokens);
        if self.endpoint == Endpoint::ChatCompletions && self.limit_field != LimitField::AsWritten {
            return self.write_limit();
        }
        let name = self.output_member();
        self.body.set(name, &tokens.into());
        // Where both names stand, servers differ in which of them they obey.
        if self.endpoint == Endpoint::ChatCompletions && self.body.has("max_tokens") {
            self.body.set("max_tokens", &tokens.into());
        }
    }

    /// Writes the limit of a chat's answer where its server looks for it, and only there: a limit
    /// that is not obeyed bounds nothing.
    fn write_limit(&mut self) {
        let (old, new) = ("max_tokens", "max_completion_tokens");
        let (written, removed): (&[&str], &[&str]) = match self.limit_field {
            LimitField::AsWritten => return,
            LimitField::MaxTokens => (&[old], &[new]),
            LimitField::MaxCompletionTokens => (&[new], &[old]),
            LimitField::Both => (&[old, new], &[]),
        };
        let Some(limit) = self.output_limit else {
            return;
        };
        removed.iter().for_each(|name| self.body.remove(name));
        for name in written {
            self.body.set(name, &limit.into());
        }
    }

    /// The member that bounds the answer. Newer models of OpenAI know `max_completion_tokens` only,
    /// and other servers only `max_tokens`: what the client wrote is kept.
    fn output_member(&self) -> &'static str {
        match self.endpoint {
            Endpoint::Responses => "max_output_tokens",
            Endpoint::ChatCompletions if self.body.has("max_completion_tokens") => {
                "max_completion_tokens"
            }
            Endpoint::ChatCompletions if !self.body.has("max_tokens") => "max_completion_tokens",
            _ => "max_tokens",
        }
    }

    /// Makes a stream tell its usage at its end.
    fn ask_for_usage(&mut self, rules: &RequestRules) -> Result<(), Refused> {
        let options: Option<serde_json::Map<String, Value>> = self.body.read("stream_options")?;
        let mut options = options.unwrap_or_default();
        self.wants_usage = self.stream && options.get("include_usage") == Some(&Value::Bool(true));
        if !self.stream || !rules.asks_for_usage {
            self.body.remove("stream_options");
            return Ok(());
        }
        options.insert("include_usage".to_owned(), Value::Bool(true));
        self.body.set("stream_options", &Value::Object(options));
        Ok(())
    }

    /// What nobody but the seller may read again is not stored.
    fn forbid_storing(&mut self) {
        if self.body.has("store") || self.endpoint == Endpoint::Responses {
            self.body.set("store", &json!(false));
        }
    }

    fn read_choices(&mut self, name: &'static str, rules: &RequestRules) -> Result<(), Refused> {
        let choices: u64 = self.body.read(name)?.unwrap_or(1);
        if choices > rules.max_choices {
            return Err(Refused::TooMany {
                name,
                most: rules.max_choices,
            });
        }
        self.choices = self.choices.max(choices);
        Ok(())
    }

    fn read_limits(&mut self, names: &[&'static str]) -> Result<(), Refused> {
        for name in names {
            let limit: Option<u64> = self.body.read(name)?;
            if limit == Some(0) {
                return Err(Refused::NoOutput(name));
            }
            self.output_limit = match (self.output_limit, limit) {
                (Some(one), Some(other)) => Some(one.max(other)),
                (one, other) => one.or(other),
            };
        }
        Ok(())
    }
}
