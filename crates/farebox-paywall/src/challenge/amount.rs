//! What one payment asks for and buys: what the offer says, or a bundle where the node cannot take
//! so little or so finely divided an amount.
//!
//! A bundle is a balance: the invoice is for the least amount that the node takes, each request
//! draws its price, and the rest stays on the token. Nothing is rounded away from the payer.

use farebox_core::{Binding, Kind, Msat, RequestDigest, Terms};
use farebox_lightning::{AmountLimits, CreatedInvoice};

use crate::ask::Ask;
use crate::claim::CLAIM_GRACE;
use crate::error::PaymentError;
use crate::sale::Offer;

/// What one payment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Of the invoice.
    pub msat: Msat,
    /// Whether it is more than the offer asks for, because the node takes no less.
    is_bundle: bool,
}

impl Amount {
    /// What an offer asks of a node with these limits, for a request that costs `price` at most.
    ///
    /// A pass cannot be a bundle: its price is for a span, and a balance would not buy one.
    ///
    /// # Errors
    /// [`PaymentError::AmountNotTaken`].
    pub fn of(offer: &Offer, price: Msat, limits: AmountLimits) -> Result<Self, PaymentError> {
        let asked = offer.asks(price).ok_or(PaymentError::AmountNotTaken)?;
        let amount = Self::covering(asked, limits)?;
        if amount.is_bundle && matches!(offer.kind(), Kind::Pass(_)) {
            return Err(PaymentError::AmountNotTaken);
        }
        Ok(amount)
    }

    /// The least that a node with these limits takes and that is not below `asked`.
    pub fn covering(asked: Msat, limits: AmountLimits) -> Result<Self, PaymentError> {
        let msat = limits.cover(asked).ok_or(PaymentError::AmountNotTaken)?;
        let is_bundle = msat != asked;
        Ok(Self { msat, is_bundle })
    }

    /// Whether it is just what the offer asks for.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        !self.is_bundle
    }

    /// What a token for this payment says.
    pub fn terms(
        self,
        digest: Option<RequestDigest>,
        invoice: &CreatedInvoice,
        ask: &Ask<'_>,
    ) -> Terms {
        let sale = ask.sale;
        let binding = match digest {
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
            route: ask.route.clone(),
            methods: sale.methods.class_for(ask.method),
            binding,
            epoch: sale.epoch,
            valid_for: sale.valid_for,
            claim_by: invoice.expires_at.plus(CLAIM_GRACE),
        }
    }
}
#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    fn amount(price: u64, buys: Buys, limits: AmountLimits) -> Result<(u64, bool), ()> {
        Amount::of(&flat(price, buys), Msat::new(price).unwrap(), limits)
            .map(|amount| (amount.msat.get(), amount.is_bundle))
            .map_err(drop)
    }

    #[test]
    fn an_amount_that_the_node_takes_is_asked_as_it_is() {
        assert_eq!(amount(2_000, SINGLE, limits(1_000, 1)), Ok((2_000, false)));
        assert_eq!(
            amount(1_000, SINGLE, limits(1_000, 1_000)),
            Ok((1_000, false))
        );
    }

    #[test]
    fn a_price_below_the_least_amount_sells_a_bundle_of_the_least_amount() {
        assert_eq!(amount(200, SINGLE, limits(1_000, 1)), Ok((1_000, true)));
        assert_eq!(
            amount(100, Buys::Calls(5), limits(1_000, 1)),
            Ok((1_000, true))
        );
    }

    #[test]
    fn a_price_between_two_steps_sells_a_bundle_of_the_next_step() {
        assert_eq!(
            amount(1_500, SINGLE, limits(1_000, 1_000)),
            Ok((2_000, true))
        );
    }

    #[test]
    fn a_pass_is_never_a_bundle() {
        let pass = Buys::Pass(Duration::from_secs(60));
        assert_eq!(amount(200, pass, limits(1_000, 1)), Err(()));
        assert_eq!(amount(1_000, pass, limits(1_000, 1)), Ok((1_000, false)));
    }

    #[test]
    fn an_amount_above_the_greatest_is_refused() {
        let limits = AmountLimits {
            max: Msat::new(5_000).unwrap(),
            ..AmountLimits::ANY
        };
        assert_eq!(amount(5_001, SINGLE, limits), Err(()));
    }
}
