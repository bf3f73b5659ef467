//! Watching an answer that comes as server-sent events.
//!
//! An event passes on as soon as it is complete, byte for byte, but for two cases: the usage that
//! only we asked for is taken out again, and the usage that the client asked for gets its cost.
//! Meanwhile what the client receives is counted, for streams that end without telling: every text
//! that is not known to be frame, and each byte of what cannot be read. A body that turns out to be
//! one JSON document, whatever its head promised, is read as a whole answer.

mod chunk;
mod frame;
mod kept;
#[cfg(test)]
mod tests;
mod told;

use std::borrow::Cow;

use farebox_core::Msat;

use crate::answer::{Report, Whole, is_credible, length};
use crate::density::{BYTES_PER_TOKEN, surplus, surplus_of_bytes};
use crate::endpoint::Endpoint;
use crate::usage::{Unit, Usage};
use chunk::Chunk;
use frame::{Frames, MAX_EVENT, Passing};

pub use kept::{KeptText, MAX_KEPT_TEXT};
pub use told::Told;

/// What a usage costs, while the stream is still running.
pub type Cost = Box<dyn Fn(&Usage) -> Option<Msat> + Send + Sync>;

/// Watches one stream.
pub struct StreamMeter {
    endpoint: Endpoint,
    /// The client did not ask for the usage, so it does not get it.
    strip_usage: bool,
    cost: Cost,
    body: Body,
    frames: Frames,
    observed: Observed,
    has_passed: bool,
    text: Option<KeptText>,
}

/// What the body turns out to be.
enum Body {
    /// Nothing but white space has come.
    Unknown,
    /// Events, and everything else that passes as it comes.
    Events,
    /// One JSON document, which waits for its end.
    Document(Vec<u8>),
    /// One that is too long to wait for: it passes, and nobody can tell what of it is an answer.
    LongDocument,
}

/// What was seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What the reports come to, as they were told,
    report: Report,
    /// and in classes.
    reported: Usage,
    /// Bytes of content that came after the last report.
    unreported_bytes: u64,
    /// Bytes of the answer's content: text, thoughts, arguments of tools. Neither frames nor
    /// errors.
    pub output_bytes: u64,
    /// What the content weighs beyond its bytes, and what events with less than a token's bytes lack of
    /// these: who sends a text by itself has written a token of it at least.
    padding: u64,
    /// The same, since the last report.
    unreported_padding: u64,
    /// How the stream ended, as far as it says.
    pub end: StreamEnd,
    /// An event was too long to be looked into that may have told the usage, and was not counted as
    /// content.
    pub has_overlooked: bool,
}

/// How a stream ended by its own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamEnd {
    /// It says nothing yet.
    #[default]
    Open,
    /// Each answer has come to its end, but the end of the stream was not told.
    Finished,
    /// `[DONE]`, `message_stop`, `response.completed`.
    Complete,
    /// The provider stopped early and says so: `response.incomplete`, `response.cancelled`.
    Incomplete,
    /// An error after the answer had begun.
    Failed,
}

