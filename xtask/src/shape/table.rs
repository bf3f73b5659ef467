//! The shape of all crates, for people to read.

use std::fmt::Write as _;

use super::Shape;

/// Crates whose lines are not the product's: they are in no build that a seller runs.
const NOT_PRODUCT: [&str; 2] = ["testkit", "contract"];

/// A line for each crate, the sums, and every breach of a rule.
#[must_use]
pub fn table(shapes: &[Shape]) -> String {
    let mut text = format!(
        "{:24} {:>5} {:>6} {:>6} {:>3} {:>6} {:>8} {:>9}\n",
        "crate", "files", "lines", "circle", ">6", "fn max", "file max", "scattered"
    );
    for shape in shapes {
        let (wide, scattered) = (shape.wide.len(), shape.scattered.len());
        let longest = shape.longest.as_ref().map_or(0, |function| function.lines);
        line(
            &mut text,
            format_args!(
                "{:24} {:5} {:6} {:6} {wide:3} {longest:6} {:8} {scattered:9}",
                shape.name,
                shape.files,
                shape.lines,
                shape.largest_circle(),
                shape.longest_file,
            ),
        );
    }
    let lines = |wanted: fn(&str) -> bool| {
        let wanted = shapes.iter().filter(|shape| wanted(&shape.name));
        wanted.map(|shape| shape.lines).sum::<usize>()
    };
    let (crates, product) = (lines(|name| name != "xtask"), lines(is_product));
    line(
        &mut text,
        format_args!("crates: {crates} lines; of them the product: {product}"),
    );
    for complaint in shapes.iter().flat_map(Shape::complaints) {
        line(&mut text, format_args!("{complaint}"));
    }
    text
}

fn is_product(name: &str) -> bool {
    name != "xtask" && !NOT_PRODUCT.iter().any(|part| name.contains(part))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let written = writeln!(text, "{line}");
    debug_assert!(written.is_ok(), "a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Source;

    #[test]
    fn what_is_sold_is_counted_apart() {
        let shape =
            |name: &str| Shape::of(name, &[Source::new("crates/a/src/lib.rs", "fn a() {}")]);
        let shown = table(&["farebox", "farebox-testkit", "xtask"].map(shape));
        assert!(
            shown.contains("crates: 2 lines; of them the product: 1"),
            "{shown}"
        );
    }
}
