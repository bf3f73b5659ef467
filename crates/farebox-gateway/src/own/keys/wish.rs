//! What is asked of keys, as JSON. An unknown member is a mistake that somebody would pay for.

use farebox_core::Msat;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::refusal::KeyFault;
/// A new key.
pub(super) struct Purchase {
    pub(super) amount: Msat,
    pub(super) note: Option<String>,
}

/// Money for a known one.
pub(super) struct TopUp {
    pub(super) id: String,
    pub(super) amount: Msat,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurchaseBody {
    amount_sat: Option<u64>,
    amount_msat: Option<u64>,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopUpBody {
    id: String,
    amount_sat: Option<u64>,
    amount_msat: Option<u64>,
}

impl Purchase {
    pub(super) fn parse(body: &[u8]) -> Result<Self, KeyFault> {
        let body: PurchaseBody = read(body)?;
        Ok(Self {
            amount: amount(body.amount_sat, body.amount_msat)?,
            note: body.note,
        })
    }
}

impl TopUp {
    pub(super) fn parse(body: &[u8]) -> Result<Self, KeyFault> {
        let body: TopUpBody = read(body)?;
        Ok(Self {
            amount: amount(body.amount_sat, body.amount_msat)?,
            id: body.id,
        })
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, KeyFault> {
    serde_json::from_slice(body).map_err(|_| KeyFault::Body)
}

/// Exactly one of the two, and more than nothing.
fn amount(sat: Option<u64>, msat: Option<u64>) -> Result<Msat, KeyFault> {
    let amount = match (sat, msat) {
        (Some(sat), None) => sat.checked_mul(1000),
        (None, Some(msat)) => Some(msat),
        _ => None,
    };
    let amount = amount.filter(|amount| *amount > 0).ok_or(KeyFault::Body)?;
    Msat::new(amount).map_err(|_| KeyFault::Body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_said_once_and_is_not_nothing() {
        let amount = |body: &str| Purchase::parse(body.as_bytes()).map(|wish| wish.amount.get());
        assert_eq!(amount(r#"{"amount_sat":21}"#), Ok(21_000));
        assert_eq!(amount(r#"{"amount_msat":21,"note":"x"}"#), Ok(21));
        for wrong in [
            "",
            "{}",
            r#"{"amount_sat":0}"#,
            r#"{"amount_sat":1,"amount_msat":1000}"#,
            r#"{"amount_sat":18446744073709551615}"#,
            r#"{"amount_sat":-1}"#,
            r#"{"amount_sat":1,"total_msat":1}"#,
        ] {
            assert_eq!(amount(wrong), Err(KeyFault::Body), "{wrong}");
        }
    }
}
