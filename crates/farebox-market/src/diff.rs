//! What another price list would change, and which of that its seller should have seen.
//!
//! A list can be wrong, or in the wrong hands: a price that moves further than the guard, that goes
//! to zero, that comes or that vanishes is *steep*, and so is a model that comes or goes.

use std::collections::{BTreeMap, BTreeSet};

use farebox_meter::{Decimal, ModelPrice, Unit};
use serde::Serialize;

use crate::table::PriceTable;

/// All that differs between two price lists.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Models that only the new list has.
    pub added: BTreeMap<String, Vec<Change>>,
    /// Models that only the old list has.
    pub removed: Vec<String>,
    /// What differs of models that both have.
    pub changed: BTreeMap<String, Vec<Change>>,
    /// How many models are the same in both.
    pub unchanged: usize,
}

/// One entry of a model that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// A class such as `output`, a picture such as `image hd/1024x1024`, `currency`,
    /// `context_tokens` or `max_output_tokens`.
    pub what: String,
    /// What it is by the old list; for a class the price of one unit.
    pub from: Option<String>,
    /// What it is by the new one.
    pub to: Option<String>,
    /// How far a price moves, such as `+12.5`; `None` where it comes, goes or changes its currency.
    pub percent: Option<String>,
    /// Whether it is more than may pass unseen.
    #[serde(rename = "steep")]
    pub is_steep: bool,
}

impl Change {
    fn of(what: &str, (from, to): (Option<String>, Option<String>), is_steep: bool) -> Self {
        Self {
            what: what.to_owned(),
            from,
            to,
            percent: None,
            is_steep,
        }
    }
}

impl Diff {
    /// Compares two lists; `guard` in millionths of the old price.
    #[must_use]
    pub fn between(old: &PriceTable, new: &PriceTable, guard: u64) -> Self {
        let mut diff = Self {
            added: BTreeMap::new(),
            removed: Vec::new(),
            changed: BTreeMap::new(),
            unchanged: 0,
        };
        for (model, price) in new.iter() {
            match old.find(model) {
                None => drop(diff.added.insert(model.to_owned(), entries(price))),
                Some(old) => match changes(old, price, guard) {
                    changes if changes.is_empty() => diff.unchanged += 1,
                    changes => drop(diff.changed.insert(model.to_owned(), changes)),
                },
            }
        }
        let gone = old.iter().filter(|(model, _)| new.find(model).is_none());
        diff.removed = gone.map(|(model, _)| model.to_owned()).collect();
        diff
    }

    /// Whether the lists say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Whether something in it should be seen before it is sold by.
    #[must_use]
    pub fn is_steep(&self) -> bool {
        let mut changes = self.changed.values().flatten();
        !self.added.is_empty() || !self.removed.is_empty() || changes.any(|change| change.is_steep)
    }
}

/// What a new model costs.
fn entries(price: &ModelPrice) -> Vec<Change> {
    let rows = price.rows.iter();
    let rows = rows.map(|(unit, price)| moved(unit.to_string(), None, Some(*price), 0));
    let images = price.images.iter();
    let images = images.map(|(name, price)| moved(picture(name), None, Some(*price), 0));
    rows.chain(images).collect()
}

fn changes(old: &ModelPrice, new: &ModelPrice, guard: u64) -> Vec<Change> {
    let number = |tokens: Option<u64>| tokens.map(|tokens| tokens.to_string());
    let currencies = (Some(old.currency.name()), Some(new.currency.name()));
    let context = (number(old.context_tokens), number(new.context_tokens));
    let longest = (number(old.max_output_tokens), number(new.max_output_tokens));
    let same_money = old.currency == new.currency;
    let mut changes = vec![
        Change::of("currency", currencies, !same_money),
        Change::of("context_tokens", context, false),
        Change::of("max_output_tokens", longest, false),
    ];
    // What is charged counts, not what is written: a row may stand for another.
    let units = Unit::ALL.into_iter();
    changes.extend(units.map(|unit| moved(unit.to_string(), old.row(unit), new.row(unit), guard)));
    let pictures: BTreeSet<_> = old.images.keys().chain(new.images.keys()).collect();
    let price = |list: &ModelPrice, name| list.images.get(name).copied();
    let pictures = pictures.into_iter();
    changes.extend(
        pictures.map(|name| moved(picture(name), price(old, name), price(new, name), guard)),
    );
    changes.retain(|change| change.from != change.to);
    if !same_money {
        // Numbers in different money cannot be compared.
        for change in &mut changes {
            (change.percent, change.is_steep) = (None, true);
        }
    }
    changes
}

fn picture(name: &str) -> String {
    format!("image {name}")
}

fn moved(what: String, from: Option<Decimal>, to: Option<Decimal>, guard: u64) -> Change {
    let text = |price: Option<Decimal>| price.map(|price| price.to_string());
    let is_steep = match (from, to) {
        (Some(from), Some(to)) => to.is_zero() || to.deviates(from, guard),
        (None, _) | (_, None) => true,
    };
    let moved = from
        .zip(to)
        .and_then(|(from, to)| to.millionths_above(from));
    Change {
        what,
        from: text(from),
        to: text(to),
        percent: moved.map(percent),
        is_steep,
    }
}

/// Millionths as percent, with one digit behind the point.
fn percent(millionths: i64) -> String {
    let sign = if millionths < 0 { '-' } else { '+' };
    let tenths = millionths.unsigned_abs() / 1_000;
    format!("{sign}{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests;
