//! How much one call used, as its answer tells or as it is measured here, and what that costs,
//! whichever way the answer ends.
//!
//! | end | charged, unless the seller says otherwise |
//! |---|---|
//! | complete | what was told or measured |
//! | complete, and nothing that can be true was told | nothing; counted and logged as `cost_missing` |
//! | cut by the client | what was told or measured; all that was held, where the upstream did not tell in time |
//! | cut by the upstream, or by our own end | what was told or measured until then |
//! | before the first byte | nothing |
//!
//! Bytes of the answer pass untouched. What an upstream tells is the seller's own business: the
//! header is taken off, unless the seller wants it seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use farebox_core::Msat;
use farebox_meter::Decimal;
use farebox_meter::pointer::Unreadable;
use farebox_meter::stream::Told;
use http::header::{HeaderMap, HeaderName};

use crate::by_use::{ByUse, Of, Tariff, Teller, whole};
use crate::gauge::{OnDisconnect, Unsaid};
use crate::settle::Ending;

/// How often the progress of an answer is told to the ledger.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// How an answer ended that is charged by use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Complete,
    CostMissing,
    CutByClient,
    CutByUpstream,
}

/// What one answer is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SaidBill {
    pub(crate) used: Msat,
    pub(crate) quantity: Option<Decimal>,
    pub(crate) end: End,
}

/// What the log says about such an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SaidLine {
    pub(crate) quantity: Option<Decimal>,
    pub(crate) end: End,
    /// What the seller should know of a cost that is missing.
    complaint: &'static str,
}

/// What an upstream told so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Nothing,
    Number(Decimal),
    /// Something that is no number, or two that are not one.
    Garbled,
}

/// Follows one call.
pub(crate) struct Said {
    sale: Arc<ByUse>,
    tariff: Tariff,
    word: Word,
    events: Option<Told>,
    answer_bytes: u64,
    request_bytes: Arc<AtomicU64>,
    forwarded_at: Instant,
    told_at: Instant,
}

impl End {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CostMissing => "cost_missing",
            Self::CutByClient => "cut_by_client",
            Self::CutByUpstream => "cut_by_upstream",
        }
    }
}

impl Said {
    pub(crate) fn new(sale: Arc<ByUse>, tariff: Tariff) -> Self {
        let now = Instant::now();
        Self {
            sale,
            tariff,
            word: Word::Nothing,
            events: None,
            answer_bytes: 0,
            request_bytes: Arc::default(),
            forwarded_at: now,
            told_at: now,
        }
    }

    /// The request leaves now. Gives the place where the bytes of its body are to be counted.
    pub(crate) fn forwarded(&mut self) -> Option<Arc<AtomicU64>> {
        self.forwarded_at = Instant::now();
        match self.sale.teller {
            Teller::Bytes {
                of: Of::Request | Of::Both,
                ..
            } => Some(Arc::clone(&self.request_bytes)),
            _ => None,
        }
    }

    /// Whether the answer itself is read, and so has to come as it is.
    pub(crate) fn reads_answer(&self) -> bool {
        matches!(self.sale.teller, Teller::Json(_))
    }

    /// Whether a trailer can say it, which upstreams send only to those that ask for trailers.
    pub(crate) fn hears_trailers(&self) -> bool {
        matches!(self.sale.teller, Teller::Header { .. })
    }

    /// Whether what is known now is known for good, before the answer has gone out.
    pub(crate) fn knows_already(&self) -> Option<Msat> {
        let is_last = matches!(self.sale.teller, Teller::Header { .. });
        self.cost().filter(|_| is_last)
    }

    /// Looks at the head of the answer, or at its trailers, and takes off what is not the client's.
    pub(crate) fn hear(&mut self, fields: &mut HeaderMap) {
        let Teller::Header { name, shown } = &self.sale.teller else {
            return;
        };
        let word = word_in(fields, name);
        if !shown {
            fields.remove(name);
        }
        // What the head said stands: it may have been told to the client.
        if self.word == Word::Nothing {
            self.word = word;
        }
    }

    /// The answer is a stream of events, to be watched for what it tells.
    pub(crate) fn begin_stream(&mut self) {
        if let Teller::Json(pointer) = &self.sale.teller {
            self.events = Some(Told::new(pointer.clone()));
        }
    }

    /// Bytes of the answer pass.
    pub(crate) fn saw(&mut self, data: &Bytes) {
        self.answer_bytes = self.answer_bytes.saturating_add(data.len() as u64);
        if let Some(events) = &mut self.events {
            events.push(data);
        }
    }

