//! Secrets out of the environment and files, fetched only when they are needed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use farebox_core::Secret;

use crate::config::choice::HeaderText;

/// The longest secret that is read, in bytes.
const MAX_SECRET_BYTES: u64 = 16 * 1024;

/// Why a secret is not to be had. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not there.
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    /// The variable or file is not text.
    #[error("{0} is not UTF-8 text")]
    NotText(String),
    /// The variable or file has nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// The file cannot be read.
    #[error("the file {path} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no secret.
    #[error("the file {0} is longer than a secret can be")]
    TooLong(PathBuf),
}

/// The text of a header, looked up where it is not written out.
///
/// # Errors
/// [`SecretError`].
pub fn resolve(text: &HeaderText) -> Result<Secret<String>, SecretError> {
    let secret = match text {
        HeaderText::Text(text) => text.clone(),
        HeaderText::Env { env, prefix } => format!("{prefix}{}", from_environment(env)?),
        HeaderText::File { file, prefix } => format!("{prefix}{}", from_file(file)?),
    };
    Ok(Secret::new(secret))
}

fn from_environment(name: &str) -> Result<String, SecretError> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Err(SecretError::Empty(name.to_owned())),
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err(SecretError::NotSet(name.to_owned())),
        Err(std::env::VarError::NotUnicode(_)) => Err(SecretError::NotText(name.to_owned())),
    }
}

/// The first line of a file, or all of it when there is only one, without the line's end.
fn from_file(path: &Path) -> Result<String, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_SECRET_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_SECRET_BYTES) {
        return Err(SecretError::TooLong(path.to_owned()));
    }
    let shown = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotText(shown.clone()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        Err(SecretError::Empty(shown))
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_loses_its_line_end_and_gains_its_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "sk-1\r\n").unwrap();
        let secret = resolve(&HeaderText::File {
            file,
            prefix: "Bearer ".to_owned(),
        })
        .unwrap();
        assert_eq!(secret.reveal(), "Bearer sk-1");
    }

    #[test]
    fn a_secret_that_is_missing_empty_or_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refuse = |content: &[u8]| {
            let file = folder.path().join("key");
            std::fs::write(&file, content).unwrap();
            resolve(&HeaderText::File {
                file,
                prefix: String::new(),
            })
            .unwrap_err()
        };
        assert!(matches!(refuse(b"\n"), SecretError::Empty(_)));
        assert!(matches!(refuse(&[0xff]), SecretError::NotText(_)));
        assert!(matches!(refuse(&[b'a'; 20_000]), SecretError::TooLong(_)));
        let env = HeaderText::Env {
            env: "FAREBOX_NO_SUCH".to_owned(),
            prefix: String::new(),
        };
        assert!(matches!(resolve(&env), Err(SecretError::NotSet(_))));
    }
}
