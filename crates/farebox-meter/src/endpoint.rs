//! The endpoints that a model route sells: a closed list. Whatever else an API has under the same
//! prefix (files, batches, fine-tuning, stored answers) belongs to the seller's account and is not
//! for sale.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/images/generations`
    Images,
    /// `POST /v1/audio/speech`
    Speech,
    /// `POST /v1/audio/transcriptions`
    Transcriptions,
    /// `POST /v1/moderations`
    Moderations,
    /// `GET /v1/models` and `GET /v1/models/{model}`
    Models,
    /// `POST /v1/messages`, Anthropic's
    Messages,
    /// `POST /v1/messages/count_tokens`, Anthropic's
    CountTokens,
}

impl Endpoint {
    /// The endpoint of a method and of a canonical path after the route's prefix, with or without
    /// `/v1`. Nothing for what is not sold.
    #[must_use]
    pub fn of(method: &str, path: &str) -> Option<Self> {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        match (method, path) {
            ("POST", "/chat/completions") => Some(Self::ChatCompletions),
            ("POST", "/completions") => Some(Self::Completions),
            ("POST", "/responses") => Some(Self::Responses),
            ("POST", "/embeddings") => Some(Self::Embeddings),
            ("POST", "/images/generations") => Some(Self::Images),
            ("POST", "/audio/speech") => Some(Self::Speech),
            ("POST", "/audio/transcriptions") => Some(Self::Transcriptions),
            ("POST", "/moderations") => Some(Self::Moderations),
            ("POST", "/messages") => Some(Self::Messages),
            ("POST", "/messages/count_tokens") => Some(Self::CountTokens),
            ("GET" | "HEAD", "/models") => Some(Self::Models),
            ("GET" | "HEAD", path) if is_one_model(path) => Some(Self::Models),
            _ => None,
        }
    }

    /// Whether its answers are made of tokens, and can be streams.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions | Self::Completions | Self::Responses | Self::Messages
        )
    }
}

/// Model names may have a slash in them, but no more path below them.
fn is_one_model(path: &str) -> bool {
    path.strip_prefix("/models/").is_some_and(|name| {
        !name.is_empty() && name.split('/').count() <= 2 && !name.ends_with('/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sold_is_found_with_and_without_version() {
        for (method, path, endpoint) in [
            ("POST", "/v1/chat/completions", Endpoint::ChatCompletions),
            ("POST", "/chat/completions", Endpoint::ChatCompletions),
            ("POST", "/v1/messages/count_tokens", Endpoint::CountTokens),
            ("GET", "/v1/models", Endpoint::Models),
            ("GET", "/v1/models/openai/gpt-4o", Endpoint::Models),
        ] {
            assert_eq!(Endpoint::of(method, path), Some(endpoint), "{path}");
        }
    }

    #[test]
    fn what_is_the_sellers_own_is_not_sold() {
        for (method, path) in [
            ("GET", "/v1/chat/completions"),
            ("GET", "/v1/files"),
            ("POST", "/v1/files"),
            ("POST", "/v1/batches"),
            ("POST", "/v1/fine_tuning/jobs"),
            ("GET", "/v1/responses/resp_1"),
            ("DELETE", "/v1/models/mine"),
            ("POST", "/v1/messages/batches"),
            ("POST", "/v1/chat/completions/"),
            ("GET", "/v1/models/"),
            ("GET", "/v1/models/a/b/c"),
            ("POST", "/v1beta/chat/completions"),
        ] {
            assert_eq!(Endpoint::of(method, path), None, "{method} {path}");
        }
    }
}
