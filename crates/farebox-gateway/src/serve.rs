//! The life of one request, in order. Each step is a file of its name.

mod demand;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use farebox_http::body_budget::{ByteBudget, Holder, Keep};
use farebox_http::client_addr::AddressPrefix;
use farebox_http::cors::Preflight;
use farebox_http::limits::{Guest, NoPlace, Place};
use farebox_http::listen::Serve;
use farebox_ledger::Receipt;
use farebox_paywall::admit::{Admission, Finished, Verdict};
use farebox_paywall::ask::{Ask, Fingerprint};
use farebox_paywall::credential::Presented;
use farebox_paywall::keys;
use farebox_paywall::payer::{Known, Payer};
use farebox_paywall::price::Quote;
use farebox_wire::grpc::ContentType;
use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::access_log::{Audience, Begun, Exchange};
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::change;
use crate::claim::form;
use crate::claim::visit::Visit;
use crate::held::kept_answer;
use crate::lookalike::find_route;
use crate::outcome::Outcome;
use crate::plan::{Plan, Route, Sold};
use crate::refusal::{AdmissionError, KeyFault, Overload, Refusal, RequestError};
use crate::render;
use crate::shape::Shape;
use crate::worker::Worker;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("farebox-replayed");

/// An answer of ours that is no longer takes about as much memory as its connection, in bytes.
const SMALL_ANSWER: u64 = 16 * 1024;

impl Serve for Worker {
    type Body = AnswerBody;

    /// Those of a proxy are of many clients. Whether anybody has paid is not known before a request.
    fn let_in(&self, peer: IpAddr, limit: u64) -> Result<Option<Place>, NoPlace> {
        let plan = self.shared.plan.load();
        if plan.server.trusted_proxies.trusts(peer) {
            return Ok(None);
        }
        let guest = Guest {
            holder: Holder::Stranger(AddressPrefix::of(peer)),
            has_paid: true,
        };
        self.shared.connections.take(limit, guest, 1).map(Some)
    }

    /// Serves one request. Every way through ends in an answer and a log line.
    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let plan = self.shared.plan.load_full();
        let version = request.version();
        let mut exchange = self.begin(&plan, &request, peer);
        let grpc = ContentType::of(request.headers());
        let takes_trailers = change::takes_trailers(request.headers());
        if let Some(kind) = grpc {
            exchange.audience = Audience::Grpc(kind);
        }
        let mut response = match self.steps(&plan, &mut exchange, grpc, request).await {
            Ok(response) => response,
            Err(refusal) => render::refuse(&mut exchange, &refusal),
        };
        if let Some(due) = exchange.change.clone() {
            let parts = Box::pin(change::tell(&due, response.headers_mut())).await;
            let told = change::Told {
                parts,
                takes_trailers,
            };
            let (mut parts, mut body) = response.into_parts();
            body.end_with_change(&due, told, &mut parts.headers);
            response = Response::from_parts(parts, body);
        }
        if exchange.brings_coins {
            change::point(response.headers_mut());
        }
        exchange.status = response.status();
        response
            .headers_mut()
            .insert(REQUEST_ID, exchange.request_id_header.clone());
        response.body_mut().report_to(exchange);
        if version == Version::HTTP_2 {
            response.body_mut().watched_by(&self.watched);
        }
        Ok(response)
    }
}

impl Worker {
    fn begin(&self, plan: &Plan, request: &Request<Incoming>, peer: IpAddr) -> Box<Exchange> {
        let now = self.shared.paywall.clock.now();
        let begun = Begun {
            request_id: self.ids.request_id(now),
            received_at: now,
            peer,
            client: plan
                .server
                .trusted_proxies
                .client_address(peer, request.headers()),
        };
        let (log, metrics) = (
            Arc::clone(&self.shared.log),
            Arc::clone(&self.shared.metrics),
        );
        Exchange::begin(log, metrics, begun, request.method().clone())
    }

