//! The seller's data plane: one paid request from the socket to its settlement.
//!
//! The life of a request, one file for each step; [`serve`](worker) reads like this list:
//!
//! 1. `listen`: a connection, limits on size and time, one snapshot of the [`plan`] for the whole
//!    request;
//! 2. `arrival`, `routes`: framing checked, one canonical [`path`](farebox_http::path), matched and forwarded;
//! 3. `presented`, `claim`: payment headers and our own cookies are read once and taken off; where the
//!    route has a [`shape`], the body is written anew, before it is priced;
//! 4. `admit`, `keys`: everything that can refuse, and last the ledger's claim and hold;
//! 5. `challenge`: where something is owed, an invoice, a macaroon and a 402, as a `page` for
//!    people; no row is written;
//! 6. `forward`: consumes the admission; nothing else can reach an upstream;
//! 7. `answer`, [`gauge`], `settle`: the body passes, and its end decides what is charged; where that is
//!    not the whole hold, a gauge finds out how much.
//!
//! Whatever refuses gives a `refusal`, and `render` writes it as whoever asks reads it.
//!
//! Never here: command lines, configuration files, dashboards.

mod answer;
mod arrival;
mod challenge;
mod claim;
mod crash;
mod forward;
mod gateway;
mod held;
mod ids;
mod keys;
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
pub use gateway::{Drained, Gateway, Options, start};
pub use held::HeldLimits;
pub use outcome::Outcome;
