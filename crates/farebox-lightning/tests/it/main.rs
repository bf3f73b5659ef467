//! Backends against nodes and providers that keep to the protocol, and others.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod backends;
mod cln;
mod cln_pay;
mod cln_watch;
mod follow;
mod guarded;
mod invoices;
mod lies;
mod lnbits;
mod lnbits_pay;
mod lnd;
mod lnd_fake;
mod lnd_hold;
mod lnd_lab;
mod lnd_pay;
mod lnd_watch;
mod mock_node;
mod nwc;
mod outages;
mod phoenixd;
mod phoenixd_pay;
mod phoenixd_watch;
mod provider;
mod recorded;
mod rest;
