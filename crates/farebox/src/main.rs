//! The `farebox` binary.

mod config;
mod import;

fn main() {}
