//! The JSON of mints, as it is sent and as it is read. What is not needed is not read, and what is
//! needed is read in every form that mints write it in.

use std::collections::BTreeMap;

use cashu::nuts::{PublicKey, SecretKey};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::Unit;
use crate::keyset::{KeysetId, KeysetInfo, Keysets};
use crate::proof::{Proof, Y};
use crate::seed::Output;
use crate::swap::Signature;

/// What is sent to swap coins. It has no place for a DLEQ, whose factor would tell the mint whom it gave a
/// coin to.
#[derive(Serialize)]
pub(crate) struct SwapBody<'a> {
    inputs: Vec<InputJson<'a>>,
    outputs: Vec<OutputJson>,
}

#[derive(Serialize)]
struct InputJson<'a> {
    amount: u64,
    id: KeysetId,
    secret: &'a str,
    #[serde(rename = "C")]
    c: PublicKey,
}

#[derive(Serialize)]
struct OutputJson {
    amount: u64,
    id: KeysetId,
    #[serde(rename = "B_")]
    blinded: PublicKey,
}

impl<'a> SwapBody<'a> {
    pub(crate) fn new(inputs: &'a [Proof], outputs: &[Output]) -> Self {
        let inputs = inputs.iter().map(|proof| InputJson {
            amount: proof.amount,
            id: proof.keyset,
            secret: proof.secret.reveal(),
            c: proof.c,
        });
        Self {
            inputs: inputs.collect(),
            outputs: outputs_of(outputs),
        }
    }
}

fn outputs_of(outputs: &[Output]) -> Vec<OutputJson> {
    let outputs = outputs.iter().map(|output| OutputJson {
        amount: output.amount,
        id: output.keyset,
        blinded: output.blinded,
    });
    outputs.collect()
}

/// What is sent to find signatures again.
#[derive(Serialize)]
pub(crate) struct RestoreBody {
    outputs: Vec<OutputJson>,
}

impl RestoreBody {
    pub(crate) fn new(outputs: &[Output]) -> Self {
        Self {
            outputs: outputs_of(outputs),
        }
    }
}

/// What is sent to ask what became of coins.
#[derive(Serialize)]
pub(crate) struct StatesBody {
    #[serde(rename = "Ys")]
    ys: Vec<String>,
}

impl StatesBody {
    pub(crate) fn new(ys: &[Y]) -> Self {
        Self {
            ys: ys.iter().map(|y| y.to_hex()).collect(),
        }
    }
}

/// A number that may stand in quotes, as amounts above 2^53 do at some mints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(pub(crate) u64);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if text.bytes().all(|it| it.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        amount
            .map(Self)
            .ok_or_else(|| de::Error::custom("no amount"))
    }
}

#[derive(Deserialize)]
pub(crate) struct SignaturesJson {
    #[serde(alias = "promises")]
    signatures: Vec<SignatureJson>,
}

#[derive(Deserialize)]
struct SignatureJson {
    amount: Amount,
    id: KeysetId,
    #[serde(rename = "C_")]
    c: PublicKey,
    #[serde(default)]
    dleq: Value,
}

impl SignatureJson {
    fn read(self) -> Signature {
        let number = |name| {
            let text = self.dleq.get(name)?.as_str()?;
            SecretKey::from_hex(text).ok()
        };
        Signature {
            keyset: self.id,
            amount: self.amount.0,
            c: self.c,
            dleq: number("e").zip(number("s")),
        }
    }
}

impl SignaturesJson {
    pub(crate) fn read(self) -> Vec<Signature> {
        let signatures = self.signatures.into_iter();
        signatures.map(SignatureJson::read).collect()
    }
}

#[derive(Deserialize)]
pub(crate) struct RestoredJson {
    outputs: Vec<RestoredOutput>,
    #[serde(alias = "promises")]
    signatures: Vec<SignatureJson>,
}

#[derive(Deserialize)]
struct RestoredOutput {
    #[serde(rename = "B_")]
    blinded: PublicKey,
}

