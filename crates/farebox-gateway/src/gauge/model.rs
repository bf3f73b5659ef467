//! What an answer used, and what is charged for it, whichever way it ends.
//!
//! | end | charged, unless the seller says otherwise |
//! |---|---|
//! | complete | the usage that was reported |
//! | complete, without a usage | what was seen: a token for four bytes |
//! | cut by the client | the usage if it was reported, else what was seen |
//! | cut by the upstream, or failed after it had begun | the same; nothing before its first word |
//! | before the first byte | nothing |
//!
//! A model whose vocabulary is public is counted by that instead, after the answer has ended and on
//! another thread. What was used beyond the hold is the seller's loss. The text of an error is not output.

mod bill;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use farebox_core::Msat;
use farebox_meter::answer::Whole;
use farebox_meter::request::Prompt;
use farebox_meter::stream::KeptText;
use farebox_meter::{Endpoint, ModelRequest, Observed, StreamEnd, StreamMeter, Usage};

use crate::price::Metered;
use crate::settle::Ending;
use crate::tokens::{Counted, TokenCounter, Uncounted, Vocabulary};
use bill::{Biller, Seen, Tariff, by_bytes};

/// How often the progress of an answer is told to the ledger.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// How long the usage of an answer is waited for that is there and whose client has left.
const USAGE_SOON: Duration = Duration::from_secs(5);

/// The seller's choices where an answer does not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billing {
    /// A complete answer that does not tell its usage.
    pub usage_missing: Unsaid,
    /// An answer that the upstream broke off, or that failed after it had begun.
    pub broken_off: Unsaid,
    /// What becomes of the upstream's answer when its client leaves.
    pub on_disconnect: OnDisconnect,
}

/// What is charged where nobody says what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsaid {
    /// What was seen.
    #[default]
    Observed,
    /// Nothing.
    Nothing,
    /// All that was held.
    Hold,
}

/// What becomes of the upstream's answer when its client leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The upstream is told by closing the connection; what was seen is charged.
    #[default]
    Cancel,
    /// The rest is read, for a time, because the upstream charges for it anyway and tells the usage
    /// at its end.
    Drain(Duration),
}

/// How a metered answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Terminal {
    /// To its end, with its usage.
    Complete,
    /// To its end, without a usage that can be true.
    UsageMissing,
    /// The client left.
    CutByClient,
    /// The upstream broke off.
    CutByUpstream,
    /// An error after the answer had begun.
    ErrorAfterStart,
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            usage_missing: Unsaid::Observed,
            broken_off: Unsaid::Observed,
            on_disconnect: OnDisconnect::Cancel,
        }
    }
}

impl Terminal {
    /// The word in logs and metric labels.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::UsageMissing => "usage_missing",
            Self::CutByClient => "cut_by_client",
            Self::CutByUpstream => "cut_by_upstream",
            Self::ErrorAfterStart => "error_after_start",
        }
    }
}

/// What one answer is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bill {
    pub(crate) used: Msat,
    pub(crate) usage: Usage,
    pub(crate) terminal: Terminal,
    /// Nobody told the tokens, or not all of them: those here are made of bytes.
    pub(crate) is_estimate: bool,
}

/// A bill, or what it waits for.
pub(crate) enum Reckoning {
    Known(Bill),
    ToCount(Box<ToCount>),
}

/// An answer whose tokens are to be counted before it is charged.
pub(crate) struct ToCount {
    /// What it is charged where that fails.
    pub(crate) by_bytes: Bill,
    pub(crate) counter: Arc<TokenCounter>,
    pub(crate) uncounted: Uncounted,
    /// The bill, once they are counted.
    pub(crate) again: Box<dyn FnOnce(Counted) -> Bill + Send>,
}

/// Who counts the tokens of a model whose vocabulary is public, and what it will need.
struct Counting {
    counter: Arc<TokenCounter>,
    vocabulary: Vocabulary,
    prompt: Option<Arc<Prompt>>,
}

/// What the log says about a metered answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MeteredLine {
    pub(crate) model: String,
    pub(crate) terminal: Terminal,
    pub(crate) usage: Usage,
}

