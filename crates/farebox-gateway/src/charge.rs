//! What the ledger keeps of a charge beside its amount: what the price was found by. It is handed over
//! with the hold, so that it is there whatever becomes of this process; a fixed price in bitcoin has
//! none. Never here: an amount.

use farebox_core::UnixMillis;
use farebox_ledger::{ChargeBasis, RateUsed};
use farebox_market::rates::Rate;

use crate::price::Quote;

impl Quote {
    /// What this price was found by, where there is anything to tell. Who bought calls before is
    /// charged by what they cost then: of those, it is the rate in force when they are used.
    pub(crate) fn basis(&self, now: UnixMillis) -> Option<Box<ChargeBasis>> {
        let rate = self.rate().map(|rate| used_at(&rate, now));
        let model = match self {
            Self::Metered(metered) => Some(metered.request.model.clone()),
            _ => None,
        };
        let is_nothing = rate.is_none() && model.is_none();
        (!is_nothing).then(|| Box::new(ChargeBasis { rate, model }))
    }
}

fn used_at(rate: &Rate, now: UnixMillis) -> RateUsed {
    let age = |taken_at: UnixMillis| now.get().saturating_sub(taken_at.get());
    RateUsed {
        currency: rate.currency.name(),
        bitcoin_price: rate.bitcoin_price.to_string(),
        age_ms: rate.taken_at.map(age),
    }
}

#[cfg(test)]
mod tests {
    use farebox_core::Msat;

    use super::*;

    fn rate(taken_at: Option<u64>) -> Rate {
        Rate {
            currency: "usd".parse().unwrap(),
            bitcoin_price: "64123.50".parse().unwrap(),
            taken_at: taken_at.map(UnixMillis::new),
        }
    }

    #[test]
    fn a_rate_is_kept_with_its_age_and_a_fixed_one_has_none() {
        let at = |taken_at| {
            let quote = Quote::Fiat(Msat::ZERO, Some(rate(taken_at)));
            quote.basis(UnixMillis::new(5_000)).unwrap().rate.unwrap()
        };
        assert_eq!(at(Some(3_500)).age_ms, Some(1_500));
        assert_eq!(at(Some(9_000)).age_ms, Some(0), "a clock was set back");
        assert_eq!(at(None).age_ms, None);
        let kept = at(None);
        assert_eq!(kept.currency, "usd");
        assert_eq!(kept.bitcoin_price.parse(), Ok(rate(None).bitcoin_price));
    }

    #[test]
    fn a_fixed_price_in_bitcoin_keeps_nothing() {
        let now = UnixMillis::new(5_000);
        assert_eq!(Quote::Fixed(Msat::ZERO).basis(now), None);
        assert_eq!(Quote::Fiat(Msat::ZERO, None).basis(now), None);
    }
}
