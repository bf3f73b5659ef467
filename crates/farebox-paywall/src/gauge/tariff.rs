//! What one call's use costs, where it is one number.

use farebox_core::Msat;
use farebox_meter::{Decimal, Exchange};

use super::bill::{Bill, End, Measure};
use super::{Billing, Ending, Unsaid};

/// What the use of one call costs, at the rates of the moment, and what is charged where its answer
/// does not end well.
pub struct Tariff {
    /// The price of one unit.
    pub each: Decimal,
    /// The rate of the moment, markup included.
    pub exchange: Exchange,
    /// What is held, and the most that is charged.
    pub at_most: Msat,
    /// The least that is charged, where anything is.
    pub least: Msat,
    /// What is charged where the answer does not end well.
    pub billing: Billing,
}

impl Tariff {
    /// What so much costs; none where that is more than all bitcoin, and so cannot be true.
    pub fn cost(&self, quantity: Decimal) -> Option<Msat> {
        let cost = self.exchange.times(quantity, self.each).ok()?;
        Some(cost.max(self.least))
    }

    /// The bill of an answer that ended so: what its quantity costs, or why nobody can tell.
    pub(super) fn bill(
        &self,
        ending: Ending,
        quantity: Option<Decimal>,
        cost: Result<Msat, &'static str>,
    ) -> Bill {
        let (end, used) = match (ending, cost) {
            (Ending::CutByUpstream, cost) => (
                End::CutByUpstream,
                match self.billing.broken_off {
                    Unsaid::Observed => cost.unwrap_or(Msat::ZERO),
                    Unsaid::Nothing => Msat::ZERO,
                    Unsaid::Hold => self.at_most,
                },
            ),
            (Ending::Complete, Ok(cost)) => (End::Complete, cost),
            (Ending::Complete, Err(_)) => (
                End::CostMissing,
                match self.billing.usage_missing {
                    Unsaid::Observed | Unsaid::Nothing => Msat::ZERO,
                    Unsaid::Hold => self.at_most,
                },
            ),
            // Whoever leaves before the end is told must not gain by it.
            (Ending::CutByClient, cost) => (End::CutByClient, cost.unwrap_or(self.at_most)),
        };
        // Delivered is delivered, even where it costs nothing.
        let is_void = used.is_zero() && ending == Ending::CutByUpstream;
        Bill {
            used: (!is_void).then_some(used),
            is_excused: false,
            measured: Measure::Quantity(quantity),
            end,
            complaint: cost.err().filter(|_| end == End::CostMissing),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use farebox_meter::Currency;

    use super::*;
    use crate::gauge::OnDisconnect;

    pub(in crate::gauge) fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    /// At most 1000 msat a call, at least 10, half a msat each.
    pub(in crate::gauge) fn tariff(billing: Billing) -> Tariff {
        Tariff {
            each: "0.5".parse().unwrap(),
            exchange: Exchange::fixed(Currency::Msat).unwrap(),
            at_most: msat(1000),
            least: msat(10),
            billing,
        }
    }

    pub(in crate::gauge) fn billing(usage_missing: Unsaid, broken_off: Unsaid) -> Billing {
        Billing {
            usage_missing,
            broken_off,
            on_disconnect: OnDisconnect::Drain(Duration::from_secs(1)),
        }
    }

    pub(in crate::gauge) fn lenient() -> Billing {
        billing(Unsaid::Nothing, Unsaid::Observed)
    }
}
