//! The answer to a request that is charged by what it uses.
//!
//! A stream passes on while it is counted, and is charged when it ends. A whole answer is read to
//! its end first: nobody can use a part of it, and so its charge can stand in its headers.

use bytes::Bytes;
use farebox_core::Msat;
use farebox_http::body_budget;
use farebox_http::decode::{self, DecodedBody, Decoder, Encoding};
use farebox_http::headers;
use farebox_http::upstream::{Answer, Lease};
use http::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::response::Parts;
use hyper::body::Incoming;

use super::whole::{MAX_WHOLE, leased};
use super::{Fare, ReceiptHeaders};
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::gauge::model::Reckoning;
use crate::payment_fields;
use crate::plan::Route;
use crate::refusal::{Refusal, UpstreamError};
use crate::worker::Worker;

impl Worker {
    /// Gives the upstream's answer to a metered request.
    pub(super) async fn pass_back_metered(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        (answer, lease): Answer,
        fare: Fare,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (mut parts, incoming) = answer.into_parts();
        let mut fare = fare.answered(parts.status, route)?;
        let is_charged = fare.judge(parts.status, route, false);
        headers::prepare_response(&mut parts.headers, false, payment_fields::in_answers);
        if !is_charged {
            fare.mark(&mut parts.headers, route);
            let body = (parts, DecodedBody::plain(incoming));
            return Ok(self.stream_decoded(route, body, lease, fare, None));
        }
        let decoder = match Encoding::of(&parts.headers) {
            Ok(encoding) => encoding.map(Decoder::new),
            Err(error) => return Err(fare.refuse(UpstreamError::broken(error).into())),
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
        fare.mark(&mut parts.headers, route);
        let body = (parts, DecodedBody::new(incoming, decoder));
        Ok(self.stream_decoded(route, body, lease, fare, None))
    }

    async fn whole(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        (parts, incoming, decoder): (Parts, Incoming, Option<Decoder>),
        mut lease: Lease,
        mut fare: Fare,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let read = match self.read_whole(route, incoming, decoder, MAX_WHOLE).await {
            Ok(read) => read,
            Err(error) => return Err(fare.refuse_whole(error)),
        };
        lease.give_back();
        let body = fare.charge_whole(read);
        exchange.counting = fare.settlement.take_counting();
        exchange.charged = fare.settlement.charged();
        exchange.metered = fare.settlement.line();
        Ok(self.give_whole(route, parts, body, fare))
    }
}

impl Fare {
    /// Charges a whole answer, and writes into it what it cost.
    fn charge_whole(&mut self, (body, lease): (Bytes, body_budget::Lease)) -> Bytes {
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

#[cfg(test)]
mod tests;
