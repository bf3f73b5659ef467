//! Coins: a secret and the mint's signature on it. A coin is what the specification calls a proof.

use std::fmt;

use cashu::dhke::hash_to_curve;
use cashu::nuts::{ProofDleq, PublicKey, SecretKey};
use cashu::secret::Secret as CoinSecret;
use farebox_core::Secret;

use crate::KeysetId;

/// What names a coin at its mint, and marks it as spent there: `hash_to_curve(secret)` (NUT-00), 33 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Y([u8; 33]);

/// A coin: whoever has it can spend it.
#[derive(Clone)]
pub struct Proof {
    /// Which keys of the mint signed it.
    pub keyset: KeysetId,
    /// How much, in the unit of its keyset: a power of two.
    pub amount: u64,
    /// What the mint signed without seeing it.
    pub secret: Secret<String>,
    /// The signature (`C`).
    pub c: PublicKey,
    /// What shows without the mint that the signature is good (NUT-12).
    pub dleq: Option<Dleq>,
}

/// The proof that a signature was made with the mint's public key (NUT-12), with the factor that
/// blinded it. The factor would tell the mint whom it gave the coin to, so it never leaves for the mint.
#[derive(Clone)]
pub struct Dleq {
    /// The challenge.
    pub e: SecretKey,
    /// The response.
    pub s: SecretKey,
    /// The blinding factor.
    pub r: SecretKey,
}

/// A secret that is no point of the curve: none was ever found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a coin's secret has no point on the curve")]
pub struct NoPoint;

impl Y {
    /// Of the coin with this secret.
    ///
    /// # Errors
    /// [`NoPoint`], once in 2^65536 secrets.
    pub fn of(secret: &str) -> Result<Self, NoPoint> {
        let point = hash_to_curve(secret.as_bytes()).map_err(|_| NoPoint)?;
        Ok(Self(point.to_bytes()))
    }

    /// From its bytes, which are not looked into.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 33]) -> Self {
        Self(bytes)
    }

    /// The bytes of the compressed point.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// As mints write it: hexadecimal, in small letters.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Reads hexadecimal of either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 33];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Debug for Y {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Y({})", self.to_hex())
    }
}

impl Proof {
    /// What names it at its mint.
    ///
    /// # Errors
    /// [`NoPoint`].
    pub fn y(&self) -> Result<Y, NoPoint> {
        Y::of(self.secret.reveal())
    }

    /// Whether it shows that the key of its amount did not sign it. One that shows nothing is not known to
    /// be forged.
    #[must_use]
    pub fn is_forged(&self, key: &PublicKey) -> bool {
        let Some(Dleq { e, s, r }) = self.dleq.clone() else {
            return false;
        };
        let secret = CoinSecret::new(self.secret.reveal().clone());
        let mut proof = cashu::nuts::Proof::new(self.amount.into(), self.keyset, secret, self.c);
        proof.dleq = Some(ProofDleq::new(e, s, r));
        proof.verify_dleq(*key).is_err()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({} of {})", self.amount, self.keyset)
    }
}

impl fmt::Debug for Dleq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dleq(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn a_coin_shows_neither_its_secret_nor_its_signature() {
        let key = SecretKey::generate();
        let proof = Proof {
            keyset: KeysetId::from_str("009a1f293253e41e").unwrap(),
            amount: 4,
            secret: Secret::new("the secret".to_owned()),
            c: key.public_key(),
            dleq: Some(Dleq {
                e: key.clone(),
                s: key.clone(),
                r: key,
            }),
        };
        let text = format!("{proof:?} {:?}", proof.dleq);
        assert_eq!(text, "Proof(4 of 009a1f293253e41e) Some(Dleq(…))");
    }

    #[test]
    fn a_name_is_read_in_either_case() {
        let y = Y::of("0000").unwrap();
        assert_eq!(Y::parse(&y.to_hex().to_uppercase()), Some(y));
        assert_eq!(Y::parse("02"), None);
        assert_eq!(Y::parse("not hex"), None);
    }
}
