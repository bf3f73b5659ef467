//! The built binary with real Lightning: every sale here is paid over a channel between two LND
//! nodes, started by `cargo xtask lab up` (`cargo xtask test` does so by itself). `harness` is the
//! vocabulary of the end-to-end tests, `stage` takes the nodes for one test; the other modules are
//! the tests, one subject each.
//!
//! Without the nodes a test says so and is over; under CI it fails.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop right there"
)]
#![expect(
    clippy::print_stdout,
    reason = "captured, and shown with the test that failed"
)]

mod address;
mod harness;
#[path = "../it/parts.rs"]
#[expect(dead_code, reason = "shared with tests that need more parts")]
mod parts;
mod payouts;
mod stage;
mod stand_in;
mod wire;

mod amounts;
mod demo;
mod held;
mod imported;
mod keys;
mod lnbits;
mod lnbits_fail_over;
mod lnbits_server;
mod metered;
mod nwc;
mod other_nodes;
mod outage;
mod page;
mod refunds;
mod sales;
mod strict;
mod times;
