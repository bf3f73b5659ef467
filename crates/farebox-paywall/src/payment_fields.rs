//! Header fields of payment. They are for us alone: the upstream never sees what a client pays with,
//! and a client never takes for ours what the upstream says about payment or its own credentials.

use farebox_wire::credential::PAYMENT_HEADERS;

/// Whether a field of a request pays or looks like one of ours; `name` is in small letters.
pub fn in_requests(name: &str) -> bool {
    PAYMENT_HEADERS.contains(&name) || name.starts_with("farebox-")
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
    fn what_the_upstream_says_about_payment_and_credentials_does_not_come_back() {
        for name in [
            "www-authenticate",
            "authentication-info",
            "payment-receipt",
            "payment-required",
            "x-change-sats",
        ] {
            assert!(in_answers(name) && !in_requests(name), "{name}");
        }
    }
}
