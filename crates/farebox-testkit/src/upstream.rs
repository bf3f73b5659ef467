//! An upstream that does exactly what a test says, and remembers what reached it.
//!
//! The first path segment that names a script chooses the behaviour, so any prefix may stand before
//! it (`/paid/status/500` as well as `/status/500`); every other path is echoed as JSON:
//! `{"method","path","query","version","headers":[[name,value]…],"body","body_base64"}`.
//!
//! | path | behaviour |
//! |---|---|
//! | `/status/CODE` | that status, with a small text body |
//! | `/challenge/CODE` | that status (401, 402, 403, 407) with payment headers of its own |
//! | `/gate/NAME` | no answer until [`ScriptedUpstream::open_gate`] |
//! | `/hang` | no answer, ever |
//! | `/refuse` | the connection is dropped before any answer |
//! | `/cut/SENT/DECLARED` | declares a length, sends fewer bytes, drops the connection |
//! | `/cut-chunked/SENT` | chunked, dropped without the last chunk |
//! | `/stream/NAME` | an SSE stream in the hands of a [`StreamControl`]; `?name=value` sets a header |
//! | `/say` | what the request's JSON says: `{"status","headers":[[name,value]…],"trailers","body","body_base64"}` |
//! | `/large/BYTES` | so many bytes of [`Pattern`], chunked; `?length` declares the length |
//! | `/digest` | reads the body to its end: `{"bytes","sha256"}` |
//! | `/upgrade` | 101, then every byte is sent back |
//! | `/cacheable` | `Cache-Control: public`, an `ETag` and a body that counts up |
//! | `/hop` | an answer full of hop-by-hop and payment headers |
//! | `/trailers` | a body, then the trailer `x-checksum` |
//! | `/v1/models`, `/v1/chat/completions`, `/v1/embeddings`, `/v1/images/generations` | OpenAI's, with deterministic answers |
//! | `/v1/…` | what [`ScriptedUpstream::will_tell`] was given, where it was |

mod body;
mod openai;
mod record;
mod script;
mod stream;
mod told;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Semaphore;

pub use body::Pattern;
pub use record::RecordedRequest;
pub use stream::StreamControl;

use crate::background::Background;
use record::Records;
use stream::Streams;
use told::{Busy, Told};

/// How many bodies in OpenAI's form are kept.
const MAX_ASKED: usize = 10_000;

/// A scripted upstream on a free loopback port; dropping it closes the port and all connections.
#[derive(Debug)]
pub struct ScriptedUpstream {
    server: Background,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    records: Records,
    streams: Streams,
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
    asked: Mutex<Vec<Bytes>>,
    told: Told,
    busy: Busy,
}

impl State {
    fn note_asked(&self, body: Bytes) {
        let mut asked = self
            .asked
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if asked.len() < MAX_ASKED {
            asked.push(body);
        }
    }

    fn gate(&self, name: &str) -> Arc<Semaphore> {
        let mut gates = self
            .gates
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(
            gates
                .entry(name.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(0))),
        )
    }
}

impl ScriptedUpstream {
    /// Starts it on a thread of its own.
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn start() -> io::Result<Self> {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let handler = Arc::new(move |request| {
            let state = Arc::clone(&seen);
            Box::pin(async move { script::answer(request, &state).await }) as _
        });
        Ok(Self {
            server: Background::start("scripted-upstream", handler)?,
            state,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// How many requests reached `path` (without the query), whatever the answer.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        self.state.records.count(path)
    }

    /// How many requests reached it in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.state.records.total()
    }

    /// The most recent requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.records.recent()
    }

    /// The bodies of the requests in OpenAI's form, oldest first.
    #[must_use]
    pub fn asked(&self) -> Vec<Bytes> {
        let asked = self.state.asked.lock();
        asked
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Answers requests to `path`, which begins with `/v1/`, with this text from now on: those that
    /// ask for a stream where it is one (`text/event-stream`), else the others.
    pub fn will_tell(&self, path: &str, kind: &'static str, text: impl Into<Bytes>) {
        let kind = http::HeaderValue::from_static(kind);
        self.state.told.set(path, kind, text.into());
    }

    /// Refuses so many calls of a path below `/v1` with HTTP 429.
    pub fn will_be_busy(&self, path: &str, times: usize) {
        self.state.busy.set(path, times);
    }

    /// Waits until `count` requests have reached `path`.
    ///
    /// # Panics
    /// When that has not happened within half a minute.
    pub fn wait_for(&self, path: &str, count: usize) {
        self.state.records.wait_for(path, count);
    }

    /// Lets all requests to `/gate/NAME` through, those that wait and those to come.
    pub fn open_gate(&self, name: &str) {
        // A closed semaphore lets everybody through, for good.
        self.state.gate(name).close();
    }

    /// Takes the stream that the next request to `/stream/NAME` gets into the caller's hands. Call
    /// it before that request.
    #[must_use]
    pub fn stream(&self, name: &str) -> StreamControl {
        self.state.streams.prepare(name)
    }
}
