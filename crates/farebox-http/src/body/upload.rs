//! How a request body fares that streams to the upstream while its answer comes back already.
//!
//! A client that spoils its own body, or stops in the middle of it, makes the upstream break off an
//! answer that has begun. That is not the upstream's failure, and what was answered is not free.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

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
pub struct Upload {
    turn: AtomicU8,
    /// The client was the last to say something, were it only that it has no more to say.
    client_spoke_last: AtomicBool,
}

impl Upload {
    /// More came from the client.
    pub(super) fn went_on(&self) {
        self.speak(UPSTREAMS_TURN);
    }

    /// All of it came.
    pub(super) fn ended(&self) {
        self.speak(ENDED);
    }

    /// The rest of it will never come.
    pub(super) fn spoilt(&self) {
        self.speak(SPOILT);
    }

    /// An end is said once, however often it is looked at.
    fn speak(&self, turn: u8) {
        if self.turn.swap(turn, Ordering::AcqRel) != turn || turn == UPSTREAMS_TURN {
            self.client_spoke_last.store(true, Ordering::Release);
        }
    }

    /// The upstream said something.
    pub fn answered(&self) {
        self.client_spoke_last.store(false, Ordering::Release);
        let turns = (UPSTREAMS_TURN, CLIENTS_TURN);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        // Where it is not the upstream's turn, nothing changes.
        let _ = self
            .turn
            .compare_exchange(turns.0, turns.1, order.0, order.1);
    }

    /// Whether the client made the upstream's connection break.
    pub fn is_spoilt(&self) -> bool {
        self.turn.load(Ordering::Acquire) == SPOILT
    }

    /// Whether all of it came.
    pub fn has_ended(&self) -> bool {
        self.turn.load(Ordering::Acquire) == ENDED
    }

    /// Whether the client said something since the upstream's last word: what comes next may be its
    /// doing.
    pub fn spoke_last(&self) -> bool {
        self.client_spoke_last.load(Ordering::Acquire)
    }

    /// Whether an upstream that is silent waits for the client.
    pub fn is_awaited(&self) -> bool {
        matches!(self.turn.load(Ordering::Acquire), CLIENTS_TURN | SPOILT)
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
    fn an_end_is_said_once() {
        let upload = Upload::default();
        assert!(!upload.spoke_last());
        upload.went_on();
        assert!(upload.spoke_last() && !upload.has_ended());
        upload.answered();
        assert!(!upload.spoke_last());
        upload.ended();
        assert!(upload.spoke_last() && upload.has_ended());
        upload.answered();
        upload.ended();
        assert!(!upload.spoke_last() && upload.has_ended());
    }

    #[test]
    fn what_is_spoilt_stays_so() {
        let upload = Upload::default();
        upload.spoilt();
        upload.answered();
        assert!(upload.is_spoilt() && upload.is_awaited());
    }
}
