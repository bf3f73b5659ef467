//! The Lightning Address backend against providers that keep to the protocol, and others.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod guarded;
mod invoices;
mod lies;
mod outages;
mod provider;
