//! An answer as it comes: whole, within a limit, or line by line, each within one.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::CallError;

/// The longest line of a stream, in bytes.
const MAX_LINE: usize = 256 * 1024;

/// A complete answer that is not a redirect.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The host and port that answered.
    pub host: Arc<str>,
    /// The HTTP status.
    pub status: StatusCode,
    /// Whether it calls itself HTML.
    pub is_web_page: bool,
    /// How long it asks to wait before the next call, where it says so in seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Bytes,
}

/// An answer whose body is not read yet. Dropping it closes the connection.
pub struct Lines {
    host: Arc<str>,
    status: StatusCode,
    is_web_page: bool,
    retry_after: Option<Duration>,
    body: Incoming,
    /// How long the body may be where all of it is read, in bytes.
    limit: usize,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
    ended: bool,
}

impl Lines {
    pub(super) fn new(host: Arc<str>, response: Response<Incoming>, limit: usize) -> Self {
        Self {
            host,
            status: response.status(),
            is_web_page: is_web_page(response.headers()),
            retry_after: retry_after(response.headers()),
            body: response.into_body(),
            limit,
            buffer: BytesMut::new(),
            searched: 0,
            ended: false,
        }
    }

    /// The HTTP status; what follows is only as promised where it is a success.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The next line that is not empty, without its end; `None` after the last one. Safe to drop
    /// while waiting.
    pub async fn next(&mut self) -> Option<Result<Bytes, CallError>> {
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
                Err(error) => return Some(Err(self.end(error))),
            }
        }
    }

    /// The whole answer; for streams that turned out to be a refusal.
    ///
    /// # Errors
    /// [`CallError`]: larger than the limit, or broken off.
    pub async fn collect(self) -> Result<Answer, CallError> {
        match Limited::new(self.body, self.limit).collect().await {
            Ok(body) => Ok(Answer {
                host: self.host,
                status: self.status,
                is_web_page: self.is_web_page,
                retry_after: self.retry_after,
                body: body.to_bytes(),
            }),
            Err(error) if error.is::<LengthLimitError>() => Err(CallError::TooLarge {
                host: self.host.to_string(),
                limit: self.limit,
            }),
            Err(error) => Err(CallError::Unreachable {
                host: self.host.to_string(),
                source: error.into(),
            }),
        }
    }

    fn take_line(&mut self) -> Result<Option<Bytes>, CallError> {
        let unseen = self.buffer.get(self.searched..).unwrap_or_default();
        let end = unseen.iter().position(|byte| *byte == b'\n');
        let end = end.map(|at| self.searched + at);
        let length = end.unwrap_or(self.buffer.len());
        if length > MAX_LINE {
            return Err(CallError::TooLarge {
                host: self.host.to_string(),
                limit: MAX_LINE,
            });
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

    async fn read_more(&mut self) -> Result<(), CallError> {
        match self.body.frame().await {
            None => self.ended = true,
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => {
                return Err(CallError::Unreachable {
                    host: self.host.to_string(),
                    source: Arc::new(error),
                });
            }
        }
        Ok(())
    }

    fn end(&mut self, error: CallError) -> CallError {
        self.ended = true;
        self.searched = 0;
        self.buffer.clear();
        error
    }
}

/// Only a web page is told by its type: addresses served as plain files come as anything.
fn is_web_page(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    kind.len() >= 9 && kind[..9].eq_ignore_ascii_case(b"text/html")
}

/// The seconds of `Retry-After` (RFC 9110 section 10.2.3); a date is not read, as clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

fn trim(line: &Bytes) -> Bytes {
    line.slice_ref(line.trim_ascii())
}
