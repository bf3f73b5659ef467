//! What the binary writes: its request log on standard output, events on standard error. Read all
//! the time, so that no pipe ever fills up, and judged at the end.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a test waits before it is a failure.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Lines {
    written: Vec<String>,
    /// Outputs that are still open.
    open: usize,
}

impl Log {
    /// Reads one more output to its end.
    pub(super) fn follow(mut self, output: impl Read + Send + 'static) -> Self {
        let shared = Arc::clone(&self.shared);
        shared.0.lock().unwrap().open += 1;
        self.readers.push(std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                shared.0.lock().unwrap().written.push(line);
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().open -= 1;
            shared.1.notify_all();
        }));
        self
    }

    /// The first line that `wanted` accepts, as soon as it is written; nothing when the process
    /// ends without it or half a minute goes by.
    pub(super) fn wait_for(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let (lines, changed) = &*self.shared;
        let find = |lines: &Lines| lines.written.iter().find(|line| wanted(line)).cloned();
        let lines = lines.lock().unwrap();
        let waits = |lines: &mut Lines| lines.open > 0 && find(lines).is_none();
        let (lines, _) = changed
            .wait_timeout_while(lines, WAIT_AT_MOST, waits)
            .unwrap();
        find(&lines)
    }

    /// Everything so far.
    pub(super) fn text(&self) -> String {
        self.shared
            .0
            .lock()
            .unwrap()
            .written
            .iter()
            .map(|line| line.clone() + "\n")
            .collect()
    }

    /// Everything, once the process has ended.
    pub(super) fn finish(mut self) -> String {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.text()
    }
}

/// Lines at level `error`, and panics: someone would have to act on these, so a test that did not
/// announce them has failed.
pub(super) fn alarms(log: &str) -> Vec<&str> {
    let is_alarm = |line: &&str| {
        let text = line.contains("ERROR") || line.contains("panicked at");
        text || line.to_ascii_lowercase().contains("\"level\":\"error\"")
    };
    log.lines().filter(is_alarm).collect()
}
