//! The store in one SQLite file, written by one thread: a write-ahead log, which is synced with
//! each commit or apart from it, as the writer asks.
//!
//! The rules are in [`book`](crate::book); here are statements. Never here: a decision about money.

mod charges;
mod columns;
mod flush;
mod held;
mod key_views;
mod keys;
mod payouts;
mod prune;
mod prune_keys;
mod read;
mod rows;
mod schema;
mod seldom;
mod trial;

use std::fs::File;
use std::path::{Path, PathBuf};

use farebox_core::{Msat, ProcessEpoch, UnixMillis};
use rusqlite::Connection;

use crate::book::Book;
use crate::store::{Command, OpenReader, Outcome, PruneStep, Safe, Store, StoreError};
use crate::{Admitted, OpenError, OpenOptions, Pruned, Recovery, crash_point};
use rows::SqliteRows;

/// Statements kept prepared; more than there are.
const PREPARED_STATEMENTS: usize = 128;

pub(crate) struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    /// The write-ahead log, to sync it apart from commits.
    log: File,
    syncs_on_commit: bool,
    /// Something is committed that was not synced.
    is_dirty: bool,
    book: Book,
}

impl SqliteStore {
    /// Opens or creates the database at `path`, brings its schema up to date and begins a new run.
    pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Self, OpenError> {
        let mut connection = schema::open(path)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        let epoch = schema::begin_run(&mut connection).map_err(StoreError::from)?;
        let log = schema::open_log(path)?;
        let book = Book::new(epoch, options.max_open_holds, options.max_cached_accounts);
        let mut store = Self {
            connection,
            path: path.to_owned(),
            log,
            syncs_on_commit: true,
            is_dirty: false,
            book,
        };
        store.reload()?;
        Ok(store)
    }

    /// Makes the picture equal to the database.
    fn reload(&mut self) -> Result<(), StoreError> {
        let loaded = rows::load(&self.connection)?;
        self.book.load(loaded);
        Ok(())
    }

    /// Runs `work` in one transaction. When anything fails, database and picture are as before.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Book, &Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let changes = self.connection.total_changes();
        let result = self.attempt(work);
        match &result {
            Ok(_) => {
                let has_written = self.connection.total_changes() != changes;
                self.is_dirty |= has_written && !self.syncs_on_commit;
                self.book.committed();
            }
            Err(error) => {
                if !matches!(error, StoreError::Unavailable(_)) {
                    self.keep_log();
                }
                // A picture that cannot be renewed is not to be trusted again.
                self.roll_back()
                    .map_err(|error| StoreError::Failed(Box::new(error)))?;
            }
        }
        result
    }

    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Book, &Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        let done = work(&mut self.book, &self.connection)?;
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

    fn roll_back(&mut self) -> Result<(), StoreError> {
        // Some failures roll back by themselves.
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.reload()
    }
}

impl Store for SqliteStore {
    fn epoch(&self) -> ProcessEpoch {
        self.book.epoch()
    }

    fn recover(&mut self, now: UnixMillis) -> Result<Recovery, StoreError> {
        let epoch = self.book.epoch();
        let ended = self.transaction(|book, connection| {
            let ended = book.recover(now, &mut SqliteRows(connection))?;
            flush::write(book, connection)?;
            Ok(ended)
        })?;
        Ok(count_recovered(epoch, &ended))
    }

    fn apply(&mut self, batch: &[Command], safe: Safe) -> Result<Vec<Outcome>, StoreError> {
        let syncs = safe == Safe::FromPowerLoss;
        if syncs {
            // What comes before it in the log, so that nothing stands behind a hole.
            self.sync()?;
        }
        self.sync_on_commit(syncs)?;
        self.transaction(|book, connection| {
            let mut rows = SqliteRows(connection);
            let outcomes: Result<Vec<_>, _> = batch
                .iter()
                .map(|command| book.apply(command, &mut rows))
                .collect();
            let outcomes = outcomes?;
            flush::write(book, connection)?;
            pass_crash_points(&outcomes);
            Ok(outcomes)
        })
    }

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

    fn open_holds(&self) -> usize {
        self.book.open_holds()
    }

    fn prune(&mut self, step: PruneStep) -> Result<(Pruned, Option<u64>), StoreError> {
        self.transaction(|book, connection| prune::step(book, connection, step))
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

fn pass_crash_points(outcomes: &[Outcome]) {
    if outcomes.iter().any(|outcome| {
        matches!(
            outcome,
            Outcome::Admitted {
                answer: Ok(Admitted::Held(_)),
                ..
            }
        )
    }) {
        crash_point("hold-before-commit");
    }
    if outcomes
        .iter()
        .any(|outcome| matches!(outcome, Outcome::Resolved { .. }))
    {
        crash_point("settle-before-commit");
    }
    if outcomes.iter().any(Outcome::is_payout_begun) {
        crash_point("payout-before-commit");
    }
    if outcomes.iter().any(Outcome::is_payout_ended) {
        crash_point("payout-end-before-commit");
    }
    if outcomes.iter().any(Outcome::is_held_settled) {
        crash_point("held-end-before-commit");
    }
    if outcomes.iter().any(Outcome::is_deposit) {
        crash_point("deposit-before-commit");
    }
}

fn count_recovered(epoch: ProcessEpoch, ended: &[Option<Msat>]) -> Recovery {
    let count = |holds: usize| u64::try_from(holds).unwrap_or(u64::MAX);
    let settled = ended.iter().flatten().count();
    let charged = ended
        .iter()
        .flatten()
        .try_fold(Msat::ZERO, |sum, one| sum.checked_add(*one));
    Recovery {
        epoch,
        voided: count(ended.len() - settled),
        settled: count(settled),
        charged: charged.unwrap_or(Msat::MAX),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked | DiskFull) => Self::Unavailable(Box::new(error)),
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

    /// Lets the database grow no more, as on a full disk, or lets it grow again.
    pub(crate) fn limit_pages(&self, limited: bool) {
        let pages = if limited { 1 } else { i64::from(i32::MAX) };
        let sql = format!("PRAGMA max_page_count = {pages}");
        self.connection.query_row(&sql, [], |_| Ok(())).unwrap();
    }
}