    /// What reads a whole answer, wherever that happens.
    pub(crate) fn reader(&self) -> impl Fn(&[u8]) -> Word + Clone + Send + 'static {
        let pointer = match &self.sale.teller {
            Teller::Json(pointer) => Some(pointer.clone()),
            _ => None,
        };
        move |body| match pointer.as_ref().map(|pointer| pointer.cost(body)) {
            Some(Ok(number)) => Word::Number(number),
            None | Some(Err(Unreadable::Missing(_))) => Word::Nothing,
            Some(Err(_)) => Word::Garbled,
        }
    }

    /// A whole answer was read.
    pub(crate) const fn take(&mut self, word: Word) {
        self.word = word;
    }

    /// How much was used, as far as it is known.
    fn quantity(&self) -> Option<Decimal> {
        let request = || self.request_bytes.load(Ordering::Relaxed);
        match self.sale.teller {
            Teller::Header { .. } | Teller::Json(_) => match self.word {
                Word::Number(number) => Some(number),
                Word::Nothing | Word::Garbled => self.events.as_ref().and_then(Told::last),
            },
            Teller::Bytes { of, .. } => Some(whole(match of {
                Of::Answer => self.answer_bytes,
                Of::Request => request(),
                Of::Both => self.answer_bytes.saturating_add(request()),
            })),
            Teller::Seconds => {
                const NANOS: u32 = 9;
                Decimal::new(self.forwarded_at.elapsed().as_nanos(), NANOS).ok()
            }
        }
    }

    /// What that costs; nothing where it cannot be true.
    fn cost(&self) -> Option<Msat> {
        let quantity = self.quantity()?;
        match (self.tariff.cost(quantity), &self.sale.teller) {
            // What was measured is true, however much it is.
            (None, Teller::Bytes { .. } | Teller::Seconds) => Some(self.tariff.at_most),
            (cost, _) => cost,
        }
    }

    /// What recovery would charge, when the first byte goes out.
    pub(crate) fn first_progress(&self) -> Msat {
        self.cost().unwrap_or_default()
    }

    /// What recovery would charge, if it is time to tell.
    pub(crate) fn progress(&mut self) -> Option<Msat> {
        if self.told_at.elapsed() < PROGRESS_EVERY {
            return None;
        }
        self.told_at = Instant::now();
        self.cost()
    }

    /// How long the upstream is listened to after its client left: where it has told already, or
    /// what passes is measured, as the seller chose; else until it tells.
    pub(crate) fn drains(&self) -> Option<Duration> {
        let OnDisconnect::Drain(limit) = self.sale.billing.on_disconnect else {
            return None;
        };
        let is_told = matches!(self.sale.teller, Teller::Header { .. }) && self.cost().is_some();
        (!is_told).then_some(limit)
    }

    /// What an answer is charged that ended so.
    pub(crate) fn bill(&mut self, ending: Ending) -> SaidBill {
        if let Some(events) = &mut self.events {
            events.finish();
        }
        let (quantity, cost) = (self.quantity(), self.cost());
        let end = match (ending, cost) {
            (Ending::Complete, Some(_)) => End::Complete,
            (Ending::Complete, None) => End::CostMissing,
            (Ending::CutByUpstream, _) => End::CutByUpstream,
            (Ending::CutByClient | Ending::Open, _) => End::CutByClient,
        };
        let billing = self.sale.billing;
        let used = match (end, cost) {
            (End::CutByUpstream, cost) => match billing.broken_off {
                Unsaid::Observed => cost.unwrap_or_default(),
                Unsaid::Nothing => Msat::ZERO,
                Unsaid::Hold => self.tariff.at_most,
            },
            (_, Some(cost)) => cost,
            // Whoever leaves before the end is told must not gain by it.
            (End::CutByClient, None) => self.tariff.at_most,
            (_, None) => match billing.usage_missing {
                Unsaid::Observed | Unsaid::Nothing => Msat::ZERO,
                Unsaid::Hold => self.tariff.at_most,
            },
        };
        SaidBill {
            used,
            quantity,
            end,
        }
    }

    /// The log line of a bill.
    pub(crate) const fn line(&self, bill: SaidBill) -> SaidLine {
        SaidLine {
            quantity: bill.quantity,
            end: bill.end,
            complaint: match self.word {
                Word::Nothing => "the upstream did not say what its answer cost",
                Word::Garbled => "what the upstream said of its answer's cost is not one number",
                Word::Number(_) => "what the upstream said of its answer's cost cannot be true",
            },
        }
    }
}

impl SaidLine {
    pub(crate) const fn new(quantity: Option<Decimal>, end: End, complaint: &'static str) -> Self {
        Self {
            quantity,
            end,
            complaint,
        }
    }

    /// Why there was nothing to charge by, where that was so.
    pub(crate) const fn complaint(&self) -> Option<&'static str> {
        match self.end {
            End::CostMissing => Some(self.complaint),
            End::Complete | End::CutByClient | End::CutByUpstream => None,
        }
    }
}

/// One number, on one line. Of several lines nobody can tell which is meant, even where they agree.
fn word_in(fields: &HeaderMap, name: &HeaderName) -> Word {
    let mut lines = fields.get_all(name).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return if fields.contains_key(name) {
            Word::Garbled
        } else {
            Word::Nothing
        };
    };
    let text = line.to_str().map(str::trim).unwrap_or_default();
    Decimal::rounded_up(text).map_or(Word::Garbled, Word::Number)
}

#[cfg(test)]
mod tests;
