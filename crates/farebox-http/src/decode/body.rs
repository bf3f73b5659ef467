//! The body of an upstream's answer, unpacked on its way where it came compressed.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{DecodeFault, Decoder, PIECE};

/// Why an upstream's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum InflowError {
    /// Its connection.
    #[error("the upstream broke off in the middle of its answer")]
    Broken(#[from] hyper::Error),
    /// What came over it.
    #[error(transparent)]
    Unreadable(#[from] DecodeFault),
}

/// An upstream's body in the clear.
pub struct DecodedBody {
    incoming: Incoming,
    unpacking: Option<Box<Unpacking>>,
}

struct Unpacking {
    decoder: Decoder,
    /// What came and is not unpacked yet: of a long piece only so much at once that the thread's
    /// other connections do not wait for it.
    waiting: Bytes,
    /// Trailers, which come after all that waits.
    trailers: Option<Frame<Bytes>>,
    has_ended: bool,
}

impl DecodedBody {
    /// A body to be unpacked where there is a decoder for it.
    pub fn new(incoming: Incoming, decoder: Option<Decoder>) -> Self {
        let unpacking = decoder.map(|decoder| Unpacking {
            decoder,
            waiting: Bytes::new(),
            trailers: None,
            has_ended: false,
        });
        Self {
            incoming,
            unpacking: unpacking.map(Box::new),
        }
    }
}

impl Unpacking {
    fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InflowError>>> {
        loop {
            if !self.waiting.is_empty() {
                let read = self.next_piece()?;
                if !read.is_empty() {
                    self.notice_end(incoming);
                    return Poll::Ready(Some(Ok(Frame::data(read.into()))));
                }
                continue;
            }
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(self.end().map(|()| trailers)));
            }
            if self.has_ended {
                return Poll::Ready(None);
            }
            match std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.waiting = data,
                    Err(trailers) => self.trailers = Some(trailers),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(self.end().err().map(Err)),
            }
        }
    }

    fn next_piece(&mut self) -> Result<Vec<u8>, InflowError> {
        let piece = self.waiting.split_to(self.waiting.len().min(PIECE));
        Ok(self.decoder.push(&piece)?)
    }

    /// The end of the bytes has to be the end of the message too.
    fn end(&mut self) -> Result<(), InflowError> {
        self.has_ended = true;
        if self.decoder.is_complete() {
            Ok(())
        } else {
            Err(DecodeFault::Truncated.into())
        }
    }

    /// Lets the last piece be known for the last.
    fn notice_end(&mut self, incoming: &Incoming) {
        let is_last = self.waiting.is_empty() && self.trailers.is_none();
        if is_last && incoming.is_end_stream() && self.decoder.is_complete() {
            self.has_ended = true;
        }
    }
}

impl Body for DecodedBody {
    type Data = Bytes;
    type Error = InflowError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InflowError>>> {
        let this = self.get_mut();
        match &mut this.unpacking {
            Some(unpacking) => unpacking.poll_frame(&mut this.incoming, cx),
            None => Pin::new(&mut this.incoming)
                .poll_frame(cx)
                .map_err(InflowError::Broken),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.unpacking {
            Some(unpacking) => unpacking.has_ended,
            None => self.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.unpacking {
            Some(_) => SizeHint::default(),
            None => self.incoming.size_hint(),
        }
    }
}
