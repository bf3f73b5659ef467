//! What a call used, and what that costs.
//!
//! Pure: bytes and numbers in, bytes and numbers out. The gateway asks here what a request may cost
//! at most before it forwards it, and what an answer has used while it passes. Prices are exact
//! decimals, each charge is rounded once, upward, to the millisatoshi. Nothing here reads a clock,
//! a file or a network, and no floating point touches a price.

pub mod answer;
pub mod decimal;
pub mod density;
pub mod endpoint;
pub mod json;
pub mod pointer;
pub mod price;
pub mod request;
pub mod stream;
pub mod usage;

pub use decimal::Decimal;
pub use endpoint::Endpoint;
pub use pointer::Pointer;
pub use price::{Currency, Exchange, ModelPrice, Priced, Unpriced};
pub use request::{ModelRequest, Refused, RequestRules};
pub use stream::{Observed, StreamEnd, StreamMeter};
pub use usage::{Unit, Usage};
