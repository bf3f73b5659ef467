//! Programs that are not ours and that tests run: where they lie, for all clones of one user.
//!
//! `cargo xtask test` installs them, tests find them. A part's folder carries the part's name and a hash of
//! the pins that decide what is in it, so clones with other pins keep out of each other's way. The folder
//! exists only when the part is whole: it gets its name as the last step of the installation.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The environment variable with the folder in which the cache lies.
pub const CACHE: &str = "FAREBOX_CACHE";
/// The environment variable of a run without parts from outside.
pub const FAST: &str = "FAREBOX_FAST";
/// The environment variable with the file in which tests note that they were left out.
pub const SKIPPED: &str = "FAREBOX_SKIPPED";
/// Our own folder in the cache.
const OURS: &str = "farebox";
/// Bytes of the hash that tell versions apart.
const VERSION_BYTES: usize = 6;

/// A part that files below `conformance/` pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Packages of npm: L402 clients, SDKs, aimock, playwright.
    Node,
    /// Packages of PyPI: L402 clients, gRPC, WebSockets, macaroons.
    Python,
    /// The SDKs of model providers for Python, and a server that speaks their APIs.
    Sdks,
    /// A wallet server, for the tests with real Lightning nodes.
    Lnbits,
    /// A gateway to models.
    Litellm,
    /// A mint of ecash, and its wallet.
    Nutshell,
    /// Another mint of ecash, and its wallet: built here, for `cargo xtask test --all`.
    Cdk,
}

impl Part {
    /// How people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Node => "Node packages",
            Self::Python => "Python packages",
            Self::Sdks => "SDKs",
            Self::Lnbits => "LNbits",
            Self::Litellm => "LiteLLM",
            Self::Nutshell => "nutshell",
            Self::Cdk => "CDK",
        }
    }

    /// The files below `conformance/` that say what is in it.
    #[must_use]
    pub const fn pins(self) -> &'static [&'static str] {
        match self {
            Self::Node => &["package.json", "package-lock.json"],
            Self::Python => &["requirements.txt"],
            Self::Sdks => &["sdk-requirements.txt"],
            Self::Lnbits => &["lnbits-requirements.txt"],
            Self::Litellm => &["litellm-requirements.txt"],
            Self::Nutshell => &["nutshell-requirements.txt"],
            Self::Cdk => &["cdk/Cargo.toml", "cdk/Cargo.lock", "cdk/src/main.rs"],
        }
    }

    /// Its folder, whether it is installed or not.
    ///
    /// # Errors
    /// When its pins cannot be read, or there is no place for a cache.
    pub fn folder(self) -> io::Result<PathBuf> {
        let name = match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Sdks => "sdks",
            Self::Lnbits => "lnbits",
            Self::Litellm => "litellm",
            Self::Nutshell => "nutshell",
            Self::Cdk => "cdk",
        };
        let mut pins = String::new();
        for file in self.pins() {
            pins += &fs::read_to_string(conformance(file))?;
        }
        folder(name, &version(&pins))
    }

    /// A file of this part, for the test that runs; `None` leaves the test out.
    ///
    /// # Panics
    /// As [`is_left_out`], and when there is no place for a cache.
    #[must_use]
    #[track_caller]
    pub fn find(self, file: &str) -> Option<PathBuf> {
        let path = self.folder().expect("pins and a cache").join(file);
        (!is_left_out(self.title(), path.exists())).then_some(path)
    }
}

