//! What an answer used, and what is charged for it, whichever way it ends.
//!
//! | end | charged, unless the seller says otherwise |
//! |---|---|
//! | complete | the usage that was reported |
//! | complete, with text after the last report of its usage | the usage, and that text as it was seen; the end is a missing usage all the same |
//! | complete, without a usage or any content; no 2xx | nothing |
//! | complete, without a usage | what was seen: a token for four bytes of words, and more for what is denser. A report of one side alone counts for that |
//! | complete, or cut by the client, without a usage, and an event of Responses was too long to be looked into | all that was held |
//! | cut by the client | the usage if it was reported, else what was seen, and never less than the prompt once a byte has passed |
//! | cut by the upstream, or failed after it had begun | the same; nothing before its first word |
//! | before the first byte | nothing; the prompt, where the client left so too often |
//!
//! A model whose vocabulary is public is counted by that instead, after the answer has ended and on
//! another thread. What was used beyond the hold is the seller's loss. The text of an error is not output.

mod biller;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use farebox_core::Msat;
use farebox_http::headers;
use farebox_meter::request::Prompt;
use farebox_meter::stream::KeptText;
use farebox_meter::{
    Endpoint, Exchange, ModelPrice, ModelRequest, Observed, StreamEnd, StreamMeter, Unit, Usage,
    answer,
};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::oneshot;

use super::bill::{Bill, End, Measure};
use super::finding::{Billed, Finding, OpenHold};
use super::{Billing, Ending, Form, Gauge, OnDisconnect, Whole};
use crate::tokens::{Counted, TokenCounter, Uncounted, Vocabulary};
use biller::{Biller, Seen, Tally, by_bytes};

/// How long the usage of an answer is waited for that is there and whose client has left.
const USAGE_SOON: Duration = Duration::from_secs(5);
/// How long it is waited for where the model may have thought out of sight: what a thought costs
/// stands in the report alone.
const THOUGHTS_SOON: Duration = Duration::from_secs(60);

/// What the seller is told of a usage that was counted here, all or part.
const UNTOLD: &str = "the upstream did not tell all that its answer used";

/// A call of a model as it is sold.
pub struct ModelCall {
    /// What is asked of the model.
    pub request: ModelRequest,
    /// What the model costs.
    pub price: Arc<ModelPrice>,
    /// The rate of the moment, markup included.
    pub exchange: Exchange,
    /// What is charged where the answer does not end well.
    pub billing: Billing,
    /// What is held, and the most that is charged.
    pub at_most: Msat,
    /// Who counts its tokens where nobody tells them.
    pub counter: Option<(Vocabulary, Arc<TokenCounter>)>,
}

/// Meters the answer of one call.
pub struct ModelUsage {
    endpoint: Endpoint,
    biller: Biller,
    model: Arc<str>,
    asks_for_stream: bool,
    strip_usage: bool,
    /// The model may think out of sight.
    thinks: bool,
    counting: Option<Counting>,
    stream: Option<StreamMeter>,
}

/// What an answer comes to, or what that waits for.
enum Reckoning {
    Known(Tally),
    ToCount(ToCount),
}

/// An answer whose tokens are to be counted before it is charged.
struct ToCount {
    /// What it comes to where that fails.
    by_bytes: Tally,
    counter: Arc<TokenCounter>,
    uncounted: Uncounted,
    /// What it comes to once they are counted.
    again: Box<dyn FnOnce(Counted) -> Tally + Send>,
}

/// Who counts the tokens of a model whose vocabulary is public, and what it will need.
struct Counting {
    counter: Arc<TokenCounter>,
    vocabulary: Vocabulary,
    prompt: Option<Arc<Prompt>>,
}

impl Counting {
    fn of(
        (vocabulary, counter): (Vocabulary, Arc<TokenCounter>),
        request: ModelRequest,
    ) -> Option<Self> {
        let writes_text = matches!(
            request.endpoint(),
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Responses
        );
        writes_text.then(|| Self {
            counter,
            vocabulary,
            prompt: Prompt::of(request).map(Arc::new),
        })
    }
}