/// Meters one answer.
pub(crate) struct Meter {
    endpoint: Endpoint,
    biller: Biller,
    model: String,
    strip_usage: bool,
    counting: Option<Counting>,
    stream: Option<StreamMeter>,
    told_at: Instant,
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
            prompt: request.into_prompt().map(Arc::new),
        })
    }
}

impl Meter {
    /// The meter of a request that is about to be forwarded.
    pub(crate) fn of(metered: Metered) -> Self {
        let Metered {
            request,
            mut price,
            exchange,
            sale,
            at_most,
            counter,
            ..
        } = metered;
        if let Some(Ok(priced)) = request.image_kind().map(|kind| price.for_image(kind)) {
            price = Arc::new(priced);
        }
        Self {
            endpoint: request.endpoint(),
            biller: Biller {
                tariff: Tariff { price, exchange },
                billing: sale.billing,
                at_most,
                estimated_input: request.estimated_input(),
                known: request.known_usage(),
            },
            strip_usage: request.stream && !request.wants_usage,
            model: request.model.clone(),
            counting: counter.and_then(|counter| Counting::of(counter, request)),
            stream: None,
            told_at: Instant::now(),
        }
    }

    /// The log line of a bill.
    pub(crate) fn line(&self, bill: Bill) -> MeteredLine {
        MeteredLine {
            model: self.model.clone(),
            terminal: bill.terminal,
            usage: bill.usage,
        }
    }

    /// How long the upstream is listened to after the client left: as the seller chose, but at least
    /// until it tells the usage where it is about to. Who leaves just before that does not get the
    /// thoughts of a model for nothing.
    pub(crate) fn drains(&self) -> Option<Duration> {
        let observed = self.observed();
        let is_about_to_tell = observed.end == StreamEnd::Finished
            && (observed.usage().is_none() || observed.unreported_bytes() > 0);
        match self.biller.billing.on_disconnect {
            OnDisconnect::Drain(limit) => Some(limit),
            OnDisconnect::Cancel => is_about_to_tell.then_some(USAGE_SOON),
        }
    }

    /// The answer is a stream: it is watched event by event from here on.
    pub(crate) fn begin_stream(&mut self) {
        let tariff = self.biller.tariff.clone();
        let cost = Box::new(move |usage: &Usage| tariff.cost(usage).ok());
        let meter = StreamMeter::new(self.endpoint, self.strip_usage, cost);
        self.stream = Some(match self.counting {
            Some(_) => meter.keeping_text(),
            None => meter,
        });
    }

    /// What passes on of a piece of a stream.
    pub(crate) fn pass(&mut self, piece: &Bytes) -> Bytes {
        let Some(stream) = &mut self.stream else {
            return piece.clone();
        };
        match stream.pass(piece) {
            Cow::Borrowed(same) => piece.slice(..same.len()),
            Cow::Owned(other) => other.into(),
        }
    }

