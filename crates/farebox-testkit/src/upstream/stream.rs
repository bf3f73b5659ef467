//! A response body in the hands of a test: each chunk is sent when the test says so.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use crate::background::{Body, Cut};

/// Chunks that may wait for a slow reader before [`StreamControl::send`] waits too.
const MAX_CHUNKS_WAITING: usize = 16;
/// How long a test waits before it is a failure.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

type Chunk = Result<Bytes, Cut>;

/// The sending end of one `/stream/NAME` answer. Its methods block: not for use inside a runtime.
#[derive(Debug)]
pub struct StreamControl(mpsc::Sender<Chunk>);

impl StreamControl {
    /// Sends one chunk; returns whether anybody still reads.
    pub fn send(&self, chunk: impl Into<Bytes>) -> bool {
        self.0.blocking_send(Ok(chunk.into())).is_ok()
    }

    /// Ends the stream as it should end.
    pub fn finish(self) {}

    /// Drops the connection without an end, after what was sent.
    pub fn cut(self) {
        drop(self.0.blocking_send(Err(Cut)));
    }

    /// Waits until the reader has gone away.
    ///
    /// # Panics
    /// When it still reads after half a minute.
    pub fn wait_until_abandoned(&self) {
        let give_up_at = Instant::now() + WAIT_AT_MOST;
        while !self.0.is_closed() {
            assert!(
                Instant::now() < give_up_at,
                "the stream is still being read"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<HashMap<String, mpsc::Receiver<Chunk>>>);

impl Streams {
    pub(super) fn prepare(&self, name: &str) -> StreamControl {
        let (sender, receiver) = mpsc::channel(MAX_CHUNKS_WAITING);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), receiver);
        StreamControl(sender)
    }

    pub(super) fn take(&self, name: &str) -> Option<Body> {
        let receiver = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)?;
        Some(Controlled(receiver).boxed_unsync())
    }
}

struct Controlled(mpsc::Receiver<Chunk>);

impl http_body::Body for Controlled {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0
            .poll_recv(cx)
            .map(|next| next.map(|chunk| chunk.map(Frame::data)))
    }
}
