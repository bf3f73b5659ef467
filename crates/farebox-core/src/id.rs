//! Typed identifiers. Each noun has its own type, so that one cannot be passed for another.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::UnixMillis;

/// Names one hold, and the transfer that settles it. Made by the gateway before it asks the
/// ledger, time-ordered (UUID version 7, RFC 9562 section 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(Uuid);

/// Names one payout: money that leaves an account through the node. Made by the side that asks for
/// it, time-ordered (UUID version 7, RFC 9562 section 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayoutId(Uuid);

/// Names one swap of coins at a mint. Made by the side that asks for it, time-ordered (UUID version 7,
/// RFC 9562 section 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwapId(Uuid);

/// Names one withdrawal: coins of ours that leave the store as a token. Made by the side that asks for
/// it, time-ordered (UUID version 7, RFC 9562 section 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WithdrawalId(Uuid);

/// Names one unit of one mint, whose coins have a clearing account of their own. Never below 2^62, so
/// that it is told from the small numbers of other rails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MintId(u64);

/// Text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id looks like 0192f8a0-0000-7000-8000-000000000000")]
pub struct IdError;

/// Names one request in answers, logs and problem documents (UUID version 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

/// Which of the server's secrets signed a macaroon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyEpoch(pub u32);

/// Which run of the process owns a hold: counted up at each start on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessEpoch(pub u32);

/// The name of a route: `[A-Za-z0-9_-]`, 1 to 64 characters, so that it is safe inside caveats,
/// metric labels and URLs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName(Arc<str>);

/// Text that cannot name a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a route name has 1 to 64 characters out of A-Z, a-z, 0-9, _ and -")]
pub struct RouteNameError;

/// What every id of UUID version 7 has.
macro_rules! ids {
    ($($name:ident)*) => {$(
        impl $name {
            /// A new id from the present instant and ten random bytes.
            #[must_use]
            pub fn new(now: UnixMillis, random: [u8; 10]) -> Self {
                let id = uuid::Builder::from_unix_timestamp_millis(now.get(), &random);
                Self(id.into_uuid())
            }

            /// The id with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The bytes, in an order that sorts by time.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads an id as it is printed.
            ///
            /// # Errors
            /// [`IdError`] when the text is something else.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    )*};
}

ids! { HoldId PayoutId RequestId SwapId WithdrawalId }

/// The bit that every [`MintId`] has.
const MINT: u64 = 1 << 62;

impl MintId {
    /// Of the mint with this canonical URL, and this unit of it.
    #[must_use]
    pub fn of(url: &str, unit: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"farebox/mint\0");
        hasher.update(url.as_bytes());
        hasher.update([0]);
        hasher.update(unit.as_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = hash;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]) & (MINT - 1) | MINT)
    }

    /// The id with this number, if it is one.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        if number >> 62 == 1 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number, which fits a signed column.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Reads an id as it is printed.
    ///
    /// # Errors
    /// [`IdError`] when the text is something else.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let number = u64::from_str_radix(text, 16).map_err(|_| IdError)?;
        Self::from_number(number).ok_or(IdError)
    }
}

impl fmt::Display for MintId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for MintId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl RouteName {
    /// Parses a route name.
    ///
    /// # Errors
    /// [`RouteNameError`] when it is empty, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, RouteNameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            return Err(RouteNameError);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payout_is_found_by_the_id_that_was_printed() {
        let id = PayoutId::new(UnixMillis::new(1_800_000_000_000), [7; 10]);
        assert_eq!(PayoutId::parse(&id.to_string()), Ok(id));
        assert_eq!(PayoutId::parse("the last one"), Err(IdError));
    }
}
