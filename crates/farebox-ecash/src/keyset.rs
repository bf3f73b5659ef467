//! Keysets: which keys a mint signs with, what their coins cost to spend, and which one a token means
//! (NUT-01, NUT-02).

use std::collections::BTreeMap;

use cashu::nuts::{CurrencyUnit, Id, KeySet, Keys, PublicKey};

use crate::Unit;
use crate::token::{KeysetName, Token};

/// The id of a keyset, of the first version (8 bytes) or the second (33 bytes).
pub type KeysetId = Id;

/// What a mint lists of a keyset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysetInfo {
    /// Its id.
    pub id: KeysetId,
    /// The unit of its coins, where it is one that we deal in.
    pub unit: Unit,
    /// Whether the mint signs new coins with it. Coins of others may still be spent.
    pub is_active: bool,
    /// What spending a thousand of its coins costs, in its unit.
    pub fee_ppk: u64,
    /// When its coins can no longer be spent, in seconds since 1970.
    pub final_expiry: Option<u64>,
}

/// All keysets that a mint lists and whose unit we deal in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keysets(Vec<KeysetInfo>);

/// The keys of one keyset, which were checked against its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysetKeys {
    /// Its id.
    pub id: KeysetId,
    keys: BTreeMap<u64, PublicKey>,
    denominations: Vec<u64>,
}

/// Why a keyset cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysetError {
    /// The mint does not list it.
    #[error("the mint does not list the keyset {0}")]
    Unknown(String),
    /// It lists several that begin so.
    #[error("the mint lists several keysets that begin with {0}")]
    Ambiguous(String),
    /// It is of a version that we do not deal in.
    #[error("the keyset {0} is of a version that is not taken here")]
    Version(String),
    /// The token names another unit than its keyset has.
    #[error("the token says {said}, and its keyset is of {unit}")]
    Unit {
        /// What the token says.
        said: String,
        /// What its keyset is of.
        unit: Unit,
    },
    /// The token holds coins of several units.
    #[error("the token holds coins of several units")]
    Units,
    /// Its id is not made of its keys, or a key is missing.
    #[error("the keys that the mint shows for the keyset {0} are not its keys")]
    OtherKeys(KeysetId),
    /// It has no key for coins of one unit, so that nothing can be given exactly.
    #[error("the keyset {0} has no coin of one")]
    NoOne(KeysetId),
    /// No keyset of this unit is active.
    #[error("the mint signs no new coins in {0} at present")]
    NoneActive(Unit),
}

/// What a token is, by the list of its mint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The unit of all its coins.
    pub unit: Unit,
    /// The keyset of each coin, in the order of the token.
    pub keysets: Vec<KeysetId>,
    /// What spending all of them costs, in the unit.
    pub fee: u64,
    /// When the first of its keysets can no longer be spent.
    pub final_expiry: Option<u64>,
}

