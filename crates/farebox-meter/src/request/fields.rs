//! The members that each endpoint's body may have.

use super::{Refused, RequestRules};
use crate::endpoint::Endpoint;
use crate::json::Object;

/// Sampling and form of the answer: they change what is said, not what it costs.
const COMMON: &[&str] = &[
    "model",
    "user",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "top_a",
    "stop",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
];
const CHAT: &[&str] = &[
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "reasoning_effort",
    "reasoning",
    "verbosity",
    "store",
    "modalities",
    "audio",
    "service_tier",
    "random_seed",
    "safe_prompt",
];
const COMPLETION: &[&str] = &[
    "prompt",
    "suffix",
    "stream",
    "stream_options",
    "max_tokens",
    "n",
    "best_of",
    "echo",
    "logprobs",
    "logit_bias",
    "frequency_penalty",
    "presence_penalty",
];
const RESPONSE: &[&str] = &[
    "input",
    "instructions",
    "stream",
    "stream_options",
    "max_output_tokens",
    "max_tool_calls",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "truncation",
    "top_logprobs",
    "include",
    "store",
    "service_tier",
];
const EMBEDDING: &[&str] = &["input", "dimensions", "encoding_format", "input_type"];
const IMAGE: &[&str] = &[
    "prompt",
    "n",
    "size",
    "quality",
    "style",
    "response_format",
    "background",
    "output_format",
    "output_compression",
    "moderation",
];
const SPEECH: &[&str] = &["input", "voice", "response_format", "speed", "instructions"];
const MODERATION: &[&str] = &["input"];
const MESSAGE: &[&str] = &[
    "messages",
    "system",
    "max_tokens",
    "stream",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "cache_control",
    "service_tier",
    "output_config",
    "context_management",
];

/// Refuses what is not on the endpoint's list, by its name. A name that differs from a listed one
/// in capitals is refused too: some servers take them for the same.
pub(super) fn check(
    endpoint: Endpoint,
    body: &Object,
    rules: &RequestRules,
) -> Result<(), Refused> {
    let own = own(endpoint);
    for name in body.names() {
        let listed = COMMON.contains(&name) || own.contains(&name);
        if listed || rules.allow_fields.contains(name) {
            continue;
        }
        return Err(if is_known_feature(name) {
            Refused::Feature(name.to_owned())
        } else {
            Refused::Unknown(name.to_owned())
        });
    }
    Ok(())
}

const fn own(endpoint: Endpoint) -> &'static [&'static str] {
    match endpoint {
        Endpoint::ChatCompletions => CHAT,
        Endpoint::Completions => COMPLETION,
        Endpoint::Responses => RESPONSE,
        Endpoint::Embeddings => EMBEDDING,
        Endpoint::Images => IMAGE,
        Endpoint::Speech => SPEECH,
        Endpoint::Moderations => MODERATION,
        Endpoint::Messages | Endpoint::CountTokens => MESSAGE,
        Endpoint::Transcriptions | Endpoint::Models => &[],
    }
}

/// Members that are known and deliberately not sold: the seller's account, other people's data, and
/// work at the provider that the tokens do not tell or no limit bounds (rejected predictions).
fn is_known_feature(name: &str) -> bool {
    const FEATURES: &[&str] = &[
        "background",
        "previous_response_id",
        "conversation",
        "prompt",
        "container",
        "mcp_servers",
        "web_search_options",
        "context_management",
        "speed",
        "inference_geo",
        "models",
        "route",
        "provider",
        "plugins",
        "transforms",
        "preset",
        "prediction",
    ];
    FEATURES.contains(&name)
}