    async fn steps(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        grpc: Option<ContentType>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (parameters, names) = (plan.server.parameters(), plan.server.unusual_names());
        let arrival = Arrival::read(parameters, names, grpc, request)?;
        // Before our own log has it.
        if keys::is_in_address(&arrival.path, arrival.parts.uri.query()) {
            return Err(KeyFault::InAddress.into());
        }
        exchange.path = Arc::clone(&arrival.path);
        if &*arrival.path == form::PATH {
            return Box::pin(self.shared.claims.take_form(plan, exchange, *arrival)).await;
        }
        if crate::own::is_own(&arrival.path) {
            let own = &self.shared.own;
            let answer = Box::pin(own.answer(&self.reader, plan, exchange, *arrival)).await?;
            return self.lease(exchange.holder, answer);
        }
        let route = find_route(&plan.routes, &arrival.host, &arrival.path)?;
        exchange.route = Some(Arc::clone(route));
        let Some(cors) = &route.cors else {
            return self.serve_route(plan, exchange, route, arrival).await;
        };
        if let Some(preflight) = cors.preflight(&arrival.parts.method, &arrival.parts.headers) {
            exchange.outcome = Outcome::Free;
            return Ok(preflight_answer(preflight));
        }
        let origin = origin_of(&arrival.parts.headers);
        let mut response = match self.serve_route(plan, exchange, route, arrival).await {
            Ok(response) => response,
            Err(refusal) => render::refuse(exchange, &refusal),
        };
        cors.apply(&origin, response.headers_mut());
        Ok(response)
    }

    /// Serves a request on its route. What is between us and a browser begins and ends here.
    async fn serve_route(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        mut arrival: Box<Arrival>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let scheme = self.forwarder.scheme;
        let mut visit = Visit::take(plan, scheme, exchange.peer, route, &mut arrival);
        if visit.as_ref().is_some_and(|visit| visit.html) {
            exchange.audience = Audience::Person;
        }
        let served = self
            .serve_visit(plan, exchange, route, arrival, visit.as_deref_mut())
            .await;
        match visit {
            None => served,
            Some(visit) => Ok(visit.see_off(exchange, served)),
        }
    }

    async fn serve_visit(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        mut arrival: Box<Arrival>,
        mut visit: Option<&mut Visit>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        route.check_method(&arrival.parts.method)?;
        route.check_length(&arrival)?;
        let paywall = &self.shared.paywall;
        let presented = self
            .reader
            .take(&mut arrival.parts.headers, &paywall.keyring);
        exchange.brings_coins = matches!(presented, Ok(Presented::Ecash(_)));
        let free = Admission::free();
        let Some(sale) = &route.sale else {
            self.fill(exchange.holder, route, &mut arrival).await?;
            return self
                .forwarder
                .forward(plan, exchange, route, free, arrival)
                .await;
        };
        if let Some(visit) = visit.as_deref().filter(|visit| visit.asks_status) {
            return Box::pin(self.shared.claims.status(plan, exchange, route, visit)).await;
        }
        if sale.is_free(&arrival.parts.method, &arrival.path)? {
            exchange.holder = paywall.holder_of(&presented, exchange.client).await;
            paywall.free.try_take(exchange.holder, Instant::now())?;
            arrival.drop_body();
            self.fill(exchange.holder, route, &mut arrival).await?;
            return self
                .forwarder
                .forward(plan, exchange, route, free, arrival)
                .await;
        }
        let sold = Sold { plan, route, sale };
        let claims = &self.shared.claims;
        let credential = claims
            .redeem(plan, exchange, route, presented, visit.as_deref_mut())
            .await?;
        let ask = self.ask(sold, exchange, &arrival);
        let payer = paywall.payer(credential, &ask).await?;
        exchange.holder = payer.holder(exchange.client);
        self.fill(exchange.holder, route, &mut arrival).await?;
        let quote = self.price(sold, exchange, &payer, &mut arrival).await?;
        let fingerprint = self
            .fingerprint(sold, exchange, &payer, &mut arrival)
            .await?;
        if let Some(payment) = payer.bought_alone().filter(|_| sale.offer.holds_payment()) {
            self.shared.held.open.wait_for_end(payment).await;
        }
        let ask = self.ask(sold, exchange, &arrival);
        match paywall.admit(payer, quote, fingerprint, &ask).await? {
            Verdict::Admitted(mut admission) => {
                exchange.change = admission.change.take();
                self.forwarder
                    .forward(plan, exchange, route, admission, arrival)
                    .await
            }
            Verdict::Finished(finished) => {
                let headers = &arrival.parts.headers;
                self.answer_again(exchange, finished, headers).await
            }
            Verdict::Owed(debt) => {
                Box::pin(self.demand(sold, exchange, arrival, visit.as_deref(), debt)).await
            }
        }
    }

