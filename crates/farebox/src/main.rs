//! The `farebox` binary.

mod config;

fn main() {}
