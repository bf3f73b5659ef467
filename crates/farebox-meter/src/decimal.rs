//! Exact decimals: how prices and rates are written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use num_bigint::BigUint;
use serde::{Deserialize, Serialize, Serializer};

/// The most digits behind the point: a token of the cheapest model costs about 10⁻⁸ of a dollar.
pub const MAX_SCALE: u32 = 18;
/// The most digits in all.
const MAX_DIGITS: usize = 30;

/// A decimal number, not negative, at most 30 digits, at most 18 of them behind the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "Written")]
pub struct Decimal {
    /// The number without its point; never ends in a zero behind the point.
    digits: u128,
    /// How many digits stand behind the point.
    scale: u32,
}

/// Text that is not such a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a number such as 0.15 or 2.5e-7: not negative, at most 18 digits behind the point"
)]
pub struct BadDecimal;

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self {
        digits: 0,
        scale: 0,
    };

    /// `digits` × 10⁻ˢᶜᵃˡᵉ.
    ///
    /// # Errors
    /// [`BadDecimal`] beyond the limits.
    pub fn new(digits: u128, scale: u32) -> Result<Self, BadDecimal> {
        let number = Self { digits, scale }.in_lowest_terms();
        let fits = number.scale <= MAX_SCALE && number.digits < 10_u128.pow(30);
        if fits { Ok(number) } else { Err(BadDecimal) }
    }

    const fn in_lowest_terms(mut self) -> Self {
        while self.scale > 0 && self.digits.is_multiple_of(10) {
            self.digits /= 10;
            self.scale -= 1;
        }
        self
    }

    /// Parses like [`FromStr`], and rounds up what has more digits behind the point than are kept:
    /// programs print a cost as the nearest floating-point number, with 20 of them and more.
    ///
    /// # Errors
    /// [`BadDecimal`] for what is no number, or too large a one.
    pub fn rounded_up(text: &str) -> Result<Self, BadDecimal> {
        let (mut digits, scale) = read(text)?;
        let beyond = usize::try_from(scale - i64::from(MAX_SCALE)).unwrap_or_default();
        if beyond == 0 {
            return text.parse();
        }
        let dropped = digits.split_off(digits.len().saturating_sub(beyond));
        let is_more = dropped.bytes().any(|digit| digit != b'0');
        Self::new(value(&digits)? + u128::from(is_more), MAX_SCALE)
    }

    /// The digits, and how many of them stand behind the point.
    #[must_use]
    pub const fn parts(self) -> (u128, u32) {
        (self.digits, self.scale)
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// Whether it is more than `other`.
    #[must_use]
    pub fn exceeds(self, other: Self) -> bool {
        let (mine, theirs) = (self.digits, other.digits);
        match self.scale.cmp(&other.scale) {
            std::cmp::Ordering::Equal => mine > theirs,
            // The one with more digits behind the point has fewer before it, so nothing overflows
            // that is not larger anyway.
            std::cmp::Ordering::Less => mine
                .checked_mul(10_u128.pow(other.scale - self.scale))
                .is_none_or(|mine| mine > theirs),
            std::cmp::Ordering::Greater => theirs
                .checked_mul(10_u128.pow(self.scale - other.scale))
                .is_some_and(|theirs| mine > theirs),
        }
    }

    /// Whether it lies further from `other` than so many millionths of `other`.
    #[must_use]
    pub fn deviates(self, other: Self, parts_per_million: u64) -> bool {
        let (mine, theirs) = (self.at_max_scale(), other.at_max_scale());
        let distance = if mine > theirs {
            mine - &theirs
        } else {
            &theirs - mine
        };
        distance * 1_000_000_u32 > theirs * parts_per_million
    }

    /// How many millionths of `other` it lies above it, below zero where it lies below. `None` where
    /// `other` is zero, or far smaller.
    #[must_use]
    pub fn millionths_above(self, other: Self) -> Option<i64> {
        let (mine, theirs) = (self.at_max_scale(), other.at_max_scale());
        if other.is_zero() {
            None
        } else if mine >= theirs {
            i64::try_from((mine - &theirs) * 1_000_000_u32 / theirs).ok()
        } else {
            let below = i64::try_from((&theirs - mine) * 1_000_000_u32 / &theirs).ok()?;
            Some(-below)
        }
    }

    fn at_max_scale(self) -> BigUint {
        BigUint::from(self.digits) * BigUint::from(10_u32).pow(MAX_SCALE - self.scale)
    }

    /// So many millionths more of it.
    ///
    /// # Errors
    /// [`BadDecimal`] where that has too many digits.
    pub fn dearer_by(self, parts_per_million: u64) -> Result<Self, BadDecimal> {
        if parts_per_million == 0 {
            return Ok(self);
        }
        let factor = u128::from(parts_per_million) + 1_000_000;
        let digits = self.digits.checked_mul(factor).ok_or(BadDecimal)?;
        Self::new(digits, self.scale + 6)
    }

    /// A millionth of it: prices are published per million tokens.
    ///
    /// # Errors
    /// [`BadDecimal`] where it has too many digits for that.
    pub fn per_million(self) -> Result<Self, BadDecimal> {
        Self::new(self.digits, self.scale + 6)
    }
}

