//! Macaroons in the version 2 binary format, signed as libmacaroons does it.
//!
//! A [`Macaroon`] is kept as the one vector of bytes it arrived in or leaves as; the format has one
//! spelling for each value, so nothing is lost by that. Nothing here knows what a caveat means.

mod format;
mod signing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use subtle::ConstantTimeEq;

pub use format::{Caveats, MacaroonError};
pub use signing::RootKey;

/// The longest macaroon that is read, in bytes. Its base64 fits [`MAX_BASE64_LENGTH`].
pub const MAX_LENGTH: usize = 6 * 1024;
/// The longest base64 text of a macaroon that is read, in characters.
pub const MAX_BASE64_LENGTH: usize = 8 * 1024;
/// The most caveats a macaroon that is read may have.
pub const MAX_CAVEATS: usize = 64;

/// A bearer token whose holder can restrict it, but not widen it. Grants what its caveats say, once
/// [`Macaroon::verify`] has said that we signed it. A secret: `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Macaroon {
    bytes: Vec<u8>,
    location: Range<usize>,
    identifier: Range<usize>,
    caveats_at: usize,
    signature: [u8; 32],
}

impl Macaroon {
    /// Signs a new macaroon. `location` is a hint that no signature covers; empty leaves it out.
    #[must_use]
    pub fn issue(
        root_key: &RootKey,
        location: &str,
        identifier: &[u8],
        caveats: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self {
        let mut macaroon =
            format::begin(location.as_bytes(), identifier, root_key.sign(identifier));
        for caveat in caveats {
            macaroon.attenuate(caveat);
        }
        macaroon
    }

    /// Parses the version 2 binary format: fields in order and none twice, the shortest varints,
    /// nothing after the signature, first-party caveats only.
    ///
    /// # Errors
    /// [`MacaroonError`] for anything else, and above [`MAX_LENGTH`] or [`MAX_CAVEATS`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MacaroonError> {
        Self::from_vec(bytes.to_vec())
    }

    /// [`Macaroon::parse`] without a copy.
    ///
    /// # Errors
    /// As [`Macaroon::parse`].
    pub fn from_vec(bytes: Vec<u8>) -> Result<Self, MacaroonError> {
        format::parse(bytes)
    }

    /// Adds a restriction, as any holder may.
    pub fn attenuate(&mut self, caveat: impl AsRef<[u8]>) {
        let signature = signing::extend(&self.signature, caveat.as_ref());
        self.append(caveat.as_ref(), signature);
    }

    /// Whether `root_key` signed this identifier with these caveats. Pure, and compares in constant
    /// time.
    #[must_use]
    pub fn verify(&self, root_key: &RootKey) -> bool {
        let first = root_key.sign(self.identifier());
        let expected = self
            .caveats()
            .fold(first, |key, caveat| signing::extend(&key, caveat));
        expected.ct_eq(&self.signature).into()
    }

    /// Where the issuer says the macaroon is good for. Not signed: never rely on it.
    #[must_use]
    pub fn location(&self) -> &[u8] {
        self.bytes.get(self.location.clone()).unwrap_or_default()
    }

    /// The issuer's identifier of the token.
    #[must_use]
    pub fn identifier(&self) -> &[u8] {
        self.bytes.get(self.identifier.clone()).unwrap_or_default()
    }

    /// The caveats, the issuer's own first.
    #[must_use]
    pub fn caveats(&self) -> Caveats<'_> {
        Caveats::starting_at(&self.bytes, self.caveats_at)
    }

    /// The version 2 binary form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The binary form in padded standard base64, for a challenge.
    #[must_use]
    pub fn to_base64(&self) -> String {
        crate::base64_text::encode(&self.bytes)
    }
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Macaroon(…)")
    }
}
