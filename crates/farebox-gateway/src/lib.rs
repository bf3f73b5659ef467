//! The seller's data plane: one paid request from the socket to its settlement.
//!
//! The life of a request is told in `serve`, step by step: `arrival` (one spelling of host and path),
//! `claim` (the cookies and headers of those who come back), the paywall's payer, price and admission,
//! `challenge` where something is owed, `forward`, and `answer`, at whose end the hold is settled.
//!
//! Beside it: `held` runs calls whose payment is held, `own` answers the gateway's own paths, `page`
//! shows challenges to people. Whatever refuses gives a `refusal`, and `render` writes it as whoever
//! asks reads it.
//!
//! Never here: command lines, configuration files, dashboards.

mod answer;
mod arrival;
mod challenge;
mod change;
mod claim;
mod crash;
mod forward;
mod gateway;
mod held;
mod ids;
mod lookalike;
mod outcome;
mod own;
mod page;
mod refusal;
mod render;
mod serve;
mod worker;

pub mod access_log;
pub mod metrics;
pub mod plan;
pub mod shape;

pub use crash::{CRASH_POINTS, HELD_CRASH_POINTS};
pub use gateway::{Drained, Gateway, GatewaySettings, Options, start};
pub use held::HeldRules;
pub use outcome::Outcome;
