//! The answer to a request that is charged by what it turns out to have used.
//!
//! It passes as at a fixed price, while somebody listens for what it cost. Only a whole answer that
//! tells that in its JSON is read to its end first, and so its charge can stand in its headers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use farebox_core::Msat;
use farebox_http::aside::{MAX_INLINE, aside};
use farebox_http::decode::{self, DecodedBody, Decoder, Encoding};
use farebox_http::headers;
use farebox_http::upstream::{Answer, Lease};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::response::Parts;
use hyper::body::Incoming;

use super::whole::{MAX_WHOLE, leased};
use super::{Fare, ReceiptHeaders};
use crate::access_log::Exchange;
use crate::answer::{AnswerBody, GrpcCall, grpc_failed};
use crate::gauge::report::Word;
use crate::payment_fields;
use crate::plan::Route;
use crate::refusal::Refusal;
use crate::settle::Ending;
use crate::worker::Worker;

/// Makes a request ready whose answer will tell its cost. Gives where its bytes are counted.
pub(super) fn prepare(fare: &mut Fare, fields: &mut HeaderMap) -> Option<Arc<AtomicU64>> {
    if let Some(asked) = fare.settlement.asked() {
        asked.forwarded();
    }
    let said = fare.settlement.said()?;
    if said.reads_answer() {
        headers::ask_for_whole(fields);
    }
    if said.hears_trailers() {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    said.forwarded()
}

impl Worker {
    /// Gives the upstream's answer to a request that is charged by what that tells.
    pub(super) async fn pass_back_said(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        (answer, lease): Answer,
        fare: Fare,
        call: GrpcCall,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (mut parts, incoming) = answer.into_parts();
        let mut fare = fare.answered(parts.status, route)?;
        let grpc = farebox_wire::grpc::is_grpc(&parts.headers);
        if let Some(asked) = fare.settlement.asked() {
            asked.answered(parts.status);
        }
        // Taken off before it is judged: what is not charged does not show it either.
        if let Some(said) = fare.settlement.said() {
            said.hear(&mut parts.headers);
        }
        let has_failed = grpc && grpc_failed(&parts.headers);
        let is_charged = fare.judge(parts.status, route, has_failed);
        headers::prepare_response(&mut parts.headers, false, payment_fields::in_answers);
        let reads = fare
            .settlement
            .said()
            .is_some_and(|said| said.reads_answer());
        let decoder = match Encoding::of(&parts.headers) {
            Ok(encoding) if reads && is_charged => encoding.map(Decoder::new),
            // What cannot be read passes as it is, and its cost is missing.
            _ => None,
        };
        if decoder.is_some() {
            decode::forget_encoding(&mut parts.headers);
        }
        if is_charged && reads && is_json(&parts.headers) {
            let answer = (parts, incoming, decoder);
            return self.whole_said(exchange, route, answer, lease, fare).await;
        }
        if is_charged {
            fare.begin_said();
        }
        fare.mark(&mut parts.headers, route);
        let body = (parts, DecodedBody::new(incoming, decoder));
        let call = grpc.then_some(call);
        Ok(self.stream_decoded(route, body, lease, fare, call))
    }

    async fn whole_said(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        (parts, incoming, decoder): (Parts, Incoming, Option<Decoder>),
        mut lease: Lease,
        mut fare: Fare,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let body = match self.read_whole(route, incoming, decoder, MAX_WHOLE).await {
            Ok((body, lease)) => leased(body, lease),
            Err(error) => return Err(fare.refuse_whole(error)),
        };
        lease.give_back();
        let reader = fare.settlement.said().map(|said| said.reader());
        if let Some(reader) = reader {
            let word = read_beside(reader, &body).await;
            fare.hears(word);
        }
        fare.settlement.settle_said(Ending::Complete);
        exchange.charged = fare.settlement.charged();
        exchange.said = fare.settlement.said_line();
        fare.receipt.settle(exchange.charged);
        Ok(self.give_whole(route, parts, body, fare))
    }
}

/// Reads an answer; a long one elsewhere, unless there is no room for that: what it cost is wanted
/// all the same.
async fn read_beside<T: Send + 'static>(
    reader: impl Fn(&[u8]) -> T + Clone + Send + 'static,
    body: &Bytes,
) -> T {
    if body.len() <= MAX_INLINE {
        return reader(body);
    }
    let (elsewhere, shared) = (reader.clone(), body.clone());
    match aside(move || elsewhere(&shared)).await {
        Ok(read) => read,
        Err(_) => reader(body),
    }
}

impl Fare {
    /// A whole answer was read.
    fn hears(&mut self, word: Word) {
        if let Some(said) = self.settlement.said() {
            said.take(word);
        }
    }

    /// The answer is about to pass. What it costs may be known already.
    fn begin_said(&mut self) {
        let Some(said) = self.settlement.said() else {
            return;
        };
        said.begin_stream();
        if let Some(cost) = said.knows_already() {
            self.receipt.settle_up_to(cost);
        }
    }
}

impl ReceiptHeaders {
    /// The cost is known; above the hold it is not the payer's.
    fn settle_up_to(&mut self, cost: Msat) {
        if let Self::Held { charge, .. } = self {
            let charged = cost.min(*charge);
            self.settle(charged);
        }
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
mod tests {
    use super::*;

    #[test]
    fn only_whole_json_is_read_before_it_passes() {
        let reads = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            is_json(&headers)
        };
        assert!(reads("application/json"));
        assert!(reads("Application/JSON; charset=utf-8"));
        assert!(reads("application/vnd.api+json"));
        for other in ["text/event-stream", "application/jsonl", "text/plain", ""] {
            assert!(!reads(other), "{other}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
