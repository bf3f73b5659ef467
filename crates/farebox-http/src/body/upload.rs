//! How a request body fares that streams to the upstream while its answer comes back already.
//!
//! A client that spoils its own body, or stops in the middle of it, makes the upstream break off an
//! answer that has begun. That is not the upstream's failure, and what was answered is not free.

use std::sync::atomic::{AtomicU8, Ordering};

/// The upstream spoke last, or nobody: the client has to go on.
const CLIENTS_TURN: u8 = 0;
/// The client spoke last.
const UPSTREAMS_TURN: u8 = 1;
/// The client has sent all of it.
const ENDED: u8 = 2;
/// The client's fault ended it.
const SPOILT: u8 = 3;

/// What is known of the body on both of its sides.
#[derive(Debug, Default)]
pub struct Upload(AtomicU8);

impl Upload {
    /// More came from the client.
    pub(super) fn went_on(&self) {
        self.0.store(UPSTREAMS_TURN, Ordering::Release);
    }

    /// All of it came.
    pub(super) fn ended(&self) {
        self.0.store(ENDED, Ordering::Release);
    }

    /// The rest of it will never come.
    pub(super) fn spoilt(&self) {
        self.0.store(SPOILT, Ordering::Release);
    }

    /// The upstream said something.
    pub fn answered(&self) {
        let turns = (UPSTREAMS_TURN, CLIENTS_TURN);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        // Where it is not the upstream's turn, nothing changes.
        let _ = self.0.compare_exchange(turns.0, turns.1, order.0, order.1);
    }

    /// Whether the client made the upstream's connection break.
    pub fn is_spoilt(&self) -> bool {
        self.0.load(Ordering::Acquire) == SPOILT
    }

    /// Whether an upstream that is silent waits for the client.
    pub fn is_awaited(&self) -> bool {
        matches!(self.0.load(Ordering::Acquire), CLIENTS_TURN | SPOILT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spoke_last_is_waited_for_by_nobody() {
        let upload = Upload::default();
        assert!(upload.is_awaited());
        upload.went_on();
        assert!(!upload.is_awaited());
        upload.answered();
        assert!(upload.is_awaited() && !upload.is_spoilt());
        upload.went_on();
        upload.ended();
        upload.answered();
        assert!(!upload.is_awaited() && !upload.is_spoilt());
    }

    #[test]
    fn what_is_spoilt_stays_so() {
        let upload = Upload::default();
        upload.spoilt();
        upload.answered();
        assert!(upload.is_spoilt() && upload.is_awaited());
    }
}
