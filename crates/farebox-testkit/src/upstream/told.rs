//! Answers in the words of a test: what a provider that nobody has here would say.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::body;
use crate::background::Body;

/// The answers, by path and whether they are streams.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<(String, bool), (HeaderValue, Bytes)>>);

/// How many more calls of a path are refused with HTTP 429.
#[derive(Debug, Default)]
pub(super) struct Busy(Mutex<HashMap<String, usize>>);

impl Busy {
    pub(super) fn set(&self, path: &str, times: usize) {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(path.to_owned(), times);
    }

    /// The refusal of this call, if it is one of them.
    pub(super) fn answer(&self, path: &str) -> Option<Response<Body>> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = busy.get_mut(path).filter(|left| **left > 0)?;
        *left -= 1;
        drop(busy);
        let mut response = Response::new(body::whole(Bytes::from_static(b"{\"error\":{}}")));
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Some(response)
    }
}

impl Told {
    pub(super) fn set(&self, path: &str, kind: HeaderValue, text: Bytes) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stream = kind.as_bytes().starts_with(b"text/event-stream");
        told.insert((path.to_owned(), is_stream), (kind, text));
    }

    /// The answer to `asked`. A stream leaves in one piece for each event, everything else whole.
    pub(super) fn answer(&self, path: &str, asked: &[u8]) -> Option<Response<Body>> {
        let asked: Value = serde_json::from_slice(asked).unwrap_or_default();
        let is_stream = asked["stream"] == true;
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, text) = told.get(&(path.to_owned(), is_stream))?.clone();
        drop(told);
        let mut response = Response::new(if is_stream {
            body::in_pieces(events(&text))
        } else {
            body::whole(text)
        });
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Some(response)
    }
}

/// The events of a stream, each with the empty line that ends it.
fn events(text: &Bytes) -> Vec<Bytes> {
    let mut events = Vec::new();
    let mut from = 0;
    for end in (2..=text.len()).filter(|end| text.slice(..*end).ends_with(b"\n\n")) {
        events.push(text.slice(from..end));
        from = end;
    }
    events.push(text.slice(from..));
    events.retain(|event| !event.is_empty());
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_after_each_event_and_loses_nothing() {
        let text = Bytes::from_static(b"data: 1\n\ndata: 2\n\ndata: 3");
        let pieces = events(&text);
        assert_eq!(pieces, ["data: 1\n\n", "data: 2\n\n", "data: 3"]);
    }
}
