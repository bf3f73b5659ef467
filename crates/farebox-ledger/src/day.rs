//! Days of UTC, numbered from the Unix epoch: the windows of daily limits.

use farebox_core::UnixMillis;

/// The number of a day.
pub type Day = u32;

const MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// The day of an instant. Every instant is before the year 10000, so that its day fits.
pub(crate) fn of(at: UnixMillis) -> Day {
    Day::try_from(at.get() / MILLIS).unwrap_or(Day::MAX)
}

/// When the day after this one begins.
pub(crate) fn end(day: Day) -> UnixMillis {
    UnixMillis::new(u64::from(day).saturating_add(1).saturating_mul(MILLIS))
}
