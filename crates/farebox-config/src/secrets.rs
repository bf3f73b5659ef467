//! Secrets out of the environment and files, fetched only when they are needed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use farebox_core::Secret;

use crate::choice::{HeaderText, SecretSource};

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
    /// No macaroon in it.
    #[error("no macaroon in {0}: neither its bytes nor these in hex or base64")]
    NotMacaroon(String),
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

/// A secret as text.
///
/// # Errors
/// [`SecretError`].
pub fn fetch(source: &SecretSource) -> Result<Secret<String>, SecretError> {
    let text = match source {
        SecretSource::Env { env } => from_environment(env)?,
        SecretSource::File { file } => from_file(file)?,
    };
    Ok(Secret::new(text.trim().to_owned()))
}

/// A secret as it is.
///
/// # Errors
/// [`SecretError`].
pub fn fetch_bytes(source: &SecretSource) -> Result<Secret<Vec<u8>>, SecretError> {
    let bytes = match source {
        SecretSource::Env { env } => from_environment(env)?.into_bytes(),
        SecretSource::File { file } => read_file(file)?,
    };
    Ok(Secret::new(bytes))
}

/// The bytes of a macaroon, out of the file that the node made or out of text in hex or base64.
///
/// # Errors
/// [`SecretError`].
pub fn fetch_macaroon(source: &SecretSource) -> Result<Secret<Vec<u8>>, SecretError> {
    let bytes = fetch_bytes(source)?;
    let macaroon = macaroon_bytes(bytes.reveal()).map(Secret::new);
    macaroon.ok_or_else(|| SecretError::NotMacaroon(source.to_string()))
}

/// Serialised macaroons begin with a 2 in the binary format that LND writes, and with a length and
/// the word `location` in the old one.
fn macaroon_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    const BINARY: u8 = 2;
    let is_macaroon =
        |bytes: &[u8]| bytes.first() == Some(&BINARY) || bytes.get(4..12) == Some(b"location");
    if is_macaroon(bytes) {
        return Some(bytes.to_vec());
    }
    let text = bytes.trim_ascii();
    let base64 = || {
        let text = trim_padding(text);
        STANDARD_NO_PAD
            .decode(text)
            .or_else(|_| URL_SAFE_NO_PAD.decode(text))
            .ok()
    };
    let decoded = hex::decode(text).ok().or_else(base64);
    decoded.filter(|decoded| is_macaroon(decoded))
}

fn trim_padding(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b'=');
    end.map_or(&[], |end| &text[..=end])
}

fn from_environment(name: &str) -> Result<String, SecretError> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Err(SecretError::Empty(name.to_owned())),
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err(SecretError::NotSet(name.to_owned())),
        Err(std::env::VarError::NotUnicode(_)) => Err(SecretError::NotText(name.to_owned())),
    }
}

/// The text of a file, without the line's end.
fn from_file(path: &Path) -> Result<String, SecretError> {
    let bytes = read_file(path)?;
    let shown = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotText(shown.clone()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        Err(SecretError::Empty(shown))
    } else {
        Ok(text.to_owned())
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, SecretError> {
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
    Ok(bytes)
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
    fn a_macaroon_is_read_from_its_file_and_from_hex_and_base64() {
        let macaroon = b"\x02\x01\x03lnd\x02\xf8\x01\x03\n\x10".to_vec();
        let base64 = "AgEDbG5kAvgBAwoQ";
        for written in [
            macaroon.clone(),
            format!("{}\n", hex::encode(&macaroon)).into_bytes(),
            hex::encode_upper(&macaroon).into_bytes(),
            format!("{base64}\n").into_bytes(),
        ] {
            assert_eq!(macaroon_bytes(&written), Some(macaroon.clone()));
        }
        for other in [
            &b"lnd"[..],
            b"",
            b"\x01\x02",
            b"deadbeef",
            b"-----BEGIN CERTIFICATE-----",
        ] {
            assert_eq!(macaroon_bytes(other), None, "{other:?}");
        }
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
