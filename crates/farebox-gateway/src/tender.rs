//! What one payment asks for and buys: what the sale says, or a bundle where the node cannot take
//! so little or so finely divided an amount.
//!
//! A bundle is a balance: the invoice is for the least amount that the node takes, each request
//! draws its price, and the rest stays on the token. Nothing is rounded away from the payer.

use std::time::Duration;

use farebox_core::{Binding, Kind, Msat, Terms};
use farebox_lightning::{AmountLimits, CreatedInvoice};
use farebox_wire::problem::Problem;
use serde_json::json;

use crate::challenge::Debt;
use crate::refusal::PaymentError;
use crate::sale::Offer;

/// What one payment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tender {
    /// The amount of the invoice.
    pub(crate) amount: Msat,
    /// Whether it is more than the sale asks for, because the node takes no less.
    is_bundle: bool,
}

impl Tender {
    /// What an offer asks of a node with these limits.
    ///
    /// A pass cannot be a bundle: its price is for a span, and a balance would not buy one.
    pub(crate) fn of(
        offer: &Offer,
        price: Msat,
        limits: AmountLimits,
    ) -> Result<Self, PaymentError> {
        let asked = offer.asks(price).ok_or(PaymentError::AmountNotTaken)?;
        let amount = limits.cover(asked).ok_or(PaymentError::AmountNotTaken)?;
        let is_bundle = amount != asked;
        if is_bundle && matches!(offer.kind(), Kind::Pass(_)) {
            return Err(PaymentError::AmountNotTaken);
        }
        Ok(Self { amount, is_bundle })
    }

    /// Whether it is just what the sale asks for.
    pub(crate) const fn is_exact(self) -> bool {
        !self.is_bundle
    }

    /// What a token for this payment says.
    pub(crate) fn terms(self, debt: &Debt<'_>, invoice: &CreatedInvoice, grace: Duration) -> Terms {
        let sale = debt.sale;
        let binding = match debt.digest {
            Some(digest) if sale.offer.binds_request() && !self.is_bundle => {
                Binding::Request(digest)
            }
            _ => Binding::Route,
        };
        Terms {
            amount: invoice.amount,
            kind: if self.is_bundle {
                Kind::Balance
            } else {
                sale.offer.kind()
            },
            route: debt.route.name.clone(),
            methods: sale.methods.class_for(debt.method),
            binding,
            epoch: sale.epoch,
            valid_for: sale.valid_for,
            claim_by: invoice.expires_at.plus(grace),
        }
    }

    /// Says in the 402 what the larger amount is for.
    pub(crate) fn explain(self, price: Msat, problem: Problem) -> Problem {
        if !self.is_bundle {
            return problem;
        }
        let calls = self.amount.get() / price.get().max(1);
        problem
            .with(
                "bundle",
                json!({
                    "amount_msat": self.amount.get(),
                    "price_msat": price.get(),
                    "calls": calls,
                }),
            )
            .with_detail(format!(
                "the Lightning node takes no less than {}: what this request does not cost stays \
                 on the token as balance for further requests",
                self.amount
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sale::tests::flat;
    use crate::sale::{Bind, Buys};

    const SINGLE: Buys = Buys::Single(Bind::Route);

    fn limits(min: u64, step: u64) -> AmountLimits {
        AmountLimits {
            min: Msat::new(min).unwrap(),
            step: Msat::new(step).unwrap(),
            ..AmountLimits::ANY
        }
    }

    fn tender(price: u64, buys: Buys, limits: AmountLimits) -> Result<(u64, bool), ()> {
        Tender::of(&flat(price, buys), Msat::new(price).unwrap(), limits)
            .map(|tender| (tender.amount.get(), tender.is_bundle))
            .map_err(drop)
    }

    #[test]
    fn an_amount_that_the_node_takes_is_asked_as_it_is() {
        assert_eq!(tender(2_000, SINGLE, limits(1_000, 1)), Ok((2_000, false)));
        assert_eq!(
            tender(1_000, SINGLE, limits(1_000, 1_000)),
            Ok((1_000, false))
        );
    }

    #[test]
    fn a_price_below_the_least_amount_sells_a_bundle_of_the_least_amount() {
        assert_eq!(tender(200, SINGLE, limits(1_000, 1)), Ok((1_000, true)));
        assert_eq!(
            tender(100, Buys::Calls(5), limits(1_000, 1)),
            Ok((1_000, true))
        );
    }

    #[test]
    fn a_price_between_two_steps_sells_a_bundle_of_the_next_step() {
        assert_eq!(
            tender(1_500, SINGLE, limits(1_000, 1_000)),
            Ok((2_000, true))
        );
    }

    #[test]
    fn a_pass_is_never_a_bundle() {
        let pass = Buys::Pass(Duration::from_secs(60));
        assert_eq!(tender(200, pass, limits(1_000, 1)), Err(()));
        assert_eq!(tender(1_000, pass, limits(1_000, 1)), Ok((1_000, false)));
    }

    #[test]
    fn an_amount_above_the_greatest_is_refused() {
        let limits = AmountLimits {
            max: Msat::new(5_000).unwrap(),
            ..AmountLimits::ANY
        };
        assert_eq!(tender(5_001, SINGLE, limits), Err(()));
    }
}
