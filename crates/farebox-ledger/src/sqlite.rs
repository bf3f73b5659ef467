//! The store in one SQLite file, written by one thread: a write-ahead log, which is synced with
//! each commit or apart from it, as the writer asks.
//!
//! Nobody else writes, so that what was loaded stays true, and what is held is the sum of the open
//! holds. Here are statements. Never here: a decision about money.

mod change;
mod charges;
mod closed;
mod columns;
mod held;
mod key_views;
mod load;
mod payouts;
mod read;
mod removed;
mod schema;
mod sql;
mod swaps;
mod trial;
mod withdrawals;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};

use farebox_core::{HoldId, ProcessEpoch};
use rusqlite::Connection;

use crate::OpenError;
use crate::name::Name;
use crate::rows::OpenHold;
use crate::store::{Closed, OpenReader, PruneStep, Safe, Store, StoreError, Totals};
use crate::working::{Changes, Rows};
use closed::Walk;
use load::Load;
use write::{Numbers, Write};

/// Statements kept prepared; more than there are.
const PREPARED_STATEMENTS: usize = 128;

/// What SQLite finds wrong with the file at `path`, in its own words.
pub(crate) fn examine(path: &Path) -> Result<Vec<String>, StoreError> {
    schema::examine(path)
}

pub(crate) struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    /// The write-ahead log, to sync it apart from commits.
    log: File,
    syncs_on_commit: bool,
    /// Something is committed that was not synced.
    is_dirty: bool,
    epoch: ProcessEpoch,
    numbers: Numbers,
    /// How far the round of pruning has come.
    walk: Walk,
}

impl SqliteStore {
    /// Opens or creates the database at `path` and begins a new run.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let mut connection = schema::open(path)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        let epoch = schema::begin_run(&mut connection).map_err(StoreError::from)?;
        let log = schema::open_log(path)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            log,
            syncs_on_commit: true,
            is_dirty: false,
            epoch,
            numbers: Numbers::default(),
            walk: Walk::start(),
        })
    }

    fn reading(&self) -> Load<'_> {
        Load {
            connection: &self.connection,
            newest: self.numbers.newest,
        }
    }

    /// Runs `work` in one transaction, if there is any.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Numbers) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let changes = self.connection.total_changes();
        let mut numbers = self.numbers;
        let result = self.attempt(|connection| work(connection, &mut numbers));
        match &result {
            Ok(_) => {
                let has_written = self.connection.total_changes() != changes;
                self.is_dirty |= has_written && !self.syncs_on_commit;
                self.numbers = numbers;
            }
            Err(error) => {
                if let StoreError::Failed(_) = error {
                    self.keep_log();
                }
                self.roll_back()?;
            }
        }
        result
    }

    fn attempt<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        let done = work(&self.connection)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(done)
    }

    fn keep_log(&self) {
        if let Err(error) = schema::keep_log(&self.connection) {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the ledger's log will not be kept when it is closed");
        }
    }

    fn sync_on_commit(&mut self, on: bool) -> Result<(), StoreError> {
        if self.syncs_on_commit != on {
            schema::sync_on_commit(&self.connection, on)?;
            self.syncs_on_commit = on;
        }
        Ok(())
    }

    fn roll_back(&self) -> Result<(), StoreError> {
        // Some failures roll back by themselves. What cannot be rolled back is not to be trusted.
        if !self.connection.is_autocommit() {
            let rolled_back = self.connection.execute_batch("ROLLBACK");
            rolled_back.map_err(|error| StoreError::Failed(Box::new(error)))?;
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn epoch(&self) -> ProcessEpoch {
        self.epoch
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn fill(&mut self, rows: &mut Rows) -> Result<Totals, StoreError> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get(0));
        self.numbers = Numbers {
            row: number("SELECT coalesce(max(id), 0) FROM accounts")?,
            hold: number("SELECT coalesce(max(number), 0) FROM holds")?,
            newest: load::newest(&self.connection)?,
            summary: self.numbers.summary,
        };
        self.reading().fill(rows)
    }

    fn abandoned(&mut self, limit: usize) -> Result<Vec<(HoldId, OpenHold)>, StoreError> {
        let which = format!("h.epoch <> {}", self.epoch.0);
        self.reading().holds(&which, limit)
    }

    fn load(&mut self, names: &[Name], rows: &mut Rows) -> Result<(), StoreError> {
        self.reading().names(names, rows)
    }

    fn commit(&mut self, rows: &mut Rows, changes: &Changes, safe: Safe) -> Result<(), StoreError> {
        let syncs = safe == Safe::FromPowerLoss;
        if syncs {
            // What comes before it in the log, so that nothing stands behind a hole.
            self.sync()?;
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.sync_on_commit(syncs)?;
        let epoch = self.epoch.0;
        self.transaction(|connection, numbers| {
            let write = Write {
                connection,
                changes,
                epoch,
            };
            write.all(rows, numbers)
        })
    }

    fn release(&mut self) {}

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.is_dirty {
            self.log.sync_data().map_err(|error| {
                self.keep_log();
                StoreError::Failed(Box::new(error))
            })?;
            self.is_dirty = false;
        }
        Ok(())
    }

    fn find_closed(&mut self, step: PruneStep) -> Result<Closed, StoreError> {
        let mut walk = if step.is_first {
            Walk::start()
        } else {
            self.walk.clone()
        };
        let closed = self.transaction(|connection, _| closed::find(connection, &mut walk, step))?;
        self.walk = walk;
        Ok(closed)
    }

    fn readers(&self) -> Box<dyn OpenReader> {
        Box::new(read::OpenSqlite::new(self.path.clone()))
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
        };
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
        match (&error, error.sqlite_error_code()) {
            (_, Some(DatabaseBusy | DatabaseLocked | DiskFull)) => {
                Self::Unavailable(Box::new(error))
            }
            (
                FromSqlConversionFailure(..)
                | IntegralValueOutOfRange(..)
                | InvalidColumnType(..)
                | Utf8Error(..),
                _,
            ) => Self::Misshapen(Box::new(error)),
            _ => Self::Failed(Box::new(error)),
        }
    }
}

#[cfg(test)]
impl SqliteStore {
    /// Lets the log fail to be synced: a device that has no such thing stands in for it.
    pub(crate) fn break_log(&mut self) {
        self.log = File::open("/dev/null").unwrap();
    }
}
