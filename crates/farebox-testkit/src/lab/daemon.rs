//! A program that stays up when the one that started it has ended, and is found again by its pid
//! file. It is signalled only while its command line is the very one it was started with: process
//! ids are given out again.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{ASK_AGAIN_AFTER, LabError, wait_for};

/// How long a program may take to end when asked to.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// How to start it, and where its pid file and log lie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Daemon {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// A folder of its own.
    pub folder: PathBuf,
}

impl Daemon {
    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> Result<(), LabError> {
        if self.process().is_some() {
            return Ok(());
        }
        let spawned = self.spawn();
        spawned.map_err(|e| LabError::io(format!("start {}", self.program.display()), e))
    }

    /// The running process; nothing when there is none.
    #[must_use]
    pub fn process(&self) -> Option<i32> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        let id = text.trim().parse().ok()?;
        (command_line(id)? == self.command_line()).then_some(id)
    }

    /// Asks it to end, and waits until it has. One that does not listen is killed: LND never ends
    /// when its chain is gone.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&self) -> Result<(), LabError> {
        self.signal(Signal::TERM)?;
        let give_up_at = Instant::now() + STOP_WITHIN;
        while self.process().is_some() && Instant::now() < give_up_at {
            std::thread::sleep(ASK_AGAIN_AFTER);
        }
        self.kill()
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&self) -> Result<(), LabError> {
        self.signal(Signal::KILL)?;
        wait_for(&format!("rid of {}", self.program.display()), || {
            Ok(self.process().is_none().then_some(()))
        })
    }

    /// The end of what it wrote, for an error message.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let start = lines.len().saturating_sub(10);
        lines.get(start..).unwrap_or_default().join("\n")
    }

    fn spawn(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Out of reach of the terminal's Ctrl-C.
            .process_group(0)
            .spawn()?;
        fs::write(self.pid_file(), child.id().to_string())?;
        // Collects it if it ends before us.
        std::thread::spawn(move || child.wait());
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let Some(pid) = self.process().and_then(Pid::from_raw) else {
            return Ok(());
        };
        match kill_process(pid, signal) {
            // Ended by itself in this very moment.
            Err(_) if self.process().is_none() => Ok(()),
            Err(error) => Err(LabError::io(
                format!("stop {}", self.program.display()),
                error.into(),
            )),
            Ok(()) => Ok(()),
        }
    }

    fn command_line(&self) -> String {
        let program = self.program.display().to_string();
        let words = std::iter::once(&program).chain(&self.arguments);
        words.map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("output.log")
    }
}

/// The words with which a process was started; nothing once it has ended.
fn command_line(id: i32) -> Option<String> {
    if fs::exists("/proc/self/cmdline").is_ok_and(|is_linux| is_linux) {
        let words = fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let words = String::from_utf8(words).ok()?;
        return Some(words.trim_end_matches('\0').replace('\0', " "));
    }
    let asked = Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &id.to_string()])
        .output()
        .ok()?;
    Some(String::from_utf8(asked.stdout).ok()?.trim_end().to_owned())
}
