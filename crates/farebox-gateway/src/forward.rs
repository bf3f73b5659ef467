//! The only way to an upstream. It consumes an [`Admission`], so nothing unadmitted passes.
//!
//! Bodies stream both ways. What the client sent for payment never leaves; what the upstream says
//! about payment or its own credentials never comes back.

mod fare;
mod gauged;
mod location;
mod receipt;
mod request;
mod shaped;
mod waiting;
mod whole;

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use farebox_http::body::{BodyFault, RequestBody, Silence};
use farebox_http::body_budget::{Holder, Shares};
use farebox_http::decode::{DecodedBody, Decoder};
use farebox_http::drain::DrainSignal;
use farebox_http::headers;
use farebox_http::replay::ReplayStore;
use farebox_http::subprotocols::Subprotocols;
use farebox_http::tunnel::{self, Traffic};
use farebox_http::upstream::{Answer, Lease, SendError};
use farebox_ledger::crash_point;
use farebox_wire::grpc::Framing;
use http::header::{HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::response::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use self::fare::{Fare, Refused};
use self::receipt::ReceiptHeaders;
pub(crate) use self::receipt::write_charge;
use self::request::Asker;
use self::waiting::Waiting;
use self::whole::ROOM_BYTES;
use crate::access_log::Exchange;
use crate::answer::{AnswerBody, GrpcAnswer, GrpcCall, Overtime, Pace, UpstreamBody, has_failed};
use crate::arrival::Arrival;
use crate::crash;
use crate::plan::{Plan, Route};
use crate::refusal::{Overload, Refusal, RequestError, UpstreamError};
use farebox_paywall::admit::Admission;
use farebox_paywall::gauge::Ending;
use farebox_paywall::payment_fields;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Sends to upstreams, for one data thread.
#[derive(Clone)]
pub(crate) struct Forwarder {
    /// Its connections to upstreams are of this thread.
    pub(crate) thread: usize,
    /// The scheme of the client's side.
    pub(crate) scheme: &'static str,
    /// Answers that are kept for retries.
    pub(crate) replays: Arc<ReplayStore>,
    /// Whole answers, until they have left. Apart from the requests, so that no sender of those can
    /// keep an answer back that the seller already pays for.
    pub(crate) answers: Arc<Shares>,
    pub(crate) drain: DrainSignal,
}

/// A request that asks to become a WebSocket.
struct Upgrade {
    client: OnUpgrade,
    /// A subprotocol that was taken off it: the client's key stood there.
    taken: Option<HeaderValue>,
}

/// An answer whose body is yet to come.
struct Coming {
    parts: Parts,
    incoming: Incoming,
    /// For a body that comes compressed and is read here.
    decoder: Option<Decoder>,
    lease: Lease,
}

/// Stands in the extensions of an answer that is not charged, for those who take the payment later.
#[derive(Clone, Copy)]
pub(crate) struct Uncharged;

impl Forwarder {
    /// Forwards an admitted request and gives the upstream's answer.
    pub(crate) async fn forward(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        admission: Admission,
        arrival: Box<Arrival>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let answered = self.pass_on(plan, exchange, route, admission, arrival);
        let Refused { refusal, charge } = match answered.await {
            Ok(answer) => return Ok(answer),
            Err(refused) => refused,
        };
        exchange.charge = charge.found().await;
        Err(refusal)
    }

    async fn pass_on(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        admission: Admission,
        mut arrival: Box<Arrival>,
    ) -> Result<Response<AnswerBody>, Refused> {
        let Admission {
            payment,
            permit,
            body,
            tenure,
            retry_words,
            change: _,
        } = admission;
        if let Some(body) = body {
            arrival.replace_body(body);
        }
        let client = arrival.parts.extensions.remove::<OnUpgrade>();
        let client = client.filter(|_| headers::is_websocket_upgrade(&arrival.parts.headers));
        let offered = arrival.parts.extensions.remove::<Subprotocols>();
        let fare = Fare::of(payment, permit, route, &arrival.parts.headers);
        let mut fare = self.reserve(exchange.holder, route, fare)?;
        fare.overtime = tenure.map(|tenure| Overtime::new(tenure, plan.server.overtime));
        let call = GrpcCall::of(&arrival.parts.method, &arrival.parts.headers);
        fare.is_dialogue = call.framing.is_some();
        let gauge = fare.settlement.gauge();
        let counted = gauge.and_then(|gauge| gauge.request(&mut arrival.parts.headers));
        exchange.outcome = fare.outcome();
        exchange.hold = fare.receipt.hold();
        let asker = Asker {
            plan,
            exchange,
            route,
            scheme: self.scheme,
            framing: call.framing,
            retry_words: retry_words.as_ref(),
        };
        let mut request = match asker.request(arrival) {
            Ok(request) => request,
            Err(refusal) => return Err(fare.refuse(refusal)),
        };
        if let Some(counted) = counted {
            request.body_mut().count_into(counted);
        }
        fare.upload = request.body().upload();
        let upgrade = client.map(|client| Upgrade {
            client,
            taken: offered.and_then(|offered| offered.first_taken(request.headers())),
        });
        crash_point(crash::FORWARD_BEFORE_SEND);
        let sent_at = Instant::now();
        let waiting = Waiting::of(&mut fare, exchange);
        let sent = self.send(route, request, upgrade.is_some(), waiting);
        let mut answer = match sent.await {
            Ok(answer) => answer,
            Err(refusal) => return Err(fare.refuse_unanswered(refusal)),
        };
        fare.receipt.answered(exchange, &mut fare.settlement);
        exchange.upstream_micros = Some(micros(sent_at));
        crash_point(crash::FORWARD_HEADERS_RECEIVED);
        let leads_on = location::map_back(answer.0.headers_mut(), &route.upstream);
        fare.leads_on = leads_on && answer.0.status().is_redirection();
        if fare.settlement.is_gauged() {
            return Box::pin(self.pass_back_gauged(exchange, route, answer, fare, call)).await;
        }
        if let Some(extract) = route.extract().filter(|_| answer.0.status().is_success()) {
            return Box::pin(self.pass_back_shaped(exchange, route, extract, answer, fare)).await;
        }
        self.pass_back(route, answer, fare, upgrade, call).await
    }

    /// Reserves memory for an answer that may be read to its end before it leaves.
    fn reserve(
        &self,
        holder: Holder,
        route: &Route,
        mut fare: Box<Fare>,
    ) -> Result<Box<Fare>, Refused> {
        if fare.settlement.is_gauged() || route.extract().is_some() {
            match self.answers.of(holder).begin(ROOM_BYTES) {
                Ok(room) => fare.room = Some(room),
                Err(full) => return Err(fare.refuse(Overload::Room(full).into())),
            }
        }
        Ok(fare)
    }

    async fn send(
        &self,
        route: &Route,
        request: Request<RequestBody>,
        upgrades: bool,
        waiting: Waiting<'_>,
    ) -> Result<Answer, Refusal> {
        let pool = &route.upstream.pool;
        let on_way = |is_forwarded| waiting.fare.settlement.forwarded(is_forwarded);
        let sent = async {
            if upgrades {
                Box::pin(pool.send_upgrade(request, on_way)).await
            } else {
                pool.send(self.thread, request, on_way).await
            }
        };
        let sent = tokio::time::timeout(route.timeout, sent).await;
        waiting.over();
        match sent {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(upstream_error(error)),
            Err(_) => Err(UpstreamError::TimedOut.into()),
        }
    }

    async fn pass_back(
        &self,
        route: &Route,
        (answer, lease): Answer,
        fare: Box<Fare>,
        upgrade: Option<Upgrade>,
        call: GrpcCall,
    ) -> Result<Response<AnswerBody>, Refused> {
        let (mut parts, incoming) = answer.into_parts();
        let mut fare = fare.open_to(parts.status, route)?;
        let switching = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        if switching && upgrade.is_none() {
            let unasked = UpstreamError::broken("it switched protocols unasked");
            return Err(fare.refuse(unasked.into()));
        }
        let framing = Framing::of(&parts.headers);
        let is_over = incoming.is_end_stream();
        let has_failed = has_failed(call, framing, (&parts.headers, is_over));
        if !fare.judge(parts.status, route, has_failed).await {
            parts.extensions.insert(Uncharged);
        }
        route.prepare_answer(&mut parts.headers, switching);
        fare.mark(&mut parts.headers, route);
        if let (true, Some(upgrade)) = (switching, upgrade) {
            let Some(upstream) = parts.extensions.remove::<OnUpgrade>() else {
                let gone = UpstreamError::broken("nothing of it is left to switch");
                return Err(fare.refuse(gone.into()));
            };
            if let Some(taken) = upgrade.taken {
                let named = parts.headers.entry(SEC_WEBSOCKET_PROTOCOL);
                named.or_insert(taken);
            }
            let answer = self.tunnel((upgrade.client, upstream), fare);
            return Ok(Response::from_parts(parts, answer));
        }
        let grpc = call.answered_by(framing, &parts.headers);
        let coming = Coming {
            parts,
            incoming,
            decoder: None,
            lease,
        };
        Ok(self.stream_back(route, coming, fare, grpc))
    }

    /// Joins both sides of an upgraded connection, which is charged when it opens.
    fn tunnel(
        &self,
        (client, upstream): (OnUpgrade, OnUpgrade),
        mut fare: Box<Fare>,
    ) -> AnswerBody {
        fare.settlement.end(Ending::Complete);
        let traffic = Arc::new(Traffic::default());
        let (answer, line) = AnswerBody::tunnel(Arc::clone(&traffic), fare.settlement.charge());
        let Fare {
            overtime, permit, ..
        } = *fare;
        let over = async move {
            match overtime {
                Some(overtime) => overtime.over().await,
                None => std::future::pending().await,
            }
        };
        let kept = (permit, line);
        tunnel::join(client, upstream, self.drain.clone(), traffic, over, kept);
        answer
    }

    /// Lets the upstream's body pass, with everything that waits for its end.
    fn stream_back(
        &self,
        route: &Route,
        coming: Coming,
        mut fare: Box<Fare>,
        grpc: Option<GrpcAnswer>,
    ) -> Response<AnswerBody> {
        let Coming {
            parts,
            incoming,
            decoder,
            lease,
        } = coming;
        let recorder = fare.recorder(&self.replays, &parts);
        let spares_cut = fare.settlement.leaving_costs();
        let body = Box::new(UpstreamBody {
            incoming: DecodedBody::new(incoming, decoder),
            trailers: None,
            upload: fare.upload,
            hidden: route.hidden_cost().cloned(),
            credential: Arc::clone(&route.upstream.credential),
            silence: Silence::new(route.idle_timeout),
            overtime: fare.overtime,
            drain: spares_cut.then(|| self.drain.clone()),
            settlement: fare.settlement,
            recorder,
            grpc,
            ending: None,
            pace: Pace::default(),
            lease,
            _permit: fare.permit,
        });
        Response::from_parts(parts, AnswerBody::upstream(body))
    }
}

/// Tells a fault of the request's own body from one of the upstream.
fn upstream_error(error: SendError) -> Refusal {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        match inner.downcast_ref::<BodyFault>() {
            Some(&BodyFault::TooLarge { limit }) => {
                return RequestError::BodyTooLarge { limit }.into();
            }
            Some(BodyFault::Silent(_)) => return RequestError::BodyTooSlow.into(),
            Some(BodyFault::Broken(_)) | None => cause = inner.source(),
        }
    }
    match error {
        SendError::Connect(_) | SendError::ConnectTimedOut(_) => UpstreamError::Unreachable(error),
        SendError::Send(_) | SendError::Headers(_) | SendError::NoUpgrade => {
            UpstreamError::broken(error)
        }
        SendError::Target => UpstreamError::NotSent(error),
    }
    .into()
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Route {
    /// The header in which the upstream tells the seller, and nobody else, what an answer cost.
    /// Those that paid by the call do not see it either.
    fn hidden_cost(&self) -> Option<&HeaderName> {
        self.sale.as_ref()?.offer.by_use()?.hidden()
    }

    /// Makes the header fields of an answer fit for the client: takes off as well what is about payment,
    /// and what would tell the seller's own credential or cost.
    fn prepare_answer(&self, headers: &mut HeaderMap, switching: bool) {
        let (credential, hidden) = (&self.upstream.credential, self.hidden_cost());
        headers::prepare_response(headers, switching, |name, value| {
            payment_fields::in_answers(name)
                || credential.is_told_in(name, value)
                || hidden.is_some_and(|hidden| hidden == name)
        });
    }

    /// Whether an upstream's answer with `status` tells of the seller's own credentials, which is
    /// none of the client's business.
    fn hides(&self, status: StatusCode) -> bool {
        const ABOUT_CREDENTIALS: [StatusCode; 4] = [
            StatusCode::UNAUTHORIZED,
            StatusCode::PAYMENT_REQUIRED,
            StatusCode::FORBIDDEN,
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        ];
        let ours = self.sale.is_some() || !self.upstream.headers.is_empty();
        ours && ABOUT_CREDENTIALS.contains(&status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PathMapping, Upstream};

    pub(super) fn upstream(base_path: &str, strip_prefix: &str) -> Upstream {
        let tls = rustls::ClientConfig::builder_with_provider(
            rustls::crypto::ring::default_provider().into(),
        )
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
        let options = farebox_http::upstream::TransportOptions {
            tls,
            protocol: farebox_http::upstream::UpstreamProtocol::Auto,
            connect_timeout: std::time::Duration::from_secs(1),
        };
        let transport = Arc::new(farebox_http::upstream::Transport::new(&options, 1));
        let authority = http::uri::Authority::from_static("upstream.test");
        Upstream {
            mapping: PathMapping {
                base_path: base_path.to_owned(),
                strip_prefix: strip_prefix.to_owned(),
            },
            scheme: http::uri::Scheme::HTTP,
            headers: Vec::new(),
            credential: Arc::default(),
            host_header: HeaderValue::from_static("upstream.test"),
            preserve_host: false,
            pool: farebox_http::upstream::UpstreamPool::new(
                transport,
                http::uri::Scheme::HTTP,
                authority,
            ),
        }
    }
}