    /// Puts what the client sent into the route's template, if it has one.
    async fn fill(
        &self,
        holder: Holder,
        route: &Route,
        arrival: &mut Arrival,
    ) -> Result<(), Refusal> {
        let Some(shape) = &route.shape else {
            return Ok(());
        };
        // Who pays nothing is told the price; nothing is held for what would be refused.
        if let Holder::Payer(_) = holder {
            Shape::check_method(&arrival.parts.method)?;
        }
        let share = self.share(holder, arrival);
        Box::pin(shape.fill(arrival, route.max_read_bytes, &share, holder)).await
    }

    /// What the body of a request is kept on. One without a body takes nothing, and asks for no share.
    fn share(&self, holder: Holder, arrival: &Arrival) -> Arc<ByteBudget> {
        let bodies = &self.shared.bodies;
        if arrival.has_unread_body() {
            bodies.of(holder)
        } else {
            Arc::clone(bodies.whole())
        }
    }

    /// The request as the paywall has to know it.
    fn ask<'a>(&self, sold: Sold<'a>, exchange: &'a Exchange, arrival: &'a Arrival) -> Ask<'a> {
        Ask {
            rules: &sold.plan.payments,
            route: &sold.route.name,
            sale: sold.sale,
            request: exchange.request_id,
            hold: self.ids.hold_id(exchange.received_at),
            received_at: exchange.received_at,
            client: exchange.client,
            holder: exchange.holder,
            thread: self.index,
            method: &arrival.parts.method,
            path: &arrival.path,
            query: arrival.parts.uri.query(),
            headers: &arrival.parts.headers,
            body: arrival.body_facts(),
        }
    }

    /// What the request costs its payer. As much of its body is read as that takes.
    async fn price(
        &self,
        sold: Sold<'_>,
        exchange: &mut Exchange,
        payer: &Payer,
        arrival: &mut Arrival,
    ) -> Result<Quote, Refusal> {
        let paywall = &self.shared.paywall;
        let ask = self.ask(sold, exchange, arrival);
        if paywall.reads(payer, &ask)? {
            let share = self.share(exchange.holder, arrival);
            let limit = sold.route.max_read_bytes;
            arrival.digest(limit, &share, Keep::Bytes).await?;
        }
        let ask = self.ask(sold, exchange, arrival);
        let quote = paywall.price(payer, &ask).await?;
        exchange.rate = quote.rate();
        Ok(quote)
    }

    /// What the request is known by, as exactly as its payer demands. Its body is read for that,
    /// unless it says that it is too long and what pays for it is not bound to it.
    async fn fingerprint(
        &self,
        sold: Sold<'_>,
        exchange: &Exchange,
        payer: &Payer,
        arrival: &mut Arrival,
    ) -> Result<Fingerprint, Refusal> {
        let limit = sold.route.max_read_bytes;
        let known = payer.knows(&arrival.parts.headers);
        let (length, _) = arrival.body_length();
        match known {
            Known::Not => return Ok(Fingerprint::None),
            Known::Told if length > limit as u64 => {
                return Ok(Fingerprint::Outline(arrival.outline(length)));
            }
            Known::Told | Known::Exactly => {}
        }
        let share = self.share(exchange.holder, arrival);
        let digest = arrival.digest(limit, &share, Keep::Bytes);
        digest.await.map(Fingerprint::Whole)
    }

    /// The answer that was paid for before: from memory, or from the store where the payment was
    /// taken only after the answer was in it. `headers` are those of the retry.
    async fn answer_again(
        &self,
        exchange: &mut Exchange,
        finished: Finished,
        headers: &HeaderMap,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let Finished {
            receipt,
            bought_by,
            change,
        } = finished;
        exchange.change = change;
        let again = self.replay(exchange, receipt, headers);
        let answer = match (again, bought_by) {
            (Err(AdmissionError::Finished(receipt)), Some(payment)) => {
                let ledger = &self.shared.paywall.ledger;
                let kept = kept_answer(ledger, payment, receipt).await?;
                let differs = kept.asked.unlike(headers, kept.status, &kept.headers);
                AdmissionError::check_alike(receipt, differs)?;
                kept.give_again(exchange, receipt)
            }
            (again, _) => again?,
        };
        self.lease(exchange.holder, answer)
    }

    /// Lets an answer that was not forwarded for leave on the share of whoever asked.
    fn lease(
        &self,
        holder: Holder,
        mut answer: Response<AnswerBody>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        if answer.body().size_hint().lower() > SMALL_ANSWER {
            let share = self.forwarder.answers.of(holder);
            let leased = answer.body_mut().lease_from(&share);
            leased.map_err(Overload::Room)?;
        }
        Ok(answer)
    }

    fn replay(
        &self,
        exchange: &mut Exchange,
        receipt: Receipt,
        headers: &HeaderMap,
    ) -> Result<Response<AnswerBody>, AdmissionError> {
        let replays = &self.forwarder.replays;
        // Asked first: an answer that is kept in between is found.
        let missing = if replays.is_finishing(receipt.hold) {
            AdmissionError::InFlight
        } else {
            AdmissionError::Finished(receipt)
        };
        let stored = replays.find(receipt.hold, Instant::now()).ok_or(missing)?;
        let differs = stored.asked.unlike(headers, stored.status, &stored.headers);
        AdmissionError::check_alike(receipt, differs)?;
        exchange.outcome = Outcome::Replayed;
        exchange.hold = Some(receipt.hold);
        let mut response = Response::new(AnswerBody::stored(
            stored.body.clone(),
            stored.trailers.clone(),
        ));
        *response.status_mut() = stored.status;
        *response.headers_mut() = stored.headers.clone();
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }
}

