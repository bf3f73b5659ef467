//! The units that coins are counted in.

use std::fmt;

use farebox_core::Msat;

/// A unit of a mint that we deal in (NUT-00). Coins of one unit are no coins of another, even at one
/// mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Millisatoshis: exact change.
    Msat,
    /// Whole satoshis.
    Sat,
}

impl Unit {
    /// Every unit, the finest first.
    pub const ALL: [Self; 2] = [Self::Msat, Self::Sat];

    /// The unit of this name, in the small letters that mints use.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == name)
    }

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Msat => "msat",
            Self::Sat => "sat",
        }
    }

    /// What one of it is worth.
    #[must_use]
    pub const fn one(self) -> u64 {
        match self {
            Self::Msat => 1,
            Self::Sat => 1000,
        }
    }

    /// What `count` of it are worth; none above all the money there is.
    #[must_use]
    pub fn worth(self, count: u64) -> Option<Msat> {
        Msat::new(count.checked_mul(self.one())?).ok()
    }

    /// The most of it that `amount` covers: what is below one coin is left.
    #[must_use]
    pub const fn within(self, amount: Msat) -> u64 {
        amount.get() / self.one()
    }

    /// The least of it that covers `amount`.
    #[must_use]
    pub const fn covering(self, amount: Msat) -> u64 {
        amount.get().div_ceil(self.one())
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_by_name_and_never_pass_all_money() {
        let msat = |msat| Msat::new(msat).unwrap();
        assert_eq!(Unit::Sat.within(msat(1999)), 1);
        assert_eq!(Unit::Sat.covering(msat(1001)), 2);
        assert_eq!(Unit::Msat.covering(msat(1001)), 1001);
        assert_eq!(Unit::Sat.worth(2), Some(msat(2000)));
        for unit in Unit::ALL {
            assert_eq!(unit.worth(u64::MAX), None);
            assert_eq!(Unit::parse(unit.as_str()), Some(unit));
        }
        assert_eq!(Unit::parse("SAT"), None);
        assert_eq!(Unit::parse("usd"), None);
    }
}
