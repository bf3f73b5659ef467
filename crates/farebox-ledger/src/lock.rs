//! One store, one process: a lock that the operating system drops when its owner dies.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use farebox_core::UnixMillis;

/// The most of a lock file that is read.
const MAX_OWNER_BYTES: u64 = 256;

/// Who has a store open, as the lock file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process, if the file could be read.
    pub pid: Option<u32>,
    /// When it opened the store.
    pub since: Option<UnixMillis>,
}

/// Why the lock could not be had.
#[derive(Debug)]
pub(crate) enum LockError {
    Held(Owner),
    Io(io::Error),
}

/// The lock, held as long as this lives. The file stays behind: removing it would let a third
/// process lock a new file beside one that is still locked.
#[derive(Debug)]
pub(crate) struct ProcessLock {
    file: File,
}

impl ProcessLock {
    /// Takes the lock of the database at `database`, which is a resolved path, and writes who has
    /// it.
    pub(crate) fn take(database: &Path, now: UnixMillis) -> Result<Self, LockError> {
        let mut file = open(&lock_path(database)).map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(read_owner(&mut file))),
            Err(TryLockError::Error(source)) => return Err(LockError::Io(source)),
        }
        write_owner(&mut file, now).map_err(LockError::Io)?;
        Ok(Self { file })
    }
}

impl Drop for ProcessLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a child that is just being started and has not yet
        // let go of our files.
        let _ = self.file.unlock();
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn write_owner(file: &mut File, now: UnixMillis) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "pid={} since={}", std::process::id(), now.get())?;
    file.flush()
}

fn read_owner(file: &mut File) -> Owner {
    let mut text = String::new();
    // An unreadable owner is still an owner.
    let _ = file.take(MAX_OWNER_BYTES).read_to_string(&mut text);
    let field = |key: &str| {
        let value = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix(key))?;
        value.parse::<u64>().ok()
    };
    Owner {
        pid: field("pid=").and_then(|pid| u32::try_from(pid).ok()),
        since: field("since=").map(UnixMillis::new),
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}
