//! Under which names providers report what an answer used: the one list.
//!
//! Each row is a name and what it says. Order is trust: where several rows say the same thing, the
//! first one that tells more than zero is believed. A name with a dot is a member of a member.
//! `docs/reference/usage.md` has the same list for sellers.

use crate::endpoint::Endpoint;

/// Who invented a pair of names for what was read and written. An endpoint has its own form; the
/// names of the others count only where its own are absent or zero, in the order here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// OpenAI's chat, which most others speak.
    Chat,
    /// OpenAI's Responses, and Anthropic's Messages, which have the same names.
    Input,
    /// Google's own, where it is not translated.
    Gemini,
    /// Amazon's Converse.
    Bedrock,
    /// Cohere's own.
    Cohere,
}

/// What a count is a count of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// Everything read, or, where the form counts the cache apart, the rest of it.
    Read(Form),
    /// Everything written, or, where the form counts thoughts apart, the rest of it.
    Written(Form),
    /// Everything read and written.
    All,
    /// Of what was read: from a cache, and by the definition of the name a part of the sum.
    CachedWithin,
    /// Of what was read: from a cache. Some write it as a part of the sum, some on top of it.
    Cached,
    /// Of what was read: into a cache.
    CacheWritten,
    /// Of what was written into a cache: what stays for five minutes.
    CacheWrittenBriefly,
    /// And what stays for an hour.
    CacheWrittenLonger,
    /// Of what was read: sound.
    SoundRead,
    /// Of what was read: pictures.
    PicturesRead,
    /// Of what was written: thoughts.
    Thought,
    /// Of what was written: sound.
    SoundWritten,
    /// Of what was written: pictures.
    PicturesWritten,
}

/// The list.
pub(super) const NAMES: [(&str, Says); 37] = [
    ("prompt_tokens", Says::Read(Form::Chat)),
    ("completion_tokens", Says::Written(Form::Chat)),
    ("input_tokens", Says::Read(Form::Input)),
    ("output_tokens", Says::Written(Form::Input)),
    ("promptTokenCount", Says::Read(Form::Gemini)),
    ("candidatesTokenCount", Says::Written(Form::Gemini)),
    ("inputTokens", Says::Read(Form::Bedrock)),
    ("outputTokens", Says::Written(Form::Bedrock)),
    ("billed_units.input_tokens", Says::Read(Form::Cohere)),
    ("billed_units.output_tokens", Says::Written(Form::Cohere)),
    ("total_tokens", Says::All),
    ("totalTokenCount", Says::All),
    ("totalTokens", Says::All),
    ("prompt_tokens_details.cached_tokens", Says::CachedWithin),
    ("input_tokens_details.cached_tokens", Says::CachedWithin),
    ("cachedContentTokenCount", Says::CachedWithin),
    ("cache_read_input_tokens", Says::Cached),
    ("prompt_cache_hit_tokens", Says::Cached),
    ("cached_tokens", Says::Cached),
    ("cacheReadInputTokens", Says::Cached),
    (
        "prompt_tokens_details.cache_write_tokens",
        Says::CacheWritten,
    ),
    (
        "prompt_tokens_details.cache_creation_tokens",
        Says::CacheWritten,
    ),
    (
        "prompt_tokens_details.cached_creation_tokens",
        Says::CacheWritten,
    ),
    (
        "input_tokens_details.cache_write_tokens",
        Says::CacheWritten,
    ),
    ("cache_creation_input_tokens", Says::CacheWritten),
    ("cacheWriteInputTokens", Says::CacheWritten),
    (
        "cache_creation.ephemeral_5m_input_tokens",
        Says::CacheWrittenBriefly,
    ),
    (
        "cache_creation.ephemeral_1h_input_tokens",
        Says::CacheWrittenLonger,
    ),
    ("prompt_tokens_details.audio_tokens", Says::SoundRead),
    ("input_tokens_details.audio_tokens", Says::SoundRead),
    ("prompt_tokens_details.image_tokens", Says::PicturesRead),
    ("input_tokens_details.image_tokens", Says::PicturesRead),
    ("completion_tokens_details.reasoning_tokens", Says::Thought),
    ("output_tokens_details.reasoning_tokens", Says::Thought),
    ("thoughtsTokenCount", Says::Thought),
    ("completion_tokens_details.audio_tokens", Says::SoundWritten),
    (
        "completion_tokens_details.image_tokens",
        Says::PicturesWritten,
    ),
];

impl Form {
    /// In the order in which they are asked where an endpoint's own form tells nothing.
    pub(super) const ALL: [Self; 5] = [
        Self::Chat,
        Self::Input,
        Self::Gemini,
        Self::Bedrock,
        Self::Cohere,
    ];

    /// The form of an endpoint's answers.
    pub(super) const fn of(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Messages
            | Endpoint::CountTokens
            | Endpoint::Responses
            | Endpoint::Images
            | Endpoint::Transcriptions => Self::Input,
            Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Embeddings
            | Endpoint::Speech
            | Endpoint::Moderations
            | Endpoint::Models => Self::Chat,
        }
    }

    /// Whether what was read from and into a cache comes on top of what was read. Of the two forms
    /// with the same names, Anthropic's does and has no total; that of Responses always has one.
    pub(super) const fn counts_cache_apart(self, endpoint: Endpoint, has_total: bool) -> bool {
        match (self, endpoint) {
            (Self::Bedrock, _) | (Self::Input, Endpoint::Messages) => true,
            (Self::Input, Endpoint::Responses | Endpoint::Images | Endpoint::Transcriptions)
            | (Self::Chat | Self::Gemini | Self::Cohere, _) => false,
            (Self::Input, _) => !has_total,
        }
    }

    /// Whether thoughts come on top of what was written.
    pub(super) const fn counts_thoughts_apart(self) -> bool {
        matches!(self, Self::Gemini)
    }
}

/// Where a name stands in the list, if it does: of a member, or of a member in `holder`.
pub(super) fn place(holder: Option<&str>, name: &str) -> Option<usize> {
    NAMES.iter().position(|(listed, _)| match holder {
        None => *listed == name,
        Some(holder) => listed.split_once('.') == Some((holder, name)),
    })
}

/// Whether the list has members of this member.
pub(super) fn is_holder(name: &str) -> bool {
    let mut holders = NAMES
        .iter()
        .filter_map(|(listed, _)| listed.split_once('.'));
    holders.any(|(holder, _)| holder == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_listed_once_and_found_where_it_stands() {
        for (at, (name, _)) in NAMES.iter().enumerate() {
            let found = match name.split_once('.') {
                Some((holder, name)) => place(Some(holder), name),
                None => place(None, name),
            };
            assert_eq!(found, Some(at), "{name}");
        }
    }
}
