//! What a proxy needs of HTTP: it accepts connections, reads a request's path, headers and body
//! within limits, finds the route, sends upstream and watches the answer come back. [`client`] calls
//! servers that are no upstream.
//!
//! Never here: what is paid, how, and for what. Which header fields pay is an argument
//! ([`headers::FieldFilter`]), and so is what answers a request ([`listen::Serve`]).

pub mod aside;
pub mod body;
pub mod body_budget;
pub mod client;
pub mod client_addr;
pub mod cors;
pub mod counted;
pub mod decode;
pub mod drain;
pub mod headers;
pub mod lenient;
pub mod limits;
pub mod linger;
pub mod listen;
pub mod path;
pub mod replay;
pub mod routes;
pub mod stall;
pub mod subprotocols;
pub mod tunnel;
pub mod upstream;
