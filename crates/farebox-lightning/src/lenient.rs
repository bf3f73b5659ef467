//! Reading what decides nothing: a member that is missing, or has a form that we do not read, is no
//! reason to lose the answer it stands in.
//!
//! Whether something is settled, and which payment that is, is read strictly. Amounts, fees and times
//! are written in several ways, and some of them are wrong: what cannot be read was not said.

use std::str::FromStr;

use farebox_core::Msat;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A whole number, however it is written: `21000`, `21000.0` or `"21000"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Number<T = u64>(pub(crate) T);

/// An instant in whole units, however it is written; what is smaller is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) u64);

/// One of many, none where it cannot be read: the others can.
pub(crate) struct OneOfMany<T>(pub(crate) Option<T>);

/// A member that decides nothing, for `deserialize_with`; with `default` for one that is missing.
pub(crate) fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for OneOfMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer).map(Self)
    }
}

impl Number {
    /// As millisatoshis; none where there is not so much money.
    pub(crate) fn msat(self) -> Option<Msat> {
        Msat::new(self.0).ok()
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let whole = parts(&value).filter(|(_, fraction)| fraction.bytes().all(|it| it == b'0'));
        let number = whole.and_then(|(whole, _)| whole.parse().ok());
        let number = number.ok_or_else(|| D::Error::custom("no whole number"))?;
        Ok(Self(number))
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = parts(&value).and_then(|(whole, _)| whole.parse().ok());
        let number = number.ok_or_else(|| D::Error::custom("no instant"))?;
        Ok(Self(number))
    }
}

/// What stands before and after the point of a number.
fn parts(value: &Value) -> Option<(String, String)> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    Some((whole.to_owned(), fraction.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Answer {
        is_paid: bool,
        #[serde(default, deserialize_with = "read")]
        amount: Option<Number>,
        #[serde(default, deserialize_with = "read")]
        words: Option<String>,
    }

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        let number = |text: &str| serde_json::from_str::<Number>(text).ok();
        for text in ["21000", "21000.0", "\"21000\"", "\"21000.00\"", "2.1e4"] {
            assert_eq!(number(text), Some(Number(21_000)), "{text}");
        }
        let bad = [
            "-1", "\"-1\"", "1.5", "\"1.5\"", "\"\"", "\"0x1\"", "null", "true", "[1]", "1e300",
        ];
        for text in bad {
            assert_eq!(number(text), None, "{text}");
        }
        let signed = |text: &str| serde_json::from_str::<Number<i64>>(text).ok();
        assert_eq!(signed("-21000.0"), Some(Number(-21_000)));
        assert_eq!(signed("\"-5\""), Some(Number(-5)));
    }

    #[test]
    fn an_instant_loses_its_fraction() {
        let instant = |text: &str| serde_json::from_str::<Instant>(text).ok();
        assert_eq!(instant("1780000000.512"), Some(Instant(1_780_000_000)));
        assert_eq!(instant("\"1780000000\""), Some(Instant(1_780_000_000)));
        for text in ["-1", "null", "\"tomorrow\"", "{}"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn an_odd_member_leaves_the_rest_of_an_answer_as_it_is() {
        for odd in ["null", "{}", "[]", "-1", "1.5", "true", "\"x\""] {
            let text = format!(r#"{{"is_paid":true,"amount":{odd}}}"#);
            let answer: Answer = serde_json::from_str(&text).unwrap();
            assert!(answer.is_paid && answer.amount.is_none(), "{odd}");
        }
        let answer: Answer = serde_json::from_str(r#"{"is_paid":true,"words":7}"#).unwrap();
        assert!(answer.is_paid && answer.words.is_none());
        let many: Vec<OneOfMany<Answer>> =
            serde_json::from_str(r#"[{"is_paid":true},{"is_paid":"?"},7,{"is_paid":false}]"#)
                .unwrap();
        let read = many.iter().filter_map(|one| one.0.as_ref());
        assert_eq!(
            read.map(|one| one.is_paid).collect::<Vec<_>>(),
            [true, false]
        );
    }
}