    /// What still waits at the end of a stream.
    pub(crate) fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        if let Some(stream) = &mut self.stream {
            stream.finish(&mut out);
        }
        out.into()
    }

    /// What the answer has used so far, if it is time to tell: what recovery would charge.
    pub(crate) fn progress(&mut self) -> Option<Msat> {
        if self.told_at.elapsed() < PROGRESS_EVERY {
            return None;
        }
        self.told_at = Instant::now();
        let usage = self.seen();
        self.biller.tariff.cost(&usage).ok()
    }

    /// What the first byte of an answer shows that it costs at least.
    pub(crate) fn first_progress(&self) -> Msat {
        self.biller.tariff.cost(&self.seen()).unwrap_or_default()
    }

    /// What a stream is charged that ended so.
    pub(crate) fn bill_stream(&self, ending: Ending) -> Reckoning {
        let observed = self.observed();
        let terminal = terminal(ending, &observed);
        let seen = Seen {
            usage: self.reported(observed.usage()),
            is_exact: observed.unreported_bytes() == 0,
            output_bytes: observed.output_bytes,
            output_tokens: by_bytes(observed.output_bytes),
            input_tokens: None,
        };
        let bill = self.biller.bill(terminal, &seen);
        let text = self.stream.as_ref().and_then(StreamMeter::text);
        let text = text.map(|text| text.as_str().to_owned());
        self.reckon(bill, text, move |counted, text| {
            let tokens = |bytes: u64| {
                counted
                    .output
                    .saturating_add(by_bytes(bytes.saturating_sub(text)))
            };
            let told = observed.usage_by(tokens);
            let seen = Seen {
                usage: told,
                output_tokens: tokens(observed.output_bytes),
                input_tokens: counted.input,
                ..seen
            };
            (terminal, seen)
        })
    }

    /// A whole answer, read.
    pub(crate) fn read<'a>(&self, body: &'a [u8]) -> Whole<'a> {
        Whole::read(self.endpoint, body)
    }

    /// What a whole answer is charged.
    pub(crate) fn bill_whole(&self, answer: &Whole<'_>) -> Reckoning {
        let usage = self.reported(answer.usage());
        let terminal = match usage {
            Some(_) => Terminal::Complete,
            None if answer.is_error() => Terminal::ErrorAfterStart,
            None => Terminal::UsageMissing,
        };
        let is_told = usage.is_some_and(|usage| self.biller.tariff.cost(&usage).is_ok());
        let output_bytes = if is_told { 0 } else { answer.content_bytes() };
        let seen = Seen {
            usage,
            is_exact: true,
            output_bytes,
            output_tokens: by_bytes(output_bytes),
            input_tokens: None,
        };
        let bill = self.biller.bill(terminal, &seen);
        let text = (bill.is_estimate && self.counting.is_some()).then(|| {
            let mut kept = KeptText::default();
            answer.each_text(&mut |text| kept.push(text));
            kept.as_str().to_owned()
        });
        self.reckon(bill, text, move |counted, text| {
            let rest = by_bytes(output_bytes.saturating_sub(text));
            let seen = Seen {
                output_tokens: counted.output.saturating_add(rest),
                input_tokens: counted.input,
                ..seen
            };
            (terminal, seen)
        })
    }

    /// A bill that is only estimated waits for the tokens to be counted, where somebody can. `again`
    /// tells what was seen once they are, of which so many bytes of text were counted.
    fn reckon(
        &self,
        bill: Bill,
        text: Option<String>,
        again: impl FnOnce(Counted, u64) -> (Terminal, Seen) + Send + 'static,
    ) -> Reckoning {
        let (Some(counting), Some(text), true) = (&self.counting, text, bill.is_estimate) else {
            return Reckoning::Known(bill);
        };
        let biller = self.biller.clone();
        let length = u64::try_from(text.len()).unwrap_or_default();
        Reckoning::ToCount(Box::new(ToCount {
            by_bytes: bill,
            counter: Arc::clone(&counting.counter),
            uncounted: Uncounted {
                vocabulary: counting.vocabulary,
                prompt: counting.prompt.clone(),
                text,
            },
            again: Box::new(move |counted| {
                let (terminal, seen) = again(counted, length);
                biller.bill(terminal, &seen)
            }),
        }))
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

    fn seen(&self) -> Usage {
        let observed = self.observed();
        observed
            .usage()
            .unwrap_or_else(|| self.biller.estimate(None, by_bytes(observed.output_bytes)))
    }

    /// A whole answer with its cost in it, where it has a place for it.
    pub(crate) fn with_cost(&self, answer: &Whole<'_>, charged: Msat) -> Option<Vec<u8>> {
        match self.endpoint {
            Endpoint::Speech | Endpoint::CountTokens => None,
            _ => answer.with_cost(charged),
        }
    }
}

fn terminal(ending: Ending, observed: &Observed) -> Terminal {
    match (ending, observed.end) {
        (_, StreamEnd::Failed) => Terminal::ErrorAfterStart,
        (Ending::CutByClient | Ending::Open, _) => Terminal::CutByClient,
        (Ending::CutByUpstream, StreamEnd::Complete | StreamEnd::Incomplete) => Terminal::Complete,
        (Ending::CutByUpstream, _) => Terminal::CutByUpstream,
        (Ending::Complete, StreamEnd::Open) if observed.usage().is_none() => {
            Terminal::CutByUpstream
        }
        (Ending::Complete, _) => Terminal::Complete,
    }
}

#[cfg(test)]
mod tests;
