//! A program that is not ours, listens at a port and runs as long as a test, or all those that share it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// They take seconds where nothing else runs.
const START_AT_MOST: Duration = Duration::from_secs(120);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A running program. Dropping it kills it, and whatever it started.
pub struct Service {
    child: Child,
    log: PathBuf,
    address: SocketAddr,
}

impl Service {
    /// Starts a program that listens at this port of the machine itself, with its log in `folder`, and waits
    /// until it answers.
    ///
    /// # Panics
    /// When it cannot be started, ends, or does not answer in time.
    #[must_use]
    pub fn start(
        command: &mut Command,
        folder: &Path,
        port: u16,
        answers: impl Fn(SocketAddr) -> bool,
    ) -> Self {
        let log = folder.join("log");
        let file = File::options().create(true).append(true).open(&log);
        let file = file.expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let mut service = Self {
            child,
            log,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        let give_up_at = Instant::now() + START_AT_MOST;
        while !answers(service.address) {
            let has_ended = service
                .child
                .try_wait()
                .is_ok_and(|status| status.is_some());
            let is_late = Instant::now() > give_up_at;
            assert!(!has_ended && !is_late, "{}", service.log());
            std::thread::sleep(ASK_AGAIN_AFTER);
        }
        service
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// It takes connections, and does nothing until it goes on.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on where it was.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Service {
    /// SIGKILL: some wait at SIGTERM for connections that never end.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        drop(self.child.wait());
    }
}

/// What is started for the first test that wants it, and kept as long as one of them has it.
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    /// Not started yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The one that runs, or a new one; none where there is none to be had.
    pub fn get(&self, start: impl FnOnce() -> Option<T>) -> Option<Arc<T>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(start()?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self::new()
    }
}
