//! The answer to a request that is charged by what it uses.
//!
//! A stream passes on while it is counted, and is charged when it ends. A whole answer is read to
//! its end first: nobody can use a part of it, and so its charge can stand in its headers.

use std::error::Error;
use std::time::Instant;

use bytes::Bytes;
use farebox_core::Msat;
use farebox_ledger::VoidReason;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::{Fare, ReceiptHeaders};
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::body_budget::{BodyError, BudgetExhausted, Keep, Lease, Patience, read_body};
use crate::decode::{self, DecodeFault, DecodedBody, Decoder, Encoding};
use crate::headers;
use crate::meter::Reckoning;
use crate::plan::Route;
use crate::refusal::Refusal;
use crate::upstream::{self, Answer};
use crate::worker::Worker;

/// The longest whole answer, in bytes: ten large pictures in base64.
const MAX_WHOLE: usize = 64 * 1024 * 1024;
/// The slowest that a whole answer may come, once it comes, in bytes per second.
const SLOWEST: u32 = 1024;

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WholeError {
    #[error(transparent)]
    Read(#[from] BodyError),
    #[error(transparent)]
    Decode(#[from] DecodeFault),
}

impl Worker {
    /// Gives the upstream's answer to a metered request.
    pub(super) async fn pass_back_metered(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        (answer, lease): Answer,
        mut fare: Fare,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (mut parts, incoming) = answer.into_parts();
        if route.hides(parts.status) {
            fare.settlement.void(VoidReason::Refused);
            return Err(Refusal::UpstreamRefusesSeller);
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(fare.refuse(Refusal::UpstreamBroken));
        }
        let is_charged = fare.judge(parts.status, route, false);
        headers::prepare_response(&mut parts.headers, false);
        if !is_charged {
            let body = (parts, DecodedBody::plain(incoming));
            return Ok(self.metered_back(route, body, lease, fare));
        }
        let decoder = match Encoding::of(&parts.headers) {
            Ok(encoding) => encoding.map(Decoder::new),
            Err(error) => return Err(fare.unreadable(route, &error)),
        };
        if decoder.is_some() {
            decode::forget_encoding(&mut parts.headers);
        }
        if !is_event_stream(&parts.headers) {
            return self
                .whole(exchange, route, (parts, incoming, decoder), lease, fare)
                .await;
        }
        if let Some(meter) = fare.settlement.meter() {
            meter.begin_stream();
            parts.headers.remove(CONTENT_LENGTH);
        }
        let body = match decoder {
            Some(decoder) => DecodedBody::unpacked(incoming, decoder),
            None => DecodedBody::plain(incoming),
        };
        Ok(self.metered_back(route, (parts, body), lease, fare))
    }

    fn metered_back(
        &self,
        route: &Route,
        (mut parts, body): (Parts, DecodedBody),
        lease: upstream::Lease,
        fare: Fare,
    ) -> Response<AnswerBody> {
        fare.mark(&mut parts.headers, route);
        self.stream_decoded(route, (parts, body), lease, fare, None)
    }

    async fn whole(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        (mut parts, incoming, decoder): (Parts, Incoming, Option<Decoder>),
        mut lease: upstream::Lease,
        mut fare: Fare,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let read = match self.read_leased(route, incoming, decoder).await {
            Ok(read) => read,
            Err(error) => return Err(fare.refuse_whole(route, &error)),
        };
        lease.give_back();
        let body = fare.charge_whole(read);
        exchange.counting = fare.settlement.take_counting();
        exchange.charged = fare.settlement.charged();
        exchange.metered = fare.settlement.line();
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        fare.mark(&mut parts.headers, route);
        if let Some(mut recorder) = fare.recorder(&self.shared.replays, &parts) {
            recorder.push(&body);
            recorder.finish(Instant::now());
        }
        Ok(Response::from_parts(parts, AnswerBody::own(body)))
    }

    /// Reads a whole answer in the clear. Its memory is on the budget until its last byte has left.
    pub(super) async fn read_counted(
        &self,
        route: &Route,
        incoming: Incoming,
        decoder: Option<Decoder>,
    ) -> Result<Bytes, WholeError> {
        let (body, lease) = self.read_leased(route, incoming, decoder).await?;
        Ok(leased(body, lease))
    }

    async fn read_leased(
        &self,
        route: &Route,
        incoming: Incoming,
        decoder: Option<Decoder>,
    ) -> Result<(Bytes, Lease), WholeError> {
        let patience = Patience {
            grace: route.idle_timeout,
            min_bytes_per_second: SLOWEST,
            total: route.timeout.max(route.idle_timeout),
        };
        let budget = &self.shared.answers;
        let read = read_body(incoming, MAX_WHOLE, patience, budget, Keep::BytesOnly).await?;
        let body = read.bytes.unwrap_or_default();
        let Some(decoder) = decoder else {
            return Ok((body, read.lease));
        };
        let (body, lease) = decoder.whole(body, MAX_WHOLE, read.lease).await?;
        Ok((body.into(), lease))
    }
}

impl Fare {
    /// An answer that cannot be read cannot be counted, and is not sold.
    fn unreadable(self, route: &Route, error: &dyn Error) -> Refusal {
        tracing::error!(
            route = route.name.as_str(),
            %error,
            "the upstream compresses its answer although it was asked not to, and it cannot be read: \
             it is not sold"
        );
        self.refuse(Refusal::UpstreamBroken)
    }

    pub(super) fn refuse_whole(self, route: &Route, error: &WholeError) -> Refusal {
        match error {
            WholeError::Read(BodyError::TimedOut) => self.refuse(Refusal::UpstreamTimedOut),
            WholeError::Read(BodyError::BudgetExhausted(full))
            | WholeError::Decode(DecodeFault::NoRoom(full)) => self.no_room(*full),
            WholeError::Read(_) => self.refuse(Refusal::UpstreamBroken),
            WholeError::Decode(fault) => self.unreadable(route, fault),
        }
    }

    /// The answer is there, and no memory for it.
    fn no_room(mut self, full: BudgetExhausted) -> Refusal {
        self.settlement.void(VoidReason::CutShort);
        Refusal::Body(full.into())
    }

    /// Charges a whole answer, and writes into it what it cost.
    fn charge_whole(&mut self, (body, lease): (Bytes, Lease)) -> Bytes {
        let Some(meter) = self.settlement.meter() else {
            return body;
        };
        let answer = meter.read(&body);
        let reckoning = meter.bill_whole(&answer);
        let is_known = matches!(reckoning, Reckoning::Known(_));
        self.settlement.reckon(reckoning);
        if !is_known {
            // No answer waits until it is counted: as of a stream, its headers tell what is held.
            return leased(body, lease);
        }
        let charged = self.settlement.charged();
        self.receipt.settle(charged);
        let meter = self.settlement.meter();
        let priced = meter.and_then(|meter| meter.with_cost(&answer, charged));
        leased(priced.map_or(body, Bytes::from), lease)
    }
}

/// A body that gives its memory back to the budget when its last byte has left.
fn leased(body: Bytes, mut lease: Lease) -> Bytes {
    struct Leased {
        body: Bytes,
        _lease: Lease,
    }

    impl AsRef<[u8]> for Leased {
        fn as_ref(&self) -> &[u8] {
            &self.body
        }
    }

    // The cost adds a few bytes to what was leased, which are not worth failing for.
    lease.shrink_to(body.len());
    Bytes::from_owner(Leased {
        body,
        _lease: lease,
    })
}

impl ReceiptHeaders {
    /// The charge is known: what of the hold it left is back on the balance.
    pub(super) fn settle(&mut self, charged: Msat) {
        if let Self::Held {
            charge,
            left,
            is_most,
            ..
        } = self
        {
            let back = charge.saturating_sub(charged);
            left.msat = left.msat.checked_add(back).unwrap_or(left.msat);
            (*charge, *is_most) = (charged, false);
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.and_then(|kind| kind.get(..EVENT_STREAM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}
