//! Response bodies: whole ones, ones that break off, and a pattern of any size.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};

use crate::background::{Body, Cut};

/// Divides no power of two, so that a block lost or sent twice changes what follows.
const PERIOD: u64 = 251;
const BLOCK_BYTES: u64 = PERIOD * 256;

/// Bytes that count from 0 to 250 over and over: the body of `/large/BYTES`, and what tests upload.
#[derive(Clone, Debug)]
pub struct Pattern {
    block: Bytes,
    left: u64,
}

impl Pattern {
    /// The first `length` bytes of the pattern.
    #[must_use]
    pub fn new(length: u64) -> Self {
        let block = (0..=u8::MAX).take(251).collect::<Vec<_>>().repeat(256);
        Self {
            block: block.into(),
            left: length,
        }
    }
}

impl Iterator for Pattern {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let size = self.left.min(BLOCK_BYTES);
        self.left -= size;
        usize::try_from(size)
            .ok()
            .map(|size| self.block.slice(..size))
    }
}

/// A body out of frames; the error says where the script cuts.
struct Frames<I>(I);

impl<I: Iterator<Item = Result<Frame<Bytes>, Cut>> + Unpin> http_body::Body for Frames<I> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        Poll::Ready(self.0.next())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// A first piece that reaches the wire before the connection breaks.
struct BreaksOff {
    first: Option<Bytes>,
    flushed: bool,
}

impl http_body::Body for BreaksOff {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        // hyper flushes what it has whenever the body has to wait.
        if !std::mem::replace(&mut self.flushed, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(Cut)))
    }
}

pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(super) fn patterned(length: u64) -> Body {
    Frames(Pattern::new(length).map(|block| Ok(Frame::data(block)))).boxed_unsync()
}

pub(super) fn breaking_off(sent: u64) -> Body {
    let sent = Pattern::new(sent).flatten().collect::<Vec<_>>();
    BreaksOff {
        first: Some(sent.into()),
        flushed: false,
    }
    .boxed_unsync()
}

pub(super) fn in_pieces(pieces: Vec<Bytes>) -> Body {
    Frames(pieces.into_iter().map(|piece| Ok(Frame::data(piece)))).boxed_unsync()
}

pub(super) fn with_trailers(bytes: impl Into<Bytes>, trailers: http::HeaderMap) -> Body {
    let frames = [Frame::data(bytes.into()), Frame::trailers(trailers)];
    Frames(frames.into_iter().map(Ok)).boxed_unsync()
}
