//! The system's clock: the one place where the wall clock is read.

use std::time::UNIX_EPOCH;

use farebox_core::{Clock, UnixMillis};

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "everybody else asks this clock")]
    fn now(&self) -> UnixMillis {
        let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since_epoch.map_or(0, |since| since.as_millis());
        UnixMillis::new(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}