impl RestoredJson {
    /// Each signature with what it was made for; none where they do not go together.
    pub(crate) fn read(self) -> Option<Vec<(PublicKey, Signature)>> {
        if self.outputs.len() != self.signatures.len() {
            return None;
        }
        let pairs = self.outputs.into_iter().zip(self.signatures);
        let pairs = pairs.map(|(output, signature)| (output.blinded, signature.read()));
        Some(pairs.collect())
    }
}

/// What a mint says of a coin (NUT-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoinState {
    /// It was never spent.
    Unspent,
    /// Something that spends it is under way.
    Pending,
    /// It was spent.
    Spent,
}

#[derive(Deserialize)]
pub(crate) struct StatesJson {
    states: Vec<StateJson>,
}

#[derive(Deserialize)]
struct StateJson {
    #[serde(rename = "Y")]
    y: String,
    state: String,
}

impl StatesJson {
    /// By coin. What is missing, or in words that we do not know, is not known.
    pub(crate) fn read(self) -> BTreeMap<Y, CoinState> {
        let states = self.states.into_iter().filter_map(|it| {
            let state = match it.state.to_ascii_uppercase().as_str() {
                "UNSPENT" => CoinState::Unspent,
                "PENDING" => CoinState::Pending,
                "SPENT" => CoinState::Spent,
                _ => return None,
            };
            Some((Y::parse(&it.y)?, state))
        });
        states.collect()
    }
}

#[derive(Deserialize)]
pub(crate) struct KeysetsJson {
    keysets: Vec<Value>,
}

#[derive(Deserialize)]
struct KeysetJson {
    id: KeysetId,
    unit: String,
    active: bool,
    #[serde(default)]
    input_fee_ppk: Option<Amount>,
    #[serde(default)]
    final_expiry: Option<Amount>,
}

impl KeysetsJson {
    /// Those of our units. One that cannot be read, such as one of a version to come, spoils no other.
    pub(crate) fn read(self) -> Keysets {
        let keysets = self.keysets.into_iter().filter_map(|keyset| {
            let keyset: KeysetJson = serde_json::from_value(keyset).ok()?;
            Some(KeysetInfo {
                id: keyset.id,
                unit: Unit::parse(&keyset.unit)?,
                is_active: keyset.active,
                fee_ppk: keyset.input_fee_ppk.map_or(0, |it| it.0),
                final_expiry: keyset.final_expiry.map(|it| it.0).filter(|it| *it > 0),
            })
        });
        Keysets::new(keysets.collect())
    }
}

#[derive(Deserialize)]
pub(crate) struct KeysJson {
    keysets: Vec<KeysOfOne>,
}

#[derive(Deserialize)]
struct KeysOfOne {
    id: String,
    keys: BTreeMap<String, String>,
}

impl KeysJson {
    /// The keys of one keyset. Those for amounts that no number of ours holds are left out of use, not
    /// out of the id.
    pub(crate) fn read(self, id: KeysetId) -> Option<BTreeMap<u64, PublicKey>> {
        let wanted = id.to_string();
        let mut keysets = self.keysets.into_iter();
        let found = keysets.find(|it| it.id.eq_ignore_ascii_case(&wanted))?;
        let keys = found.keys.into_iter();
        keys.map(|(amount, key)| {
            let amount = amount.parse().ok()?;
            Some((amount, PublicKey::from_hex(key).ok()?))
        })
        .collect()
    }
}

/// What a mint can, by the numbers of the specifications (NUT-06).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MintInfo {
    /// How it calls itself.
    pub name: Option<String>,
    /// Of 7, 9, 10, 11, 12 and 20 those it says it has.
    pub nuts: Vec<u16>,
}

#[derive(Deserialize)]
pub(crate) struct InfoJson {
    #[serde(default)]
    name: Value,
    #[serde(default, alias = "Nuts")]
    nuts: Value,
}

