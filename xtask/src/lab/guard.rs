//! Who may change the lab when: one task at a time starts or stops it, and a test run stops only
//! what it started and nobody else uses.

use std::fs::{self, File};
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use farebox_testkit::lab::Lab;

use super::{stop_all, up};
use crate::process::{is_ci, state};

/// The lab on its way up, while something else is built.
pub(crate) struct Preparing(JoinHandle<Result<UpForTests>>);

/// The lab for one test run. Dropping it stops the lab if this run started it.
pub(crate) struct UpForTests {
    /// Shared with other test runs.
    use_lock: File,
    was_up: bool,
}

impl Preparing {
    pub(crate) fn start() -> Self {
        Self(std::thread::spawn(UpForTests::new))
    }

    /// The lab; nothing and a reason where it cannot be had, which is an error under CI.
    pub(crate) fn finish(self) -> Result<Result<UpForTests, String>> {
        let Ok(prepared) = self.0.join() else {
            bail!("the lab's thread panicked")
        };
        match prepared {
            Ok(up) => Ok(Ok(up)),
            Err(error) if is_ci() => Err(error.context("real Lightning nodes are needed in CI")),
            Err(error) => {
                println!("without real Lightning nodes: {error:#}");
                Ok(Err(format!("{error:#}")))
            }
        }
    }
}

impl UpForTests {
    fn new() -> Result<Self> {
        let use_lock = open("lab-use.lock")?;
        use_lock.lock_shared()?;
        let was_up = super::standing()?.is_some();
        up::up()?;
        Ok(Self { use_lock, was_up })
    }

    /// What tests find in `FAREBOX_LAB`.
    pub(crate) fn file(&self) -> std::path::PathBuf {
        Lab::default_file()
    }
}

impl Drop for UpForTests {
    fn drop(&mut self) {
        // Whoever comes last with a lock of his own finds nobody else.
        let is_alone = self.use_lock.unlock().is_ok() && self.use_lock.try_lock().is_ok();
        if self.was_up || !is_alone {
            return;
        }
        if let Err(error) = stop_all() {
            println!("the lab does not stop: {error:#}");
        }
    }
}

/// Held by the one task that starts or stops the lab.
pub(super) fn lock_changes() -> Result<File> {
    let file = open("lab-change.lock")?;
    file.lock().context("cannot lock the lab")?;
    Ok(file)
}

fn open(name: &str) -> Result<File> {
    fs::create_dir_all(state())?;
    let path = state().join(name);
    let opened = File::options().create(true).append(true).open(&path);
    opened.with_context(|| display(&path))
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
