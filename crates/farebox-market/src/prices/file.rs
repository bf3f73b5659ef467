//! The file with the approved prices. It is replaced as a whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::table::stored::StoredPrice;

/// Readable by its owner alone: what a seller pays is his own business.
const MODE: u32 = 0o600;
/// The form of the file.
const VERSION: u32 = 1;
/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// What is approved, and what waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    version: u32,
    /// Grows with every change, so that what is approved is what was seen.
    pub revision: u64,
    /// Sold by.
    pub approved: BTreeMap<String, KeptPrice>,
    /// Not yet.
    pub waiting: BTreeMap<String, KeptPrice>,
}

/// One price, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptPrice {
    /// The list.
    pub source: String,
    /// When it was taken over, in milliseconds since 1970.
    pub at: u64,
    /// What it costs.
    pub price: StoredPrice,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading.
    #[error("the prices at {} cannot be read", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its text.
    #[error("{} holds no prices that this version understands", path.display())]
    Form {
        /// Where.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A currency, a version, a size.
    #[error("{}: {what}", path.display())]
    Content {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Writing; the file is as it was.
    #[error("the prices at {} cannot be written", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            version: VERSION,
            revision: 0,
            approved: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }
}

/// What is in the file; nothing when there is none.
pub(super) fn read(path: &Path) -> Result<Kept, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let wrong = |what: String| FileError::Content {
        path: path.to_owned(),
        what,
    };
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(failed(error)),
    };
    if size > MAX_BYTES {
        return Err(wrong(format!("longer than {MAX_BYTES} bytes")));
    }
    let text = fs::read(path).map_err(failed)?;
    let kept: Kept = serde_json::from_slice(&text).map_err(|source| FileError::Form {
        path: path.to_owned(),
        source,
    })?;
    if kept.version == VERSION {
        Ok(kept)
    } else {
        Err(wrong(format!("version {} is not known here", kept.version)))
    }
}

/// Writes everything beside the file, then puts it in its place.
pub(super) fn write(path: &Path, kept: &Kept) -> Result<(), FileError> {
    replace(path, kept).map_err(|source| FileError::Write {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, kept: &Kept) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    // What a crash left there was never in force.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&temporary)?;
    let text = serde_json::to_vec_pretty(kept).map_err(io::Error::other)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