impl Keysets {
    /// The keysets of a mint.
    #[must_use]
    pub const fn new(keysets: Vec<KeysetInfo>) -> Self {
        Self(keysets)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &KeysetInfo> {
        self.0.iter()
    }

    /// The one with this id, active or not.
    #[must_use]
    pub fn get(&self, id: &KeysetId) -> Option<&KeysetInfo> {
        self.0.iter().find(|keyset| keyset.id == *id)
    }

    /// The one that new coins of this unit are signed with: of several the cheapest to spend, and of
    /// those the one that lasts longest.
    ///
    /// # Errors
    /// [`KeysetError::NoneActive`].
    pub fn active(&self, unit: Unit) -> Result<&KeysetInfo, KeysetError> {
        let active = self.0.iter();
        active
            .filter(|keyset| keyset.is_active && keyset.unit == unit)
            .min_by_key(|keyset| {
                let lasts = keyset.final_expiry.unwrap_or(u64::MAX);
                (keyset.fee_ppk, u64::MAX - lasts, keyset.id)
            })
            .ok_or(KeysetError::NoneActive(unit))
    }

    /// Finds the keyset that a token means.
    ///
    /// # Errors
    /// [`KeysetError`].
    pub fn find(&self, name: &KeysetName) -> Result<&KeysetInfo, KeysetError> {
        let unknown = || KeysetError::Unknown(name.to_string());
        match name {
            KeysetName::Whole(id) => self.get(id).ok_or_else(unknown),
            KeysetName::Short(prefix) => {
                let mut listed = self.0.iter();
                let mut begin = |it: &&KeysetInfo| it.id.to_bytes().starts_with(prefix);
                let found = listed.find(&mut begin).ok_or_else(unknown)?;
                match listed.find(&mut begin) {
                    Some(_) => Err(KeysetError::Ambiguous(name.to_string())),
                    None => Ok(found),
                }
            }
            KeysetName::Unknown(id) => Err(KeysetError::Version(id.clone())),
        }
    }

    /// What a token is: the unit that it names has to be that of every coin.
    ///
    /// # Errors
    /// [`KeysetError`].
    pub fn resolve(&self, token: &Token) -> Result<Resolved, KeysetError> {
        let found: Vec<_> = token
            .proofs
            .iter()
            .map(|proof| self.find(&proof.keyset))
            .collect::<Result<_, _>>()?;
        let first = found.first().ok_or(KeysetError::Units)?;
        let unit = first.unit;
        if found.iter().any(|keyset| keyset.unit != unit) {
            return Err(KeysetError::Units);
        }
        // Those of the first form that name no unit are of satoshis (NUT-00).
        let said = token.unit.as_deref().unwrap_or("sat");
        if Unit::parse(said) != Some(unit) {
            let said = said.to_owned();
            return Err(KeysetError::Unit { said, unit });
        }
        Ok(Resolved {
            unit,
            keysets: found.iter().map(|keyset| keyset.id).collect(),
            fee: fee(found.iter().map(|keyset| keyset.fee_ppk)),
            final_expiry: found.iter().filter_map(|it| it.final_expiry).min(),
        })
    }
}

/// What spending coins costs, from the fee of each one's keyset for a thousand: the sum, rounded up once
/// (NUT-02).
#[must_use]
pub fn fee(each_ppk: impl Iterator<Item = u64>) -> u64 {
    each_ppk.fold(0_u64, u64::saturating_add).div_ceil(1000)
}

/// What a mint takes for swapping a token that brings `amount`, made of as few coins as can be, at so much
/// for a thousand coins.
#[must_use]
pub fn fee_on_top(amount: u64, fee_ppk: u64) -> u64 {
    let mut on_top = 0_u64;
    loop {
        let coins = amount.saturating_add(on_top).count_ones();
        let cost = fee(std::iter::repeat_n(fee_ppk, coins as usize));
        if cost <= on_top {
            return on_top;
        }
        on_top = cost;
    }
}

impl KeysetKeys {
    /// Takes the keys of a keyset after comparing them with its id. Only keys for powers of two are of
    /// use, so that every choice of coins can be found.
    ///
    /// # Errors
    /// [`KeysetError::OtherKeys`] and [`KeysetError::NoOne`].
    pub fn checked(info: &KeysetInfo, keys: BTreeMap<u64, PublicKey>) -> Result<Self, KeysetError> {
        let listed = keys.iter().map(|(amount, key)| ((*amount).into(), *key));
        let set = KeySet {
            id: info.id,
            unit: match info.unit {
                Unit::Msat => CurrencyUnit::Msat,
                Unit::Sat => CurrencyUnit::Sat,
            },
            active: None,
            keys: Keys::new(listed.collect()),
            input_fee_ppk: info.fee_ppk,
            final_expiry: info.final_expiry,
        };
        if set.verify_id().is_err() {
            return Err(KeysetError::OtherKeys(info.id));
        }
        // Up to the first gap: of these any amount is made.
        let sizes = (0..63).map(|power| 1_u64 << power);
        let denominations: Vec<_> = sizes.take_while(|size| keys.contains_key(size)).collect();
        if denominations.is_empty() {
            return Err(KeysetError::NoOne(info.id));
        }
        Ok(Self {
            id: info.id,
            keys,
            denominations,
        })
    }

