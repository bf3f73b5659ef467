//! The keyring's file: how it is read, checked and replaced.
//!
//! Reading takes no lock, as the file is only ever replaced as a whole. Changing it does: the lock
//! file beside it makes read, change and replace one step for all processes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use farebox_core::{KeyEpoch, UnixMillis};
use farebox_ledger::ClaimPolicy;
use serde::{Deserialize, Serialize};

use super::{Epoch, ImportedSecret, KeyringError, KeyringFault};

/// The format that is written, and the only one that is read.
pub const FORMAT_VERSION: u32 = 1;

/// The most epochs a keyring has.
pub const MAX_EPOCHS: usize = 1024;

const MAX_FILE_BYTES: u64 = 512 * 1024;
const MODE: u32 = 0o600;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    epochs: Vec<WrittenEpoch>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEpoch {
    epoch: u32,
    secret: String,
    #[serde(with = "WrittenClaims")]
    claims: ClaimPolicy,
    created_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ClaimPolicy", rename_all = "snake_case")]
enum WrittenClaims {
    Open,
    ClaimedOnly,
}

/// Only the version, which decides how the rest is read.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The epochs in the file at `path`; `None` where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<Epoch>>, KeyringError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("open", path)(source)),
    };
    // Of the open file, so that what is checked is what is read.
    check_metadata(path, &file.metadata().map_err(failed("read", path))?)?;
    let mut text = String::new();
    let mut limited = file.take(MAX_FILE_BYTES);
    limited
        .read_to_string(&mut text)
        .map_err(failed("read", path))?;
    parse(path, &text).map(Some)
}

fn check_metadata(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyringError> {
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_file() {
        return Err(KeyringFault::NotAFile.of(path));
    }
    if mode & !MODE != 0 {
        return Err(KeyringFault::LoosePermissions { mode }.of(path));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(KeyringFault::TooLarge.of(path));
    }
    Ok(())
}

fn parse(path: &Path, text: &str) -> Result<Vec<Epoch>, KeyringError> {
    let malformed = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        KeyringFault::Malformed { line, column }.of(path)
    };
    let Version { version: found } = serde_json::from_str(text).map_err(malformed)?;
    if found != FORMAT_VERSION {
        return Err(KeyringFault::Version { found }.of(path));
    }
    let written: Written = serde_json::from_str(text).map_err(malformed)?;
    let epochs = written.epochs.into_iter().map(|epoch| epoch.check(path));
    let epochs = epochs.collect::<Result<Vec<_>, _>>()?;
    check_order(path, &epochs)?;
    Ok(epochs)
}

fn check_order(path: &Path, epochs: &[Epoch]) -> Result<(), KeyringError> {
    let is_rising = epochs.windows(2).all(|pair| pair[0].epoch < pair[1].epoch);
    if !is_rising || epochs.is_empty() || epochs.len() > MAX_EPOCHS {
        return Err(KeyringFault::Epochs.of(path));
    }
    Ok(())
}

impl WrittenEpoch {
    fn check(self, path: &Path) -> Result<Epoch, KeyringError> {
        let epoch = KeyEpoch(self.epoch);
        let bad = |fault| KeyringFault::BadSecret { epoch, fault }.of(path);
        let ImportedSecret(secret) = ImportedSecret::parse(&self.secret).map_err(bad)?;
        Ok(Epoch {
            epoch,
            secret,
            claims: self.claims,
            created_at: UnixMillis::new(self.created_at_ms),
        })
    }

    fn of(epoch: &Epoch) -> Self {
        Self {
            epoch: epoch.epoch.0,
            secret: hex::encode(epoch.secret.reveal()),
            claims: epoch.claims,
            created_at_ms: epoch.created_at.get(),
        }
    }
}

/// Replaces the file's epochs by what `change` makes of them, and gives those. Atomic towards other
/// processes and a crash; where `change` fails nothing is written.
pub(super) fn update(
    path: &Path,
    change: impl FnOnce(Option<Vec<Epoch>>) -> Result<Vec<Epoch>, KeyringError>,
) -> Result<Vec<Epoch>, KeyringError> {
    let _lock = lock(path)?;
    let epochs = change(read(path)?)?;
    check_order(path, &epochs)?;
    replace(path, &epochs).map_err(failed("write", path))?;
    Ok(epochs)
}

/// Waits for the lock, which is held for milliseconds; the system gives it back if its holder dies.
fn lock(path: &Path) -> Result<File, KeyringError> {
    let path = beside(path, ".lock");
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(MODE);
    let file = options.open(&path).map_err(failed("open", &path))?;
    file.lock().map_err(failed("lock", &path))?;
    Ok(file)
}

fn replace(path: &Path, epochs: &[Epoch]) -> io::Result<()> {
    let epochs = epochs.iter().map(WrittenEpoch::of).collect();
    let mut text = serde_json::to_vec_pretty(&Written {
        version: FORMAT_VERSION,
        epochs,
    })?;
    text.push(b'\n');
    let temporary = beside(path, ".new");
    // A leftover of a crash, perhaps with another mode; nobody else writes under our lock.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(MODE)
        .open(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyringError {
    let path = path.to_owned();
    move |source| KeyringError::Io {
        doing,
        path,
        source,
    }
}
