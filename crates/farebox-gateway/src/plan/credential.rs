//! The seller's credential for an upstream, and where an answer would give it to clients.

use farebox_wire::credential::{CREDENTIAL_HEADERS, names_secret};
use http::header::{HeaderName, HeaderValue};

/// Shorter words of a credential, in bytes, say nothing: they stand in answers by chance.
const MIN_WORD: usize = 8;

/// What is known of the headers that a route sets for its upstream.
#[derive(Debug, Default)]
pub struct Credential {
    /// Whether the upstream takes all its clients for the seller.
    is_set: bool,
    /// The parts of what is set that nobody else may see.
    words: Vec<Vec<u8>>,
}

impl Credential {
    /// Reads it off the headers that are set on every request.
    #[must_use]
    pub fn of(injected: &[(HeaderName, HeaderValue)]) -> Self {
        let is_set = injected.iter().any(|(name, _)| {
            let name = name.as_str();
            name == "cookie" || CREDENTIAL_HEADERS.contains(&name)
        });
        let secrets = injected
            .iter()
            .filter(|(name, _)| names_secret(name.as_str()));
        let words = secrets.flat_map(|(_, value)| {
            let words = value.as_bytes().split(|byte| b" ;,=\"".contains(byte));
            words.filter(|word| word.len() >= MIN_WORD)
        });
        Self {
            is_set,
            words: words.map(<[u8]>::to_vec).collect(),
        }
    }

    /// Whether there is one that all clients share: then none of the client's own goes along.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.is_set
    }

    /// Whether a field of an answer, head or trailer, would give a client the seller's credential or
    /// session; `name` is in small letters.
    #[must_use]
    pub fn is_told_in(&self, name: &str, value: &HeaderValue) -> bool {
        let value = value.as_bytes();
        let holds = |word: &Vec<u8>| value.windows(word.len()).any(|part| part == word);
        (self.is_set && opens_session(name)) || self.words.iter().any(holds)
    }
}

/// Whether servers give a session or a token of one in this field.
fn opens_session(name: &str) -> bool {
    const TOKENS: [&str; 9] = [
        "set-cookie",
        "set-cookie2",
        "cookie",
        "x-subject-token",
        "x-refresh-token",
        "x-session-token",
        "x-session-id",
        "x-csrf-token",
        "x-amz-security-token",
    ];
    TOKENS.contains(&name) || CREDENTIAL_HEADERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(injected: &[(&'static str, &'static str)], name: &str, value: &'static str) -> bool {
        let fields = injected.iter().map(|&(name, value)| {
            let value = HeaderValue::from_static(value);
            (HeaderName::from_static(name), value)
        });
        let credential = Credential::of(&fields.collect::<Vec<_>>());
        credential.is_told_in(name, &HeaderValue::from_static(value))
    }

    #[test]
    fn a_session_of_the_seller_s_is_told_only_where_clients_share_it() {
        let seller = [("authorization", "Bearer sk-seller-1")];
        for name in [
            "set-cookie",
            "x-auth-token",
            "authorization",
            "x-subject-token",
        ] {
            assert!(told(&seller, name, "abc"), "{name}");
            assert!(told(&[("cookie", "a=b")], name, "abc"), "{name}");
            assert!(!told(&[("x-tenant", "seller-inc")], name, "abc"), "{name}");
        }
        assert!(!told(&seller, "x-next-page-token", "abc"));
    }

    #[test]
    fn what_is_injected_as_a_secret_is_told_in_no_field() {
        for injected in [
            ("authorization", "Bearer sk-seller-1"),
            ("x-proxy-secret", "sk-seller-1"),
            ("cookie", "session=sk-seller-1; a=b"),
        ] {
            assert!(told(&[injected], "x-echo", "as sent: sk-seller-1."));
            assert!(!told(&[injected], "x-echo", "Bearer, a=b, session"));
        }
        assert!(!told(
            &[("accept", "application/json")],
            "content-type",
            "application/json"
        ));
    }
}
