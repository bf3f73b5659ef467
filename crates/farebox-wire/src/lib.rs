//! What Farebox says and hears on the wire: L402 challenges and credentials, macaroons, problem
//! documents.
//!
//! Everything here is a pure function of its input: no I/O, no clock, no randomness, no database,
//! no node. Whatever arrives comes from a stranger, so every parser is strict, bounded and total:
//! it gives a value or an error, never a panic, and the error never repeats the stranger's text.

mod base64_text;

pub mod caveat;
pub mod challenge;
pub mod credential;
pub mod grpc;
pub mod identifier;
pub mod macaroon;
pub mod problem;