impl ModelUsage {
    /// The gauge of a call that is about to be forwarded.
    pub fn new(call: ModelCall) -> Self {
        let ModelCall {
            request,
            mut price,
            exchange,
            billing,
            at_most,
            counter,
        } = call;
        if let Some(Ok(priced)) = request.image_kind().map(|kind| price.for_image(kind)) {
            price = Arc::new(priced);
        }
        let price_of_thoughts = price.rows.contains_key(&Unit::Reasoning);
        Self {
            endpoint: request.endpoint(),
            biller: Biller {
                price,
                exchange,
                billing,
                at_most,
                estimated_input: request.estimated_input(),
                known: request.known_usage(),
            },
            asks_for_stream: request.stream,
            strip_usage: request.stream && !request.wants_usage,
            thinks: request.asks_to_think() || price_of_thoughts,
            model: Arc::from(request.model.as_str()),
            counting: counter.and_then(|counter| Counting::of(counter, request)),
            stream: None,
        }
    }

    /// Whether an answer passes as it comes. One that was asked for as a stream does under any type,
    /// unless its length is known before its end, or it is
    /// compressed although it was not to be: that is a document.
    fn is_stream(&self, headers: &HeaderMap) -> bool {
        let is_document = [CONTENT_LENGTH, CONTENT_ENCODING];
        let is_document = is_document.iter().any(|name| headers.contains_key(name));
        is_event_stream(headers) || (self.asks_for_stream && !is_document)
    }

    /// The answer is a stream: it is watched event by event from here on.
    fn begin_stream(&mut self) {
        let biller = self.biller.clone();
        let cost = Box::new(move |usage: &Usage| biller.cost(usage).ok());
        let meter = StreamMeter::new(self.endpoint, self.strip_usage, cost);
        self.stream = Some(match self.counting {
            Some(_) => meter.keeping_text(),
            None => meter,
        });
    }

    /// What a stream comes to that ended so.
    fn reckon_stream(&self, ending: Ending) -> Reckoning {
        let observed = self.observed();
        let seen = Seen {
            told: observed.told(),
            output_tokens: observed.output_tokens(),
            is_exact: observed.unreported_bytes() == 0,
            has_passed: self.has_passed(),
            has_overlooked: observed.has_overlooked,
            ..Seen::by_bytes(self.reported(observed.usage()), observed.output_bytes)
        };
        self.reckon(end(ending, &observed), seen, Some(observed), || {
            let text = self.stream.as_ref().and_then(StreamMeter::text);
            text.cloned().unwrap_or_default()
        })
    }

    /// What a whole answer comes to.
    fn reckon_whole(&self, answer: &answer::Whole<'_>) -> Reckoning {
        let delivers = answer.delivers();
        // What is sold by the piece is worth nothing where no piece came, whatever its report says.
        let is_piece = !self.endpoint.writes() && self.endpoint != Endpoint::Embeddings;
        let usage = self.reported(answer.usage());
        let usage = usage.filter(|_| delivers || !is_piece);
        let told = answer.told();
        let is_told_some = !is_piece && told.all_input() + told.all_output() > 0;
        let end = match usage {
            Some(_) => End::Complete,
            None if answer.is_error() => End::ErrorAfterStart,
            None if !delivers && !is_told_some => End::CutByUpstream,
            None => End::UsageMissing,
        };
        let is_told = usage.is_some_and(|usage| self.biller.cost(&usage).is_ok());
        let (output_bytes, output_tokens) = match is_told {
            true => (0, 0),
            false => (answer.content_bytes(), answer.content_tokens()),
        };
        let seen = Seen {
            told,
            output_tokens,
            ..Seen::by_bytes(usage, output_bytes)
        };
        self.reckon(end, seen, None, || {
            let mut kept = KeptText::default();
            answer.each_text(&mut |text| kept.push(text));
            kept
        })
    }

