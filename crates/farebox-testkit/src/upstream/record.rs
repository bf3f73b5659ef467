//! What reached the upstream: counted by path for good, kept in full for the most recent ones.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;

/// How many requests are kept in full.
const MAX_RECORDED: usize = 10_000;
/// How long a test waits before it is a failure.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

/// A request as it reached the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// Path and query exactly as they stood in the request.
    pub target: String,
    /// The protocol version, such as `HTTP/1.1`.
    pub version: String,
    /// Header fields in the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl RecordedRequest {
    /// All values of the field `name` (in lower case).
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(super) fn of(parts: &Parts) -> Self {
        let fields = parts.headers.iter();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
        Self {
            method: parts.method.to_string(),
            target: parts
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            version: format!("{:?}", parts.version),
            headers: fields
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Records {
    log: Mutex<Log>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Log {
    recent: VecDeque<RecordedRequest>,
    by_path: HashMap<String, usize>,
    total: usize,
}

impl Log {
    fn count(&self, path: &str) -> usize {
        self.by_path.get(path).copied().unwrap_or_default()
    }
}

impl Records {
    pub(super) fn add(&self, path: &str, request: RecordedRequest) {
        let mut log = self.log();
        if log.recent.len() == MAX_RECORDED {
            log.recent.pop_front();
        }
        log.recent.push_back(request);
        *log.by_path.entry(path.to_owned()).or_default() += 1;
        log.total += 1;
        self.grown.notify_all();
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.log().count(path)
    }

    pub(super) fn total(&self) -> usize {
        self.log().total
    }

    pub(super) fn recent(&self) -> Vec<RecordedRequest> {
        self.log().recent.iter().cloned().collect()
    }

    pub(super) fn wait_for(&self, path: &str, count: usize) {
        let few = |log: &mut Log| log.count(path) < count;
        let waited = self.grown.wait_timeout_while(self.log(), WAIT_AT_MOST, few);
        let (log, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let seen = log.count(path);
        assert!(seen >= count, "{seen} of {count} requests reached {path}");
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
