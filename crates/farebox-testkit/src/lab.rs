//! Real Lightning on one machine: a regtest chain and two LND nodes with a channel between them, as
//! `cargo xtask lab up` starts them. Alice sells, bob buys.
//!
//! Tests find the running lab with [`Lab::find`], take their part of it with [`Lab::share`] or the
//! whole of it with [`Lab::take`], and talk to both nodes. Nothing here is asked by the gateway: it
//! reaches alice through its own backend.

mod chain;
mod daemon;
mod https;
mod node;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use chain::Btcd;
pub use daemon::Daemon;
pub use node::{Invoice, Macaroons, Node, Payment};

/// The environment variable with the path of `lab.json`.
pub const LAB: &str = "FAREBOX_LAB";

/// Nodes start, synchronise and forward within seconds; this is for a machine that is busy.
const WAIT_AT_MOST: Duration = Duration::from_secs(90);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A lab: what it consists of and where, as `lab.json` says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lab {
    /// The chain.
    pub btcd: Btcd,
    /// The Lightning nodes: alice, who sells, and bob, who buys.
    pub nodes: Vec<Node>,
}

/// What can go wrong between a test and its nodes.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Files, processes or sockets.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The node said no.
    #[error("{request}: {status}: {message}")]
    Refused {
        /// Method and path.
        request: String,
        /// The status of the answer.
        status: u16,
        /// The node's own words.
        message: String,
    },
    /// The node tried and failed to pay.
    #[error("not paid: {0}")]
    NotPaid(String),
    /// An answer that is not what the API documents, or a `lab.json` that is not ours.
    #[error("{0}: not the expected JSON")]
    Json(String),
    /// It did not come to pass in time.
    #[error("still not {what} after {} s: {last}", WAIT_AT_MOST.as_secs())]
    TimedOut {
        /// What was waited for.
        what: String,
        /// What stood in its way at last.
        last: String,
    },
}

/// The lab, as long as this lives. Whoever stops a node takes it alone; everybody else shares it.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "closing the file gives the turn back")] File);

impl Lab {
    /// The file that describes the lab of this workspace.
    #[must_use]
    pub fn file() -> PathBuf {
        std::env::var_os(LAB).map_or_else(Self::default_file, PathBuf::from)
    }

    /// Where `cargo xtask lab up` writes it.
    #[must_use]
    pub fn default_file() -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        root.unwrap_or(Path::new(".")).join(".state/lab/lab.json")
    }

    /// The lab that [`Self::file`] describes; nothing where there is none.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn find() -> Result<Option<Self>, LabError> {
        Self::read(&Self::file())
    }

    /// The lab that `file` describes; nothing where there is none.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(file: &Path) -> Result<Option<Self>, LabError> {
        let name = || file.display().to_string();
        match fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|_| LabError::Json(name())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LabError::io(name(), error)),
        }
    }

    /// The node that sells.
    ///
    /// # Panics
    /// When `lab.json` names no alice.
    #[must_use]
    pub fn alice(&self) -> &Node {
        self.node("alice").expect("a lab has its alice")
    }

    /// The node that buys.
    ///
    /// # Panics
    /// When `lab.json` names no bob.
    #[must_use]
    pub fn bob(&self) -> &Node {
        self.node("bob").expect("a lab has its bob")
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Waits until nobody has the lab for himself, and keeps it so.
    ///
    /// # Errors
    /// When the lock file cannot be used, or a node that was left down does not start.
    pub fn share(&self) -> Result<Turn, LabError> {
        if self
            .nodes
            .iter()
            .any(|node| node.daemon.process().is_none())
        {
            // Down for the test that has the lab now, or left so by one that failed.
            drop(self.take()?);
        }
        let file = self.lock_file()?;
        let locked = file.lock_shared();
        locked.map_err(|e| LabError::io("share the lab".to_owned(), e))?;
        Ok(Turn(file))
    }

    /// Waits until nobody uses the lab, and has it alone from then on: for tests that stop a node
    /// or compare what nodes own. Starts what an earlier test left down.
    ///
    /// # Errors
    /// When the lock file cannot be used, or a node that was left down does not start.
    pub fn take(&self) -> Result<Turn, LabError> {
        let file = self.lock_file()?;
        let locked = file.lock();
        locked.map_err(|e| LabError::io("take the lab".to_owned(), e))?;
        let mut nodes = self.nodes.iter();
        nodes.try_for_each(|node| match node.daemon.process() {
            Some(_) => Ok(()),
            None => self.start(node),
        })?;
        Ok(Turn(file))
    }

    /// Mines, and waits until every node has seen the new blocks.
    ///
    /// # Errors
    /// When the chain refuses, or a node does not follow.
    pub fn mine(&self, blocks: u32) -> Result<(), LabError> {
        self.btcd.generate(blocks)?;
        let height = self.btcd.height()?;
        let mut nodes = self.nodes.iter();
        nodes.try_for_each(|node| node.wait_until_synced(height))
    }

    /// Starts a node that was stopped, and waits until it can pay and be paid again.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn start(&self, node: &Node) -> Result<(), LabError> {
        node.daemon.start()?;
        node.wait_until_synced(self.btcd.height()?)?;
        self.wait_until_connected()
    }

    /// Waits until every node's channels can be used.
    ///
    /// # Errors
    /// When they do not come up.
    pub fn wait_until_connected(&self) -> Result<(), LabError> {
        for (index, node) in self.nodes.iter().enumerate() {
            for other in self.nodes.iter().skip(index + 1) {
                // A peer that is connected already is refused; only the channel counts.
                drop(node.connect(other));
            }
        }
        self.nodes.iter().try_for_each(Node::wait_until_active)
    }

    fn lock_file(&self) -> Result<File, LabError> {
        let path = self.btcd.daemon.folder.join("../turn.lock");
        let opened = File::options().create(true).append(true).open(&path);
        opened.map_err(|e| LabError::io(path.display().to_string(), e))
    }
}

impl LabError {
    pub(crate) const fn io(what: String, source: io::Error) -> Self {
        Self::Io { what, source }
    }
}

/// Asks until there is an answer. An error is asked again, too: a node that starts refuses in many
/// ways.
///
/// # Errors
/// When the time is over, with what was wrong at last.
pub fn wait_for<T>(
    what: &str,
    mut ask: impl FnMut() -> Result<Option<T>, LabError>,
) -> Result<T, LabError> {
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    loop {
        let last = match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => String::from("no error"),
            Err(error) => error.to_string(),
        };
        if Instant::now() > give_up_at {
            let what = what.to_owned();
            return Err(LabError::TimedOut { what, last });
        }
        std::thread::sleep(ASK_AGAIN_AFTER);
    }
}
