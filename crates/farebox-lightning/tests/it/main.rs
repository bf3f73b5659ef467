//! Backends against nodes and providers that keep to the protocol, and others.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod follow;
mod guarded;
mod invoices;
mod lies;
mod lnd;
mod lnd_fake;
mod lnd_hold;
mod lnd_lab;
mod lnd_pay;
mod lnd_watch;
mod outages;
mod provider;
mod rest;
