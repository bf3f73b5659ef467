//! The identifier of an L402 token: which payment opens it, and which of our secrets signed it.

use std::fmt;

use farebox_core::{KeyEpoch, PaymentHash};

/// The length of the only version there is, in bytes.
pub const LENGTH: usize = 66;

const VERSION: [u8; 2] = [0, 0];

/// The version 0 token identifier: two bytes of version, the payment hash, a token id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenIdentifier {
    /// The hash whose preimage proves the payment.
    pub payment_hash: PaymentHash,
    /// What tells two tokens for one payment apart. Farebox keeps its [`KeyEpoch`] in the first
    /// four bytes, the rest is random.
    pub token_id: [u8; 32],
}

/// Why bytes are not a token identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Not [`LENGTH`] bytes.
    #[error("the token identifier is not {LENGTH} bytes long")]
    Length,
    /// A version other than 0.
    #[error("the token identifier's version is not 0")]
    Version,
}

impl TokenIdentifier {
    /// An identifier for a new token.
    #[must_use]
    pub fn new(payment_hash: PaymentHash, epoch: KeyEpoch, random: [u8; 28]) -> Self {
        let mut token_id = [0; 32];
        token_id[..4].copy_from_slice(&epoch.0.to_be_bytes());
        token_id[4..].copy_from_slice(&random);
        Self {
            payment_hash,
            token_id,
        }
    }

    /// Parses version, payment hash and token id.
    ///
    /// # Errors
    /// [`IdentifierError`] for another length or version.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentifierError> {
        let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| IdentifierError::Length)?;
        let (version, rest) = bytes.split_at(VERSION.len());
        if version != VERSION {
            return Err(IdentifierError::Version);
        }
        let (hash, token_id) = rest.split_at(32);
        Ok(Self {
            payment_hash: PaymentHash::from_bytes(half(hash)?),
            token_id: half(token_id)?,
        })
    }

    /// The bytes that go into a macaroon.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..2].copy_from_slice(&VERSION);
        bytes[2..34].copy_from_slice(self.payment_hash.as_bytes());
        bytes[34..].copy_from_slice(&self.token_id);
        bytes
    }

    /// Which of the server's secrets signed the token, if it is one of ours.
    #[must_use]
    pub const fn key_epoch(&self) -> KeyEpoch {
        let [a, b, c, d, ..] = self.token_id;
        KeyEpoch(u32::from_be_bytes([a, b, c, d]))
    }
}

fn half(bytes: &[u8]) -> Result<[u8; 32], IdentifierError> {
    bytes.try_into().map_err(|_| IdentifierError::Length)
}

impl fmt::Debug for TokenIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIdentifier")
            .field("payment_hash", &self.payment_hash)
            .field("key_epoch", &self.key_epoch())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> TokenIdentifier {
        TokenIdentifier::new(
            PaymentHash::from_bytes([7; 32]),
            KeyEpoch(0x0102_0304),
            [9; 28],
        )
    }

    #[test]
    fn the_key_epoch_stands_big_endian_at_the_front_of_the_token_id() {
        assert_eq!(sample().token_id[..5], [1, 2, 3, 4, 9]);
        assert_eq!(sample().key_epoch(), KeyEpoch(0x0102_0304));
    }

    #[test]
    fn other_lengths_and_versions_are_refused() {
        let bytes = sample().to_bytes();
        for end in 0..bytes.len() {
            assert_eq!(
                TokenIdentifier::parse(&bytes[..end]),
                Err(IdentifierError::Length)
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(
            TokenIdentifier::parse(&longer),
            Err(IdentifierError::Length)
        );
        for at in [0, 1] {
            let mut other = bytes;
            other[at] = 1;
            assert_eq!(
                TokenIdentifier::parse(&other),
                Err(IdentifierError::Version)
            );
        }
    }

    #[test]
    fn debug_keeps_the_token_id_to_itself() {
        let shown = format!("{:?}", sample());
        assert!(
            !shown.contains("9, 9") && !shown.contains("0909"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(hash: [u8; 32], token_id: [u8; 32]) {
            let identifier = TokenIdentifier { payment_hash: PaymentHash::from_bytes(hash), token_id };
            prop_assert_eq!(TokenIdentifier::parse(&identifier.to_bytes()), Ok(identifier));
        }

        #[test]
        fn what_is_read_is_printed_alike(bytes in proptest::collection::vec(any::<u8>(), 60..70)) {
            if let Ok(identifier) = TokenIdentifier::parse(&bytes) {
                prop_assert_eq!(&identifier.to_bytes()[..], &bytes[..]);
            }
        }
    }
}
