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
//! What was used beyond the hold is the seller's loss. The text of an error is not output.

use std::time::{Duration, Instant};

use bytes::Bytes;
use farebox_core::Msat;
use farebox_meter::{
    Endpoint, Exchange, ModelPrice, Observed, StreamEnd, StreamMeter, Unit, Unpriced, Usage,
};
use farebox_meter::{Priced, answer};

use crate::price::Metered;
use crate::settle::Ending;

/// How often the progress of an answer is told to the ledger.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

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
pub enum Terminal {
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
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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
}

/// What the log says about a metered answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MeteredLine {
    pub(crate) model: String,
    pub(crate) terminal: Terminal,
    pub(crate) usage: Usage,
}

/// How usage becomes money for one request.
#[derive(Clone)]
pub(crate) struct Tariff {
    price: ModelPrice,
    exchange: Exchange,
}

impl Tariff {
    /// What `usage` costs. A class that the request gave no reason to price, such as the sound of a
    /// film that came as a document, costs as much as text: an answer is not free for it.
    fn cost(&self, usage: &Usage) -> Priced {
        match self.price.cost(usage, &self.exchange) {
            Err(Unpriced::Unit(_)) => self.price.cost(&as_text(usage), &self.exchange),
            priced => priced,
        }
    }
}

/// The same usage with all that was read and written counted as text.
fn as_text(usage: &Usage) -> Usage {
    let pieces = [Unit::Image, Unit::Character, Unit::Second, Unit::Request];
    let text = Usage::NONE
        .with(Unit::Input, usage.all_input())
        .with(Unit::Output, usage.all_output());
    pieces
        .into_iter()
        .fold(text, |text, unit| text.with(unit, usage.get(unit)))
}

/// Meters one answer.
pub(crate) struct Meter {
    endpoint: Endpoint,
    tariff: Tariff,
    billing: Billing,
    at_most: Msat,
    model: String,
    estimated_input: u64,
    known: Usage,
    strip_usage: bool,
    stream: Option<StreamMeter>,
    told_at: Instant,
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
            ..
        } = metered;
        if let Some(Ok(priced)) = request.image_kind().map(|kind| price.for_image(kind)) {
            price = priced;
        }
        Self {
            endpoint: request.endpoint(),
            tariff: Tariff { price, exchange },
            billing: sale.billing,
            at_most,
            estimated_input: request.estimated_input(),
            known: request.known_usage(),
            strip_usage: request.stream && !request.wants_usage,
            model: request.model,
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

    pub(crate) const fn on_disconnect(&self) -> OnDisconnect {
        self.billing.on_disconnect
    }

    /// The answer is a stream: it is watched event by event from here on.
    pub(crate) fn begin_stream(&mut self) {
        let tariff = self.tariff.clone();
        let cost = Box::new(move |usage: &Usage| tariff.cost(usage).ok());
        self.stream = Some(StreamMeter::new(self.endpoint, self.strip_usage, cost));
    }

    /// What passes on of a piece of a stream.
    pub(crate) fn pass(&mut self, piece: &Bytes) -> Bytes {
        let Some(stream) = &mut self.stream else {
            return piece.clone();
        };
        let mut out = Vec::with_capacity(piece.len());
        stream.push(piece, &mut out);
        out.into()
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
        self.tariff.cost(&usage).ok()
    }

    /// What the first byte of an answer shows that it costs at least.
    pub(crate) fn first_progress(&self) -> Msat {
        self.tariff.cost(&self.seen()).unwrap_or_default()
    }

    /// What a stream is charged that ended so.
    pub(crate) fn bill_stream(&self, ending: Ending) -> Bill {
        let observed = self.stream.as_ref().map(StreamMeter::observed);
        let observed = observed.copied().unwrap_or_default();
        let terminal = terminal(ending, &observed);
        let usage = self.reported(observed.usage());
        self.bill(terminal, usage, observed.output_bytes)
    }

    /// What a whole answer is charged.
    pub(crate) fn bill_whole(&self, body: &[u8]) -> Bill {
        let usage = self.reported(answer::usage(self.endpoint, body));
        let terminal = match usage {
            Some(_) => Terminal::Complete,
            None if is_error(body) => Terminal::ErrorAfterStart,
            None => Terminal::UsageMissing,
        };
        let is_told = usage.is_some_and(|usage| self.tariff.cost(&usage).is_ok());
        let output = if is_told {
            0
        } else {
            answer::content_bytes(body)
        };
        self.bill(terminal, usage, output)
    }

    fn bill(&self, terminal: Terminal, usage: Option<Usage>, output_bytes: u64) -> Bill {
        let is_failure = matches!(
            terminal,
            Terminal::CutByUpstream | Terminal::ErrorAfterStart
        );
        // An upstream that fails before it says a word owes its prompt to the seller, not the buyer.
        if let Some(usage) = usage.filter(|_| !is_failure || output_bytes > 0)
            && let Ok(used) = self.tariff.cost(&usage)
        {
            return Bill {
                used,
                usage,
                terminal,
            };
        }
        let seen = self.estimate(output_bytes);
        let unsaid = match terminal {
            Terminal::Complete | Terminal::UsageMissing => self.billing.usage_missing,
            Terminal::CutByUpstream | Terminal::ErrorAfterStart => self.billing.broken_off,
            Terminal::CutByClient => Unsaid::Observed,
        };
        let nothing_came = output_bytes == 0 && terminal != Terminal::UsageMissing;
        let used = match unsaid {
            _ if nothing_came => Msat::ZERO,
            Unsaid::Nothing => Msat::ZERO,
            Unsaid::Hold => self.at_most,
            Unsaid::Observed => self
                .tariff
                .cost(&seen)
                .unwrap_or(self.at_most)
                .min(self.at_most),
        };
        let terminal = match terminal {
            Terminal::Complete => Terminal::UsageMissing,
            other => other,
        };
        Bill {
            used,
            usage: seen,
            terminal,
        }
    }

    /// What was reported, with what the request alone tells: characters, pictures.
    fn reported(&self, usage: Option<Usage>) -> Option<Usage> {
        match self.endpoint {
            Endpoint::Speech => Some(self.known),
            _ => usage,
        }
    }

    fn seen(&self) -> Usage {
        let observed = self.stream.as_ref().map(StreamMeter::observed);
        let observed = observed.copied().unwrap_or_default();
        observed
            .usage()
            .unwrap_or_else(|| self.estimate(observed.output_bytes))
    }

    fn estimate(&self, output_bytes: u64) -> Usage {
        let usage = self.known.with(Unit::Input, self.estimated_input);
        usage.with(Unit::Output, output_bytes.div_ceil(4))
    }

    /// A whole answer with its cost in it, where it is JSON.
    pub(crate) fn with_cost(&self, body: Bytes, charged: Msat) -> Bytes {
        let priced = match self.endpoint {
            Endpoint::Speech | Endpoint::CountTokens => None,
            _ => answer::with_cost(&body, charged),
        };
        priced.map_or(body, Bytes::from)
    }
}

/// Whether a whole answer, whatever its status says, tells of an error and nothing else was seen to
/// be used.
fn is_error(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice(body).is_ok_and(|answer: Answer| answer.error.is_some())
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
