//! The commands, one file each, and the ways in which they fail.

pub(crate) mod admin;
pub(crate) mod config;
pub(crate) mod db;
#[cfg(feature = "demo")]
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod prices;
pub(crate) mod serve;

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
pub(crate) const DEFAULT_FILE: &str = "farebox.toml";

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Already said in the command's own form.
    #[error("the configuration has mistakes")]
    Reported,
    /// The figures were printed.
    #[error("the trial balance is not sound")]
    Unsound,
    /// What is wrong with it was printed.
    #[error("the store's file is damaged")]
    Damaged,
    /// How was printed.
    #[error("the price lists differ")]
    Differ,
    #[error(
        "nothing was written: models or prices come or go, or move by more than --guard; look at \
         them, then repeat with --accept"
    )]
    Steep,
    #[error("nothing was written: the list has no price for a model that was asked for")]
    NoPrices,
    #[error("cannot read the list")]
    List(#[from] BadList),
    #[error(transparent)]
    PriceFile(#[from] FileError),
    #[error("the configuration {0}")]
    NoOldList(&'static str),
    #[error("give the old list or a configuration that includes it, not both")]
    TwoOldLists,
    #[error("{origin}: {}\n{mistakes}", count(mistakes.len()))]
    Config {
        /// The file, or the command line.
        origin: String,
        mistakes: Mistakes,
    },
    #[error("{0} needs {1}")]
    Flag(&'static str, &'static str),
    #[error(
        "no farebox.toml here: give one with -c FILE, or --upstream URL, --lightning-address \
         USER@HOST and --price-msat N"
    )]
    NothingToServe,
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// Standard output is closed, or the runtime cannot be made.
    #[error("the system does not let us")]
    Io(#[from] io::Error),
    #[error("cannot start")]
    Start(#[from] StartError),
    #[error("cannot open the store")]
    Store(#[from] OpenError),
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
    pub(crate) fn exit_code(&self) -> ExitCode {
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
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(command)
}

/// What a configuration is built in that is looked at once.
#[must_use]
pub(crate) fn context(money: Money, lookups: Lookups) -> Context {
    Context {
        clock: Arc::new(SystemClock),
        money,
        lookups,
        node: None,
    }
}

/// The configuration in `path`, else in [`DEFAULT_FILE`] where there is one, else all defaults. Its
/// mistakes do not matter to who only has to know where something is.
pub(crate) fn load_or_default(path: Option<&Path>) -> Result<ConfigFile, Failure> {
    let default = Path::new(DEFAULT_FILE);
    let path = path.or_else(|| default.exists().then_some(default));
    let text = path.map(read).transpose()?;
    Ok(text.map(|text| load(&text).file).unwrap_or_default())
}

/// Reads a whole file of text.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| Failure::Read {
        path: path.to_owned(),
        source,
    })
}
