//! Wall-clock instants. Durations between two moments of one process use the monotonic clock.

use std::time::Duration;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// An instant `millis` after the Unix epoch; instants no calendar can print are cut to the
    /// year 9999, so that every instant fits a signed 64-bit column.
    #[must_use]
    pub const fn new(millis: u64) -> Self {
        const END_OF_YEAR_9999: u64 = 253_402_300_799_999;
        Self(if millis > END_OF_YEAR_9999 {
            END_OF_YEAR_9999
        } else {
            millis
        })
    }

    /// An instant `seconds` after the Unix epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self::new(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This instant and `span` more.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self::new(self.0.saturating_add(millis))
    }

    /// The time from `earlier` to this instant; zero when it lies behind.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Where the wall clock comes from; tests set it back and forth.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> UnixMillis;
}
