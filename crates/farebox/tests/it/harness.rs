//! The vocabulary of the end-to-end tests.
//!
//! ```ignore
//! let (upstream, gateway) = with_upstream(|upstream| {
//!     TestGateway::start(Setup::new().route(Route::at("/paid", upstream).msat(2000)))
//! });
//! let token = gateway.buy(&Call::get("/paid/echo"));
//! let reply = gateway.send(&Call::get("/paid/echo").with(&token));
//! assert_eq!(reply.status, 200);
//! ```
//!
//! Dropping a [`TestGateway`] stops it and asserts what must hold after every test: a clean log, a
//! trial balance of zero and a store that `farebox db verify` finds in order.

mod clock;
mod connection;
mod gateway;
mod http;
mod http2;
mod l402;
mod log;
mod metrics;
mod setup;
mod tls;

pub(crate) use clock::{HOUR, TestClock};
pub(crate) use connection::Connection;
pub(crate) use gateway::{TestGateway, farebox};
pub(crate) use http::{Call, Reply};
pub(crate) use http2::Http2;
pub(crate) use l402::{Challenge, Token};
pub(crate) use setup::{Route, Setup};
pub(crate) use tls::Authority;

pub(crate) use farebox_testkit::ports;

use farebox_testkit::ScriptedUpstream;

/// An upstream, and what is set up in front of it.
pub(crate) fn with_upstream<T>(
    set_up: impl FnOnce(&ScriptedUpstream) -> T,
) -> (ScriptedUpstream, T) {
    let upstream = ScriptedUpstream::start().unwrap();
    let front = set_up(&upstream);
    (upstream, front)
}
