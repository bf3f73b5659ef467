//! Bodies on their way through: bytes pass untouched, limits on size and silence are watched.

mod upload;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::body_budget::{ByteBudget, Lease};
use crate::headers::{TrailerFilter, prepare_request_trailers};
pub use upload::Upload;

/// Why a request body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// It is longer than the route allows.
    #[error("the request body is longer than {limit} bytes")]
    TooLarge {
        /// The route's limit in bytes.
        limit: u64,
    },
    /// Nothing came for too long.
    #[error("the body was silent for {0:?}")]
    Silent(Duration),
    /// The connection broke.
    #[error("the connection broke in the middle of the body")]
    Broken(#[source] hyper::Error),
}

/// Ends a body that is silent for too long. The timer is only made once there is something to wait
/// for, so a body that is already there costs none.
#[derive(Debug)]
pub struct Silence {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Silence {
    /// No silence yet; one of `limit` ends the body.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: None,
            running: false,
        }
    }

    /// Something moved.
    pub const fn broken(&mut self) {
        self.running = false;
    }

    /// Nothing moved at this poll; ready once that has lasted for the limit.
    pub fn poll_exceeded(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.running {
            self.running = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx).map(|()| limit)
    }
}

/// A request body on its way to the upstream.
#[derive(Debug)]
pub enum RequestBody {
    /// No body.
    Empty,
    /// A body that was read before forwarding; the lease gives its bytes back to the budget.
    Whole(Option<Bytes>, Lease),
    /// A body that streams through.
    Stream(Box<StreamedBody>),
}

/// The streaming case of [`RequestBody`].
#[derive(Debug)]
pub struct StreamedBody {
    incoming: Incoming,
    limit: u64,
    left: u64,
    silence: Silence,
    withheld: TrailerFilter,
    counted: Option<Arc<AtomicU64>>,
    upload: Arc<Upload>,
}

impl RequestBody {
    /// A body that streams from the client, at most `limit` bytes, never silent for longer than
    /// `silence`; trailers that are `withheld` do not pass.
    #[must_use]
    pub fn stream(
        incoming: Incoming,
        limit: u64,
        silence: Duration,
        withheld: TrailerFilter,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        let silence = Silence::new(silence);
        Self::Stream(Box::new(StreamedBody {
            incoming,
            limit,
            left: limit,
            silence,
            withheld,
            counted: None,
            upload: Arc::default(),
        }))
    }

    /// A body of our own.
    pub fn own(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes), ByteBudget::new(0).lease())
    }

    /// How this body fares, where it comes only while it is forwarded.
    pub fn upload(&self) -> Option<Arc<Upload>> {
        match self {
            Self::Stream(body) => Some(Arc::clone(&body.upload)),
            Self::Empty | Self::Whole(..) => None,
        }
    }

    /// Lets the length of what passes be known at any time, in bytes.
    pub fn count_into(&mut self, counted: Arc<AtomicU64>) {
        match self {
            Self::Empty | Self::Whole(None, _) => {}
            Self::Whole(Some(bytes), _) => counted.store(bytes.len() as u64, Ordering::Relaxed),
            Self::Stream(body) => body.counted = Some(counted),
        }
    }
}

impl StreamedBody {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let polled = self.poll_incoming(cx);
        match &polled {
            Poll::Ready(Some(Err(_))) => self.upload.spoilt(),
            Poll::Ready(None) => self.upload.ended(),
            Poll::Ready(Some(Ok(_))) if self.incoming.is_end_stream() => self.upload.ended(),
            Poll::Ready(Some(Ok(_))) => self.upload.went_on(),
            Poll::Pending => {}
        }
        polled
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => self
                .silence
                .poll_exceeded(cx)
                .map(|limit| Some(Err(BodyFault::Silent(limit)))),
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.broken();
                let frame = prepare_request_trailers(frame, self.withheld);
                Poll::Ready(Some(self.count(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(BodyFault::Broken(error)))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyFault> {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.left = self
            .left
            .checked_sub(length)
            .ok_or(BodyFault::TooLarge { limit: self.limit })?;
        if let Some(counted) = &self.counted {
            counted.fetch_add(length, Ordering::Relaxed);
        }
        Ok(frame)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes, _) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes, _) => bytes.is_none(),
            Self::Stream(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes, _) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream(body) => body.incoming.size_hint(),
        }
    }
}
