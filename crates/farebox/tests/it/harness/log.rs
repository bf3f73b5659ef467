//! What the binary wrote to its standard error, read while it runs and judged at the end.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

#[derive(Debug)]
pub(super) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    pub(super) fn follow(output: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self {
            lines,
            reader: Some(reader),
        }
    }

    /// Everything so far.
    pub(super) fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Everything, once the process has ended.
    pub(super) fn finish(mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}

/// Lines at level `error`, and panics: someone would have to act on these, so a test that did not
/// announce them has failed.
pub(super) fn alarms(log: &str) -> Vec<&str> {
    let is_alarm = |line: &&str| {
        let text = line.contains(" ERROR ") || line.contains("panicked at");
        text || line.to_ascii_lowercase().contains("\"level\":\"error\"")
    };
    log.lines().filter(is_alarm).collect()
}
