//! Who may run where: the gateway alone on the first core, everybody else on the others. Undone at
//! the end.

use std::fmt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use farebox_testkit::lab::Lab;

/// The division of the machine, as long as this lives.
pub(super) struct Cores {
    count: usize,
    moved: Vec<u32>,
}

impl Cores {
    /// Moves the nodes and this process off the gateway's core. What this process starts stays with
    /// it, unless it is told otherwise.
    pub(super) fn split(lab: &Lab) -> Result<Self> {
        let count = std::thread::available_parallelism()?.get();
        if count < 2 {
            bail!("the gateway needs a core that the node does not have");
        }
        let daemons = lab.nodes.iter().map(|node| &node.daemon);
        let mut moved = vec![std::process::id()];
        for daemon in daemons.chain([&lab.btcd.daemon]) {
            let process = daemon.process().context("the lab is not up")?;
            moved.push(u32::try_from(process)?);
        }
        let cores = Self { count, moved };
        cores.move_all(&cores.others())?;
        Ok(cores)
    }

    /// The gateway's cores, as `taskset` reads them.
    pub(super) fn gateway(&self) -> String {
        "0".to_owned()
    }

    fn others(&self) -> String {
        format!("1-{}", self.count - 1)
    }

    fn move_all(&self, to: &str) -> Result<()> {
        self.moved.iter().try_for_each(|process| {
            let process = process.to_string();
            let mut taskset = Command::new("taskset");
            taskset.args(["--all-tasks", "--cpu-list", "--pid", to, &process]);
            let status = taskset.stdout(Stdio::null()).status();
            match status.context("cannot run taskset (util-linux)")? {
                status if status.success() => Ok(()),
                _ => bail!("process {process} cannot be moved to core {to}"),
            }
        })
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.others();
        write!(f, "gateway on core 0, nodes and generators on {others}")
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        if let Err(error) = self.move_all(&format!("0-{}", self.count - 1)) {
            println!("{error:#}");
        }
    }
}
