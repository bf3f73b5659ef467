//! How long phoenixd is left alone: until its webhook tells of something, and for a while at most.
//!
//! A webhook that was never heard may not be set up, and one that was may fail to arrive: it makes
//! the questions fewer, and never ends them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// How long it is left alone while no webhook tells, and once after each one: the payment may be
/// written a moment later.
const PAUSE: Duration = Duration::from_secs(1);

/// The same once a webhook was heard.
const RARE: Duration = Duration::from_secs(10);

/// The least time between two questions, however often the same webhook is sent again.
const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// Wakes whoever waits for settlements.
#[derive(Default)]
pub(super) struct Bell {
    rung: Notify,
    was_heard: AtomicBool,
}

/// What a pause ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The bell.
    Rung,
    /// The time.
    InTime,
}

impl Bell {
    /// Ends the pause, or the next one where there is none. Says whether it is the first time.
    pub(super) fn ring(&self) -> bool {
        self.rung.notify_one();
        !self.was_heard.swap(true, Ordering::Relaxed)
    }

    /// Waits for the next question; `last` is what the last pause ended with.
    pub(super) async fn pause(&self, last: Woken) -> Woken {
        tokio::time::sleep(LEAST_PAUSE).await;
        let is_relied_on = last == Woken::InTime && self.was_heard.load(Ordering::Relaxed);
        let pause = if is_relied_on { RARE } else { PAUSE };
        let rung = tokio::time::timeout(pause - LEAST_PAUSE, self.rung.notified());
        match rung.await {
            Ok(()) => Woken::Rung,
            Err(_) => Woken::InTime,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    async fn pause(bell: &Bell, last: Woken) -> (Woken, Duration) {
        let began = Instant::now();
        let woken = bell.pause(last).await;
        (woken, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_bell_that_never_rang_changes_nothing() {
        let bell = Bell::default();
        for last in [Woken::InTime, Woken::Rung] {
            assert_eq!(pause(&bell, last).await, (Woken::InTime, PAUSE));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ringing_ends_the_pause_and_makes_later_ones_long() {
        let bell = Bell::default();
        assert!(bell.ring());
        assert!(!bell.ring());
        // Both rang before anybody waited: one question answers both.
        assert_eq!(
            pause(&bell, Woken::InTime).await,
            (Woken::Rung, LEAST_PAUSE)
        );
        assert_eq!(pause(&bell, Woken::Rung).await, (Woken::InTime, PAUSE));
        assert_eq!(pause(&bell, Woken::InTime).await, (Woken::InTime, RARE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_rings_without_end_causes_no_more_questions_than_this() {
        let bell = Bell::default();
        let began = Instant::now();
        let mut last = Woken::InTime;
        for _ in 0..100 {
            bell.ring();
            last = bell.pause(last).await;
        }
        assert!(began.elapsed() >= LEAST_PAUSE * 100);
    }
}
