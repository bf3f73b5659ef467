//! A ledger in a folder of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farebox_core::Clock;
use farebox_ledger::contract::Place;
use farebox_ledger::{Ledger, OpenError, OpenOptions, Recovery};

pub(crate) struct SqlitePlace {
    folder: tempfile::TempDir,
}

impl SqlitePlace {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }
}

pub(crate) fn options(path: &Path, clock: Arc<dyn Clock>) -> OpenOptions {
    let retention = Duration::from_secs(30 * 24 * 60 * 60);
    OpenOptions {
        retention,
        ..OpenOptions::new(path, clock)
    }
}

impl Place for SqlitePlace {
    fn open(
        &self,
        clock: Arc<dyn Clock>,
        max_open_holds: usize,
    ) -> Result<(Ledger, Recovery), OpenError> {
        let options = OpenOptions {
            max_open_holds,
            ..options(&self.path(), clock)
        };
        farebox_ledger::open(&options)
    }
}
