//! Sending a kept request to its upstream, and collecting the whole answer.

use std::sync::Arc;

use bytes::Bytes;
use farebox_core::{AccountId, PaymentHash};
use farebox_http::body_budget::{Holder, ReadBody};
use farebox_http::replay::Asked;
use farebox_ledger::{HeldCall, Ledger, Receipt};
use http::uri::InvalidUri;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};

use super::{HeldCalls, KeptAnswer, KeptRequest};
use crate::access_log::{Begun, Exchange};
use crate::answer::AnswerBody;
use crate::arrival::{Arrival, ArrivedBody};
use crate::forward::{self, Uncharged};
use crate::outcome::Outcome;
use crate::plan::{Plan, Route};
use crate::refusal::{AdmissionError, Refusal};
use crate::render;
use farebox_paywall::admit::Admission;
use farebox_paywall::retry_words::RetryWords;

/// Why there is no answer to sell.
type Failure = &'static str;

impl HeldCalls {
    /// The answer to a call whose payment is held, complete and worth its price.
    pub(super) async fn call_upstream(
        &self,
        plan: &Plan,
        call: &HeldCall,
    ) -> Result<KeptAnswer, Failure> {
        let request = Bytes::copy_from_slice(&call.request);
        let request = KeptRequest::parse(request).map_err(|_| "the request cannot be read")?;
        let route = plan.routes.find(&request.host, &request.path);
        let route = route.filter(|route| route.name == call.terms.route && route.sale.is_some());
        let route = route.ok_or("its route is gone")?;
        let mut exchange = self.begin_held(&request, route, call.payment_hash.account());
        let asked = Asked::of(&request.headers);
        let arrival = request
            .into_arrival()
            .map_err(|_| "its address cannot be read")?;
        let payer = call.payment_hash.account();
        let keyring = &self.paywall.keyring;
        let words = RetryWords::of(keyring, payer, &arrival.parts.headers);
        let admission = Admission::accepted(words);
        let answer = self
            .forwarder
            .forward(plan, &mut exchange, route, admission, arrival)
            .await;
        match answer {
            Ok(answer) => self.collect(route, exchange, asked, answer).await,
            Err(refusal) => {
                exchange.status = render::refuse(&mut exchange, &refusal).status();
                Err("the upstream failed")
            }
        }
    }

    fn begin_held(
        &self,
        request: &KeptRequest,
        route: &Arc<Route>,
        payer: AccountId,
    ) -> Box<Exchange> {
        let now = self.paywall.clock.now();
        let begun = Begun {
            request_id: self.ids.request_id(now),
            received_at: now,
            peer: request.peer,
            client: request.client,
        };
        let (log, metrics) = (Arc::clone(&self.log), Arc::clone(&self.metrics));
        let mut exchange = Exchange::begin(log, metrics, begun, request.method.clone());
        exchange.holder = Holder::Payer(payer);
        exchange.path = Arc::from(request.path.as_str());
        exchange.route = Some(Arc::clone(route));
        exchange
    }

    async fn collect(
        &self,
        route: &Route,
        mut exchange: Box<Exchange>,
        asked: Asked,
        answer: Response<AnswerBody>,
    ) -> Result<KeptAnswer, Failure> {
        let (parts, mut body) = answer.into_parts();
        exchange.status = parts.status;
        let sale = route.sale.as_ref();
        let is_charged = sale.is_some_and(|sale| sale.charge_on.charges(parts.status))
            && parts.extensions.get::<Uncharged>().is_none();
        body.report_to(exchange);
        if !is_charged {
            return Err("the upstream's answer is not one that is charged");
        }
        let limit = self.max_answer_bytes;
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|_| "the upstream broke off, or its answer is too long to keep")?;
        Ok(KeptAnswer {
            asked,
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }
}

/// The answer of a call whose payment was taken after the answer was stored.
pub(crate) async fn kept_answer(
    ledger: &Ledger,
    hash: PaymentHash,
    receipt: Receipt,
) -> Result<KeptAnswer, Refusal> {
    let call = ledger.held_call(hash).await?;
    let stored = call.and_then(|call| call.answer).map(Bytes::from);
    let kept = stored.and_then(|stored| KeptAnswer::parse(stored).ok());
    Ok(kept.ok_or(AdmissionError::Finished(receipt))?)
}

impl KeptAnswer {
    /// The answer for a client that comes back for it.
    pub(crate) fn give_again(
        self,
        exchange: &mut Exchange,
        receipt: Receipt,
    ) -> Response<AnswerBody> {
        exchange.outcome = Outcome::Replayed;
        exchange.hold = Some(receipt.hold);
        let mut response = Response::new(AnswerBody::stored(self.body, None));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        forward::write_charge(response.headers_mut(), receipt.charged, receipt.hold);
        response
    }
}

impl KeptRequest {
    fn into_arrival(self) -> Result<Box<Arrival>, InvalidUri> {
        let target = match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method;
        parts.uri = target.parse()?;
        parts.headers = self.headers;
        Ok(Box::new(Arrival {
            parts,
            host: self.host.into(),
            path: self.path.into(),
            body: ArrivedBody::Read(ReadBody::whole(self.body)),
            grpc: None,
        }))
    }
}
