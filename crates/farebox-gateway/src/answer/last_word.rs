//! What is left of the coins that paid, told with the end of an answer whose price is known only then: as a
//! comment of its event stream before the last event, or as a trailer. Who does not hear it fetches it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use farebox_paywall::ecash::ChangeDue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRAILER};
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep, timeout};

use super::{AnswerFault, UpstreamBody};
use crate::change::{MAX_HEADER, Told};

/// How long the end of an answer waits for it.
const PATIENCE: Duration = Duration::from_millis(250);
/// What ends the event streams of most model APIs.
const DONE: &[u8] = b"data: [DONE]";

/// Change that is told with the end of an answer.
pub(crate) struct LastWord {
    due: Arc<ChangeDue>,
    /// How many parts its head told.
    told: usize,
    form: Form,
    /// The end of what went on, to know whether an event ends there.
    tail: Tail,
    /// The last event, until the change is told before it.
    held: Bytes,
    /// What came after it: trailers of the answer's own, or a fault.
    after: Option<Result<Frame<Bytes>, AnswerFault>>,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Form {
    Comment,
    Trailer,
}

enum Stage {
    /// The answer goes on.
    Answer,
    /// Its last event is held back for as long.
    Holding(Pin<Box<Sleep>>),
    Telling(Telling),
    /// It was told, or is not told here.
    Over,
}

type Telling = Pin<Box<dyn Future<Output = Vec<Arc<str>>> + Send>>;

impl LastWord {
    /// For an answer with these headers, if it has a place for it. Names the trailer in them.
    pub(crate) fn of(
        due: &Arc<ChangeDue>,
        told: Told,
        body: &UpstreamBody,
        headers: &mut HeaderMap,
    ) -> Option<Box<Self>> {
        let is_open = body.settlement.is_gauged() && body.grpc.is_none();
        // A length that was promised has no room for more.
        if !is_open || body.incoming.size_hint().exact().is_some() {
            return None;
        }
        let kind = headers.get(CONTENT_TYPE);
        // What is compressed has no place for plain text.
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
            && !headers.contains_key(CONTENT_ENCODING);
        let form = if is_stream {
            Form::Comment
        } else if told.takes_trailers {
            headers.append(TRAILER, HeaderValue::from_static(due.header()));
            Form::Trailer
        } else {
            return None;
        };
        Some(Box::new(Self {
            due: Arc::clone(due),
            told: told.parts,
            form,
            tail: Tail::default(),
            held: Bytes::new(),
            after: None,
            stage: Stage::Answer,
        }))
    }

    /// Whether nothing comes of it any more.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over) && self.held.is_empty() && self.after.is_none()
    }

    pub(super) fn poll_frame(
        &mut self,
        body: &mut UpstreamBody,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        loop {
            match &mut self.stage {
                Stage::Telling(telling) => {
                    let parts = ready!(telling.as_mut().poll(cx));
                    self.stage = Stage::Over;
                    if let Some(frame) = self.words(&parts) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Stage::Over if !self.held.is_empty() => {
                    let held = std::mem::take(&mut self.held);
                    return Poll::Ready(Some(Ok(Frame::data(held))));
                }
                Stage::Over => match self.after.take() {
                    Some(after) => return Poll::Ready(Some(after)),
                    None => return body.poll_frame(cx),
                },
                Stage::Answer | Stage::Holding(_) => {
                    if body.is_over() {
                        self.stage = Stage::Telling(self.tell());
                        continue;
                    }
                    match body.poll_frame(cx) {
                        Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                            if let Some(frame) = self.hold_back(frame) {
                                return Poll::Ready(Some(Ok(frame)));
                            }
                        }
                        Poll::Ready(None) => self.stage = Stage::Telling(self.tell()),
                        Poll::Pending => {
                            if let Stage::Holding(timer) = &mut self.stage {
                                ready!(timer.as_mut().poll(cx));
                                self.stage = Stage::Over;
                                continue;
                            }
                            return Poll::Pending;
                        }
                        // Trailers of its own, or a fault: nothing is told here.
                        Poll::Ready(Some(after)) => {
                            self.stage = Stage::Over;
                            self.after = Some(after);
                        }
                    }
                }
            }
        }
    }

    /// Keeps the last event of a stream; gives what goes on, if anything does.
    fn hold_back(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let mut data = frame.into_data().unwrap_or_default();
        if !self.held.is_empty() {
            // More came after what looked like the last event.
            data = [std::mem::take(&mut self.held), data].concat().into();
            self.stage = Stage::Answer;
        }
        if let (Form::Comment, Some(at)) = (self.form, self.tail.last_event(&data)) {
            self.held = data.split_off(at);
            self.stage = Stage::Holding(Box::pin(sleep(PATIENCE)));
        }
        self.tail.push(&data);
        (!data.is_empty()).then(|| Frame::data(data))
    }

