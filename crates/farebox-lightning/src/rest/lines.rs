//! An answer as it comes: whole, within a limit, or line by line, each within one.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::RestAnswer;
use crate::{AnswerFault, NodeError};

/// The largest answer that is read, in bytes: lists of payments with their routes are the longest.
const MAX_ANSWER: usize = 1024 * 1024;

/// The longest line of a stream, in bytes.
const MAX_LINE: usize = 256 * 1024;

/// The body of an answer, not read yet. Dropping it closes the connection.
pub(crate) struct Lines {
    host: Arc<str>,
    status: StatusCode,
    body: Incoming,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
    ended: bool,
}

impl Lines {
    pub(super) fn new(host: Arc<str>, response: Response<Incoming>) -> Self {
        Self {
            host,
            status: response.status(),
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            ended: false,
        }
    }

    /// The HTTP status; what follows is only as promised where it is a success.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The next line that is not empty, without its end; none after the last one. Safe to drop while
    /// waiting.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, NodeError>> {
        loop {
            match self.take_line() {
                Ok(Some(line)) if line.is_empty() => {}
                Ok(Some(line)) => return Some(Ok(line)),
                Ok(None) if self.ended => return None,
                Ok(None) => {
                    if let Err(error) = self.read_more().await {
                        return Some(Err(self.end(error)));
                    }
                }
                Err(fault) => {
                    let error = self.bad_answer(fault);
                    return Some(Err(self.end(error)));
                }
            }
        }
    }

    /// The whole answer; for streams that turned out to be a refusal.
    ///
    /// # Errors
    /// [`NodeError`]: larger than the limit, or broken off.
    pub(crate) async fn collect(self) -> Result<RestAnswer, NodeError> {
        let Self {
            host, status, body, ..
        } = self;
        match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => Ok(RestAnswer::new(host, status, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(NodeError::BadAnswer {
                host: host.to_string(),
                fault: AnswerFault::TooLarge { limit: MAX_ANSWER },
            }),
            Err(error) => Err(NodeError::Unreachable {
                host: host.to_string(),
                source: error.into(),
            }),
        }
    }

    fn take_line(&mut self) -> Result<Option<Bytes>, AnswerFault> {
        let unseen = self.buffer.get(self.searched..).unwrap_or_default();
        let end = unseen.iter().position(|byte| *byte == b'\n');
        let end = end.map(|at| self.searched + at);
        let length = end.unwrap_or(self.buffer.len());
        if length > MAX_LINE {
            return Err(AnswerFault::TooLarge { limit: MAX_LINE });
        }
        if let Some(end) = end {
            self.searched = 0;
            let line = self.buffer.split_to(end + 1).freeze();
            return Ok(Some(trim(&line.slice(..end))));
        }
        self.searched = self.buffer.len();
        Ok(self.take_rest())
    }

    /// The last line needs no end.
    fn take_rest(&mut self) -> Option<Bytes> {
        if !self.ended || self.buffer.is_empty() {
            return None;
        }
        self.searched = 0;
        Some(trim(&self.buffer.split().freeze()))
    }

    async fn read_more(&mut self) -> Result<(), NodeError> {
        match self.body.frame().await {
            None => self.ended = true,
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => {
                return Err(NodeError::Unreachable {
                    host: self.host.to_string(),
                    source: Arc::new(error),
                });
            }
        }
        Ok(())
    }

    fn end(&mut self, error: NodeError) -> NodeError {
        self.ended = true;
        self.searched = 0;
        self.buffer.clear();
        error
    }

    fn bad_answer(&self, fault: AnswerFault) -> NodeError {
        NodeError::BadAnswer {
            host: self.host.to_string(),
            fault,
        }
    }
}

fn trim(line: &Bytes) -> Bytes {
    line.slice_ref(line.trim_ascii())
}
