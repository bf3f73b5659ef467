//! Money for a key, as it is asked for in JSON. An unknown member is a mistake that somebody would pay
//! for.

use farebox_core::Msat;
use serde::Deserialize;

use crate::refusal::KeyFault;

/// Money for a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The public name of a known key.
    pub(super) id: Option<String>,
    amount_sat: Option<u64>,
    amount_msat: Option<u64>,
    /// For whoever reads the list with the new key in it.
    pub(super) note: Option<String>,
}

impl Order {
    pub(super) fn parse(body: &[u8]) -> Result<Self, KeyFault> {
        serde_json::from_slice(body).map_err(|_| KeyFault::Body)
    }

    /// Exactly one of the two, and more than nothing.
    pub(super) fn amount(&self) -> Result<Msat, KeyFault> {
        let amount = match (self.amount_sat, self.amount_msat) {
            (Some(sat), None) => Msat::from_sat(sat),
            (None, Some(msat)) => Msat::new(msat),
            _ => return Err(KeyFault::Body),
        };
        let amount = amount.ok().filter(|amount| !amount.is_zero());
        amount.ok_or(KeyFault::Body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_said_once_and_is_not_nothing() {
        let amount = |body: &str| {
            Order::parse(body.as_bytes())
                .and_then(|order| order.amount())
                .map(Msat::get)
        };
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