    fn tell(&self) -> Telling {
        let (due, form) = (Arc::clone(&self.due), self.form);
        Box::pin(async move {
            let told = async {
                match form {
                    Form::Comment => due.tell().await,
                    Form::Trailer => due.tell_within(MAX_HEADER).await,
                }
            };
            match timeout(PATIENCE, told).await {
                Ok(Ok(parts)) => parts,
                Ok(Err(_)) | Err(_) => Vec::new(),
            }
        })
    }

    /// The parts that the head of the answer did not tell.
    fn words(&mut self, parts: &[Arc<str>]) -> Option<Frame<Bytes>> {
        let parts = parts.get(self.told..).filter(|parts| !parts.is_empty())?;
        let name = self.due.header();
        match self.form {
            // An event that broke off is none, and must not become one.
            Form::Comment if !self.tail.ends_event() => None,
            Form::Comment => {
                let lines = parts.iter().map(|part| format!(": {name} {part}\n\n"));
                let mut text: Vec<u8> = lines.collect::<String>().into_bytes();
                text.extend_from_slice(&std::mem::take(&mut self.held));
                Some(Frame::data(text.into()))
            }
            Form::Trailer => {
                let short = parts.first().filter(|part| part.len() <= MAX_HEADER)?;
                let value = HeaderValue::from_str(short).ok()?;
                let trailers = [(HeaderName::from_static(name), value)];
                Some(Frame::trailers(HeaderMap::from_iter(trailers)))
            }
        }
    }
}

/// The last bytes of a stream, as many as can end an event.
#[derive(Clone, Copy, Default)]
struct Tail {
    bytes: [u8; 4],
    count: usize,
}

impl Tail {
    fn push(&mut self, data: &[u8]) {
        for byte in &data[data.len().saturating_sub(self.bytes.len())..] {
            self.bytes.rotate_left(1);
            self.bytes[3] = *byte;
            self.count = (self.count + 1).min(self.bytes.len());
        }
    }

    /// Whether an event ends here, or none has begun.
    fn ends_event(&self) -> bool {
        let tail = &self.bytes[self.bytes.len() - self.count..];
        let ends = [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"];
        tail.is_empty() || ends.iter().any(|end| tail.ends_with(end))
    }

    /// Where the last event begins in the next piece, if that is all that the piece ends with, and the one
    /// before it has ended.
    fn last_event(mut self, data: &[u8]) -> Option<usize> {
        let end = data.trim_ascii_end();
        let at = end.len().checked_sub(DONE.len())?;
        if !end.ends_with(DONE) {
            return None;
        }
        self.push(data.get(..at)?);
        self.ends_event().then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(text: &str) -> Tail {
        let mut tail = Tail::default();
        // Piece by piece, as short as can be.
        text.bytes().for_each(|byte| tail.push(&[byte]));
        tail
    }

    #[test]
    fn the_last_event_is_found_where_a_piece_ends_with_it_and_the_one_before_has_ended() {
        for (before, piece, at) in [
            ("", "data: [DONE]\n\n", Some(0)),
            ("data: {}\n\n", "data: [DONE]", Some(0)),
            ("data: {}\n", "\ndata: [DONE]\n\n", Some(1)),
            ("", "data: {}\n\ndata: [DONE]\n\n", Some(10)),
            ("", "data: {}\r\n\r\ndata: [DONE]\r\n\r\n", Some(12)),
            ("", "data: {}\n\n", None),
            ("", "data: \"data: [DONE]", None),
            ("", "data: [DONE]\n\ndata: {}\n\n", None),
            ("", "event: end\ndata: [DONE]\n\n", None),
            ("event: end\n", "data: [DONE]\n\n", None),
            ("", "", None),
        ] {
            let found = tail(before).last_event(piece.as_bytes());
            assert_eq!(found, at, "{before:?} {piece:?}");
        }
    }

    #[test]
    fn an_event_that_broke_off_has_not_ended() {
        for (text, ends) in [
            ("", true),
            ("data: {}\n\n", true),
            ("data: {}\r\n\r\n", true),
            ("data: {}\n", false),
            ("data: {\"a\": ", false),
            ("\n", false),
        ] {
            assert_eq!(tail(text).ends_event(), ends, "{text:?}");
        }
    }
}
