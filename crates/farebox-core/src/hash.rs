//! The 32-byte values that tie a payment to a request, and name the account it funds.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The name of an account in the ledger. What it is made of says who may spend the account: each
/// kind of payer has a conversion with a name of its own, such as [`PaymentHash::account`] and
/// [`KeyHash::account`]. All of them are hashes, so that two kinds never meet in one name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId([u8; 32]);

/// The SHA-256 of a [`Preimage`]: names a Lightning payment. Public: the payee and every node on the
/// way know it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentHash([u8; 32]);

/// What a payer learns by paying a Lightning invoice: the proof of payment. A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Preimage([u8; 32]);

/// The SHA-256 of a prepaid key's secret: names the key and its account. The secret itself is known
/// to its holder alone; who knows only this can spend nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash([u8; 32]);

/// The SHA-256 of what one request asks for: method, canonical path, query and body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestDigest([u8; 32]);

/// Text that is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected exactly 64 hex digits")]
pub struct BadHex;

fn parse_hex(text: &[u8]) -> Result<[u8; 32], BadHex> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| BadHex)?;
    Ok(bytes)
}

/// What every name of 32 bytes has: the bytes, and hex to read it by.
macro_rules! names {
    ($($name:ident)*) => {$(
        impl $name {
            /// The name that has these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Parses 64 hex digits, either case.
            ///
            /// # Errors
            /// [`BadHex`] for anything else.
            pub fn from_hex(text: &str) -> Result<Self, BadHex> {
                parse_hex(text.as_bytes()).map(Self)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 64];
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

names! { AccountId PaymentHash KeyHash RequestDigest }

impl PaymentHash {
    /// The account that this payment funds, where a token was sold for it.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId(self.0)
    }
}

impl Preimage {
    /// A preimage from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Parses 64 hex digits, either case.
    ///
    /// # Errors
    /// [`BadHex`] for anything else.
    pub fn from_hex(text: &[u8]) -> Result<Self, BadHex> {
        parse_hex(text).map(Self)
    }

    /// The payment hash this preimage opens.
    #[must_use]
    pub fn payment_hash(&self) -> PaymentHash {
        PaymentHash(Sha256::digest(self.0).into())
    }

    /// Whether this is the preimage of `hash`, compared in constant time.
    #[must_use]
    pub fn opens(&self, hash: &PaymentHash) -> bool {
        self.payment_hash().0.ct_eq(&hash.0).into()
    }

    /// The bytes, for the wire and for node adapters only.
    #[must_use]
    pub const fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl KeyHash {
    /// The hash of a key's secret, as its holder presents it.
    #[must_use]
    pub fn of_secret(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// The key's account.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId(self.0)
    }
}

impl RequestDigest {
    /// The digest of one request. `path` is canonical, `query` is what stood behind `?` (absent
    /// and empty differ), `body` is the SHA-256 of the body. Each part goes in with its length, so
    /// no two requests share a digest.
    #[must_use]
    pub fn of_request(method: &str, path: &str, query: Option<&str>, body: &[u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"farebox request v1\n");
        for part in [method, path, query.unwrap_or_default()] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.update([u8::from(query.is_some())]);
        hasher.update(body);
        Self(hasher.finalize().into())
    }
}

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preimage(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preimage_opens_its_own_hash_and_no_other() {
        let preimage = Preimage::from_bytes([0x11; 32]);
        let hash = PaymentHash::from_hex(
            "02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc",
        )
        .unwrap();
        assert!(preimage.opens(&hash));
        assert!(!Preimage::from_bytes([0x12; 32]).opens(&hash));
    }

    #[test]
    fn a_preimage_is_exactly_64_hex_digits_of_either_case() {
        assert!(Preimage::from_hex("aB".repeat(32).as_bytes()).is_ok());
        for bad in [
            "",
            "ab",
            &"ab".repeat(31),
            &"ab".repeat(33),
            &"zz".repeat(32),
        ] {
            assert_eq!(Preimage::from_hex(bad.as_bytes()), Err(BadHex));
        }
    }

    #[test]
    fn debug_output_never_shows_a_preimage() {
        assert_eq!(
            format!("{:?}", Preimage::from_bytes([0x11; 32])),
            "Preimage(…)"
        );
    }

    #[test]
    fn requests_that_differ_in_any_part_differ_in_digest() {
        let body = [0; 32];
        let digests = [
            RequestDigest::of_request("GET", "/a", None, &body),
            RequestDigest::of_request("GET", "/a", Some(""), &body),
            RequestDigest::of_request("GET", "/", Some("a"), &body),
            RequestDigest::of_request("POST", "/a", None, &body),
            RequestDigest::of_request("GET", "/a", None, &[1; 32]),
        ];
        for (i, one) in digests.iter().enumerate() {
            assert!(!digests[i + 1..].contains(one));
        }
    }
}