impl Observed {
    /// The usage that was reported, where it can be true. What came after a report is not in it, as
    /// where a stream is cut that told nothing but its prompt yet: that is counted as it was seen.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage_by(|bytes| self.estimated(bytes))
    }

    /// What was reported, even of one side only, and what came after that as it was seen.
    #[must_use]
    pub fn told(&self) -> Usage {
        self.told_by(|bytes| self.estimated(bytes))
    }

    /// Tokens of all content, as they are counted where nobody tells them.
    #[must_use]
    pub const fn output_tokens(&self) -> u64 {
        let bytes = self.output_bytes.saturating_add(self.padding);
        bytes.div_ceil(BYTES_PER_TOKEN)
    }

    const fn estimated(&self, unreported_bytes: u64) -> u64 {
        let bytes = unreported_bytes.saturating_add(self.unreported_padding);
        bytes.div_ceil(BYTES_PER_TOKEN)
    }

    /// The same, with `unreported_tokens` telling the tokens of the bytes that came after the last
    /// report.
    pub fn usage_by(&self, unreported_tokens: impl FnOnce(u64) -> u64) -> Option<Usage> {
        let silent = self.end.is_told() && self.output_bytes > 0 && self.reported.all_output() == 0;
        if !is_credible(&self.reported) || silent {
            return None;
        }
        Some(self.with_unreported(unreported_tokens))
    }

    /// What was reported, even of one side only.
    pub fn told_by(&self, unreported_tokens: impl FnOnce(u64) -> u64) -> Usage {
        match self.reported.all_output() {
            0 => self.reported,
            _ => self.with_unreported(unreported_tokens),
        }
    }

    fn with_unreported(&self, unreported_tokens: impl FnOnce(u64) -> u64) -> Usage {
        let told = self.reported.get(Unit::Output);
        let output = told.saturating_add(unreported_tokens(self.unreported_bytes));
        self.reported.with(Unit::Output, output)
    }

    /// Bytes of content that came after the last report.
    #[must_use]
    pub const fn unreported_bytes(&self) -> u64 {
        self.unreported_bytes
    }

    const fn see(&mut self, bytes: u64) {
        self.output_bytes = self.output_bytes.saturating_add(bytes);
        self.unreported_bytes = self.unreported_bytes.saturating_add(bytes);
    }

    const fn pad(&mut self, bytes: u64) {
        self.padding = self.padding.saturating_add(bytes);
        self.unreported_padding = self.unreported_padding.saturating_add(bytes);
    }

    /// An event brings so much text.
    fn see_event(&mut self, text: Length) {
        self.see(text.bytes);
        if text.bytes > 0 {
            let lacking = BYTES_PER_TOKEN.saturating_sub(text.bytes);
            self.pad(text.surplus.max(lacking));
        }
    }

    /// What cannot be read counts by all its bytes.
    fn see_unreadable(&mut self, bytes: &[u8]) {
        self.see(length_of(bytes));
        self.pad(surplus_of_bytes(bytes));
    }

    /// What repeats the answer says how much of it there is at least.
    fn see_repeated(&mut self, text: Length) {
        if text.bytes > self.output_bytes {
            self.see(text.bytes - self.output_bytes);
            self.pad(text.surplus.saturating_sub(self.padding));
        }
    }

    /// A report that tells no output, where there was some, leaves what was seen.
    fn report(&mut self, endpoint: Endpoint, report: Report) {
        self.report = self.report.updated_by(report);
        self.reported = self.report.to_usage(endpoint);
        if report.tells_output(endpoint) {
            self.unreported_bytes = 0;
            self.unreported_padding = 0;
        }
    }
}

/// How much text there is.
#[derive(Clone, Copy, Default)]
struct Length {
    bytes: u64,
    /// What it weighs beyond them, in bytes of words.
    surplus: u64,
}

impl Length {
    fn add(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(length(text));
        self.surplus = self.surplus.saturating_add(surplus(text));
    }
}

impl StreamEnd {
    /// Whether the stream told that it is over.
    #[must_use]
    pub const fn is_told(self) -> bool {
        !matches!(self, Self::Open)
    }

    /// A failure is final, and an end that was told does not become an open one again.
    fn follow(&mut self, next: Self) {
        if *self != Self::Failed && next != Self::Open && *self != Self::Complete {
            *self = next;
        }
    }
}

impl StreamMeter {
    /// A meter for one stream.
    #[must_use]
    pub fn new(endpoint: Endpoint, strip_usage: bool, cost: Cost) -> Self {
        Self {
            endpoint,
            strip_usage,
            cost,
            body: Body::Unknown,
            frames: Frames::default(),
            observed: Observed::default(),
            has_passed: false,
            text: None,
        }
    }

    /// Whether a byte of an event has passed on, so that the client can have read it. Comments, by which
    /// servers keep a connection alive before they begin, are nothing of an answer.
    #[must_use]
    pub const fn has_passed(&self) -> bool {
        self.has_passed
    }

    /// What was seen so far.
    #[must_use]
    pub const fn observed(&self) -> &Observed {
        &self.observed
    }

    /// The same, and the text of what came after the last report is kept too, up to
    /// [`MAX_KEPT_TEXT`], for those who count better than by its bytes.
    #[must_use]
    pub fn keeping_text(mut self) -> Self {
        self.text = Some(KeptText::default());
        self
    }

    /// What came after the last report, as far as it was kept.
    #[must_use]
    pub fn text(&self) -> Option<&KeptText> {
        self.text.as_ref()
    }

