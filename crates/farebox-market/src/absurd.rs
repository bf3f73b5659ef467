//! Prices that nobody means: that of a million, taken for that of one.

use farebox_meter::price::{Currency, ModelPrice};
use farebox_meter::{Decimal, Unit};

/// More dollars than this no token costs.
const MAX_PER_TOKEN: &str = "0.001";
/// More dollars than this nothing else costs.
const MAX_APIECE: &str = "100";

/// Why nobody can mean this price, if so. Only prices in dollars are judged.
pub(crate) fn absurd(price: &ModelPrice) -> Option<String> {
    if price.currency != Currency::Fiat(*b"USD") {
        return None;
    }
    let rows = price.rows.iter();
    let images = price.images.values().map(|price| (&Unit::Image, price));
    let (unit, price) = rows.chain(images).find(|(unit, price)| {
        let limit = if is_apiece(**unit) {
            MAX_APIECE
        } else {
            MAX_PER_TOKEN
        };
        let limit: Result<Decimal, _> = limit.parse();
        limit.is_ok_and(|limit| price.exceeds(limit))
    })?;
    Some(format!("an absurd price for {unit}: {price}"))
}

/// Whether the price is for one piece, and not for a token or a character.
pub(crate) const fn is_apiece(unit: Unit) -> bool {
    matches!(unit, Unit::Image | Unit::Request | Unit::Second)
}
