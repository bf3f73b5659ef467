//! The admin token: made at the first start, readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use farebox_console::AdminToken;

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// Why there is no admin token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    #[error("the admin token's file {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} has mode {mode:04o}, but an admin token must be 0600: run `chmod 600` on it", path.display())]
    LoosePermissions { path: PathBuf, mode: u32 },
    #[error("{} holds no admin token; remove it to have a new one made", path.display())]
    Malformed { path: PathBuf },
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// Reads the token, or makes one where there is none.
pub(crate) fn read_or_make(path: &Path) -> Result<AdminToken, TokenFileError> {
    match make(path) {
        Err(TokenFileError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            read(path)
        }
        made => made,
    }
}

/// Reads the token.
pub(crate) fn read(path: &Path) -> Result<AdminToken, TokenFileError> {
    let failed = failed(path);
    let metadata = fs::metadata(path).map_err(&failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenFileError::LoosePermissions {
            path: path.to_owned(),
            mode,
        });
    }
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(malformed(path));
    }
    AdminToken::parse(&fs::read_to_string(path).map_err(failed)?).map_err(|_| malformed(path))
}

/// Written beside and linked into place, so that no reader sees half a token.
fn make(path: &Path) -> Result<AdminToken, TokenFileError> {
    let failed = failed(path);
    if path.exists() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(TokenFileError::Random)?;
    let text = hex::encode(random);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&beside).map_err(&failed)?;
    let written = writeln!(file, "{text}").and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&beside, path));
    // Left behind it would only be a stale copy of the same token.
    let _ = fs::remove_file(&beside);
    linked.map_err(failed)?;
    AdminToken::parse(&text).map_err(|_| malformed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> TokenFileError {
    move |source| TokenFileError::Io {
        path: path.to_owned(),
        source,
    }
}

fn malformed(path: &Path) -> TokenFileError {
    TokenFileError::Malformed {
        path: path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_start_makes_a_private_token_and_later_ones_keep_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let first = read_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_or_make(&path).unwrap().reveal(), first.reveal());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        read_or_make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            read(&path),
            Err(TokenFileError::LoosePermissions { .. })
        ));
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            read_or_make(&path),
            Err(TokenFileError::Malformed { .. })
        ));
    }
}
