//! Keysets: their keys, made at random, and what is told of them (NUT-01, NUT-02).

use std::collections::BTreeMap;
use std::str::FromStr;

use cashu::nuts::{BlindSignature, BlindedMessage, CurrencyUnit, Id, Keys, Proof, SecretKey};
use cashu::{Amount, dhke};
use serde_json::{Value, json};

use super::Refusal;

/// Which form the id of a keyset has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdVersion {
    /// `00` and 7 bytes of a hash.
    First,
    /// `01` and 32 bytes of a hash.
    Second,
    /// In the form of the first, of random bytes: not the hash of its keys.
    Wrong,
}

/// What a keyset is to be.
#[derive(Clone, Debug)]
pub struct KeysetOptions {
    /// `msat`, `sat` or any other.
    pub unit: String,
    /// The form of its id. The second by default.
    pub version: IdVersion,
    /// What spending a thousand of its coins costs, in its unit. Zero by default.
    pub fee_ppk: u64,
    /// When its coins can no longer be spent, in seconds since 1970. Never by default.
    pub final_expiry: Option<u64>,
    /// Whether new coins are signed with it. True by default.
    pub is_active: bool,
    /// Its largest coin is two to this power; 31 by default, at most 63.
    pub top_bit: u32,
}

impl KeysetOptions {
    /// The defaults, for this unit.
    #[must_use]
    pub fn new(unit: &str) -> Self {
        Self {
            unit: unit.to_owned(),
            version: IdVersion::Second,
            fee_ppk: 0,
            final_expiry: None,
            is_active: true,
            top_bit: 31,
        }
    }
}

/// A unit by its name in any spelling.
pub(super) fn unit(name: &str) -> CurrencyUnit {
    CurrencyUnit::from_str(name).unwrap_or_else(|_| CurrencyUnit::custom(name))
}

#[derive(Debug)]
pub(super) struct Keyset {
    pub(super) id: Id,
    pub(super) unit: CurrencyUnit,
    pub(super) fee_ppk: u64,
    pub(super) is_active: bool,
    /// Whether it is left out of the list.
    pub(super) is_hidden: bool,
    final_expiry: Option<u64>,
    secrets: BTreeMap<u64, SecretKey>,
    keys: Keys,
}

impl Keyset {
    pub(super) fn generate(options: &KeysetOptions) -> Self {
        let powers = (0..=options.top_bit.min(63)).map(|bit| 1_u64 << bit);
        let secrets: BTreeMap<_, _> = powers
            .map(|amount| (amount, SecretKey::generate()))
            .collect();
        let public = |(amount, key): (&u64, &SecretKey)| (Amount::from(*amount), key.public_key());
        let keys = Keys::new(secrets.iter().map(public).collect());
        let unit = unit(&options.unit);
        Self {
            id: match options.version {
                IdVersion::First => Id::v1_from_keys(&keys),
                IdVersion::Second => {
                    Id::v2_from_data(&keys, &unit, options.fee_ppk, options.final_expiry)
                }
                IdVersion::Wrong => wrong_id(),
            },
            unit,
            fee_ppk: options.fee_ppk,
            is_active: options.is_active,
            is_hidden: false,
            final_expiry: options.final_expiry,
            secrets,
            keys,
        }
    }

    /// The largest coins first: how an amount is paid with few of them.
    ///
    /// # Errors
    /// Where it would take more than a thousand of the largest.
    pub(super) fn split(&self, mut amount: u64) -> Result<Vec<u64>, Refusal> {
        let mut coins = Vec::new();
        for coin in self.secrets.keys().rev() {
            while amount >= *coin {
                if coins.len() == super::MAX_COINS {
                    return Err(Refusal::AMOUNT);
                }
                coins.push(*coin);
                amount -= coin;
            }
        }
        Ok(coins)
    }

    pub(super) fn has_expired(&self, now: u64) -> bool {
        self.final_expiry.is_some_and(|expiry| expiry <= now)
    }

    fn key(&self, amount: Amount) -> Result<&SecretKey, Refusal> {
        self.secrets.get(&amount.to_u64()).ok_or(Refusal::AMOUNT)
    }

    pub(super) fn sign(&self, output: &BlindedMessage) -> Result<BlindSignature, Refusal> {
        let key = self.key(output.amount)?;
        let signed = dhke::sign_message(key, &output.blinded_secret);
        let c = signed.map_err(|_| Refusal::UNREADABLE)?;
        BlindSignature::new(output.amount, c, self.id, &output.blinded_secret, key)
            .map_err(|_| Refusal::UNREADABLE)
    }

    pub(super) fn check(&self, proof: &Proof) -> Result<(), Refusal> {
        let key = self.key(proof.amount).map_err(|_| Refusal::UNPROVEN)?;
        let y = proof.y().map_err(|_| Refusal::UNPROVEN)?;
        match dhke::sign_message(key, &y) {
            Ok(c) if c == proof.c => Ok(()),
            _ => Err(Refusal::UNPROVEN),
        }
    }

    pub(super) const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// As it stands in the list.
    pub(super) fn listed(&self) -> Value {
        let mut listed = json!({
            "id": self.id,
            "unit": self.unit,
            "active": self.is_active,
            "input_fee_ppk": self.fee_ppk,
        });
        if let Some(expiry) = self.final_expiry {
            listed["final_expiry"] = expiry.into();
        }
        listed
    }

    /// With its keys.
    pub(super) fn told(&self) -> Value {
        let mut told = self.listed();
        told["keys"] = json!(self.keys);
        told
    }
}

fn wrong_id() -> Id {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes[1..]).expect("random bytes");
    Id::from_bytes(&bytes).expect("a version and seven bytes")
}
