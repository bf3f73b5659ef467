//! Nodes behind the gateway: away and back, several of them, and what the operator is told. The
//! node is `node` or `phoenixd`, a stand-in that speaks the API of LND or phoenixd from the test's own
//! process, so that it outlives every restart of the gateway.

mod away;
mod calls;
mod check;
mod doctor;
pub(crate) mod node;
pub(crate) mod phoenixd;
mod quick;
mod settlements;
mod webhook;

use std::time::{Duration, Instant};

/// Polls until `done`, for what the process does in its own time.
#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < give_up_at, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