impl From<u64> for Decimal {
    fn from(count: u64) -> Self {
        Self {
            digits: count.into(),
            scale: 0,
        }
    }
}

/// In seconds. The longest there is has 29 digits, nine of them behind the point.
impl From<Duration> for Decimal {
    fn from(time: Duration) -> Self {
        let exact = Self {
            digits: time.as_nanos(),
            scale: 9,
        };
        exact.in_lowest_terms()
    }
}

/// The digits of a number as it is written, and how many of them stand behind the point.
fn read(text: &str) -> Result<(String, i64), BadDecimal> {
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = [whole, part].concat();
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let has_part = !number.contains('.') || !part.is_empty();
    if whole.is_empty() || !is_number || !has_part || digits.len() > 2 * MAX_DIGITS {
        return Err(BadDecimal);
    }
    let exponent: i32 = exponent.parse().map_err(|_| BadDecimal)?;
    let behind = i64::try_from(part.len()).map_err(|_| BadDecimal)?;
    Ok((digits, behind - i64::from(exponent)))
}

/// The value of digits, of which there may be none.
fn value(digits: &str) -> Result<u128, BadDecimal> {
    match digits.trim_start_matches('0') {
        "" => Ok(0),
        digits => digits.parse().map_err(|_| BadDecimal),
    }
}

impl FromStr for Decimal {
    type Err = BadDecimal;

