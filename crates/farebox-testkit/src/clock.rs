//! Clocks: one that only moves when a test moves it, in either direction, and the real one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farebox_core::{Clock, UnixMillis};

/// A [`Clock`] set by hand; share it in an `Arc`.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub const fn new(now: UnixMillis) -> Self {
        Self(AtomicU64::new(now.get()))
    }

    /// Puts the clock to `now`, be it earlier or later.
    pub fn set(&self, now: UnixMillis) {
        self.0.store(now.get(), Ordering::SeqCst);
    }

    /// Puts the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }

    /// Puts the clock back by `span`, at most to the Unix epoch.
    pub fn turn_back(&self, span: Duration) {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.set(UnixMillis::new(self.now().get().saturating_sub(millis)));
    }
}

impl Default for ManualClock {
    /// A clock that stands at 2026-01-01 00:00:00 UTC.
    fn default() -> Self {
        Self::new(UnixMillis::from_secs(1_767_225_600))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::SeqCst))
    }
}

/// The time of day, for tests against real nodes and relays, which look at it.
#[derive(Clone, Copy, Debug)]
pub struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "this is a clock")]
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        UnixMillis::new(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_until_it_is_moved_and_moves_both_ways() {
        let clock = ManualClock::default();
        let start = clock.now();
        clock.advance(Duration::from_secs(60));
        assert_eq!(clock.now().since(start), Duration::from_secs(60));
        clock.turn_back(Duration::from_secs(90));
        assert_eq!(start.since(clock.now()), Duration::from_secs(30));
        clock.turn_back(Duration::MAX);
        assert_eq!(clock.now(), UnixMillis::from_secs(0));
    }
}
