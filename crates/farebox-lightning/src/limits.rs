//! The amounts that a backend takes: what its kind can, and what the operator says.

use farebox_core::Msat;

use crate::{AmountLimits, NodeError};

impl AmountLimits {
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
