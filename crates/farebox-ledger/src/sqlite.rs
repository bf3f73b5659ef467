//! The store in one SQLite file.

use std::path::Path;

use farebox_core::{ProcessEpoch, UnixMillis};

use crate::store::{Command, OpenReader, Outcome, PruneStep, Store, StoreError};
use crate::{OpenError, OpenOptions, Pruned, Recovery};

pub(crate) struct SqliteStore;

impl SqliteStore {
    pub(crate) fn open(_path: &Path, _options: &OpenOptions) -> Result<Self, OpenError> {
        Err(StoreError::Corrupt("a store that is not written yet").into())
    }
}

impl Store for SqliteStore {
    fn epoch(&self) -> ProcessEpoch {
        ProcessEpoch(0)
    }
    fn recover(&mut self, _now: UnixMillis) -> Result<Recovery, StoreError> {
        Err(StoreError::Corrupt("x"))
    }
    fn apply(&mut self, _batch: &[Command]) -> Result<Vec<Outcome>, StoreError> {
        Err(StoreError::Corrupt("x"))
    }
    fn open_holds(&self) -> usize {
        0
    }
    fn prune(&mut self, _step: PruneStep) -> Result<(Pruned, Option<u64>), StoreError> {
        Err(StoreError::Corrupt("x"))
    }
    fn readers(&self) -> Box<dyn OpenReader> {
        struct None;
        impl OpenReader for None {
            fn open(&self) -> Result<Box<dyn crate::Reader>, StoreError> {
                Err(StoreError::Corrupt("x"))
            }
        }
        Box::new(None)
    }
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        Err(StoreError::Corrupt("x"))
    }
}
