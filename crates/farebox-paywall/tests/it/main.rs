//! What is sold, from its payer to its settlement, for every kind of offer and price: on a real
//! ledger, with a node that exists only here, and with no gateway. `shop` is a seller with his
//! buyers and `sales` is what he sells; the other modules are the tests, one subject each.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop right there"
)]

mod sales;
mod shop;

mod challenges;
mod fiat;
mod flat;
mod keys;
mod metered;
mod models;
mod retries;
mod scope;
mod settlement;
mod webhook;
