//! End-to-end tests: each drives the built binary over real sockets and asks of it what a buyer, a
//! seller or a cheat would. `harness` is the vocabulary, `parts` finds the independent programs
//! that `cargo xtask test` installs; the other modules are the tests, one subject each.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop right there"
)]
#![expect(
    clippy::print_stdout,
    reason = "captured, and shown with the test that failed"
)]

mod harness;
mod parts;

mod attacks;
mod backends;
mod bundles;
mod buyers;
mod by_use;
#[cfg(feature = "crash-points")]
mod crash;
mod ecash;
mod fiat;
mod first_sale;
mod grpc;
mod harness_holds;
mod held;
mod imports;
mod keys;
mod lifecycle;
mod macaroons;
mod models;
mod nginx;
mod openai;
mod page;
mod prices;
mod protocols;
mod rates;
mod receipts;
mod refunds;
mod restart;
mod rules;
mod shapes;
mod websocket;
