//! Money goes back to the holders of tokens and keys: once, whatever breaks in between, and to nobody else.
//!
//! The node behind these gateways is `lnd`, a stand-in that speaks LND's REST API from the test's
//! own process: its memory of payments outlives every kill of the gateway.

mod addresses;
#[cfg(feature = "crash-points")]
mod crash;
mod destinations;
mod holders;
mod key_shop;
mod keys;
mod limits;
pub(crate) mod lnd;
mod operator;
mod outages;
mod provider;
mod repeats;
pub(crate) mod server;
mod shop;
mod who;
