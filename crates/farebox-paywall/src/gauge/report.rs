//! How much one call used, as its upstream reports it: in a header or a trailer, or in its JSON.
//!
//! | end | charged, unless the seller says otherwise |
//! |---|---|
//! | complete | what was reported |
//! | complete, with 2xx, and nothing that can be true was reported | all that was held; counted and logged as `cost_missing` |
//! | complete, or cut by the client, and an event that was too long to be looked into came after the last report | all that was held, whatever the seller says |
//! | the same with another status that is charged, or with a report of zero there | nothing, not the least either |
//! | cut by the client | what was reported; all that was held, where the upstream did not report in time |
//! | cut by the upstream, or by our own end | what was reported until then |
//! | before the first byte | nothing |
//!
//! Bytes of the answer pass untouched. A header that reports is the seller's own business; `forward`
//! takes it off, unless the seller wants it seen.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use farebox_core::Msat;
use farebox_http::headers;
use farebox_meter::pointer::Unreadable;
use farebox_meter::stream::Told;
use farebox_meter::{Decimal, Pointer};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};

use super::finding::Billed;
use super::tariff::Tariff;
use super::{Ending, Form, Gauge, Unsaid, Whole};

/// Listens for the report of one answer.
pub struct Report {
    place: Place,
    tariff: Tariff,
    reported: Reported,
    /// The answer's status is of those that deliver something.
    is_success: bool,
}

/// Where the upstream reports.
enum Place {
    /// In a header or trailer of this name.
    Header(HeaderName),
    /// In the JSON of its answer.
    Json(Pointer),
    /// In the last event of a stream that has it.
    Events(Told),
}

/// What was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    /// Nothing yet.
    Missing,
    Number(Decimal),
    /// Something that is no number, or two that are not one.
    Garbled,
    /// Perhaps something, in an event that was too long to be looked into.
    Overlooked,
}

impl Reported {
    const fn complaint(self) -> &'static str {
        match self {
            Self::Missing => "the upstream did not say what its answer cost",
            Self::Garbled => "what the upstream said of its answer's cost is not one number",
            Self::Overlooked => {
                "an event of the answer, which may say what it cost, was too long to be looked into"
            }
            Self::Number(_) => "what the upstream said of its answer's cost cannot be true",
        }
    }
}

impl Report {
    /// A report in a header or trailer of this name.
    pub const fn in_header(name: HeaderName, tariff: Tariff) -> Self {
        Self::new(Place::Header(name), tariff)
    }

    /// A report in the JSON of the answer, or of the events that it consists of.
    pub const fn in_json(pointer: Pointer, tariff: Tariff) -> Self {
        Self::new(Place::Json(pointer), tariff)
    }

    const fn new(place: Place, tariff: Tariff) -> Self {
        Self {
            place,
            tariff,
            reported: Reported::Missing,
            is_success: true,
        }
    }

    /// What the head said stands: it may have been told to the client.
    fn hear(&mut self, fields: &HeaderMap) {
        if let (Place::Header(name), Reported::Missing) = (&self.place, self.reported) {
            self.reported = in_fields(fields, name);
        }
    }

    /// How much was used, as far as that is known.
    fn quantity(&self) -> Option<Decimal> {
        match (self.reported, &self.place) {
            (Reported::Number(number), _) => Some(number),
            (Reported::Missing, Place::Events(events)) => events.last(),
            _ => None,
        }
    }

    /// What that costs; none where it cannot be true.
    fn cost(&self) -> Option<Msat> {
        let quantity = self.quantity()?;
        if quantity.is_zero() && !self.is_success {
            return Some(Msat::ZERO);
        }
        self.tariff.cost(quantity)
    }
}

impl Gauge for Report {
    fn request(&mut self, fields: &mut HeaderMap) -> Option<Arc<AtomicU64>> {
        match self.place {
            // Upstreams send trailers only to those that ask for them.
            Place::Header(_) => {
                fields.insert(TE, HeaderValue::from_static("trailers"));
            }
            Place::Json(_) | Place::Events(_) => headers::ask_for_whole(fields),
        }
        None
    }

    fn head(&mut self, status: StatusCode, fields: &mut HeaderMap) -> Form {
        self.is_success = status.is_success();
        self.hear(fields);
        match &self.place {
            Place::Header(_) => Form::AsSent { cost: self.cost() },
            Place::Json(_) if is_json(fields) => Form::Whole,
            Place::Json(pointer) => {
                self.place = Place::Events(Told::new(pointer.clone()));
                Form::Stream
            }
            Place::Events(_) => Form::Stream,
        }
    }

    fn frame(&mut self, data: Bytes) -> Bytes {
        if let Place::Events(events) = &mut self.place {
            events.push(&data);
        }
        data
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.hear(trailers);
    }

    fn progress(&self) -> Option<Msat> {
        self.cost()
    }

    /// Where the upstream has reported already, there is nothing to wait for.
    fn drains(&self) -> Option<Duration> {
        let limit = self.tariff.billing.on_disconnect.drains();
        let has_reported = matches!(self.place, Place::Header(_)) && self.cost().is_some();
        limit.filter(|_| !has_reported)
    }

    fn bill(mut self: Box<Self>, ending: Ending) -> Billed {
        if let Place::Events(events) = &mut self.place {
            events.finish();
            // The client can bring it about, so that the seller's leniency is not meant for it.
            if events.has_overlooked() && ending != Ending::CutByUpstream {
                self.reported = Reported::Overlooked;
                self.tariff.billing.usage_missing = Unsaid::Hold;
            }
        }
        let cost = match self.cost() {
            None if !self.is_success => Ok(Msat::ZERO),
            cost => cost.ok_or(self.reported.complaint()),
        };
        Billed::Known(self.tariff.bill(ending, self.quantity(), cost))
    }

    fn whole(mut self: Box<Self>, body: &[u8], _: Msat) -> Whole {
        if let Place::Json(pointer) = &self.place {
            self.reported = match pointer.cost(body) {
                Ok(number) => Reported::Number(number),
                Err(Unreadable::Missing(_)) => Reported::Missing,
                Err(_) => Reported::Garbled,
            };
        }
        self.bill(Ending::Complete).into()
    }
}

/// One number, on one line. Of several lines nobody can tell which is meant, even where they agree.
fn in_fields(fields: &HeaderMap, name: &HeaderName) -> Reported {
    let mut lines = fields.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Reported::Missing,
        (Some(line), None) => {
            let text = line.to_str().map(str::trim).unwrap_or_default();
            Decimal::rounded_up(text).map_or(Reported::Garbled, Reported::Number)
        }
        (Some(_), Some(_)) => Reported::Garbled,
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let Some(kind) = kind.and_then(|kind| kind.split(|byte| *byte == b';').next()) else {
        return false;
    };
    let kind = kind.trim_ascii().to_ascii_lowercase();
    kind == b"application/json" || kind.ends_with(b"+json")
}

#[cfg(test)]
mod tests;
