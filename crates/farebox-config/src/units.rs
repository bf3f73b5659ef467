//! Values with a unit, as they are written in the configuration: `"10m"`, `"8MiB"`, `"30/1m"`.
//!
//! A bare number is never a duration: its unit would be a guess.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use farebox_meter::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize, Serializer};

/// A length of time such as `"500ms"`, `"10m"`, `"1h 30m"` or `"90d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting(pub Duration);

/// A size in bytes such as `"64KiB"`, `"8MiB"`, `"1GB"` or a bare number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// So many in a period, such as `"30/1m"` or `"100/s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerPeriod {
    /// How many, at least one.
    pub count: u32,
    /// In which period, longer than nothing.
    pub period: Duration,
}

/// A percentage such as `"7.5"`: 1000 at most, with four digits behind the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(try_from = "Decimal", into = "String")]
#[schemars(try_from = "String", into = "String", extend("title" = "percent"))]
pub struct Percent {
    millionths: u64,
}

/// Text that is not a value with a unit.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("not a duration: write a number and a unit (ms, s, m, h, d), as in \"10m\" ({0})")]
    Duration(#[from] humantime::DurationError),
    /// Not a size.
    #[error("not a size: write a number and a unit (B, KiB, MiB, GiB, kB, MB, GB), as in \"8MiB\"")]
    Size,
    /// A size that no machine has.
    #[error("this many bytes do not fit 64 bits")]
    SizeTooLarge,
    /// Not a rate.
    #[error("not a rate: write a number, a slash and a period, as in \"30/1m\"")]
    Rate,
    /// A percentage that is too large or too exact.
    #[error("percent: 1000 at most, and four digits behind the point")]
    Percent,
    /// A rate of nothing, or in no time.
    #[error("a rate needs a number and a period larger than zero")]
    EmptyRate,
}

/// The units a duration is printed in, largest first, with their milliseconds.
const DURATION_UNITS: [(&str, u128); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The units of sizes, those that are printed first.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Lasting {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl Percent {
    /// So many millionths: ten thousand of them are one percent.
    #[must_use]
    pub const fn of_millionths(millionths: u64) -> Self {
        Self { millionths }
    }

    /// As millionths.
    #[must_use]
    pub const fn millionths(self) -> u64 {
        self.millionths
    }
}

impl TryFrom<Decimal> for Percent {
    type Error = UnitError;

    fn try_from(percent: Decimal) -> Result<Self, UnitError> {
        const MOST: u64 = 10_000_000;
        let (digits, scale) = percent.parts();
        let digits = u64::try_from(digits).map_err(|_| UnitError::Percent)?;
        let factor = 4_u32.checked_sub(scale).map(|rest| 10_u64.pow(rest));
        let millionths = factor.and_then(|factor| digits.checked_mul(factor));
        let millionths = millionths.filter(|millionths| *millionths <= MOST);
        millionths
            .map(Self::of_millionths)
            .ok_or(UnitError::Percent)
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        let (whole, rest) = (percent.millionths / 10_000, percent.millionths % 10_000);
        let text = format!("{whole}.{rest:04}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl FromStr for Lasting {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        Ok(Self(humantime::parse_duration(text)?))
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let fits = |(_, unit): &&(&str, u128)| millis.is_multiple_of(*unit) && millis >= *unit;
        let (name, unit) = DURATION_UNITS.iter().find(fits).unwrap_or(&("s", 1_000));
        write!(f, "{}{name}", millis / unit)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| UnitError::Size)?;
        let unit = unit.trim_start();
        let named = SIZE_UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let factor = match named {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => return Err(UnitError::Size),
        };
        number
            .checked_mul(factor)
            .map(Self)
            .ok_or(UnitError::SizeTooLarge)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit): &&(&str, u64)| self.0.is_multiple_of(*unit) && self.0 >= *unit;
        let (name, unit) = SIZE_UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl FromStr for PerPeriod {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (count, period) = text.split_once('/').ok_or(UnitError::Rate)?;
        let count: u32 = count.trim().parse().map_err(|_| UnitError::Rate)?;
        let period = period.trim();
        let starts_with_unit = period.starts_with(|first: char| first.is_ascii_alphabetic());
        let period = if starts_with_unit {
            format!("1{period}")
        } else {
            period.to_owned()
        };
        let period = humantime::parse_duration(&period).map_err(|_| UnitError::Rate)?;
        if count == 0 || period.is_zero() {
            return Err(UnitError::EmptyRate);
        }
        Ok(Self { count, period })
    }
}

impl fmt::Display for PerPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, Lasting(self.period))
    }
}

