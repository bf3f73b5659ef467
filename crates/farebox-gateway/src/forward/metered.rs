//! The answer to a request that is charged by what it uses.
//!
//! A stream passes on while it is counted, and is charged when it ends. A whole answer is read to
//! its end first: nobody can use a part of it, and so its charge can stand in its headers.

use std::time::Instant;

use bytes::Bytes;
use farebox_core::Msat;
use farebox_ledger::VoidReason;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::{Fare, ReceiptHeaders};
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::body_budget::{BodyError, Keep, Patience, read_body};
use crate::headers;
use crate::plan::Route;
use crate::refusal::Refusal;
use crate::upstream::{Answer, Lease};
use crate::worker::Worker;

/// The longest whole answer, in bytes: ten large pictures in base64.
const MAX_WHOLE: usize = 64 * 1024 * 1024;
/// The slowest that a whole answer may come, once it comes, in bytes per second.
const SLOWEST: u32 = 1024;

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
        if is_charged && is_compressed(&parts.headers) {
            tracing::error!(
                route = route.name.as_str(),
                "the upstream compresses its answer although it was asked not to: it cannot be \
                 counted, and is not sold"
            );
            return Err(fare.refuse(Refusal::UpstreamBroken));
        }
        if is_charged && !is_event_stream(&parts.headers) {
            return self
                .whole(exchange, route, parts, incoming, lease, fare)
                .await;
        }
        if let Some(meter) = fare.settlement.meter().filter(|_| is_charged) {
            meter.begin_stream();
            parts.headers.remove(CONTENT_LENGTH);
        }
        fare.mark(&mut parts.headers, route);
        Ok(self.stream_back(
            route,
            (Response::from_parts(parts, incoming), lease),
            fare,
            None,
        ))
    }

    async fn whole(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        mut parts: Parts,
        incoming: Incoming,
        mut lease: Lease,
        mut fare: Fare,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let patience = Patience {
            grace: route.idle_timeout,
            min_bytes_per_second: SLOWEST,
            total: route.timeout.max(route.idle_timeout),
        };
        let budget = &self.shared.bodies;
        let read = read_body(incoming, MAX_WHOLE, patience, budget, Keep::Bytes).await;
        let body = match read {
            Ok(read) => read.bytes.unwrap_or_default(),
            Err(BodyError::TimedOut) => return Err(fare.refuse(Refusal::UpstreamTimedOut)),
            Err(_) => return Err(fare.refuse(Refusal::UpstreamBroken)),
        };
        lease.give_back();
        let body = fare.charge_whole(body);
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
}

impl Fare {
    /// Charges a whole answer, and writes into it what it cost.
    fn charge_whole(&mut self, body: Bytes) -> Bytes {
        let Some(bill) = self.settlement.meter().map(|meter| meter.bill_whole(&body)) else {
            return body;
        };
        self.settlement.settle(bill);
        let charged = self.settlement.charged();
        self.receipt.settle(charged);
        match self.settlement.meter() {
            Some(meter) => meter.with_cost(body, charged),
            None => body,
        }
    }
}

impl ReceiptHeaders {
    /// The charge is known: what of the hold it left is back on the balance.
    fn settle(&mut self, charged: Msat) {
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

fn is_compressed(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
}