/// Whether the test that runs ends here, because it needs `part` and either the part is not there or the
/// run does without parts. The person at the terminal is told, and so is `cargo xtask test`.
///
/// # Panics
/// Under CI, where nothing may be missing.
#[must_use]
#[track_caller]
pub fn is_left_out(part: &str, is_there: bool) -> bool {
    let is_fast = env::var_os(FAST).is_some();
    if is_there && !is_fast {
        return false;
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    let is_ci = env::var_os("CI").is_some_and(|value| value == "true");
    assert!(
        is_fast || !is_ci,
        "{test} needs {part}: run cargo xtask test"
    );
    let why = if is_fast {
        "not asked for"
    } else {
        "not there (cargo xtask test)"
    };
    note(&format!("{test}: {part} {why}")).expect("standard error and the list of skipped tests");
    true
}

fn note(line: &str) -> io::Result<()> {
    // Past the capture of test output, which hides what a passing test prints.
    writeln!(io::stderr().lock(), "skipped {line}")?;
    let Some(file) = env::var_os(SKIPPED) else {
        return Ok(());
    };
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    writeln!(file, "{line}")
}

/// The place of a part in the cache: `farebox/<name>-<version>` in `$FAREBOX_CACHE`, or else in the user's
/// cache folder.
///
/// # Errors
/// When there is neither of them, or the one that is named is no absolute path.
pub fn folder(name: &str, version: &str) -> io::Result<PathBuf> {
    Ok(cache()?.join(OURS).join(format!("{name}-{version}")))
}

/// A version for what has none of its own: a hash of the text that decides what it is.
#[must_use]
pub fn version(pins: &str) -> String {
    hex::encode(&Sha256::digest(pins)[..VERSION_BYTES])
}

/// A file of `conformance/`.
#[must_use]
pub fn conformance(file: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let workspace = workspace.unwrap_or(Path::new("."));
    workspace.join("conformance").join(file)
}

/// The folder in which the cache lies.
///
/// # Errors
/// When there is none, or the one that is named is no absolute path.
pub fn cache() -> io::Result<PathBuf> {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty());
    cache_of(
        named(CACHE).map(PathBuf::from),
        named("XDG_CACHE_HOME").map(PathBuf::from),
        env::home_dir(),
    )
}

fn cache_of(
    ours: Option<PathBuf>,
    users: Option<PathBuf>,
    home: Option<PathBuf>,
) -> io::Result<PathBuf> {
    // A relative path would be another folder for each program that reads it.
    if let Some(ours) = ours {
        let is_usable = ours.is_absolute();
        let refused = || io::Error::other(format!("{CACHE} has to be an absolute path"));
        return is_usable.then_some(ours).ok_or_else(refused);
    }
    let users = users.filter(|path| path.is_absolute());
    let found = users.or_else(|| home.map(|home| home.join(".cache")));
    found.ok_or_else(|| io::Error::other(format!("no home folder for a cache: set {CACHE}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<PathBuf> {
        Some(PathBuf::from(text))
    }

    #[test]
    fn the_cache_is_the_one_that_is_named_or_else_the_users() {
        let cache = |ours, users| cache_of(ours, users, path("/home/me")).unwrap();
        assert_eq!(cache(path("/big"), path("/xdg")), path("/big").unwrap());
        assert_eq!(cache(None, path("/xdg")), path("/xdg").unwrap());
        assert_eq!(cache(None, None), path("/home/me/.cache").unwrap());
        // As the XDG base directory specification wants it.
        assert_eq!(cache(None, path("xdg")), path("/home/me/.cache").unwrap());
    }

    #[test]
    fn a_cache_without_a_fixed_place_is_refused() {
        assert!(cache_of(path("here"), None, path("/home/me")).is_err());
        assert!(cache_of(None, None, None).is_err());
    }

    #[test]
    fn other_pins_have_another_version() {
        assert_eq!(version("a==1").len(), 2 * VERSION_BYTES);
        assert_ne!(version("a==1"), version("a==2"));
    }

    #[test]
    fn every_part_has_its_pins() {
        for part in [
            Part::Node,
            Part::Python,
            Part::Sdks,
            Part::Lnbits,
            Part::Litellm,
            Part::Nutshell,
            Part::Cdk,
        ] {
            assert!(part.folder().is_ok(), "{}", part.title());
        }
    }
}
