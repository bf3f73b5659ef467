//! What the upstream is told of a client's retries.
//!
//! To the upstream all buyers are one account: with the same idempotency key, one of them would get the
//! answer that another paid for. So a key goes on as a word that only its own account can bring about.
//! It stays the same for all retries, over rotations of the keyring too.

use farebox_core::{AccountId, Secret};
use hmac::{Hmac, Mac};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::keyring::{Keyring, Purpose};

/// Whether upstreams know a repeated request by this field; `name` is in small letters.
#[must_use]
pub fn names_retry(name: &str) -> bool {
    const OTHERS: [&str; 4] = [
        "paypal-request-id",
        "repeatability-request-id",
        "x-client-token",
        "x-ms-client-request-id",
    ];
    name.contains("idempot") || OTHERS.contains(&name)
}

/// Makes the words of one account.
pub struct RetryWords(Secret<[u8; 32]>);

impl RetryWords {
    /// Those of the account that pays for a request with these fields; none where it names no retry.
    #[must_use]
    pub fn of(keyring: &Keyring, account: AccountId, headers: &HeaderMap) -> Option<Self> {
        if !headers.keys().any(|name| names_retry(name.as_str())) {
            return None;
        }
        let secret = keyring.derive_lasting(Purpose::RetryWords, account.as_bytes());
        secret.map(Self)
    }

    /// Puts a word in the place of each key, in the form of a UUID, which every upstream takes. Where
    /// nobody's account is told, none goes on.
    pub fn replace(words: Option<&Self>, headers: &mut HeaderMap) {
        let names = headers.keys().filter(|name| names_retry(name.as_str()));
        let names: Vec<HeaderName> = names.cloned().collect();
        for name in names {
            match words.and_then(|words| words.word(&name, headers)) {
                Some(word) => headers.insert(name, word),
                None => headers.remove(name),
            };
        }
    }

    /// All lines count, as they do for the sale.
    fn word(&self, name: &HeaderName, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.reveal()).expect("HMAC takes keys of any length");
        mac.update(name.as_str().as_bytes());
        for line in headers.get_all(name) {
            mac.update(b"\n");
            mac.update(line.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        // Version 8 of RFC 9562: its maker's own.
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(bytes);
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
        HeaderValue::from_str(&parts.join("-")).ok()
    }
}

#[cfg(test)]
mod tests {
    use farebox_core::{PaymentHash, UnixMillis};

    use super::*;
    use crate::keyring::Rotation;

    fn word(keyring: &Keyring, account: u8, sent: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", HeaderValue::from_static(sent));
        let account = PaymentHash::from_bytes([account; 32]).account();
        let words = RetryWords::of(keyring, account, &headers);
        RetryWords::replace(words.as_ref(), &mut headers);
        headers["idempotency-key"].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_retry_is_the_same_word_after_a_rotation_and_another_for_every_account_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let keyring = Keyring::open(&path, None, UnixMillis::new(0)).unwrap();
        let first = word(&keyring, 1, "one");
        keyring
            .rotate(Rotation::Emergency, UnixMillis::new(1))
            .unwrap();
        assert_eq!(word(&keyring, 1, "one"), first);
        assert_ne!(word(&keyring, 2, "one"), first);
        assert_ne!(word(&keyring, 1, "two"), first);
        assert_eq!((first.len(), &first[14..15]), (36, "8"));
    }

    #[test]
    fn nobody_s_key_goes_on() {
        let mut headers = HeaderMap::new();
        for name in ["x-idempotency-key", "paypal-request-id", "accept"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        RetryWords::replace(None, &mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["accept"]);
    }
}
