//! The system's clock: the one place where the wall clock is read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use farebox_config::build::Money;
use farebox_core::{Clock, UnixMillis};

/// Names the file by which a test moves the clock of a gateway that sells for test money: a signed
/// number of milliseconds to add to the system's time, read again whenever anybody asks.
pub const TEST_CLOCK: &str = "FAREBOX_TEST_CLOCK";

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The system's clock, moved by what a file says.
struct MovedClock(PathBuf);

/// The clock of a gateway. Nothing but test money lets anybody move it.
#[must_use]
pub fn clock_for(money: Money) -> Arc<dyn Clock> {
    match std::env::var_os(TEST_CLOCK).filter(|_| money == Money::Test) {
        Some(file) => Arc::new(MovedClock(file.into())),
        None => Arc::new(SystemClock),
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "everybody else asks this clock")]
    fn now(&self) -> UnixMillis {
        let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since_epoch.map_or(0, |since| since.as_millis());
        UnixMillis::new(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl Clock for MovedClock {
    fn now(&self) -> UnixMillis {
        let written = std::fs::read_to_string(&self.0).unwrap_or_default();
        let offset: i64 = written.trim().parse().unwrap_or(0);
        UnixMillis::new(SystemClock.now().get().saturating_add_signed(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_moves_the_clock_both_ways() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let clock = MovedClock(file.path().to_owned());
        let hour = 3_600_000;
        for (text, from, to) in [("-3600000", -hour, 0), ("3600000\n", hour, 2 * hour)] {
            std::fs::write(file.path(), text).unwrap();
            let system = i64::try_from(SystemClock.now().get()).unwrap();
            let moved = i64::try_from(clock.now().get()).unwrap() - system;
            assert!((from..to).contains(&moved), "{text}: {moved}");
        }
    }
}
