//! Header fields of payment. They are for us alone: the upstream never sees what a client pays with,
//! and a client never takes for ours what the upstream says about payment or its own credentials.

use farebox_wire::credential::PAYMENT_HEADERS;
use http::HeaderValue;

use crate::keys::holds_key;
use crate::retry_words::names_retry;

/// Whether a field of a request pays or looks like one of ours; `name` is in small letters.
pub fn in_requests(name: &str) -> bool {
    PAYMENT_HEADERS.contains(&name) || name.starts_with("farebox-")
}

/// Whether a line that comes after a request's body is for us alone: nobody pays with it there, but
/// whoever reads a key can. Nor does anybody name a retry there.
pub fn in_request_trailers(name: &str, value: &HeaderValue) -> bool {
    in_requests(name) || names_retry(name) || holds_key(value.as_bytes())
}

/// Whether a field of an answer is about payment or credentials, or looks like one of ours; `name`
/// is in small letters.
pub fn in_answers(name: &str) -> bool {
    in_requests(name)
        || name.starts_with("payment-")
        || matches!(
            name,
            "www-authenticate" | "authentication-info" | "x-change-sats"
        )
        || tells_of_seller(name)
}

/// Whether a provider, or a gateway in front of it, tells there whose account pays and how much is left
/// of it.
fn tells_of_seller(name: &str) -> bool {
    const ACCOUNT: [&str; 4] = [
        "openai-organization",
        "openai-project",
        "anthropic-organization-id",
        "x-litellm-model-api-base",
    ];
    const GATEWAYS: [&str; 4] = ["x-litellm-key-", "llm_provider-", "x-portkey-", "helicone-"];
    ACCOUNT.contains(&name) || GATEWAYS.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pays_passes_in_neither_direction() {
        for name in PAYMENT_HEADERS.into_iter().chain(["farebox-receipt"]) {
            assert!(in_requests(name) && in_answers(name), "{name}");
        }
        for name in ["authorization", "cookie", "x-request-id"] {
            assert!(!in_requests(name) && !in_answers(name), "{name}");
        }
    }

    #[test]
    fn a_key_after_the_body_goes_no_further() {
        let key = HeaderValue::from_static("a sk-farebox-1");
        assert!(in_request_trailers("x-checksum", &key));
        let retry = HeaderValue::from_static("1");
        assert!(in_request_trailers("idempotency-key", &retry));
        assert!(!in_request_trailers(
            "x-checksum",
            &HeaderValue::from_static("abc")
        ));
    }

    #[test]
    fn what_the_upstream_says_about_payment_and_credentials_does_not_come_back() {
        for name in [
            "www-authenticate",
            "authentication-info",
            "payment-receipt",
            "payment-required",
            "x-change-sats",
            "openai-organization",
            "anthropic-organization-id",
            "x-litellm-key-spend",
        ] {
            assert!(in_answers(name) && !in_requests(name), "{name}");
        }
    }
}
