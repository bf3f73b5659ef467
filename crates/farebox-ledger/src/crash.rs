//! Named points at which a test kills the process, to prove that no moment loses money.
//!
//! Without the feature `crash-points` this is nothing: no call, no name, no look at the environment.

/// Every point the ledger itself passes through, in the order of one paid request.
pub const CRASH_POINTS: [&str; 5] = [
    "hold-before-commit",
    "hold-after-commit",
    "hold-before-sync",
    "settle-before-commit",
    "settle-after-commit",
];

/// Every point that a payout passes through, in order.
pub const PAYOUT_CRASH_POINTS: [&str; 4] = [
    "payout-before-commit",
    "payout-after-commit",
    "payout-end-before-commit",
    "payout-end-after-commit",
];

/// Every point that the end of a held call passes through, in order.
pub const HELD_CRASH_POINTS: [&str; 2] = ["held-end-before-commit", "held-end-after-commit"];

/// Every point that a deposit on a prepaid key passes through, in order.
pub const KEY_CRASH_POINTS: [&str; 2] = ["deposit-before-commit", "deposit-after-commit"];

/// Every point of the ledger that a request paid with coins passes through besides, in order.
pub const SWAP_CRASH_POINTS: [&str; 4] = [
    "swap-before-commit",
    "swap-after-commit",
    "change-before-commit",
    "change-after-commit",
];

/// Every point of the ledger that a withdrawal of coins passes through, in order.
pub const WITHDRAWAL_CRASH_POINTS: [&str; 4] = [
    "withdrawal-before-commit",
    "withdrawal-after-commit",
    "withdrawal-end-before-commit",
    "withdrawal-end-after-commit",
];

/// Kills the own process with SIGKILL when `FAREBOX_CRASH_AT` names this point and it was passed
/// `FAREBOX_CRASH_AFTER` times (default: at the first time).
#[cfg(feature = "crash-points")]
pub fn crash_point(name: &str) {
    armed::pass(name);
}

/// Does nothing in this build.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub const fn crash_point(_name: &str) {}

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        at: String,
        left: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let at = std::env::var("FAREBOX_CRASH_AT").ok()?;
        let after = std::env::var("FAREBOX_CRASH_AFTER").ok();
        let left = after.and_then(|text| text.parse().ok()).unwrap_or(1);
        Some(Armed {
            at,
            left: AtomicU64::new(left),
        })
    });

    pub(super) fn pass(name: &str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.at == name) else {
            return;
        };
        if armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Nothing may run after this point: wait for the signal to arrive.
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
            loop {
                std::thread::park();
            }
        }
    }
}
