//! The other side of every test: upstreams that do exactly what a test says, a clock that is set
//! by hand and a pay endpoint for wallet stubs.
//!
//! Nothing here decides about money or knows the gateway. Only tests and `farebox demo` use it.

mod background;
mod clock;
#[cfg(feature = "lab")]
pub mod lab;
#[cfg(feature = "fake-lnd")]
pub mod lnd;
#[cfg(feature = "mint")]
pub mod mint;
#[cfg(feature = "mock-node")]
pub mod mock_node;
#[cfg(feature = "lab")]
pub mod parts;
mod pay;
pub mod ports;
#[cfg(feature = "lab")]
pub mod service;
mod upstream;
#[cfg(feature = "wallet-service")]
pub mod wallet_service;

pub use clock::{ManualClock, WallClock};
pub use pay::PayEndpoint;
pub use upstream::{Pattern, RecordedRequest, ScriptedUpstream, StreamControl};