/// Reads a value from its text.
struct FromText<T> {
    expected: &'static str,
    from_number: fn(u64) -> Option<T>,
}

impl<T: FromStr<Err = UnitError>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let value = u64::try_from(number).ok().and_then(self.from_number);
        value.ok_or_else(|| E::invalid_type(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.from_number)(number)
            .ok_or_else(|| E::invalid_type(de::Unexpected::Unsigned(number), &self))
    }
}

macro_rules! written_as_text {
    ($type:ident, $title:literal, $expected:literal, $from_number:expr, $pattern:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer
                    .deserialize_any(FromText { expected: $expected, from_number: $from_number })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "title": $title,
                    "description": $expected,
                    "pattern": $pattern,
                    "examples": [$example],
                })
            }
        }
    };
}

written_as_text!(
    Lasting,
    "duration",
    "a duration in text, with its unit, such as \"10m\"",
    |_| None,
    "^[0-9]+ ?[A-Za-z]+( ?[0-9]+ ?[A-Za-z]+)*$",
    "10m"
);
written_as_text!(
    ByteSize,
    "size",
    "a size in bytes, such as \"8MiB\"",
    |bytes| Some(ByteSize(bytes)),
    "^[0-9]+ ?([KMG]i?B|kB|B)?$",
    "8MiB"
);
written_as_text!(
    PerPeriod,
    "rate",
    "a number in a period, such as \"30/1m\"",
    |_| None,
    "^[0-9]+ ?/ ?[0-9]* ?[A-Za-z]+$",
    "30/1m"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_in_their_largest_whole_unit() {
        for (text, printed) in [
            ("10m", "10m"),
            ("90d", "90d"),
            ("24h", "1d"),
            ("90s", "90s"),
            ("1h 30m", "90m"),
            ("0s", "0s"),
        ] {
            assert_eq!(text.parse::<Lasting>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        assert!("10".parse::<Lasting>().is_err());
        assert!("ten minutes".parse::<Lasting>().is_err());
        assert!("-1s".parse::<Lasting>().is_err());
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        let bytes = |text: &str| text.parse::<ByteSize>().unwrap().0;
        assert_eq!(bytes("8MiB"), 8 << 20);
        assert_eq!(bytes("8 mib"), 8 << 20);
        assert_eq!(bytes("1kB"), 1000);
        assert_eq!(bytes("512"), 512);
        assert_eq!(ByteSize(8 << 20).to_string(), "8MiB");
        assert_eq!(ByteSize(1000).to_string(), "1kB");
    }

    #[test]
    fn sizes_that_overflow_or_have_strange_units_are_refused() {
        for bad in [
            "",
            "MiB",
            "8 Mibs",
            "-1",
            "1.5MiB",
            "99999999999999999999",
            "18446744073709551615KiB",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_take_a_period_with_or_without_a_number() {
        let rate = "30/1m".parse::<PerPeriod>().unwrap();
        assert_eq!(
            rate,
            PerPeriod {
                count: 30,
                period: Duration::from_secs(60)
            }
        );
        assert_eq!("100/s".parse::<PerPeriod>().unwrap().to_string(), "100/1s");
    }

    #[test]
    fn percentages_keep_their_digits_and_have_a_limit() {
        let percent = |text: &str| Percent::try_from(text.parse::<Decimal>().unwrap());
        for text in ["0", "5", "7.5", "0.0001", "1000"] {
            assert_eq!(String::from(percent(text).unwrap()), text);
        }
        assert_eq!(percent("0.5").unwrap().millionths(), 5_000);
        for bad in ["1000.1", "0.00001"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rate_of_nothing_or_in_no_time_is_refused() {
        for bad in ["0/1m", "5/0s", "5", "/1m", "x/1m", "5/1parsec"] {
            assert!(bad.parse::<PerPeriod>().is_err(), "{bad}");
        }
    }
}