    /// What is only estimated waits for the tokens of its text to be counted, where somebody can.
    /// `stream` is what was observed of an answer that came as one.
    fn reckon(
        &self,
        end: End,
        seen: Seen,
        stream: Option<Observed>,
        text: impl FnOnce() -> KeptText,
    ) -> Reckoning {
        let tally = self.biller.tally(end, &seen);
        let (Some(counting), true) = (&self.counting, tally.is_estimate) else {
            return Reckoning::Known(tally);
        };
        let biller = self.biller.clone();
        let (text, left_out) = text().into_text();
        let length = u64::try_from(text.len()).unwrap_or_default();
        let again = move |counted: Counted| {
            let tokens = |bytes: u64| {
                let rest = by_bytes(bytes.saturating_sub(length).saturating_add(left_out));
                counted.output.saturating_add(rest)
            };
            let seen = Seen {
                usage: stream.map_or(seen.usage, |observed| observed.usage_by(tokens)),
                told: stream.map_or(seen.told, |observed| observed.told_by(tokens)),
                output_tokens: tokens(seen.output_bytes),
                input_tokens: counted.input,
                ..seen
            };
            biller.tally(end, &seen)
        };
        Reckoning::ToCount(ToCount {
            by_bytes: tally,
            counter: Arc::clone(&counting.counter),
            uncounted: Uncounted {
                vocabulary: counting.vocabulary,
                prompt: counting.prompt.clone(),
                text,
            },
            again: Box::new(again),
        })
    }

    fn has_passed(&self) -> bool {
        self.stream.as_ref().is_some_and(StreamMeter::has_passed)
    }

    fn observed(&self) -> Observed {
        let observed = self.stream.as_ref().map(StreamMeter::observed);
        observed.copied().unwrap_or_default()
    }

    /// What was reported, with what the request alone tells: characters, pictures.
    fn reported(&self, usage: Option<Usage>) -> Option<Usage> {
        match self.endpoint {
            Endpoint::Speech => Some(self.biller.known),
            _ => usage,
        }
    }
}

impl Reckoning {
    fn billed(self, model: Arc<str>) -> Billed {
        match self {
            Self::Known(tally) => Billed::Known(bill(model, tally)),
            Self::ToCount(to_count) => to_count.billed(model),
        }
    }
}

impl ToCount {
    /// Has the tokens counted on their own thread, where the hold waits and is settled.
    fn billed(self, model: Arc<str>) -> Billed {
        let Self {
            by_bytes,
            counter,
            uncounted,
            again,
        } = self;
        let otherwise = bill(Arc::clone(&model), by_bytes);
        let find = move |open: OpenHold| {
            open.record();
            let (tell, told) = oneshot::channel();
            counter.count(uncounted, move |counted| {
                let found = counted.map(|counted| bill(model, again(counted)));
                // The log may not care any more.
                let _ = tell.send(open.settle(found));
            });
            Finding::new(async { told.await.ok().flatten() })
        };
        Billed::Open {
            otherwise,
            find: Box::new(find),
        }
    }
}

impl Gauge for ModelUsage {
    fn request(&mut self, headers: &mut HeaderMap) -> Option<Arc<AtomicU64>> {
        headers::ask_for_whole(headers);
        None
    }

    /// No model answers with a redirect.
    fn sells(&self, status: StatusCode, _: bool) -> bool {
        status.is_success()
    }

    fn head(&mut self, _: StatusCode, headers: &mut HeaderMap) -> Form {
        if !self.is_stream(headers) {
            return Form::Whole;
        }
        self.begin_stream();
        // What passes is not what came.
        headers.remove(CONTENT_LENGTH);
        Form::Stream
    }

