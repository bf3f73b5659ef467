//! What a new list would change, and which of that waits for the seller.
//!
//! A list can be wrong, or in the wrong hands: a price that moves further than the guard band, that
//! goes to nothing, that comes or that vanishes is not taken over before the seller has seen it.

use farebox_meter::Decimal;
use farebox_meter::ModelPrice;
use farebox_meter::Unit;

/// One price that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of what.
    pub unit: Unit,
    /// What one of it costs by the old list.
    pub from: Option<Decimal>,
    /// And by the new one.
    pub to: Option<Decimal>,
    /// Whether that is for the seller to approve.
    pub waits: bool,
}

/// All that differs between two prices of one model; `guard` in millionths of the old price.
#[must_use]
pub fn changes(old: &ModelPrice, new: &ModelPrice, guard: u64) -> Vec<Change> {
    let same_money = old.currency == new.currency;
    let change = |unit: Unit| {
        // What is charged counts, not what is written: a row may stand for another.
        let (from, to) = (old.row(unit), new.row(unit));
        let waits = !same_money || !is_within(from, to, guard);
        let differs = from != to || !same_money && from.is_some();
        differs.then_some(Change {
            unit,
            from,
            to,
            waits,
        })
    };
    Unit::ALL.into_iter().filter_map(change).collect()
}

/// Whether a new price of a model may be taken over unseen.
#[must_use]
pub fn waits(old: &ModelPrice, new: &ModelPrice, guard: u64) -> bool {
    let changes = changes(old, new, guard);
    changes.iter().any(|change| change.waits)
        || old.images != new.images
        || old.is_free != new.is_free
}

fn is_within(from: Option<Decimal>, to: Option<Decimal>, guard: u64) -> bool {
    match (from, to) {
        (None, None) => true,
        (Some(from), Some(to)) if to.is_zero() => from.is_zero(),
        (Some(from), Some(to)) => !to.deviates(from, guard),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use farebox_meter::Currency;

    const GUARD: u64 = 300_000;

    fn price(rows: &[(Unit, &str)]) -> ModelPrice {
        let rows = rows
            .iter()
            .map(|(unit, text)| (*unit, text.parse().unwrap()));
        ModelPrice {
            currency: Currency::Fiat(*b"USD"),
            rows: rows.collect(),
            images: BTreeMap::new(),
            context_tokens: None,
            max_output_tokens: None,
            is_free: false,
        }
    }

    fn output(old: &str, new: &str) -> bool {
        waits(
            &price(&[(Unit::Output, old)]),
            &price(&[(Unit::Output, new)]),
            GUARD,
        )
    }

    #[test]
    fn a_change_within_the_band_passes_and_one_beyond_waits_up_or_down() {
        assert!(!output("0.000010", "0.000013"));
        assert!(output("0.000010", "0.0000130001"));
        assert!(!output("0.000010", "0.000007"));
        assert!(output("0.000010", "0.0000069999"));
        assert!(output("0.000010", "0"));
    }

    #[test]
    fn a_price_that_comes_goes_or_changes_its_money_waits() {
        let plain = price(&[(Unit::Input, "0.00001")]);
        let more = price(&[(Unit::Input, "0.00001"), (Unit::Output, "0.00001")]);
        assert!(waits(&plain, &more, GUARD) && waits(&more, &plain, GUARD));
        let sat = ModelPrice {
            currency: Currency::Sat,
            ..plain.clone()
        };
        assert!(waits(&plain, &sat, GUARD));
    }

    #[test]
    fn a_discount_that_vanishes_is_a_rise_of_what_is_charged() {
        let input = (Unit::Input, "0.00001");
        let cached = price(&[input, (Unit::CachedInput, "0.000001")]);
        assert!(waits(&cached, &price(&[input]), GUARD));
        let same = price(&[input, (Unit::CachedInput, "0.00001")]);
        assert!(!waits(&same, &price(&[input]), GUARD));
    }
}