    /// Takes in what came, and gives what may pass on: mostly just that. An event that is too long
    /// to be read counts as content, but for Responses: there it is one that repeats the request.
    pub fn pass<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        if let Body::Unknown = self.body {
            self.body = Body::begun_by(piece);
            if let Body::Document(document) = &mut self.body {
                document.extend(self.frames.take_rest());
            }
        }
        match &mut self.body {
            Body::Document(document) if document.len() + piece.len() <= MAX_EVENT => {
                document.extend_from_slice(piece);
                Cow::Borrowed(&[])
            }
            Body::Document(document) => {
                let mut passed = std::mem::take(document);
                passed.extend_from_slice(piece);
                self.body = Body::LongDocument;
                self.has_passed = true;
                self.observed.see(length_of(&passed));
                Cow::Owned(passed)
            }
            Body::LongDocument => {
                self.observed.see(length_of(piece));
                Cow::Borrowed(piece)
            }
            Body::Unknown | Body::Events => self.pass_events(piece),
        }
    }

    fn pass_events<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        let (mut out, mut rest) = (Passing::of(piece), piece);
        while let Some(event) = self.frames.next(&mut rest, &mut out) {
            self.read(&event, Ended::Yes, &mut out);
        }
        let unread = self.frames.take_unread();
        self.has_passed |= unread > 0;
        match self.endpoint {
            Endpoint::Responses => self.observed.has_overlooked |= unread > 0,
            _ => self.observed.see(unread),
        }
        out.finish()
    }

    /// The stream has ended: appends what was still waiting for its end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Body::Document(document) = std::mem::replace(&mut self.body, Body::Events) {
            return self.finish_document(&document, out);
        }
        let rest = self.frames.take_rest();
        if !rest.is_empty() {
            let mut passing = Passing::of(&rest);
            self.read(&rest, Ended::No, &mut passing);
            out.extend_from_slice(&passing.finish());
        }
    }

    /// The upstream has answered by one document.
    fn finish_document(&mut self, document: &[u8], out: &mut Vec<u8>) {
        let whole = Whole::read(self.endpoint, document);
        whole.each_text(&mut |text| {
            self.observed.see(length(text));
            self.observed.pad(surplus(text));
            if let Some(kept) = &mut self.text {
                kept.push(text);
            }
        });
        if let Some(report) = whole.report() {
            self.report(report);
        }
        self.observed.end.follow(match whole.is_error() {
            true => StreamEnd::Failed,
            false if whole.is_complete() => StreamEnd::Complete,
            false => StreamEnd::Open,
        });
        let cost = self.observed.usage().and_then(|usage| (self.cost)(&usage));
        let priced = cost.and_then(|cost| whole.with_cost(cost));
        out.extend_from_slice(priced.as_deref().unwrap_or(document));
        self.has_passed |= !document.is_empty();
    }

    fn read(&mut self, event: &[u8], ended: Ended, out: &mut Passing<'_>) {
        let Some(data) = frame::data(event) else {
            let unknown = frame::no_field(event);
            self.observed.see(unknown);
            self.has_passed |= unknown > 0;
            return out.pass(event);
        };
        let had_passed = std::mem::replace(&mut self.has_passed, true);
        if data.trim_ascii_end() == b"[DONE]" {
            self.observed.end.follow(StreamEnd::Complete);
            return out.pass(event);
        }
        let is_over = self.observed.end.is_told();
        let Some(chunk) = self.take_in(&data) else {
            // Of an event that was cut, nobody has got the end; any other may be read by somebody.
            if ended == Ended::Yes {
                self.observed.see_unreadable(data.trim_ascii());
            }
            return out.pass(event);
        };
        let Some(report) = chunk.usage else {
            return out.pass(event);
        };
        self.report(report);
        if self.strip_usage && chunk.is_usage_alone(is_over) {
            self.frames.take_out();
            self.has_passed = had_passed;
            return;
        }
        let cost = self.observed.usage().and_then(|usage| (self.cost)(&usage));
        match cost.and_then(|cost| chunk::with_cost(&data, cost)) {
            Some(priced) => {
                let mut event_with_cost = Vec::with_capacity(event.len() + priced.len());
                frame::write(event, &priced, &mut event_with_cost);
                out.pass(&event_with_cost);
            }
            None => out.pass(event),
        }
    }

    /// Counts what an event says, unless that is of an error.
    fn take_in(&mut self, data: &[u8]) -> Option<Chunk> {
        let (mut seen, kept) = (Length::default(), &mut self.text);
        let before = kept.as_ref().map(KeptText::end);
        let chunk = Chunk::read(self.endpoint, data, &mut |text| {
            seen.add(text);
            if let Some(kept) = kept {
                kept.push(text);
            }
        });
        let is_answer = |chunk: &Chunk| !chunk.is_error();
        if chunk.as_ref().is_some_and(is_answer) {
            self.observed.see_event(seen);
        } else if let (Some(kept), Some(before)) = (kept, before) {
            kept.truncate(before);
        }
        let chunk = chunk?;
        if !chunk.is_error() {
            self.observed.see_repeated(chunk.repeated);
        }
        self.observed.end.follow(chunk.end);
        Some(chunk)
    }

    fn report(&mut self, report: Report) {
        self.observed.report(self.endpoint, report);
        if let Some(kept) = self.text.as_mut()
            && report.tells_output(self.endpoint)
        {
            kept.clear();
        }
    }
}

impl Body {
    /// White space may stand before anything, and a JSON document begins like no field of an event.
    fn begun_by(piece: &[u8]) -> Self {
        match piece.trim_ascii_start().first() {
            None => Self::Unknown,
            Some(b'{' | b'[') => Self::Document(Vec::new()),
            Some(_) => Self::Events,
        }
    }
}

/// Whether an event came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Yes,
    No,
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
