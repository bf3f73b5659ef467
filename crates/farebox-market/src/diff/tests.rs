use farebox_meter::price::Currency;

use super::*;

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

fn table(models: &[(&str, ModelPrice)]) -> PriceTable {
    let mut table = PriceTable::default();
    for (name, price) in models {
        table.insert(*name, price.clone());
    }
    table
}

fn between(old: &ModelPrice, new: &ModelPrice) -> Diff {
    let list = |price: &ModelPrice| table(&[("a", price.clone())]);
    Diff::between(&list(old), &list(new), GUARD)
}

fn is_steep(old: &ModelPrice, new: &ModelPrice) -> bool {
    between(old, new).is_steep()
}

fn output(old: &str, new: &str) -> bool {
    is_steep(
        &price(&[(Unit::Output, old)]),
        &price(&[(Unit::Output, new)]),
    )
}

#[test]
fn a_change_within_the_guard_passes_and_one_beyond_is_steep_up_or_down() {
    assert!(!output("0.000010", "0.000013"));
    assert!(output("0.000010", "0.0000130001"));
    assert!(!output("0.000010", "0.000007"));
    assert!(output("0.000010", "0.0000069999"));
    assert!(output("0.000010", "0"));
}

#[test]
fn a_price_that_comes_goes_or_changes_its_money_is_steep() {
    let plain = price(&[(Unit::Input, "0.00001")]);
    let more = price(&[(Unit::Input, "0.00001"), (Unit::Output, "0.00001")]);
    assert!(is_steep(&plain, &more) && is_steep(&more, &plain));
    let sat = ModelPrice {
        currency: Currency::Sat,
        ..plain.clone()
    };
    assert!(is_steep(&plain, &sat));
    let mut pictures = plain.clone();
    let dear = "0.04".parse().unwrap();
    pictures.images.insert("hd/1024x1024".to_owned(), dear);
    let diff = between(&plain, &pictures);
    assert_eq!(diff.changed["a"][0].what, "image hd/1024x1024");
    assert!(diff.is_steep());
}

#[test]
fn a_discount_that_vanishes_is_a_rise_of_what_is_charged() {
    let input = (Unit::Input, "0.00001");
    let cached = price(&[input, (Unit::CachedInput, "0.000001")]);
    assert!(is_steep(&cached, &price(&[input])));
    let same = price(&[input, (Unit::CachedInput, "0.00001")]);
    assert!(between(&same, &price(&[input])).is_empty());
}

#[test]
fn a_longer_context_is_a_change_and_not_steep() {
    let old = price(&[(Unit::Input, "0.00001")]);
    let new = ModelPrice {
        context_tokens: Some(200_000),
        ..old.clone()
    };
    let diff = between(&old, &new);
    assert!(!diff.is_empty() && !diff.is_steep());
    let change = &diff.changed["a"][0];
    assert_eq!(change.what, "context_tokens");
    assert_eq!(
        (&change.from, change.to.as_deref()),
        (&None, Some("200000"))
    );
}

#[test]
fn a_move_is_told_in_percent() {
    let moved = |old, new| {
        let (old, new) = (price(&[(Unit::Output, old)]), price(&[(Unit::Output, new)]));
        between(&old, &new).changed["a"][0].percent.clone()
    };
    assert_eq!(moved("0.00001", "0.0000125").as_deref(), Some("+25.0"));
    assert_eq!(moved("0.00003", "0.00002").as_deref(), Some("-33.3"));
    assert_eq!(moved("0.00003", "0").as_deref(), Some("-100.0"));
    assert_eq!(moved("0", "0.00003"), None);
}

#[test]
fn models_that_come_and_go_are_steep_and_equal_ones_are_counted() {
    let one = price(&[(Unit::Input, "0.00001")]);
    let old = table(&[("a", one.clone()), ("b", one.clone())]);
    let new = table(&[("b", one.clone()), ("c", one)]);
    let diff = Diff::between(&old, &new, GUARD);
    assert_eq!(diff.removed, ["a"]);
    assert_eq!(diff.added["c"][0].to.as_deref(), Some("0.00001"));
    assert_eq!(diff.unchanged, 1);
    assert!(diff.is_steep());
    let same = Diff::between(&old, &old, GUARD);
    assert!(same.is_empty() && !same.is_steep());
}
