//! What the ledger keeps of a charge beside its amount: what the price was found by, and what was
//! measured.
//!
//! The first is handed over with the hold, so that it is there whatever becomes of this process. A
//! fixed price in bitcoin has neither. Never here: an amount.

use farebox_core::UnixMillis;
use farebox_ledger::{ChargeBasis, MAX_CHARGE_CLASSES, Measured, RateUsed};
use farebox_meter::{Decimal, Unit, Usage};

use crate::gauge::model::Bill;
use crate::gauge::report::{End, SaidBill, SaidLine};
use crate::price::Quote;
use crate::rates::Rate;

const _: () = assert!(
    Unit::ALL.len() <= MAX_CHARGE_CLASSES,
    "every class of usage is kept"
);

impl Quote {
    /// What this price was found by, where there is anything to tell. Who bought calls before is
    /// charged by what they cost then: of those, it is the rate in force when they are used.
    pub(crate) fn basis(&self, now: UnixMillis) -> Option<Box<ChargeBasis>> {
        let rate = self.rate().map(|rate| rate.used_at(now));
        let model = match self {
            Self::Metered(metered) => Some(metered.request.model.clone()),
            _ => None,
        };
        let is_nothing = rate.is_none() && model.is_none();
        (!is_nothing).then(|| Box::new(ChargeBasis { rate, model }))
    }
}

impl Rate {
    fn used_at(self, now: UnixMillis) -> RateUsed {
        let age = |taken_at: UnixMillis| now.get().saturating_sub(taken_at.get());
        RateUsed {
            currency: self.currency.name(),
            bitcoin_price: self.bitcoin_price.to_string(),
            age_ms: self.taken_at.map(age),
        }
    }
}

impl Bill {
    /// What is kept of the usage of a model.
    pub(crate) fn measured(&self) -> Measured {
        Measured {
            terminal: self.terminal.as_str(),
            usage: used_classes(&self.usage),
            quantity: None,
        }
    }
}

impl SaidBill {
    /// What is kept of what the upstream said, or of what was counted here.
    pub(crate) fn measured(&self) -> Measured {
        of_quantity(self.end, self.quantity)
    }
}

impl SaidLine {
    /// What is kept of what a webhook said: msat.
    pub(crate) fn measured(&self) -> Measured {
        of_quantity(self.end, self.quantity)
    }
}

fn of_quantity(end: End, quantity: Option<Decimal>) -> Measured {
    Measured {
        terminal: end.as_str(),
        usage: Vec::new(),
        quantity: quantity.map(|quantity| quantity.to_string()),
    }
}

fn used_classes(usage: &Usage) -> Vec<(&'static str, u64)> {
    let counts = Unit::ALL.map(|unit| (unit.as_str(), usage.get(unit)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
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

    #[test]
    fn only_what_was_used_is_kept() {
        let usage = Usage::NONE.with(Unit::Output, 7).with(Unit::Input, 3);
        assert_eq!(used_classes(&usage), [("input", 3), ("output", 7)]);
    }
}