    /// The key for coins of this amount.
    #[must_use]
    pub fn key(&self, amount: u64) -> Option<PublicKey> {
        self.keys.get(&amount).copied()
    }

    /// The amounts that coins are made of, sorted: 1, and the powers of two without a gap.
    #[must_use]
    pub fn denominations(&self) -> &[u64] {
        &self.denominations
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use cashu::nuts::SecretKey;
    use farebox_core::Secret;

    use super::*;
    use crate::token::TokenProof;

    #[test]
    fn the_fee_on_top_is_enough_for_a_token_of_few_coins() {
        for (amount, fee_ppk, on_top) in [
            (1500, 0, 0),
            (1, 100, 1),
            (8, 1000, 2),
            (7, 1000, 3),
            (1023, 100, 1),
        ] {
            let found = fee_on_top(amount, fee_ppk);
            let coins = (amount + found).count_ones() as usize;
            assert!(fee(std::iter::repeat_n(fee_ppk, coins)) <= found);
            assert_eq!(found, on_top, "{amount} at {fee_ppk}");
        }
    }
    use crate::{MintUrl, Y};

    const FIRST: &str = "0050f763b36a7b8c";
    const SECOND: &str = "01884a74bb2fc5ee00000000000000000000000000000000000000000000000001";

    fn info(id: &str, unit: Unit, is_active: bool, fee_ppk: u64) -> KeysetInfo {
        KeysetInfo {
            id: KeysetId::from_str(id).unwrap(),
            unit,
            is_active,
            fee_ppk,
            final_expiry: None,
        }
    }

    fn token(unit: Option<&str>, coins: &[(KeysetName, u64)]) -> Token {
        let key = SecretKey::generate().public_key();
        let coins = coins.iter().enumerate();
        Token {
            mint: MintUrl::parse("https://mint.example.com").unwrap(),
            unit: unit.map(str::to_owned),
            proofs: coins
                .map(|(place, (keyset, amount))| TokenProof {
                    keyset: keyset.clone(),
                    amount: *amount,
                    secret: Secret::new(place.to_string()),
                    y: Y::of(&place.to_string()).unwrap(),
                    c: key,
                    dleq: None,
                })
                .collect(),
        }
    }

    fn whole(id: &str) -> KeysetName {
        KeysetName::Whole(KeysetId::from_str(id).unwrap())
    }

    fn short(id: &str) -> KeysetName {
        KeysetName::Short(hex::decode(&id[..16]).unwrap())
    }

    #[test]
    fn whole_and_short_ids_are_found_among_active_and_inactive_keysets() {
        let keysets = Keysets::new(vec![
            info(SECOND, Unit::Sat, true, 0),
            info(FIRST, Unit::Sat, false, 100),
        ]);
        for name in [whole(FIRST), whole(SECOND), short(SECOND)] {
            assert!(keysets.find(&name).is_ok(), "{name}");
        }
        let other = short("01884a74bb2fc5ef");
        assert!(matches!(keysets.find(&other), Err(KeysetError::Unknown(_))));
        let later = KeysetName::Unknown("02ff".to_owned());
        assert!(matches!(keysets.find(&later), Err(KeysetError::Version(_))));
    }

    #[test]
    fn a_short_id_that_several_begin_with_means_none() {
        let other = SECOND.replace("01884a74bb2fc5ee00", "01884a74bb2fc5ee77");
        let keysets = Keysets::new(vec![
            info(SECOND, Unit::Sat, true, 0),
            info(&other, Unit::Sat, false, 0),
        ]);
        let found = keysets.find(&short(SECOND));
        assert!(matches!(found, Err(KeysetError::Ambiguous(_))));
        assert!(keysets.find(&whole(SECOND)).is_ok());
    }

    #[test]
    fn a_fee_is_the_sum_over_the_keysets_of_the_coins_rounded_up_once() {
        let keysets = Keysets::new(vec![
            info(FIRST, Unit::Sat, false, 0),
            info(SECOND, Unit::Sat, true, 100),
        ]);
        let mut coins = vec![(whole(FIRST), 64)];
        coins.extend((0..11).map(|_| (short(SECOND), 1)));
        let resolved = keysets.resolve(&token(Some("sat"), &coins)).unwrap();
        assert_eq!((resolved.fee, resolved.unit), (2, Unit::Sat));
        let free = keysets.resolve(&token(None, &coins[..1])).unwrap();
        assert_eq!(free.fee, 0);
        assert_eq!(
            fee([u64::MAX, u64::MAX].into_iter()),
            u64::MAX.div_ceil(1000)
        );
    }

    #[test]
    fn a_token_with_another_unit_than_its_keyset_is_refused() {
        let msat = SECOND.replace("1884", "1885");
        let keysets = Keysets::new(vec![
            info(FIRST, Unit::Sat, true, 0),
            info(&msat, Unit::Msat, true, 0),
        ]);
        let coins = [(whole(FIRST), 1), (whole(&msat), 1)];
        let resolve = |unit, coins| keysets.resolve(&token(unit, coins));
        assert_eq!(resolve(Some("sat"), &coins), Err(KeysetError::Units));
        for said in [Some("msat"), Some("usd")] {
            let refused = resolve(said, &coins[..1]);
            assert!(matches!(refused, Err(KeysetError::Unit { .. })), "{said:?}");
        }
        assert!(resolve(None, &coins[1..]).is_err());
        assert!(resolve(Some("msat"), &coins[1..]).is_ok());
    }

    #[test]
    fn new_coins_are_of_the_cheapest_active_keyset_of_their_unit() {
        let cheap = SECOND.replace("1884", "1885");
        let keysets = Keysets::new(vec![
            info(FIRST, Unit::Sat, false, 0),
            info(SECOND, Unit::Sat, true, 100),
            info(&cheap, Unit::Sat, true, 50),
        ]);
        assert_eq!(keysets.active(Unit::Sat).unwrap().fee_ppk, 50);
        let none = keysets.active(Unit::Msat);
        assert_eq!(none, Err(KeysetError::NoneActive(Unit::Msat)));
    }

    fn keys(amounts: &[u64]) -> BTreeMap<u64, PublicKey> {
        let keys = amounts.iter();
        keys.map(|amount| (*amount, SecretKey::generate().public_key()))
            .collect()
    }

    fn of(keys: &BTreeMap<u64, PublicKey>) -> KeysetInfo {
        let listed = keys.iter().map(|(amount, key)| ((*amount).into(), *key));
        KeysetInfo {
            id: Id::v1_from_keys(&Keys::new(listed.collect())),
            ..info(FIRST, Unit::Sat, true, 0)
        }
    }

    #[test]
    fn keys_are_taken_if_their_id_is_made_of_them() {
        let right = keys(&[1, 2, 4, 1 << 63]);
        let info = of(&right);
        let checked = KeysetKeys::checked(&info, right.clone()).unwrap();
        assert_eq!(
            checked.denominations(),
            [1, 2, 4],
            "2^63 is above what we count"
        );
        assert_eq!(checked.key(4), right.get(&4).copied());
        let mut less = right;
        less.remove(&4);
        let refused = KeysetKeys::checked(&info, less);
        assert_eq!(refused, Err(KeysetError::OtherKeys(info.id)));
        let no_one = keys(&[2, 3]);
        let refused = KeysetKeys::checked(&of(&no_one), no_one);
        assert!(matches!(refused, Err(KeysetError::NoOne(_))));
    }
}