impl InfoJson {
    pub(crate) fn read(&self) -> MintInfo {
        const ASKED: [u16; 6] = [7, 9, 10, 11, 12, 20];
        let has = |nut: &u16| match self.nuts.get(nut.to_string()) {
            Some(Value::Bool(has)) => *has,
            Some(nut) => nut.get("supported") == Some(&Value::Bool(true)),
            None => false,
        };
        MintInfo {
            name: self.name.as_str().map(str::to_owned),
            nuts: ASKED.into_iter().filter(has).collect(),
        }
    }
}

/// What a mint says when it refuses (NUT-00, "Errors").
#[derive(Deserialize)]
pub(crate) struct ErrorJson {
    #[serde(default)]
    code: Option<Amount>,
    #[serde(default)]
    detail: Value,
    #[serde(default)]
    error: Value,
}

impl ErrorJson {
    pub(crate) fn code(&self) -> Option<u64> {
        self.code.map(|code| code.0)
    }

    /// The first words of it, for the operator.
    pub(crate) fn detail(&self) -> String {
        let text = self.detail.as_str().or_else(|| self.error.as_str());
        text.unwrap_or_default().chars().take(200).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_keyset_that_cannot_be_read_spoils_no_other() {
        let json = json!({"keysets": [
            {"id": "02ff", "unit": "sat", "active": true},
            {"id": "0NI3TUAs1Sfy", "unit": "sat", "active": false},
            {"id": "009a1f293253e41e", "unit": "usd", "active": true},
            {"id": "009a1f293253e41e", "unit": "sat", "active": true, "input_fee_ppk": null,
             "final_expiry": null},
            {"id": "0050f763b36a7b8c", "unit": "msat", "active": false, "input_fee_ppk": "100",
             "final_expiry": 1_896_187_313_u64},
        ]});
        let json: KeysetsJson = serde_json::from_value(json).unwrap();
        let keysets = json.read();
        let found: Vec<_> = keysets.iter().map(|it| (it.unit, it.fee_ppk)).collect();
        assert_eq!(found, [(Unit::Sat, 0), (Unit::Msat, 100)]);
    }

    #[test]
    fn numbers_above_2_to_the_53_stay_exact_with_and_without_quotes() {
        let exact = (1_u64 << 53) + 1;
        for text in [exact.to_string(), format!("\"{exact}\"")] {
            assert_eq!(
                serde_json::from_str::<Amount>(&text).unwrap(),
                Amount(exact)
            );
        }
        for text in ["1.0", "\"1.0\"", "-1", "\"\"", "\" 1\"", "null", "\"+1\""] {
            assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn states_are_told_by_coin_and_what_is_odd_is_not_known() {
        let (one, two) = (Y::of("1").unwrap(), Y::of("2").unwrap());
        let json = json!({"states": [
            {"Y": two.to_hex().to_uppercase(), "state": "spent", "witness": null},
            {"Y": one.to_hex(), "state": "RESERVED"},
            {"Y": "??", "state": "UNSPENT"},
        ]});
        let json: StatesJson = serde_json::from_value(json).unwrap();
        assert_eq!(json.read(), BTreeMap::from([(two, CoinState::Spent)]));
    }

    #[test]
    fn what_a_mint_can_is_read_in_odd_forms() {
        for (nuts, can) in [
            (
                json!({"7": {"supported": true}, "9": {"supported": false}}),
                vec![7],
            ),
            (
                json!({"7": {"disabled": false}, "12": true, "17": {}}),
                vec![12],
            ),
            (json!(null), vec![]),
            (json!([]), vec![]),
        ] {
            let json: InfoJson = serde_json::from_value(json!({"Nuts": nuts})).unwrap();
            assert_eq!(json.read().nuts, can);
        }
        let motd: InfoJson = serde_json::from_value(json!({"motd": "x"})).unwrap();
        assert_eq!(motd.read(), MintInfo::default());
    }

    #[test]
    fn a_refusal_has_a_code_or_none() {
        let code = |json| serde_json::from_value::<ErrorJson>(json).unwrap().code();
        assert_eq!(code(json!({"code": 11001, "detail": "spent"})), Some(11001));
        assert_eq!(code(json!({"detail": [{"msg": "x"}]})), None);
    }
}
