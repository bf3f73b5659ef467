//! Tokens: coins of one mint as a text (NUT-00), read in the forms that people paste and written in one.

mod read;
mod write;

use std::fmt;

use cashu::nuts::{Id, PublicKey};
use farebox_core::Secret;

use crate::proof::Dleq;
use crate::{MintUrl, Y};

pub use write::{WithDleq, write};

/// The longest token that is read, in bytes of its text: more than any header takes.
pub const MAX_TOKEN: usize = 64 * 1024;
/// The most coins of one token: each costs the mint and us a computation on the curve.
pub const MAX_PROOFS: usize = 200;
/// The longest secret of a coin, in bytes.
const MAX_SECRET: usize = 1024;

/// A token as it was read: nothing of it is known to be true.
#[derive(Clone)]
pub struct Token {
    /// The mint that it names.
    pub mint: MintUrl,
    /// The unit that it names, in small letters; those of the first form may name none.
    pub unit: Option<String>,
    /// Its coins: at least one, each once.
    pub proofs: Vec<TokenProof>,
}

/// A coin of a token. What it says of its keyset is resolved by the list of its mint.
#[derive(Clone)]
pub struct TokenProof {
    /// The keyset that it names.
    pub keyset: KeysetName,
    /// How much, in the unit of its keyset; never zero.
    pub amount: u64,
    /// The secret.
    pub secret: Secret<String>,
    /// What names the coin at its mint.
    pub y: Y,
    /// The mint's signature.
    pub c: PublicKey,
    /// The proof that the signature is good, where it is whole. Half of one counts as none.
    pub dleq: Option<Dleq>,
}

/// How a token names a keyset.
#[derive(Clone, PartialEq, Eq)]
pub enum KeysetName {
    /// By its whole id.
    Whole(Id),
    /// By the first bytes of an id of the second version.
    Short(Vec<u8>),
    /// In a way that we do not deal in: the ids of before 2024, or of a version to come.
    Unknown(String),
}

/// Why a text is no token that can be taken. None of these tells anything about the coins' secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin as one.
    #[error("a token begins with cashuA or cashuB")]
    Prefix,
    /// More bytes than are read.
    #[error("a token has at most {MAX_TOKEN} characters")]
    Long,
    /// What follows the prefix is no base64.
    #[error("the token is damaged: it is no base64")]
    Base64,
    /// What is encoded in it has not the members of a token, or something follows them.
    #[error("the token is damaged: its content cannot be read")]
    Content,
    /// The mint's URL is none.
    #[error("the token names no mint that can be called")]
    Mint,
    /// It holds coins of several mints.
    #[error("the token holds coins of several mints: send one of a single mint")]
    Mints,
    /// It holds no coin.
    #[error("the token holds no coins")]
    Empty,
    /// It holds too many.
    #[error("the token holds more than {MAX_PROOFS} coins: swap them for fewer first")]
    Many,
    /// The same coin stands in it twice.
    #[error("the token holds the same coin twice")]
    Twice,
    /// A coin has no value, no signature, or a secret that none has.
    #[error("a coin of the token is damaged")]
    Coin,
    /// The sum is above all the money there is.
    #[error("the token says it is worth more than all the money there is")]
    Sum,
}

/// What a coin is locked to (NUT-10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The kind: `P2PK`, `HTLC`, or one that we do not know.
    pub kind: String,
}

impl Token {
    /// Reads a token in either form: with or without padding, wrapped, or with spaces around it. Whatever
    /// the form, the same coins are the same payment.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        read::read(text)
    }

    /// Whether a text is meant to be a token, however damaged it is.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        let text = text.trim_start();
        ["cashuA", "cashuB"].iter().any(|it| text.starts_with(it))
    }

    /// The sum of its coins, in its unit, as it says.
    ///
    /// # Errors
    /// [`TokenError::Sum`].
    pub fn face(&self) -> Result<u64, TokenError> {
        let mut amounts = self.proofs.iter().map(|proof| proof.amount);
        let sum = amounts.try_fold(0_u64, u64::checked_add);
        sum.filter(|sum| i64::try_from(*sum).is_ok())
            .ok_or(TokenError::Sum)
    }

    /// What the first coin that is locked is locked to.
    #[must_use]
    pub fn lock(&self) -> Option<Lock> {
        let mut proofs = self.proofs.iter();
        proofs.find_map(|proof| lock_of(proof.secret.reveal()))
    }
}

/// What a secret locks its coin to. A text that is no well-formed condition locks nothing, whatever
/// it begins with.
fn lock_of(secret: &str) -> Option<Lock> {
    if !secret.starts_with('[') {
        return None;
    }
    let (kind, condition): (String, serde_json::Map<String, serde_json::Value>) =
        serde_json::from_str(secret).ok()?;
    let is_text = |name| condition.get(name).is_some_and(|it| it.is_string());
    (is_text("nonce") && is_text("data")).then_some(Lock { kind })
}

impl KeysetName {
    /// Reads the bytes of an id, or the first eight of a long one.
    fn from_bytes(bytes: &[u8]) -> Self {
        match (bytes, Id::from_bytes(bytes)) {
            (_, Ok(id)) => Self::Whole(id),
            ([1, prefix @ ..], Err(_)) if (7..32).contains(&prefix.len()) => {
                Self::Short(bytes.to_vec())
            }
            _ => Self::Unknown(hex::encode(bytes)),
        }
    }
}

impl fmt::Debug for KeysetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeysetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(id) => id.fmt(f),
            Self::Short(bytes) => f.write_str(&hex::encode(bytes)),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} coins of {})", self.proofs.len(), self.mint)
    }
}

impl fmt::Debug for TokenProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenProof({} of {})", self.amount, self.keyset)
    }
}
