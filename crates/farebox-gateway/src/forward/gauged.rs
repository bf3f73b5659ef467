//! The answer to a request whose charge a gauge finds.
//!
//! It passes while the gauge watches, and is charged when it ends. Only where the gauge wants the whole
//! of it, it is read to its end first: nobody can use a part of such an answer, and so its charge can
//! stand in its headers.

use bytes::Bytes;
use farebox_core::Msat;
use farebox_http::aside::{self, Busy, MAX_INLINE};
use farebox_http::decode::{self, Decoder};
use farebox_http::upstream::Answer;
use http::Response;
use http_body::Body as _;

use super::whole::MAX_WHOLE;
use super::{Coming, Fare, Forwarder, ReceiptHeaders, Refused, Waiting};
use crate::access_log::Exchange;
use crate::answer::{AnswerBody, GrpcCall, has_failed};
use crate::plan::Route;
use crate::refusal::UpstreamError;
use farebox_paywall::gauge::{Form, Gauge, Whole};
use farebox_paywall::settle::Charge;
use farebox_wire::grpc::Framing;

impl Forwarder {
    /// Gives the upstream's answer to a request whose charge a gauge finds.
    pub(super) async fn pass_back_gauged(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        (answer, lease): Answer,
        fare: Box<Fare>,
        call: GrpcCall,
    ) -> Result<Response<AnswerBody>, Refused> {
        let (mut parts, incoming) = answer.into_parts();
        let mut fare = fare.answered(parts.status, route)?;
        let framing = Framing::of(&parts.headers);
        let is_over = incoming.is_end_stream();
        let has_failed = has_failed(call, framing, (&parts.headers, is_over));
        fare.judge(parts.status, route, has_failed).await;
        let form = match fare.settlement.gauge() {
            Some(gauge) => gauge.head(parts.status, &mut parts.headers),
            None => Form::AsSent { cost: None },
        };
        route.prepare_answer(&mut parts.headers, false);
        let decoder = if let Form::AsSent { cost } = form {
            if let Some(cost) = cost {
                fare.receipt.settle(cost);
            }
            None
        } else {
            match Decoder::of(&parts.headers) {
                Ok(decoder) => decoder,
                // What cannot be read passes as it is, where its cost may be missing.
                Err(_) if fare.settlement.sells_unread() => None,
                Err(error) => return Err(fare.refuse(UpstreamError::broken(error).into())),
            }
        };
        if decoder.is_some() {
            decode::forget_encoding(&mut parts.headers);
        }
        let grpc = call.answered_by(framing, &parts.headers);
        let mut coming = Coming {
            parts,
            incoming,
            decoder,
            lease,
        };
        if form == Form::Whole {
            return self.sell_whole(exchange, route, coming, fare).await;
        }
        fare.mark(&mut coming.parts.headers, route);
        Ok(self.stream_back(route, coming, fare, grpc))
    }

    /// Reads a whole answer, charges it, and says in it what it cost where it has a place for that.
    async fn sell_whole(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        coming: Coming,
        mut fare: Box<Fare>,
    ) -> Result<Response<AnswerBody>, Refused> {
        let Coming {
            parts,
            incoming,
            decoder,
            mut lease,
        } = coming;
        let room = fare.room.take();
        let waiting = Waiting::of(&mut fare, exchange);
        let read = self.read_whole(route, (incoming, decoder), MAX_WHOLE, room);
        let read = read.await;
        waiting.over();
        let (mut body, memory) = match read {
            Ok(read) => read,
            Err(error) => return Err(fare.refuse_whole(error)),
        };
        lease.give_back();
        if let Some((gauge, held)) = fare.settlement.read() {
            let whole = match bill_beside(gauge, &body, held).await {
                Ok(whole) => whole,
                Err(busy) => return Err(fare.refuse(busy.into())),
            };
            fare.settlement.settle(whole.billed);
            body = whole.document.map_or(body, Bytes::from);
        }
        exchange.charge = fare.settlement.charge();
        if let Charge::Known(charged) = &exchange.charge {
            fare.receipt.settle(charged.msat);
        }
        let head = (parts, &exchange.method);
        Ok(self.give_whole(route, head, memory.keep(body), fare))
    }
}

/// Bills an answer that was read; a long one elsewhere, unless there is no room for that: what it
/// cost is wanted all the same.
async fn bill_beside(gauge: Box<dyn Gauge>, body: &Bytes, held: Msat) -> Result<Whole, Busy> {
    if body.len() <= MAX_INLINE {
        return Ok(gauge.whole(body, held));
    }
    match aside::place().await {
        Ok(place) => {
            let body = body.clone();
            place.work(move || gauge.whole(&body, held)).await
        }
        Err(Busy) => Ok(gauge.whole(body, held)),
    }
}

impl ReceiptHeaders {
    /// The cost is known: what of the hold it left is back on the balance. Above the hold
    /// it is not the payer's.
    pub(super) fn settle(&mut self, cost: Msat) {
        if let Self::Held {
            charge,
            left,
            is_most,
            ..
        } = self
        {
            let charged = cost.min(*charge);
            let back = charge.saturating_sub(charged);
            left.msat = left.msat.map(|left| left.checked_add(back).unwrap_or(left));
            (*charge, *is_most) = (charged, false);
        }
    }
}

#[cfg(test)]
mod tests;
