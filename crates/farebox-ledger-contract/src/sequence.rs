//! Sequences of steps that nobody chose, and the open things they pick from.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// The next of what a strategy makes.
pub(crate) fn sample<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    let tree = strategy.new_tree(runner);
    tree.expect("the strategy rejects nothing").current()
}

/// Takes one of what is open. None where nothing is.
pub(crate) fn pick<T>(open: &mut Vec<T>, which: usize) -> Option<T> {
    (!open.is_empty()).then(|| open.swap_remove(which % open.len()))
}
