//! The answer of a route that sells only a part of it.
//!
//! It is read to its end, because its part is known only then. Nobody has had anything of it before
//! that, so an answer without the part is the upstream's failure and costs nothing.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use farebox_http::aside::{Busy, beside};
use farebox_http::body_budget::Lease;
use farebox_http::decode::{Decoder, Undecodable};
use farebox_http::upstream::Answer;
use http::Response;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, TRAILER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::response::Parts;
use hyper::body::Incoming;

use super::whole::WholeError;
use super::{Fare, Forwarder, ReceiptHeaders, Refused, Waiting};
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::plan::Route;
use crate::refusal::UpstreamError;
use crate::shape::{Extract, Extracted, Form, MAX_ANSWER_BYTES, NotThere};
use farebox_paywall::gauge::Ending;

/// What is left of the payment, as lsat-proxy says it.
const QUOTA: HeaderName = HeaderName::from_static("x-msats-quota");

/// Fields that speak of the bytes of the whole answer.
const OF_THE_WHOLE: [HeaderName; 12] = [
    ACCEPT_RANGES,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    ETAG,
    LAST_MODIFIED,
    TRAILER,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("signature"),
];

/// Why there is nothing to sell.
#[derive(Debug, thiserror::Error)]
enum Unsellable {
    #[error(transparent)]
    Whole(#[from] WholeError),
    #[error(transparent)]
    Encoding(#[from] Undecodable),
    #[error(transparent)]
    Part(#[from] NotThere),
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl Forwarder {
    /// Gives what the route sells of the upstream's answer, which is a success.
    pub(super) async fn pass_back_shaped(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        extract: &Arc<Extract>,
        (answer, mut lease): Answer,
        mut fare: Box<Fare>,
    ) -> Result<Response<AnswerBody>, Refused> {
        let (mut parts, incoming) = answer.into_parts();
        route.prepare_answer(&mut parts.headers, false);
        let room = fare.room.take();
        let part = self.read_part(route, extract, (&parts.headers, incoming), room);
        let waiting = Waiting::of(&mut fare, exchange);
        let part = part.await;
        waiting.over();
        let (extracted, memory) = match part {
            Ok(read) => read,
            Err(error) => return Err(fare.refuse_part(error)),
        };
        lease.give_back();
        fare.judge(parts.status, route, false).await;
        let body = memory.keep(relabel(&mut parts, extracted));
        fare.mark(&mut parts.headers, route);
        if extract.form == Form::LsatProxy {
            fare.receipt.write_quota(&mut parts.headers);
        }
        fare.sell(exchange, self, &parts, &body);
        Ok(Response::from_parts(parts, AnswerBody::own(body)))
    }

    /// Reads the answer to its end, and takes the part out.
    async fn read_part(
        &self,
        route: &Route,
        extract: &Arc<Extract>,
        (headers, incoming): (&HeaderMap, Incoming),
        room: Option<Lease>,
    ) -> Result<(Extracted, Lease), Unsellable> {
        let body = (incoming, Decoder::of(headers)?);
        let read = self.read_whole(route, body, MAX_ANSWER_BYTES, room);
        let (bytes, memory) = read.await?;
        let (length, extract) = (bytes.len(), Arc::clone(extract));
        let extracted = beside(None, length, move || extract.apply(&bytes)).await??;
        Ok((extracted, memory))
    }
}

/// Lets the head of an answer speak of the part of it that is sold.
fn relabel(parts: &mut Parts, extracted: Extracted) -> Bytes {
    let body = Bytes::from(extracted.body);
    let headers = &mut parts.headers;
    for name in &OF_THE_WHOLE {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, extracted.content_type);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    // What an upstream, or its model, wrote is never taken for a page.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    body
}

impl Fare {
    /// The upstream's answer does not have what the route sells.
    fn refuse_part(self, error: Unsellable) -> Refused {
        match error {
            Unsellable::Whole(error) => self.refuse_whole(error),
            Unsellable::Busy(busy) => self.refuse(busy.into()),
            Unsellable::Encoding(_) | Unsellable::Part(_) => {
                self.refuse(UpstreamError::Unsellable(error.into()).into())
            }
        }
    }

    /// Charges a whole answer, and keeps it for a retry where that is wanted.
    fn sell(
        &mut self,
        exchange: &mut Exchange,
        forwarder: &Forwarder,
        parts: &Parts,
        body: &Bytes,
    ) {
        // Announced first: a retry that comes in between waits for it.
        let recorder = self.recorder(&forwarder.replays, parts);
        self.settlement.end(Ending::Complete);
        exchange.charge = self.settlement.charge();
        if let Some(mut recorder) = recorder {
            recorder.push(body);
            recorder.finish(Instant::now());
        }
    }
}

impl ReceiptHeaders {
    /// What is left, under the name that clients of lsat-proxy look for.
    fn write_quota(&self, headers: &mut HeaderMap) {
        if let Self::Held { left, .. } = self
            && let Some(msat) = left.msat
        {
            headers.insert(QUOTA, HeaderValue::from(msat.get()));
        }
    }
}
