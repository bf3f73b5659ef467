//! Secrets of new coins, derived from one seed (NUT-13), so that they can be found again.

use std::fmt;

use cashu::dhke::blind_message;
use cashu::nuts::{PublicKey, SecretKey};
use cashu::secret::Secret as CoinSecret;
use farebox_core::Secret;
use hmac::{Hmac, Mac};
use sha2::Sha512;

use crate::keyset::KeysetId;

/// What coins are made for. Each branch has secrets of its own, so that a coin that was given away is
/// never taken for income when coins are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Branch {
    /// To be kept, or to leave by a swap or a melt.
    Income,
    /// To be given away as change.
    Change,
}

/// What all secrets of one owner are derived from.
#[derive(Clone)]
pub struct Seed(Secret<[u8; 64]>);

/// The secrets of one branch.
#[derive(Clone)]
pub struct BranchSeed(Secret<[u8; 64]>);

/// A coin that the mint is asked to sign: everything that makes it a coin once it is signed.
#[derive(Clone)]
pub struct Output {
    /// Which keys are to sign it.
    pub keyset: KeysetId,
    /// How much. Of a blank (NUT-08), what the mint says.
    pub amount: u64,
    /// What is signed.
    pub secret: Secret<String>,
    /// What blinds it.
    pub r: SecretKey,
    /// What the mint sees of it (`B_`).
    pub blinded: PublicKey,
}

/// No secret could be derived: the counter is above 2^31, or, once in 2^127, the number is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no secret can be derived for this coin")]
pub struct NoSecret;

impl Branch {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Income => b"farebox/income",
            Self::Change => b"farebox/change",
        }
    }
}

impl Seed {
    /// A seed with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The secrets of a branch.
    #[must_use]
    pub fn branch(&self, branch: Branch) -> BranchSeed {
        BranchSeed(derive(&self.0, branch.name()))
    }
}

/// Other secrets for each `data`.
fn derive(from: &Secret<[u8; 64]>, data: &[u8]) -> Secret<[u8; 64]> {
    let mut derived = [0; 64];
    // A key of this type may be of any length.
    if let Ok(mut mac) = Hmac::<Sha512>::new_from_slice(from.reveal()) {
        mac.update(data);
        derived.copy_from_slice(&mac.finalize().into_bytes());
    }
    Secret::new(derived)
}

impl BranchSeed {
    /// The secrets of one swap, whose id nobody used before: a store that was put back from a copy has
    /// the same seed, and no id of it comes again.
    #[must_use]
    pub fn of_swap(&self, id: &[u8]) -> Self {
        Self(derive(&self.0, id))
    }

    /// The coin of this counter, which must never be used for two.
    ///
    /// # Errors
    /// [`NoSecret`].
    pub fn output(&self, keyset: KeysetId, counter: u32, amount: u64) -> Result<Output, NoSecret> {
        let seed = self.0.reveal();
        let secret = CoinSecret::from_seed(seed, keyset, counter).map_err(|_| NoSecret)?;
        let r = SecretKey::from_seed(seed, keyset, counter).map_err(|_| NoSecret)?;
        let (blinded, r) = blind_message(secret.as_bytes(), Some(r)).map_err(|_| NoSecret)?;
        Ok(Output {
            keyset,
            amount,
            secret: Secret::new(secret.to_string()),
            r,
            blinded,
        })
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl fmt::Debug for BranchSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BranchSeed(…)")
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({} of {})", self.amount, self.keyset)
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    const IDS: [&str; 2] = [
        "009a1f293253e41e",
        "01adc013fa9d85171586660abab27579888611659d357bc86bc09cb26eee8bc035",
    ];

    #[test]
    fn the_same_counter_gives_the_same_coin_and_no_other_does() {
        let seed = Seed::new([7; 64]);
        let mut seen = std::collections::BTreeSet::new();
        for id in IDS.map(|id| KeysetId::from_str(id).unwrap()) {
            for branch in [Branch::Income, Branch::Change] {
                for counter in 0..3 {
                    let output = seed.branch(branch).output(id, counter, 8).unwrap();
                    let again = seed.branch(branch).output(id, counter, 4).unwrap();
                    assert_eq!(output.blinded, again.blinded);
                    assert!(seen.insert(output.blinded));
                    assert!(seen.insert(output.r.public_key()));
                }
            }
        }
        assert_eq!(format!("{seed:?}"), "Seed(…)");
    }

    #[test]
    fn each_swap_has_secrets_of_its_own() {
        let branch = Seed::new([7; 64]).branch(Branch::Change);
        let id = KeysetId::from_str(IDS[0]).unwrap();
        let first = |swap: &[u8]| branch.of_swap(swap).output(id, 0, 1).unwrap().blinded;
        assert_eq!(first(b"one"), first(b"one"));
        assert_ne!(first(b"one"), first(b"other"));
        assert_ne!(first(b"one"), branch.output(id, 0, 1).unwrap().blinded);
    }

    #[test]
    fn a_counter_above_the_range_has_no_coin() {
        let branch = Seed::new([7; 64]).branch(Branch::Income);
        let id = KeysetId::from_str(IDS[0]).unwrap();
        assert!(branch.output(id, u32::MAX, 1).is_err());
    }
}
