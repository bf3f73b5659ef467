//! Opening the file: settings, identity, version, the number of this run.

use std::fs::File;
use std::path::Path;

use farebox_core::ProcessEpoch;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::OpenError;
use crate::store::StoreError;

/// Marks the file as a ledger of Farebox ("Fare").
const APPLICATION_ID: i64 = 0x4661_7265;
/// The first form that later versions must read, but for change.
const SCHEMA: &str = include_str!("schema.sql");
/// Swaps, coins, and change by its account.
const ECASH: &str = include_str!("ecash.sql");
/// The version of the first form. Those before it were never released.
const FIRST_VERSION: u32 = 5;
/// The version of the form with both.
pub(crate) const SCHEMA_VERSION: u32 = 6;

/// How long a statement waits for another process's lock, in milliseconds.
const BUSY_TIMEOUT_MS: u32 = 5_000;
/// The write-ahead log is copied into the file when it has so many pages (of 4 KiB).
const CHECKPOINT_PAGES: u32 = 4_000;
/// What is told of a damaged file at most.
const DAMAGE_LINES: u32 = 20;
/// Pages kept in memory, in KiB.
const CACHE_KIB: u32 = 16_384;

/// Opens or creates the ledger's database.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    make_private(path);
    let mut connection = Connection::open(path).map_err(StoreError::from)?;
    let found = identify(&connection)?;
    if !matches!(found, 0 | FIRST_VERSION | SCHEMA_VERSION) {
        return Err(OpenError::Version {
            found,
            known: SCHEMA_VERSION,
        });
    }
    configure(&connection).map_err(StoreError::from)?;
    match found {
        0 => create(&mut connection).map_err(StoreError::from)?,
        FIRST_VERSION => migrate_first(&mut connection).map_err(StoreError::from)?,
        _ => {}
    }
    Ok(connection)
}

/// What SQLite finds wrong with the file, in its own words. Nothing is written. What is no database at
/// all is left to whoever opens it.
pub(super) fn examine(path: &Path) -> Result<Vec<String>, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_log(&connection)?;
    match find_damage(&connection) {
        Ok(lines) if lines == ["ok"] => Ok(Vec::new()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            Ok(vec![error.to_string()])
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => Ok(Vec::new()),
        found => Ok(found?),
    }
}

fn find_damage(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut check = connection.prepare(&format!("PRAGMA integrity_check({DAMAGE_LINES})"))?;
    check.query_map([], |row| row.get(0))?.collect()
}

/// Creates a new database readable by its owner alone; SQLite gives its other files the same mode.
/// Where that fails, opening fails next and says why.
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let _ = options.write(true).create_new(true).mode(0o600).open(path);
}

/// The schema version of the file; 0 when it is empty.
fn identify(connection: &Connection) -> Result<u32, OpenError> {
    match read_identity(connection) {
        Ok((APPLICATION_ID, version, _)) => Ok(version),
        Ok((0, 0, 0)) => Ok(0),
        Ok(_) => Err(OpenError::Foreign),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(OpenError::Foreign)
        }
        Err(error) => Err(StoreError::from(error).into()),
    }
}

fn read_identity(connection: &Connection) -> rusqlite::Result<(i64, u32, i64)> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    let id: i64 = pragma("application_id")?;
    let version: i64 = pragma("user_version")?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables = connection.query_row(tables, [], |row| row.get(0))?;
    Ok((id, u32::try_from(version).unwrap_or(u32::MAX), tables))
}

/// What an earlier run left in the log is written into the main file before anything is added to it:
/// a process that could not sync its log may have left what only the cache of the system has.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA temp_store = MEMORY;
         PRAGMA foreign_keys = OFF;"
    ))?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let is_busy: bool = connection.query_row(checkpoint, [], |row| row.get(0))?;
    if is_busy {
        tracing::warn!(
            "another program reads the ledger; what an earlier run left stays in its log"
        );
    }
    Ok(())
}

/// Sets whether SQLite syncs the log on commit. In any case it does before a checkpoint, and syncs
/// the main file after one.
pub(super) fn sync_on_commit(connection: &Connection, on: bool) -> rusqlite::Result<()> {
    connection.execute_batch(if on {
        "PRAGMA synchronous = FULL"
    } else {
        "PRAGMA synchronous = NORMAL"
    })
}

/// Leaves the log as it is when the connection is closed. What could not be synced may have changed
/// under the eyes of a checkpoint, which looks at no checksums; the next start looks at them.
pub(super) fn keep_log(connection: &Connection) -> rusqlite::Result<()> {
    let option = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(option, true).map(drop)
}

/// Opens the log of an open database.
pub(super) fn open_log(path: &Path) -> Result<File, StoreError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    File::open(log).map_err(|error| StoreError::Failed(Box::new(error)))
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    step.execute_batch(SCHEMA)?;
    step.execute_batch(ECASH)?;
    step.pragma_update(None, "application_id", APPLICATION_ID)?;
    step.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    step.commit()
}

/// Brings a ledger of the first form into the present one: change belongs to an account, not to a hold.
fn migrate_first(connection: &mut Connection) -> rusqlite::Result<()> {
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    step.execute_batch("ALTER TABLE change RENAME TO change_by_hold; DROP INDEX change_owed;")?;
    step.execute_batch(ECASH)?;
    step.execute_batch(
        "INSERT INTO change SELECT account, max(epoch), rail, sum(CASE WHEN told IS NULL THEN msat ELSE 0 END), min(at), CAST(max(told) AS TEXT) \
         FROM change_by_hold GROUP BY account; DROP TABLE change_by_hold;",
    )?;
    step.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    step.commit()
}

/// Counts the runs of the process up, durably, before anything can be held in its name.
pub(super) fn begin_run(connection: &mut Connection) -> rusqlite::Result<ProcessEpoch> {
    let run = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    run.execute("UPDATE process SET epoch = epoch + 1", [])?;
    let epoch = run.query_row("SELECT epoch FROM process", [], |row| row.get(0))?;
    run.commit()?;
    Ok(ProcessEpoch(epoch))
}