impl Route {
    /// Refuses a body that says itself that it is too long, before anybody pays for it.
    fn check_length(&self, arrival: &Arrival) -> Result<(), Refusal> {
        let limit = self.max_body_bytes;
        let (declared, _) = arrival.body_length();
        if declared > limit {
            Err(RequestError::BodyTooLarge { limit }.into())
        } else {
            Ok(())
        }
    }

    /// TRACE is refused everywhere: a server that knows it would read back to the client what it
    /// was sent, the seller's own secrets included. Some take it in small letters too; all other methods
    /// are compared as they were sent.
    fn check_method(&self, method: &Method) -> Result<(), Refusal> {
        if method.as_str().eq_ignore_ascii_case("TRACE") {
            let allowed = self.http_methods.as_deref().unwrap_or_default();
            return Err(RequestError::only(allowed).into());
        }
        match &self.http_methods {
            Some(allowed) if !allowed.contains(method) => Err(RequestError::only(allowed).into()),
            _ => Ok(()),
        }
    }
}

/// The part of a request's headers that `Cors` judges an answer by.
fn origin_of(headers: &HeaderMap) -> HeaderMap {
    headers
        .get_all(ORIGIN)
        .iter()
        .map(|origin| (ORIGIN, origin.clone()))
        .collect()
}

fn preflight_answer(preflight: Preflight) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::empty());
    match preflight {
        Preflight::Allowed(headers) => {
            *response.status_mut() = StatusCode::NO_CONTENT;
            *response.headers_mut() = headers;
        }
        Preflight::Refused => *response.status_mut() = StatusCode::FORBIDDEN,
    }
    response
}
