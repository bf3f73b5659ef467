//! The commands, one file each, and the ways in which they fail.

pub mod admin;
pub mod config;
pub mod db;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
pub mod prices;
pub mod serve;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use farebox_config::build::{Context, Lookups, Money};
use farebox_config::file::ConfigFile;
use farebox_config::load::load;
use farebox_config::mistake::Mistakes;
use farebox_ledger::OpenError;
use farebox_market::import::BadList;
use farebox_market::price_file::FileError;

use crate::clock::SystemClock;
use crate::running::StartError;

/// The configuration file that is taken when none is named.
pub const DEFAULT_FILE: &str = "farebox.toml";

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Already said in the command's own form.
    #[error("the configuration has mistakes")]
    Reported,
    /// The books are not sound; the figures were printed.
    #[error("the trial balance is not sound")]
    Unsound,
    /// The price lists differ; how was printed.
    #[error("the price lists differ")]
    Differ,
    /// A price list would change more than may pass unseen.
    #[error(
        "nothing was written: models or prices come or go, or move by more than --guard; look at \
         them, then repeat with --accept"
    )]
    Steep,
    /// A list of somebody's prices no model that was asked for.
    #[error("nothing was written: the list has no price for a model that was asked for")]
    NoPrices,
    /// A file is no list of the form it is taken for.
    #[error("cannot read the list")]
    List(#[from] BadList),
    /// A price list cannot be read or written.
    #[error(transparent)]
    PriceFile(#[from] FileError),
    /// There is nothing to compare with.
    #[error("the configuration {0}")]
    NoOldList(&'static str),
    /// Two lists to compare, and a configuration as well.
    #[error("give the old list or a configuration that includes it, not both")]
    TwoOldLists,
    /// The configuration has mistakes.
    #[error("{origin}: {}\n{mistakes}", count(mistakes.len()))]
    Config {
        /// The file, or the command line.
        origin: String,
        /// All of them.
        mistakes: Mistakes,
    },
    /// A flag that says nothing without another one.
    #[error("{0} needs {1}")]
    Flag(&'static str, &'static str),
    /// Nothing says what to do.
    #[error(
        "no farebox.toml here: give one with -c FILE, or --upstream URL, --lightning-address \
         USER@HOST and --price-msat N"
    )]
    NothingToServe,
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output is closed, or the runtime cannot be made.
    #[error("the system does not let us")]
    Io(#[from] io::Error),
    /// The gateway did not start.
    #[error("cannot start")]
    Start(#[from] StartError),
    /// The store could not be opened or read.
    #[error("cannot open the store")]
    Store(#[from] OpenError),
    /// A running gateway does not answer.
    #[error(transparent)]
    Client(#[from] admin::ClientError),
    /// Something else, with its own words.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 {
        "1 mistake".to_owned()
    } else {
        format!("{mistakes} mistakes")
    }
}

impl Failure {
    /// The exit code that the help promises.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Reported | Self::Config { .. } | Self::Flag(..) | Self::NothingToServe => {
                ExitCode::from(2)
            }
            Self::Read { .. } | Self::NoPrices | Self::List(_) | Self::PriceFile(_) => {
                ExitCode::from(2)
            }
            Self::NoOldList(_) | Self::TwoOldLists => ExitCode::from(2),
            Self::Store(OpenError::InUse { .. })
            | Self::Start(StartError::Ledger(OpenError::InUse { .. })) => ExitCode::from(3),
            _ => ExitCode::from(1),
        }
    }
}

/// Runs a command that waits for others, on one thread.
///
/// # Errors
/// Those of the command, and [`Failure::Io`] when the system has no runtime for it.
pub fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(command)
}

/// What a configuration is built in that is looked at once.
#[must_use]
pub fn context(money: Money, lookups: Lookups) -> Context {
    Context {
        clock: Arc::new(SystemClock),
        money,
        lookups,
        node: None,
    }
}

/// The configuration in `path`, else in [`DEFAULT_FILE`] where there is one, else all defaults. Its
/// mistakes do not matter to who only has to know where something is.
pub fn load_or_default(path: Option<&Path>) -> Result<ConfigFile, Failure> {
    let default = Path::new(DEFAULT_FILE);
    let path = path.or_else(|| default.exists().then_some(default));
    let text = path.map(read).transpose()?;
    Ok(text.map(|text| load(&text).file).unwrap_or_default())
}

/// Reads a whole file of text.
pub fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| Failure::Read {
        path: path.to_owned(),
        source,
    })
}
