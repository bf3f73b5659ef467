//! What a request costs, at most or exactly, and how its charge is found.

mod model;

use farebox_core::Msat;
use farebox_http::aside::Busy;
use farebox_market::rates::Rate;

use crate::gauge::Gauge;
pub(crate) use model::ModelQuote;

/// What a request costs.
pub struct Due {
    /// The most that it can cost.
    pub at_most: Msat,
    /// The rate by which that was found, where the price is in the money of some state.
    pub rate: Option<Rate>,
    pub(crate) charge: Charge,
}

/// How the charge of a request is found.
pub(crate) enum Charge {
    /// It is the price.
    Exactly,
    /// By a gauge.
    Gauged(Box<dyn Gauge>),
    /// By the usage of a model.
    Model(Box<ModelQuote>),
}

impl Due {
    /// A price that is known before.
    pub const fn exactly(price: Msat, rate: Option<Rate>) -> Self {
        Self {
            at_most: price,
            rate,
            charge: Charge::Exactly,
        }
    }

    /// What a gauge will find, and at most so much.
    pub fn gauged(at_most: Msat, rate: Option<Rate>, gauge: Box<dyn Gauge>) -> Self {
        Self {
            at_most,
            rate,
            charge: Charge::Gauged(gauge),
        }
    }

    /// Whether the answer can be made to cost less.
    pub(crate) const fn can_shrink(&self) -> bool {
        matches!(self.charge, Charge::Model(_))
    }

    /// Lets the answer cost no more than `most`, in the request that is forwarded. Answers whether
    /// that can be, and leaves an answer worth having.
    pub(crate) async fn shrink_to(&mut self, most: Msat) -> Result<bool, Busy> {
        match std::mem::replace(&mut self.charge, Charge::Exactly) {
            Charge::Model(call) => {
                let (call, is_worth_it) = call.shrunk_to(most).await?;
                self.at_most = call.at_most();
                self.charge = Charge::Model(call);
                Ok(is_worth_it)
            }
            other => {
                self.charge = other;
                Ok(false)
            }
        }
    }
}
