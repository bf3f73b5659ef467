//! Money out: what is left on a token goes back to its holder over Lightning.
//!
//! A payout is written down before anything is sent, and exactly one invoice is ever tried for it.
//! Whatever happens in between, a time-out, a lost connection, a killed process, the outcome is
//! unknown until the backend that was asked says what it is; until then the money stays reserved.
//! Nothing here is on the way of a paid request, and nothing is paid out that our own node does not
//! call settled.

mod rules;

pub use rules::{MaxFee, RefundRules};
