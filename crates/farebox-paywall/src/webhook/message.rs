//! What is asked and answered, as JSON, and how a question is signed.

use farebox_core::Msat;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The longest reason of a refusal that is passed on, in characters.
const MAX_REASON_CHARS: usize = 200;

/// What a call will be, before it is sold.
#[derive(Serialize)]
pub(super) struct QuoteQuestion<'a> {
    pub(super) event: &'static str,
    pub(super) request_id: String,
    pub(super) route: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// Names in small letters, each with all its lines.
    pub(super) headers: Vec<(&'a str, String)>,
    pub(super) body_bytes: u64,
    pub(super) body_sha256: String,
}

/// What a call has been, after it was served.
#[derive(Serialize)]
pub(super) struct SettleQuestion<'a> {
    pub(super) event: &'static str,
    pub(super) request_id: &'a str,
    pub(super) route: &'a str,
    /// The receipt; the same in each attempt to ask.
    pub(super) hold: String,
    pub(super) at_most_msat: u64,
    pub(super) status: u16,
    pub(super) ended: &'static str,
    pub(super) bytes: u64,
    pub(super) millis: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuoteAnswer {
    price_msat: Option<u64>,
    at_most_msat: Option<u64>,
    refuse: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleAnswer {
    charge_msat: u64,
}

/// What a webhook says before a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It costs so much.
    Exactly(Msat),
    /// It costs so much at most.
    AtMost(Msat),
    /// It is not sold, and why.
    Refused(String),
}

/// An answer that is none of those that there are.
#[derive(Debug, thiserror::Error)]
#[error("not an answer to this question")]
pub(super) struct NoAnswer(#[source] Option<serde_json::Error>);

pub(super) fn read_quote(answer: &[u8]) -> Result<Said, NoAnswer> {
    let answer: QuoteAnswer =
        serde_json::from_slice(answer).map_err(|error| NoAnswer(Some(error)))?;
    let amount = |msat| Msat::new(msat).map_err(|_| NoAnswer(None));
    match (answer.price_msat, answer.at_most_msat, answer.refuse) {
        (Some(price), None, None) => Ok(Said::Exactly(amount(price)?)),
        (None, Some(most), None) if most > 0 => Ok(Said::AtMost(amount(most)?)),
        (None, None, Some(reason)) => Ok(Said::Refused(printable(&reason))),
        _ => Err(NoAnswer(None)),
    }
}

pub(super) fn read_charge(answer: &[u8]) -> Result<Msat, NoAnswer> {
    let answer: SettleAnswer =
        serde_json::from_slice(answer).map_err(|error| NoAnswer(Some(error)))?;
    Msat::new(answer.charge_msat).map_err(|_| NoAnswer(None))
}

fn printable(reason: &str) -> String {
    let kept = reason.chars().filter(|c| !c.is_control());
    kept.take(MAX_REASON_CHARS).collect()
}

/// The value of the signature's header: when it was signed, and `HMAC-SHA256(secret, "time.body")`.
pub(super) fn sign(secret: &[u8], at_seconds: u64, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(at_seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!(
        "t={at_seconds},v1={}",
        hex::encode(mac.finalize().into_bytes())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote(answer: &str) -> Option<Said> {
        read_quote(answer.as_bytes()).ok()
    }

    fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    #[test]
    fn a_quote_is_exactly_one_of_three_things() {
        assert_eq!(quote(r#"{"price_msat": 7}"#), Some(Said::Exactly(msat(7))));
        assert_eq!(
            quote(r#"{"price_msat": 0}"#),
            Some(Said::Exactly(Msat::ZERO))
        );
        assert_eq!(quote(r#"{"at_most_msat": 7}"#), Some(Said::AtMost(msat(7))));
        let refused = Some(Said::Refused("sold out".to_owned()));
        assert_eq!(quote("{\"refuse\": \"sold\\u0000 out\\n\"}"), refused);
        for lie in [
            "",
            "{}",
            "[]",
            r#"{"price_msat": -1}"#,
            r#"{"price_msat": 1.5}"#,
            r#"{"price_msat": "7"}"#,
            r#"{"price_msat": 7, "at_most_msat": 9}"#,
            r#"{"price_msat": 7, "price_msat": 8}"#,
            r#"{"at_most_msat": 0}"#,
            r#"{"price_msat": 18446744073709551615}"#,
            r#"{"price_msat": 7, "currency": "usd"}"#,
        ] {
            assert_eq!(quote(lie), None, "{lie}");
        }
    }

    #[test]
    fn a_charge_is_one_number() {
        let charge = |answer: &str| read_charge(answer.as_bytes()).ok();
        assert_eq!(charge(r#"{"charge_msat": 7}"#), Some(msat(7)));
        for lie in ["{}", r#"{"charge_msat": null}"#, r#"{"charge_msat": -7}"#] {
            assert_eq!(charge(lie), None, "{lie}");
        }
    }

    #[test]
    fn a_signature_covers_the_time_and_the_body() {
        // Computed with Python's hmac module.
        let expected = "t=1700000000,v1=\
                        9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        let signed = sign(b"key", 1_700_000_000, b"{}");
        assert_eq!(signed, expected);
        assert_ne!(sign(b"key", 1_700_000_001, b"{}"), signed);
        assert_ne!(sign(b"key", 1_700_000_000, b"{} "), signed);
        assert_ne!(sign(b"other", 1_700_000_000, b"{}"), signed);
    }
}
