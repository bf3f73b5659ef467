//! Integer money. The one unit inside Farebox is the millisatoshi.

use std::fmt;

/// An amount in millisatoshi. Never negative; at most [`Msat::MAX`], so that it always fits a
/// signed 64-bit database column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msat(u64);

/// An amount left the range of [`Msat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the amount is larger than all bitcoin that can exist")]
pub struct MsatOverflow;

impl Msat {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// All bitcoin there can ever be: 21 million BTC in millisatoshi.
    pub const MAX: Self = Self(2_100_000_000_000_000_000);

    /// An amount of `msat` millisatoshi.
    ///
    /// # Errors
    /// [`MsatOverflow`] above [`Msat::MAX`].
    pub const fn new(msat: u64) -> Result<Self, MsatOverflow> {
        if msat > Self::MAX.0 {
            Err(MsatOverflow)
        } else {
            Ok(Self(msat))
        }
    }

    /// An amount of `sat` whole satoshi.
    ///
    /// # Errors
    /// [`MsatOverflow`] above [`Msat::MAX`].
    pub const fn from_sat(sat: u64) -> Result<Self, MsatOverflow> {
        Self::new(sat.saturating_mul(1000))
    }

    /// The number of millisatoshi.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, unless it leaves the range.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0
            .checked_add(other.0)
            .and_then(|sum| Self::new(sum).ok())
    }

    /// The difference, or nothing where it would be negative.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self` times `count`, unless it leaves the range.
    #[must_use]
    pub fn checked_mul(self, count: u64) -> Option<Self> {
        self.0
            .checked_mul(count)
            .and_then(|product| Self::new(product).ok())
    }

    /// The share of one of `parts` equal parts, rounded up, so that the last part is never larger
    /// than the others. No parts have no share.
    #[must_use]
    pub const fn share_ceil(self, parts: u64) -> Self {
        if parts == 0 {
            Self::ZERO
        } else {
            Self(self.0.div_ceil(parts))
        }
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_amount_exceeds_all_bitcoin() {
        assert_eq!(Msat::new(Msat::MAX.get() + 1), Err(MsatOverflow));
        assert_eq!(Msat::MAX.checked_add(Msat::new(1).unwrap()), None);
        assert_eq!(Msat::MAX.checked_mul(2), None);
        assert_eq!(Msat::from_sat(Msat::MAX.get() / 1000), Ok(Msat::MAX));
        for sat in [Msat::MAX.get() / 1000 + 1, u64::MAX] {
            assert_eq!(Msat::from_sat(sat), Err(MsatOverflow));
        }
    }

    proptest! {
        #[test]
        fn shares_taken_one_after_the_other_sum_to_the_whole(amount in 0_u64..10_000_000, parts in 1_u64..200) {
            let mut left = Msat::new(amount).unwrap();
            let mut taken = 0;
            for remaining in (1..=parts).rev() {
                let share = left.share_ceil(remaining);
                taken += share.get();
                prop_assert!(share <= left);
                left = left.saturating_sub(share);
            }
            prop_assert_eq!(taken, amount);
            prop_assert!(left.is_zero());
        }
    }
}
