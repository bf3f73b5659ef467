//! Which headers of a model's call reach the upstream.
//!
//! A provider, and more so a gateway in front of several, turns features on by headers that the body
//! does not show, sends the seller's key elsewhere, or answers out of what somebody else asked. So only
//! those pass that are known to change nothing of the kind; the others are taken off. What a client asks
//! for by the name of a beta is not taken off in silence but refused, unless it is known to cost no more
//! than its tokens.

use std::collections::BTreeSet;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Unsold;

/// What passes on every route. `Idempotency-Key` is not among them: all buyers share the seller's
/// account, and one would be answered with what another asked.
const PASS: [&str; 16] = [
    "accept",
    "accept-encoding",
    "anthropic-version",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Headers that are lists of betas, and those that cost no more than their tokens, which the usage of
/// the answer tells. What a beta lets the body say is on the body's own lists.
const BETAS: [(HeaderName, &[&str]); 2] = [
    (
        HeaderName::from_static("anthropic-beta"),
        &[
            "adaptive-thinking-2026-01-28",
            "advanced-tool-use-2025-11-20",
            "claude-code-20250219",
            "computer-use-2024-10-22",
            "computer-use-2025-01-24",
            "computer-use-2025-11-24",
            "context-management-2025-06-27",
            "effort-2025-11-24",
            "extended-cache-ttl-2025-04-11",
            "fine-grained-tool-streaming-2025-05-14",
            "interleaved-thinking-2025-05-14",
            "max-tokens-3-5-sonnet-2024-07-15",
            "model-context-window-exceeded-2025-08-26",
            "output-128k-2025-02-19",
            "pdfs-2024-09-25",
            "prompt-caching-2024-07-31",
            "prompt-caching-scope-2026-01-05",
            "redact-thinking-2026-02-12",
            "structured-outputs-2025-09-17",
            "structured-outputs-2025-11-13",
            "structured-outputs-2025-12-15",
            "token-counting-2024-11-01",
            "token-efficient-tools-2025-02-19",
            "tool-examples-2025-10-29",
            "tool-search-tool-2025-10-19",
        ],
    ),
    (
        HeaderName::from_static("openai-beta"),
        &["responses=experimental"],
    ),
];

/// The word for every beta that has no rule of its own.
pub const EVERY_OTHER: &str = "*";

/// What a seller says about headers, beyond the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Further headers that pass.
    pub allow: Vec<HeaderName>,
    /// Betas that pass.
    pub pass_betas: BTreeSet<String>,
    /// Betas that are taken off, as if nobody had asked for them; [`EVERY_OTHER`] for all that have no
    /// other rule.
    pub drop_betas: BTreeSet<String>,
}

/// What becomes of a beta.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    Dropped,
    Refused,
}

impl HeaderRules {
    /// Looks for betas that are not sold, before anybody pays.
    ///
    /// # Errors
    /// [`Unsold::Beta`], with its name.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Unsold> {
        for (name, known) in &BETAS {
            if self.allow.contains(name) {
                continue;
            }
            let refused = betas(headers, name).find(|beta| self.fate(beta, known) == Fate::Refused);
            if let Some(beta) = refused {
                return Err(Unsold::Beta {
                    header: name.as_str().to_owned(),
                    beta: beta.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Takes off what does not pass.
    pub fn prepare(&self, headers: &mut HeaderMap) {
        farebox_http::headers::keep_only(headers, |name| {
            PASS.contains(&name)
                || BETAS.iter().any(|(header, _)| header == name)
                || self.allow.iter().any(|header| header == name)
        });
        for (name, known) in &BETAS {
            if !headers.contains_key(name) || self.allow.contains(name) {
                continue;
            }
            let passes = |beta: &&str| self.fate(beta, known) == Fate::Passes;
            let left: Vec<&str> = betas(headers, name).filter(passes).collect();
            let left = HeaderValue::from_str(&left.join(","));
            match left {
                Ok(left) if !left.is_empty() => headers.insert(name, left),
                _ => headers.remove(name),
            };
        }
    }

    fn fate(&self, beta: &str, known: &[&str]) -> Fate {
        if self.drop_betas.contains(beta) {
            Fate::Dropped
        } else if self.pass_betas.contains(beta) || known.contains(&beta) {
            Fate::Passes
        } else if self.drop_betas.contains(EVERY_OTHER) {
            Fate::Dropped
        } else {
            Fate::Refused
        }
    }
}

/// The betas that all lines of a header name. A line that is no text names one that nobody knows.
fn betas<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter();
    let entries = lines.flat_map(|line| line.to_str().unwrap_or("?").split(','));
    entries.map(str::trim).filter(|beta| !beta.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, line) in lines {
            headers.append(name, HeaderValue::from_static(line));
        }
        headers
    }

    fn set(betas: &[&str]) -> BTreeSet<String> {
        betas.iter().map(|&beta| beta.to_owned()).collect()
    }

    #[test]
    fn only_what_is_known_to_change_nothing_passes() {
        let mut sent = headers(&[
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
            ("x-portkey-custom-host", "https://evil.test"),
            ("x-litellm-api-base", "https://evil.test"),
            ("helicone-target-url", "https://evil.test"),
            ("cf-aig-authorization", "x"),
            ("openai-organization", "mine"),
            ("x-session-affinity", "1"),
            ("idempotency-key", "1"),
            ("cookie", "a=1"),
            ("x-mine", "1"),
        ]);
        let rules = HeaderRules {
            allow: vec![HeaderName::from_static("x-mine")],
            ..HeaderRules::default()
        };
        assert!(rules.check(&sent).is_ok());
        rules.prepare(&mut sent);
        let expected = [
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
            ("x-mine", "1"),
        ];
        assert_eq!(sent, headers(&expected));
    }

    #[test]
    fn betas_that_cost_only_tokens_pass_and_others_are_refused_by_name() {
        let rules = HeaderRules::default();
        let agent = "claude-code-20250219,interleaved-thinking-2025-05-14";
        let mut sent = headers(&[("anthropic-beta", agent)]);
        assert!(rules.check(&sent).is_ok());
        rules.prepare(&mut sent);
        assert_eq!(sent, headers(&[("anthropic-beta", agent)]));
        for beta in [
            "fast-mode-2026-02-01",
            "context-1m-2025-08-07",
            "files-api-2025-04-14",
        ] {
            sent.append("anthropic-beta", HeaderValue::from_static(beta));
            let refused = rules.check(&sent).unwrap_err().to_string();
            assert!(refused.contains(beta), "{refused}");
            sent = headers(&[("anthropic-beta", agent)]);
        }
        let assistants = headers(&[("openai-beta", "assistants=v2")]);
        assert!(rules.check(&assistants).is_err());
    }

    #[test]
    fn a_seller_lets_betas_pass_or_drops_them() {
        let rules = HeaderRules {
            pass_betas: set(&["context-1m-2025-08-07"]),
            drop_betas: set(&["claude-code-20250219", EVERY_OTHER]),
            ..HeaderRules::default()
        };
        let mut sent = headers(&[
            (
                "anthropic-beta",
                "claude-code-20250219, context-1m-2025-08-07",
            ),
            ("anthropic-beta", "brand-new-2030-01-01,effort-2025-11-24"),
            ("openai-beta", "assistants=v2"),
        ]);
        assert!(rules.check(&sent).is_ok());
        rules.prepare(&mut sent);
        let left = "context-1m-2025-08-07,effort-2025-11-24";
        assert_eq!(sent, headers(&[("anthropic-beta", left)]));
    }
}
