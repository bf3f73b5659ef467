//! No circle of many siblings, no function of many parameters, no type in many files, in any crate.
//! `cargo xtask shape` shows the same, and [`xtask::shape`] tests the rules themselves.

use xtask::shape::{self, Shape};

/// Fails for the crates that break a rule.
#[track_caller]
fn assert_none(seen: fn(&Shape) -> usize) {
    for shape in shape::of_workspace(super::root()).unwrap() {
        let (seen, complaints) = (seen(&shape), shape.complaints().join("\n"));
        assert_eq!(seen, 0, "{}\n{complaints}", shape.name);
    }
}

#[test]
fn no_more_than_three_siblings_import_each_other_in_a_circle() {
    assert_none(Shape::largest_circle);
}

#[test]
fn no_function_has_more_than_six_real_parameters() {
    assert_none(|shape| shape.wide.len());
}

#[test]
fn no_type_has_impl_blocks_in_more_than_four_files() {
    assert_none(|shape| shape.scattered.len());
}
