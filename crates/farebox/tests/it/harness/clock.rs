//! The gateway's wall clock, in a test's hands.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

pub(crate) const HOUR: i64 = 3_600_000;

/// Moves the clock of the gateways that are started with its environment.
#[derive(Debug)]
pub(crate) struct TestClock {
    folder: TempDir,
    offset: Cell<i64>,
}

impl TestClock {
    /// Shows the system's time until it is moved.
    pub(crate) fn new() -> Self {
        let clock = Self {
            folder: tempfile::tempdir().unwrap(),
            offset: Cell::new(0),
        };
        clock.shift(0);
        clock
    }

    /// The environment variable that makes a gateway go by this clock.
    pub(crate) fn environment(&self) -> (&'static str, String) {
        ("FAREBOX_TEST_CLOCK", self.file().display().to_string())
    }

    /// Moves it by so many milliseconds, backwards if negative. Whoever asks from now on sees it.
    pub(crate) fn shift(&self, millis: i64) {
        self.offset.set(self.offset.get() + millis);
        // A rename, so that no reader ever sees half a number.
        let next = self.folder.path().join("next");
        fs::write(&next, self.offset.get().to_string()).unwrap();
        fs::rename(next, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}