    /// Parses `12`, `0.15`, `1.5e-7`.
    fn from_str(text: &str) -> Result<Self, BadDecimal> {
        let (digits, scale) = read(text)?;
        let digits = value(&digits)?;
        match u32::try_from(scale) {
            Ok(scale) if scale <= 64 => Self::new(digits, scale),
            _ if digits == 0 => Ok(Self::ZERO),
            Ok(_) => Err(BadDecimal),
            Err(_) => {
                let zeros = u32::try_from(-scale).map_err(|_| BadDecimal)?;
                let factor = 10_u128.checked_pow(zeros).ok_or(BadDecimal)?;
                Self::new(digits.checked_mul(factor).ok_or(BadDecimal)?, 0)
            }
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale == 0 {
            return write!(f, "{}", self.digits);
        }
        let unit = 10_u128.pow(self.scale);
        let width = usize::try_from(self.scale).unwrap_or_default();
        let (whole, part) = (self.digits / unit, self.digits % unit);
        write!(f, "{whole}.{part:0width$}")
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number as files write it. One with a point has gone through floating point before it could be
/// seen here, so its shortest text is what was written.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a decimal number")]
enum Written {
    Text(String),
    Whole(u64),
    Float(f64),
}

impl TryFrom<Written> for Decimal {
    type Error = BadDecimal;

    fn try_from(written: Written) -> Result<Self, BadDecimal> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Whole(number) => Ok(number.into()),
            Written::Float(number) => number.to_string().parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Result<String, BadDecimal> {
        text.parse::<Decimal>().map(|number| number.to_string())
    }

    #[test]
    fn every_count_and_every_time_is_a_number() {
        assert_eq!(Decimal::from(u64::MAX).to_string(), u64::MAX.to_string());
        let shown = |time: Duration| Decimal::from(time).to_string();
        assert_eq!(shown(Duration::ZERO), "0");
        assert_eq!(shown(Duration::from_millis(1_500)), "1.5");
        assert_eq!(shown(Duration::MAX), "18446744073709551615.999999999");
        assert_eq!(
            shown(Duration::MAX).parse(),
            Ok(Decimal::from(Duration::MAX))
        );
    }

    #[test]
    fn numbers_are_read_as_people_and_price_lists_write_them() {
        for (written, shown_as) in [
            ("0", "0"),
            ("12", "12"),
            ("0.15", "0.15"),
            ("0.150", "0.15"),
            ("1.5e-7", "0.00000015"),
            ("2E3", "2000"),
            ("00.5", "0.5"),
            ("0e-40", "0"),
        ] {
            assert_eq!(shown(written).as_deref(), Ok(shown_as), "{written}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for bad in [
            "", "-1", "+1", ".5", "5.", "1,5", "1e", "NaN", "inf", "1e-19", "1e40", "0x10", " 1",
            "1.2.3",
        ] {
            assert_eq!(shown(bad), Err(BadDecimal), "{bad}");
        }
    }

    #[test]
    fn what_is_said_in_too_many_digits_is_rounded_up() {
        let up = |text: &str| Decimal::rounded_up(text).map(|number| number.to_string());
        for (written, shown_as) in [
            ("0.15", "0.15"),
            ("2E3", "2000"),
            ("0.00012345678901234567", "0.000123456789012346"),
            ("1.1500000000000001e-05", "0.000011500000000001"),
            ("7.0000000000000000000000", "7"),
            ("1e-40", "0.000000000000000001"),
            ("1e-2147483648", "0.000000000000000001"),
            ("0e-2147483648", "0"),
            ("0.999999999999999999999", "1"),
        ] {
            assert_eq!(up(written).as_deref(), Ok(shown_as), "{written}");
        }
        for bad in ["", "-1", "NaN", "1e2147483647", "1e-2147483649", "1e30"] {
            assert_eq!(up(bad), Err(BadDecimal), "{bad}");
        }
        assert_eq!(shown("1.5e-2147483648"), Err(BadDecimal));
    }

    #[test]
    fn a_deviation_is_measured_exactly() {
        let deviates = |one: &str, other: &str, parts| {
            let other: Decimal = other.parse().unwrap();
            one.parse::<Decimal>().unwrap().deviates(other, parts)
        };
        assert!(!deviates("105", "100", 50_000));
        assert!(deviates("105.000000001", "100", 50_000));
        assert!(deviates("94.999", "100", 50_000));
        assert!(!deviates("0", "0", 0));
        assert!(deviates("0.000000000000000001", "0", 1_000_000));
        assert!(deviates("0", "999999999999999999999999", 999_999));
    }

    #[test]
    fn a_markup_is_exact_or_refused() {
        let dearer = |text: &str| text.parse::<Decimal>().unwrap().dearer_by(200_000);
        assert_eq!(dearer("0.00000015").unwrap().to_string(), "0.00000018");
        assert_eq!(
            dearer("0.0000000000001").unwrap().to_string(),
            "0.00000000000012"
        );
        assert_eq!(dearer("0.000000000000000001"), Err(BadDecimal));
    }

    #[test]
    fn json_numbers_keep_their_digits() {
        let read = |json: &str| serde_json::from_str::<Decimal>(json).map(|it| it.to_string());
        assert_eq!(read("0.0000025").unwrap(), "0.0000025");
        assert_eq!(read("2.5e-06").unwrap(), "0.0000025");
        assert_eq!(read("1.1").unwrap(), "1.1");
        assert_eq!(read("3").unwrap(), "3");
        assert_eq!(read("\"0.30\"").unwrap(), "0.3");
        assert!(read("-1").is_err());
        assert!(read("true").is_err());
    }

    #[test]
    fn a_number_lies_above_another_or_below_it_by_so_many_millionths() {
        let above = |one: &str, other: &str| {
            let (one, other): (Decimal, Decimal) = (one.parse().unwrap(), other.parse().unwrap());
            one.millionths_above(other)
        };
        assert_eq!(above("1.5", "1"), Some(500_000));
        assert_eq!(above("0.00000015", "0.0000006"), Some(-750_000));
        assert_eq!(above("0", "3"), Some(-1_000_000));
        assert_eq!(above("3", "3.0"), Some(0));
        assert_eq!(above("1", "0"), None);
        assert_eq!(above("1000000", "0.000000000001"), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(digits in 0_u128..10_u128.pow(24), scale in 0_u32..=18) {
            let number = Decimal::new(digits, scale).unwrap();
            prop_assert_eq!(number.to_string().parse(), Ok(number));
        }
    }
}
