//! What one answer is charged, and by what it was found.

use std::sync::Arc;

use farebox_core::Msat;
use farebox_ledger::{Hold, MAX_CHARGE_CLASSES, Measured, VoidReason};
use farebox_meter::{Decimal, Unit, Usage};

use super::Ending;

const _: () = assert!(
    Unit::ALL.len() <= MAX_CHARGE_CLASSES,
    "every class of usage is kept"
);

farebox_core::words! {
    /// How an answer ended whose charge a gauge found.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum End {
        /// To its end, with what it used.
        Complete = "complete",
        /// A model's answer to its end, without a usage that can be true.
        UsageMissing = "usage_missing",
        /// Any other to its end, without a cost that can be true.
        CostMissing = "cost_missing",
        /// The client left.
        CutByClient = "cut_by_client",
        /// The upstream broke off.
        CutByUpstream = "cut_by_upstream",
        /// An error after the answer had begun.
        ErrorAfterStart = "error_after_start",
    }
}

/// How much was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// By a model, in classes.
    Usage {
        /// Which.
        model: Arc<str>,
        /// How much of each class.
        usage: Usage,
    },
    /// One number, where it is known.
    Quantity(Option<Decimal>),
}

/// What one answer is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// What the use costs, which may be more than was held: that is the seller's loss. None where
    /// the answer failed before it was worth anything; its hold is voided.
    pub used: Option<Msat>,
    /// The client brought it about that it got nothing. It is charged only where that happened too
    /// often.
    pub is_excused: bool,
    /// How much was used.
    pub measured: Measure,
    /// How the answer ended.
    pub end: End,
    /// What the seller should know of a cost that is missing.
    pub complaint: Option<&'static str>,
}

/// What was charged for an answer.
#[derive(Debug, Default)]
pub struct Charged {
    /// How much.
    pub msat: Msat,
    /// By which bill, where it was not a fixed price.
    pub bill: Option<Box<Bill>>,
}

impl Charged {
    /// What the seller should know of a cost that is missing.
    pub fn complaint(&self) -> Option<&'static str> {
        self.bill.as_ref()?.complaint
    }
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Complete => Self::Complete,
            Ending::CutByUpstream => Self::CutByUpstream,
            Ending::CutByClient => Self::CutByClient,
        }
    }
}

impl Bill {
    /// Charges a hold by this bill, and never more than was held.
    pub fn settle(self: Box<Self>, hold: Hold) -> Charged {
        let charged = self.charged(hold.charge());
        match self.used {
            Some(used) => hold.settle_part_with(used, self.kept()),
            None => hold.void_with(VoidReason::CutShort, self.kept()),
        }
        Charged {
            msat: charged,
            bill: Some(self),
        }
    }

    /// What is taken of a hold of so much.
    pub fn charged(&self, held: Msat) -> Msat {
        self.used.unwrap_or(Msat::ZERO).min(held)
    }

    /// The same bill for a client that got nothing.
    pub(crate) fn excused(self) -> Self {
        Self {
            is_excused: true,
            end: End::CutByClient,
            complaint: None,
            ..self
        }
    }

    /// What the ledger keeps of it.
    pub(crate) fn kept(&self) -> Measured {
        let (usage, quantity) = match &self.measured {
            Measure::Usage { usage, .. } => {
                let used = usage.iter().map(|(unit, count)| (unit.as_str(), count));
                (used.collect(), None)
            }
            Measure::Quantity(quantity) => (Vec::new(), *quantity),
        };
        Measured {
            terminal: self.end.as_str(),
            usage,
            quantity: quantity.map(|quantity| quantity.to_string()),
        }
    }
}
