//! The life of one request, in order. Each step is a file of its name.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox_core::{Kind, Msat, RequestDigest};
use farebox_http::body_budget::{Keep, Patience, read_body};
use farebox_http::client_addr::AddressPrefix;
use farebox_http::cors::Preflight;
use farebox_http::listen::Serve;
use farebox_http::path::{PathError, lenient_reading};
use farebox_http::routes::RouteTable;
use farebox_ledger::Receipt;
use http::header::{EXPECT, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::access_log::{Audience, Begun, Exchange};
use crate::admit::{self, Admission, Asked, Fingerprint, Verdict};
use crate::answer::AnswerBody;
use crate::arrival::{Arrival, ArrivedBody};
use crate::challenge::Debt;
use crate::claim::form;
use crate::claim::redeem::{OpenClaim, Redeemed};
use crate::claim::visit::Visit;
use crate::held::KeptRequest;
use crate::outcome::Outcome;
use crate::plan::{Plan, Route};
use crate::price::Quote;
use crate::refusal::{AdmissionError, Owed, PriceError, Refusal, RequestError, Unsold};
use crate::render;
use crate::sale::{Offer, Sale};
use crate::worker::Worker;
use farebox_paywall::capability;
use farebox_paywall::credential::Token;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("farebox-replayed");

/// How much of an unwanted body is read away before a refusal, so that the client sees the answer
/// instead of a broken connection.
const READ_AWAY_BYTES: usize = 1024 * 1024;
/// How long reading away may take.
const READ_AWAY_PATIENCE: Patience = Patience {
    grace: Duration::from_secs(5),
    min_bytes_per_second: 64 * 1024,
    total: Duration::from_secs(15),
};

impl Serve for Worker {
    type Body = AnswerBody;

    /// Serves one request. Every way through ends in an answer and a log line.
    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let plan = self.shared.plan.load_full();
        let version = request.version();
        let mut exchange = self.begin(&plan, &request, peer);
        if farebox_wire::grpc::is_grpc(request.headers()) {
            exchange.audience = Audience::Grpc;
        }
        let mut response = match self.steps(&plan, &mut exchange, request).await {
            Ok(response) => response,
            Err(refusal) => render::refuse(&mut exchange, &refusal),
        };
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
        let now = self.shared.clock.now();
        let begun = Begun {
            request_id: self.request_id(now),
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
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let arrival = Arrival::read(plan, request)?;
        exchange.path = Arc::clone(&arrival.path);
        if &*arrival.path == form::PATH {
            return Box::pin(self.take_claim_form(plan, exchange, arrival)).await;
        }
        if crate::own::is_own(&arrival.path) {
            return Box::pin(self.answer_own(plan, exchange, arrival)).await;
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
        mut arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let scheme = self.shared.scheme;
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
        mut arrival: Arrival,
        mut visit: Option<&mut Visit>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        route.check_method(&arrival.parts.method)?;
        route.check_length(&arrival)?;
        let presented = self
            .reader
            .take(&mut arrival.parts.headers, &self.shared.keyring);
        if let Some(shape) = &route.shape {
            Box::pin(self.shape(route, shape, &mut arrival)).await?;
        }
        let Some(sale) = &route.sale else {
            return self
                .forward(plan, exchange, Admission::free(Arc::clone(route)), arrival)
                .await;
        };
        if let Some(visit) = visit.as_deref().filter(|visit| visit.asks_status) {
            return Box::pin(self.claim_status(plan, exchange, route, visit)).await;
        }
        let (mut quote, mut unpriced) = self.quote(route, sale, &mut arrival).await?;
        exchange.rate = quote.rate();
        if let Quote::Free = quote {
            let free = Admission::free(Arc::clone(route));
            return self.forward(plan, exchange, free, arrival).await;
        }
        let redeemed = self
            .redeem(plan, exchange, route, presented, visit.as_deref_mut())
            .await?;
        let (owed, open) = match redeemed {
            Redeemed::Owed(owed) => (owed, None),
            Redeemed::Open(claim) => (Owed::NotPaidYet, Some(claim)),
            Redeemed::Key(key) => {
                // A key pays what the request costs now, which somebody has to know.
                let quote = unpriced.map_or(Ok(quote), Err)?;
                let asked = (route, sale, quote);
                return Box::pin(self.serve_for_key(plan, exchange, asked, key, arrival)).await;
            }
            Redeemed::Token(token) => {
                let price = (&mut quote, unpriced.take_if(|_| draws(&token)));
                let verdict = self
                    .admit_token(plan, exchange, (route, sale), &token, price, &mut arrival)
                    .await?;
                match verdict {
                    Verdict::Admitted(admission) => {
                        let admission = metered(admission, quote, &mut arrival);
                        return self.forward(plan, exchange, admission, arrival).await;
                    }
                    Verdict::Finished(receipt) => {
                        return self.answer_again(exchange, &token, receipt).await;
                    }
                    Verdict::Owed(owed) => (owed, None),
                }
            }
        };
        if let Some(refusal) = unpriced {
            return Err(refusal);
        }
        let asked = (route, sale, quote);
        let unpaid = (arrival, visit.as_deref());
        Box::pin(self.serve_unpaid(plan, exchange, asked, unpaid, owed, open)).await
    }

    /// Admits a request that a token pays for.
    async fn admit_token(
        &self,
        plan: &Plan,
        exchange: &Exchange,
        (route, sale): (&Arc<Route>, &Sale),
        token: &Token,
        (quote, unpriced): (&mut Quote, Option<Refusal>),
        arrival: &mut Arrival,
    ) -> Result<Verdict, Refusal> {
        if let Some(refusal) = unpriced {
            return Err(refusal);
        }
        if plan.server.strict_settlement {
            Box::pin(self.demand_settled(plan, token)).await?;
        }
        self.ask_for_token(exchange, (route, sale), token, arrival, quote)
            .await?;
        if let Quote::Free = quote {
            return Ok(Verdict::Admitted(Admission::free(Arc::clone(route))));
        }
        self.admit_within_means(exchange, (route, sale), token, quote, arrival)
            .await
    }

    /// Asks for what is owed, unless it turns out to be nothing.
    async fn serve_unpaid(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        (route, sale, mut quote): (&Arc<Route>, &Sale, Quote),
        (mut arrival, visit): (Arrival, Option<&Visit>),
        owed: Owed,
        open: Option<Box<OpenClaim>>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        self.ask_for_nobody(exchange, (route, sale), &mut arrival, &mut quote)
            .await?;
        if let Quote::Free = quote {
            let free = Admission::free(Arc::clone(route));
            return self.forward(plan, exchange, free, arrival).await;
        }
        let asked = (route, sale, quote.at_most());
        self.demand(plan, exchange, asked, (arrival, visit), owed, open)
            .await
    }

    /// What the request costs; or why nobody can tell, where that matters to new buyers only: calls
    /// and times that were sold before need no rate.
    async fn quote(
        &self,
        route: &Route,
        sale: &Sale,
        arrival: &mut Arrival,
    ) -> Result<(Quote, Option<Refusal>), Refusal> {
        match self.price(route, sale, arrival).await {
            Err(refusal @ Refusal::Price(PriceError::Unsold(Unsold::NoRate(_))))
                if matches!(sale.offer, Offer::Flat { .. }) =>
            {
                Ok((Quote::Fiat(Msat::ZERO, None), Some(refusal)))
            }
            priced => Ok((priced?, None)),
        }
    }

    /// Asks for what is owed.
    async fn demand(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        (route, sale, price): (&Arc<Route>, &Sale, Msat),
        (mut arrival, visit): (Arrival, Option<&Visit>),
        owed: Owed,
        open: Option<Box<OpenClaim>>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let digest = self
            .digest_of_unpaid(exchange, route, sale, &mut arrival)
            .await?;
        let held = sale.offer.holds_payment() && !arrival.is_bodiless_probe();
        let kept = match digest {
            Some(_) if held => Some(KeptRequest::of(exchange, &arrival)?),
            _ => None,
        };
        let debt = Debt {
            route,
            sale,
            price,
            owed,
            method: &arrival.parts.method,
            digest,
            kept,
            visit,
        };
        if let Some(shown) = self.answer_without_invoice(plan, exchange, &debt, open) {
            return Ok(shown);
        }
        Box::pin(self.challenge(plan, exchange, debt)).await
    }

    /// Admits a request; where a balance has less than its answer can cost at most, the answer may
    /// become shorter instead.
    async fn admit_within_means(
        &self,
        exchange: &Exchange,
        (route, sale): (&Arc<Route>, &Sale),
        token: &Token,
        quote: &mut Quote,
        arrival: &mut Arrival,
    ) -> Result<Verdict, Refusal> {
        let verdict = self
            .admit(exchange, (route, sale), token, quote, arrival)
            .await?;
        let (Verdict::Owed(Owed::Exhausted), Quote::Metered(_)) = (&verdict, &*quote) else {
            return Ok(verdict);
        };
        let left = self.shared.free_balance(token).await?;
        if !quote.lower_to(left).await? {
            return Ok(verdict);
        }
        self.admit(exchange, (route, sale), token, quote, arrival)
            .await
    }

    async fn admit(
        &self,
        exchange: &Exchange,
        (route, sale): (&Arc<Route>, &Sale),
        token: &Token,
        quote: &Quote,
        arrival: &mut Arrival,
    ) -> Result<Verdict, Refusal> {
        let method = &arrival.parts.method;
        if let Err(owed) = admit::check_scope(token, route, method, exchange.received_at) {
            return Ok(Verdict::Owed(owed));
        }
        let capabilities = route.capabilities.as_deref();
        if let Err(owed) = capability::check(&token.granted, capabilities, method, &arrival.path) {
            return Ok(Verdict::Owed(owed));
        }
        // Before the body is read: what a token may have in flight bounds the memory it takes too.
        let permit = self.shared.tokens.try_start(
            &token.payment_hash.account(),
            route.token_limit,
            Instant::now(),
        )?;
        let idempotency_key = admit::idempotency_key(&arrival.parts.headers);
        let fingerprint = if admit::needs_digest(token, idempotency_key) {
            let bound = token.granted.holder.request.is_some();
            self.fingerprint(route, bound, arrival).await?
        } else {
            Fingerprint::None
        };
        let asked = Asked {
            route,
            sale,
            at_most: quote.at_most(),
            basis: quote.basis(exchange.received_at),
            fingerprint,
            idempotency_key,
            now: exchange.received_at,
            hold: self.hold_id(exchange.received_at),
        };
        let claims = self.shared.keyring.claim_policy(token.key_epoch);
        admit::admit(&self.shared.ledger, token, &asked, claims, permit).await
    }

    /// Reads the body to know the request by it, unless it says that it is too long for that and
    /// what pays for it is not `bound` to it.
    pub(crate) async fn fingerprint(
        &self,
        route: &Route,
        bound: bool,
        arrival: &mut Arrival,
    ) -> Result<Fingerprint, Refusal> {
        let limit = route.max_read_bytes;
        let (length, _) = arrival.body_length();
        if !bound && length > limit as u64 {
            return Ok(Fingerprint::Outline(arrival.outline(length)));
        }
        let budget = &self.shared.bodies;
        arrival
            .digest(limit, budget, Keep::Bytes)
            .await
            .map(Fingerprint::Whole)
    }

    /// What an unpaid request's macaroon is bound to. The body is hashed or read away, never kept.
    async fn digest_of_unpaid(
        &self,
        exchange: &Exchange,
        route: &Route,
        sale: &Sale,
        arrival: &mut Arrival,
    ) -> Result<Option<RequestDigest>, Refusal> {
        // Past the limit there is no invoice, and so nothing to hash a body for.
        let refused = arrival.has_unread_body()
            && self
                .shared
                .challenges
                .would_refuse(AddressPrefix::of(exchange.client), Instant::now());
        if must_be_read(route, sale, arrival)? && !refused {
            let budget = &self.shared.bodies;
            let keep = if sale.offer.holds_payment() {
                Keep::Bytes
            } else {
                Keep::HashOnly
            };
            let digest = arrival.digest(route.max_read_bytes, budget, keep).await;
            return digest.map(Some);
        }
        if arrival.parts.headers.contains_key(EXPECT) {
            return Ok(None);
        }
        if let ArrivedBody::Unread(body) = std::mem::replace(&mut arrival.body, ArrivedBody::Taken)
            && !http_body::Body::is_end_stream(&body)
        {
            let (patience, budget) = (READ_AWAY_PATIENCE, &self.shared.bodies);
            let _ = read_body(body, READ_AWAY_BYTES, patience, budget, Keep::HashOnly).await;
        }
        Ok(None)
    }

    /// The answer that was paid for before: from memory, or from the store where the payment was
    /// taken only after the answer was in it.
    async fn answer_again(
        &self,
        exchange: &mut Exchange,
        token: &Token,
        receipt: Receipt,
    ) -> Result<Response<AnswerBody>, Refusal> {
        match self.replay(exchange, receipt) {
            Err(Refusal::Admission(AdmissionError::Finished(receipt)))
                if matches!(token.granted.terms.kind, Kind::Single) =>
            {
                self.held_answer(exchange, token.payment_hash, receipt)
                    .await
            }
            other => other,
        }
    }

    pub(crate) fn replay(
        &self,
        exchange: &mut Exchange,
        receipt: Receipt,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let replays = &self.shared.replays;
        // Asked first: an answer that is kept in between is found.
        let missing = if replays.is_finishing(receipt.hold) {
            AdmissionError::InFlight
        } else {
            AdmissionError::Finished(receipt)
        };
        let stored = replays.find(receipt.hold, Instant::now()).ok_or(missing)?;
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
    /// was sent, the seller's own secrets included.
    fn check_method(&self, method: &Method) -> Result<(), Refusal> {
        if *method == Method::TRACE {
            let allowed = self.http_methods.clone().unwrap_or_default();
            return Err(RequestError::Method { allowed }.into());
        }
        match &self.http_methods {
            Some(allowed) if !allowed.contains(method) => {
                let allowed = allowed.clone();
                Err(RequestError::Method { allowed }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether each request draws its price of the moment, where it is not sold before.
const fn draws(token: &Token) -> bool {
    matches!(token.granted.terms.kind, Kind::Balance)
}

/// Charges a request by what it uses, where that is its price, and forwards what was priced.
pub(crate) fn metered(admission: Admission, quote: Quote, arrival: &mut Arrival) -> Admission {
    match quote {
        Quote::Metered(metered) => {
            arrival.replace_body(metered.body());
            admission.gauged(metered.gauge())
        }
        Quote::UpTo(up_to) => admission.gauged(up_to.gauge),
        Quote::Fixed(_) | Quote::Fiat(..) | Quote::Free | Quote::Unasked => admission,
    }
}

/// Whether an unpaid body has to be read to its end: to bind a token to it, or because it does not
/// say its length and the paid request will have to fit into memory. Nobody should pay for what is
/// then too long.
fn must_be_read(route: &Route, sale: &Sale, arrival: &Arrival) -> Result<bool, Refusal> {
    if arrival.is_bodiless_probe() {
        return Ok(false);
    }
    let (declared, exact) = arrival.body_length();
    let once = sale.offer.kind() == Kind::Single;
    if sale.offer.binds_request() && declared > route.max_read_bytes as u64 {
        let limit = route.max_read_bytes as u64;
        return Err(RequestError::BodyTooLarge { limit }.into());
    }
    Ok(sale.offer.binds_request() || (once && !exact))
}

/// The route of a request. No spelling must lead past a price: many servers cut parameters off
/// (`/paid;x`), do not tell capitals apart or take a slash at the end for nothing, and would serve
/// under a free or cheaper route what is sold as `/paid`.
fn find_route<'p>(
    routes: &'p RouteTable<Arc<Route>>,
    host: &str,
    path: &str,
) -> Result<&'p Arc<Route>, Refusal> {
    let route = routes.find(host, path).ok_or(RequestError::NoRoute)?;
    let other = match lenient_reading(path) {
        Some(reading) => routes.find_folded(host, &reading),
        None if routes.has_capitals() => routes.find_folded(host, path),
        None => None,
    };
    match other {
        Some(other) if is_priced_twin(other, route) => Err(PathError::Lookalike.into()),
        _ => Ok(route),
    }
}

/// Whether `other` sells what may be the same resource of the same upstream.
fn is_priced_twin(other: &Arc<Route>, route: &Arc<Route>) -> bool {
    let same_server = other.upstream.pool.authority() == route.upstream.pool.authority();
    other.sale.is_some() && same_server && !Arc::ptr_eq(other, route)
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
