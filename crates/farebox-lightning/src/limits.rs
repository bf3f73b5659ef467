//! The amounts that a backend takes: what its kind can, and what the operator says.

use farebox_core::Msat;

use crate::NodeError;

/// The least and the most a backend takes in one payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmountLimits {
    /// The smallest amount.
    pub min: Msat,
    /// The largest amount.
    pub max: Msat,
    /// Amounts are whole multiples of this: one satoshi where the backend knows nothing smaller.
    pub step: Msat,
}

impl AmountLimits {
    /// Whatever an invoice can ask for. BOLT 11 counts in tenths of a millisatoshi, so this ends a
    /// little below all bitcoin.
    pub const ANY: Self = Self {
        min: msat(1),
        max: msat(u64::MAX / 10),
        step: msat(1),
    };

    /// The limits of a backend that takes whole satoshis only.
    pub const WHOLE_SATS: Self = Self {
        min: msat(1000),
        max: msat(u64::MAX / 10_000 * 1000),
        step: msat(1000),
    };

    /// Whether `amount` lies within, both ends included, and is a multiple of the step.
    #[must_use]
    pub fn allow(&self, amount: Msat) -> bool {
        (self.min..=self.max).contains(&amount)
            && amount.get().is_multiple_of(self.step.get().max(1))
    }

    /// The least amount that can be taken and is not below `amount`; none above the maximum.
    #[must_use]
    pub fn cover(&self, amount: Msat) -> Option<Msat> {
        let step = self.step.get().max(1);
        let whole = amount
            .max(self.min)
            .get()
            .div_ceil(step)
            .checked_mul(step)?;
        Msat::new(whole).ok().filter(|whole| *whole <= self.max)
    }

    /// These, with a larger minimum where the operator wants one.
    pub(crate) fn at_least(self, min: Option<Msat>) -> Self {
        Self {
            min: min.map_or(self.min, |min| min.max(self.min)),
            ..self
        }
    }

    /// Refuses an amount that is not taken, before anybody is called.
    pub(crate) fn check(&self, amount: Msat) -> Result<(), NodeError> {
        if self.allow(amount) {
            return Ok(());
        }
        Err(NodeError::AmountOutOfRange {
            amount,
            min: self.min,
            max: self.max,
        })
    }
}

const fn msat(msat: u64) -> Msat {
    match Msat::new(msat) {
        Ok(amount) => amount,
        Err(_) => Msat::MAX,
    }
}