    fn frame(&mut self, data: Bytes) -> Bytes {
        let Some(stream) = &mut self.stream else {
            return data;
        };
        match stream.pass(&data) {
            Cow::Borrowed(same) => data.slice(..same.len()),
            Cow::Owned(other) => other.into(),
        }
    }

    fn rest(&mut self) -> Bytes {
        let mut rest = Vec::new();
        if let Some(stream) = &mut self.stream {
            stream.finish(&mut rest);
        }
        rest.into()
    }

    fn progress(&self) -> Option<Msat> {
        if !self.has_passed() {
            return None;
        }
        let observed = self.observed();
        let usage = observed.usage().unwrap_or_else(|| {
            let output = observed.output_tokens();
            self.biller.filled(observed.told(), None, output)
        });
        self.biller.cost(&usage).ok()
    }

    /// As the seller chose, but at least until the upstream tells the usage where it is about to. Who
    /// leaves just before that does not get the thoughts of a model for nothing.
    fn drains(&self) -> Option<Duration> {
        let observed = self.observed();
        let is_told = observed.usage().is_some() && observed.unreported_bytes() == 0;
        let is_about_to_tell = observed.end == StreamEnd::Finished && !is_told;
        match self.biller.billing.on_disconnect {
            OnDisconnect::Drain(limit) => Some(limit),
            OnDisconnect::ForThoughts if self.thinks && self.has_passed() && !is_told => {
                Some(THOUGHTS_SOON)
            }
            OnDisconnect::Cancel | OnDisconnect::ForThoughts => {
                is_about_to_tell.then_some(USAGE_SOON)
            }
        }
    }

    fn sells_unread(&self) -> bool {
        false
    }

    fn leaving_costs(&self) -> bool {
        false
    }

    fn bill(self: Box<Self>, ending: Ending) -> Billed {
        self.reckon_stream(ending).billed(self.model)
    }

    fn whole(self: Box<Self>, body: &[u8], held: Msat) -> Whole {
        let answer = answer::Whole::read(self.endpoint, body);
        let billed = self.reckon_whole(&answer).billed(self.model);
        let has_place = !matches!(self.endpoint, Endpoint::Speech | Endpoint::CountTokens);
        let document = match &billed {
            Billed::Known(bill) if has_place => answer.with_cost(bill.charged(held)),
            // No answer waits until it is counted: as of a stream, its headers tell what is held.
            Billed::Known(_) | Billed::Open { .. } => None,
        };
        Whole { billed, document }
    }
}

/// What the upstream failed at is void where it costs nothing. What was delivered at no cost, such as a
/// count of tokens, is no failure.
fn bill(model: Arc<str>, tally: Tally) -> Bill {
    let usage = tally.usage;
    let has_failed = matches!(tally.end, End::CutByUpstream | End::ErrorAfterStart);
    Bill {
        used: (!has_failed || !tally.used.is_zero()).then_some(tally.used),
        is_excused: tally.is_excused,
        measured: Measure::Usage { model, usage },
        end: tally.end,
        complaint: (tally.end == End::UsageMissing).then_some(UNTOLD),
    }
}

fn end(ending: Ending, observed: &Observed) -> End {
    let end = match (ending, observed.end) {
        (_, StreamEnd::Failed) => End::ErrorAfterStart,
        (Ending::CutByClient, _) => End::CutByClient,
        (Ending::CutByUpstream, StreamEnd::Complete | StreamEnd::Incomplete) => End::Complete,
        (Ending::CutByUpstream, _) => End::CutByUpstream,
        (Ending::Complete, StreamEnd::Open)
            if observed.usage().is_none() && !observed.has_overlooked =>
        {
            End::CutByUpstream
        }
        (Ending::Complete, _) => End::Complete,
    };
    // What came after the last report was counted, and nobody told it.
    let is_all_told = observed.unreported_bytes() == 0;
    match end {
        End::Complete if !is_all_told => End::UsageMissing,
        end => end,
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.and_then(|kind| kind.get(..EVENT_STREAM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

#[cfg(test)]
mod tests;
