//! What the kernel says about a process: its CPU time, its memory.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::units::{Kib, Nanos};

/// The kernel's unit of CPU time towards programs: a hundredth of a second on every architecture
/// that Rust's standard library runs on.
const NANOS_PER_TICK: u64 = 10_000_000;
/// How long a program may take to end when asked to.
const END_AT_MOST: Duration = Duration::from_secs(40);

/// A program that ends with this value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// What asks it to finish its work and end.
    signal: &'static str,
}

impl Running {
    pub(crate) fn new(child: Child, signal: &'static str) -> Self {
        Self { child, signal }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time of the process and its living children so far.
    pub(crate) fn cpu(&self) -> Result<Nanos> {
        cpu(self.pid())
    }

    /// Resident memory.
    pub(crate) fn rss(&self) -> Result<Kib> {
        let status = read(self.pid(), "status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        Ok(Kib(kib.context("no VmRSS: the process has ended")?))
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = self.pid().to_string();
        let kill = ["-c", "kill -s \"$1\" \"$2\"", "sh", self.signal, &pid];
        Command::new("sh")
            .args(kill)
            .stderr(Stdio::null())
            .status()?;
        let give_up_at = Instant::now() + END_AT_MOST;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > give_up_at {
                self.child.kill()?;
                self.child.wait()?;
                bail!("process {pid} did not end within {END_AT_MOST:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// User and system time of a process and its living children so far.
pub(crate) fn cpu(pid: u32) -> Result<Nanos> {
    let mut ticks = 0;
    for pid in std::iter::once(pid).chain(children(pid)?) {
        ticks += ticks_in(&read(pid, "stat")?).context("cannot read /proc/PID/stat")?;
    }
    Ok(Nanos(ticks * NANOS_PER_TICK))
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).context(path)
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let list = read(pid, &format!("task/{pid}/children"))?;
    Ok(list
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}

/// `utime` and `stime`, the twelfth and thirteenth field behind the program's name, which may
/// itself have spaces and brackets in it.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(field()? + field()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_brackets_in_its_name_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 90 0 0 0 31 11 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks_in(stat), Some(42));
        assert_eq!(ticks_in("7 (a) S 1"), None);
    }
}
