//! The only way to an upstream. It consumes an [`Admission`], so nothing unadmitted passes.
//!
//! Bodies stream both ways. What the client sent for payment never leaves; what the upstream says
//! about payment or its own credentials never comes back.

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

use farebox_http::body::{BodyFault, RequestBody, Silence, Upload};
use farebox_http::body_budget::{Holder, Lease as Memory, Shares};
use farebox_http::decode::{DecodedBody, Decoder};
use farebox_http::drain::DrainSignal;
use farebox_http::headers;
use farebox_http::limits::TokenPermit;
use farebox_http::replay::{Asked, Keep, Recorder, ReplayStore};
use farebox_http::subprotocols::Subprotocols;
use farebox_http::tunnel::{self, Traffic};
use farebox_http::upstream::{Answer, Lease, SendError};
use farebox_ledger::{ClientFault, VoidReason, crash_point};
use http::header::{HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, VARY};
use http::response::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use self::receipt::ReceiptHeaders;
pub(crate) use self::receipt::write_charge;
use self::request::Asker;
use self::waiting::Waiting;
use self::whole::ROOM_BYTES;
use crate::access_log::Exchange;
use crate::answer::{AnswerBody, GrpcAnswer, GrpcCall, Overtime, Pace, UpstreamBody, has_failed};
use crate::arrival::Arrival;
use crate::crash;
use crate::outcome::Outcome;
use crate::plan::{PaidCache, Plan, Route};
use crate::refusal::{Overload, Refusal, RequestError, UpstreamError};
use farebox_paywall::admit::{Admission, Payment};
use farebox_paywall::gauge::Ending;
use farebox_paywall::payment_fields;
use farebox_paywall::sale::ChargeOn;
use farebox_paywall::settle::{Charge, Settlement};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const PAYMENT_VARY: &str = "Authorization, X-Cashu, X-PAYMENT-SATS, Farebox-Claim, Cookie";

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

/// The payment side of one forwarded request.
struct Fare {
    settlement: Settlement,
    permit: Option<TokenPermit>,
    receipt: ReceiptHeaders,
    keep: Option<Keep>,
    paid: bool,
    /// Whether the answer leads to another place of the upstream's own.
    leads_on: bool,
    /// The request's body, where it comes only while it is forwarded.
    upload: Option<Arc<Upload>>,
    /// What ends the answer when what pays for it is over.
    overtime: Option<Overtime>,
    /// What is reserved for the answer, where it may be read to its end before it leaves.
    room: Memory,
    /// Both sides speak in turn: a body that goes on keeps nobody waiting.
    is_dialogue: bool,
}

/// A request that asks to become a WebSocket.
struct Upgrade {
    client: OnUpgrade,
    /// A subprotocol that was taken off it: the client's key stood there.
    taken: Option<HeaderValue>,
}

/// A request that gets no answer of its upstream's, and what is charged all the same.
struct Refused {
    refusal: Refusal,
    charge: Charge,
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
        arrival: Arrival,
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
        mut arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refused> {
        let Admission {
            payment,
            permit,
            body,
            tenure,
            retry_words,
        } = admission;
        if let Some(body) = body {
            arrival.replace_body(body);
        }
        let client = arrival
            .parts
            .extensions
            .remove::<OnUpgrade>()
            .filter(|_| headers::is_websocket_upgrade(&arrival.parts.headers));
        let offered = arrival.parts.extensions.remove::<Subprotocols>();
        let room = self.answers.whole().lease();
        let fare = Fare::of(payment, permit, route, room, &arrival.parts.headers);
        let mut fare = self.reserve(exchange.holder, route, fare)?;
        fare.overtime = tenure.map(|tenure| Overtime::new(tenure, plan.server.overtime));
        fare.is_dialogue = arrival.grpc;
        let gauge = fare.settlement.gauge();
        let counted = gauge.and_then(|gauge| gauge.request(&mut arrival.parts.headers));
        let call = GrpcCall {
            has_deadline: arrival.parts.headers.contains_key(GRPC_TIMEOUT),
        };
        exchange.outcome = fare.outcome();
        exchange.hold = fare.receipt.hold();
        let asker = Asker {
            plan,
            exchange,
            route,
            scheme: self.scheme,
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
        let sent = self.send(route, request, upgrade.is_some(), (&mut fare, exchange));
        let mut answer = match sent.await {
            Ok(answer) => answer,
            Err(refusal) => return Err(fare.refuse_unanswered(refusal)),
        };
        fare.receipt.answered(exchange.now(), &mut fare.settlement);
        exchange.upstream_micros = Some(micros(sent_at));
        crash_point(crash::FORWARD_HEADERS_RECEIVED);
        let leads_on = location::map_back(answer.0.headers_mut(), &route.upstream);
        fare.leads_on = leads_on && answer.0.status().is_redirection();
        let credential = &route.upstream.credential;
        headers::drop_lines(answer.0.headers_mut(), |name, value| {
            credential.is_told_in(name, value)
        });
        if fare.settlement.is_gauged() {
            return Box::pin(self.pass_back_gauged(exchange, route, answer, fare, call)).await;
        }
        if let Some(name) = route.hidden_cost() {
            answer.0.headers_mut().remove(name);
        }
        if let Some(extract) = route.extract().filter(|_| answer.0.status().is_success()) {
            return Box::pin(self.pass_back_shaped(exchange, route, extract, answer, fare)).await;
        }
        self.pass_back(route, answer, fare, upgrade, call).await
    }

    /// Reserves memory for an answer that may be read to its end before it leaves.
    fn reserve(&self, holder: Holder, route: &Route, mut fare: Fare) -> Result<Fare, Refused> {
        if fare.settlement.is_gauged() || route.extract().is_some() {
            match self.answers.of(holder).begin(ROOM_BYTES) {
                Ok(room) => fare.room = room,
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
        (fare, exchange): (&mut Fare, &mut Exchange),
    ) -> Result<Answer, Refusal> {
        let pool = &route.upstream.pool;
        let waiting = Waiting::of(fare, exchange);
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
        fare: Fare,
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
        let has_failed = has_failed(&parts.headers);
        if !fare.judge(parts.status, route, has_failed).await {
            parts.extensions.insert(Uncharged);
        }
        headers::prepare_response(&mut parts.headers, switching, payment_fields::in_answers);
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
        let grpc = call.answered_by(&parts.headers);
        let coming = Coming {
            parts,
            incoming,
            decoder: None,
            lease,
        };
        Ok(self.stream_back(route, coming, fare, grpc))
    }

    /// Joins both sides of an upgraded connection, which is charged when it opens.
    fn tunnel(&self, (client, upstream): (OnUpgrade, OnUpgrade), mut fare: Fare) -> AnswerBody {
        fare.settlement.end(Ending::Complete);
        let traffic = Arc::new(Traffic::default());
        let (answer, line) = AnswerBody::tunnel(Arc::clone(&traffic), fare.settlement.charge());
        let over = async move {
            match fare.overtime {
                Some(overtime) => overtime.over().await,
                None => std::future::pending().await,
            }
        };
        let kept = (fare.permit, line);
        tunnel::join(client, upstream, self.drain.clone(), traffic, over, kept);
        answer
    }

    /// Lets the upstream's body pass, with everything that waits for its end.
    fn stream_back(
        &self,
        route: &Route,
        coming: Coming,
        mut fare: Fare,
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
        let body = UpstreamBody {
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
        };
        Response::from_parts(parts, AnswerBody::upstream(body))
    }
}

impl Fare {
    /// `headers` are those of the request as its client sent it, but for what pays.
    fn of(
        payment: Payment,
        permit: Option<TokenPermit>,
        route: &Route,
        room: Memory,
        headers: &HeaderMap,
    ) -> Self {
        let free = Self {
            settlement: Settlement::nothing(),
            permit,
            receipt: ReceiptHeaders::Nothing,
            keep: None,
            paid: false,
            leads_on: false,
            upload: None,
            overtime: None,
            room,
            is_dialogue: false,
        };
        let mut fare = match payment {
            Payment::Free => free,
            Payment::Pass { expires_at } => Self {
                receipt: ReceiptHeaders::Pass(expires_at),
                paid: true,
                ..free
            },
            Payment::FirstOfPass { hold, span } => Self {
                receipt: ReceiptHeaders::FirstOfPass {
                    hold: hold.id(),
                    span,
                    until: None,
                },
                settlement: Settlement::of(hold, None),
                paid: true,
                ..free
            },
            Payment::Accepted => Self { paid: true, ..free },
            Payment::Held { hold, once, gauge } => {
                let replay = route.sale.as_ref().and_then(|sale| sale.replay);
                Self {
                    receipt: ReceiptHeaders::Held {
                        hold: hold.id(),
                        charge: hold.charge(),
                        left: hold.remaining(),
                        is_most: gauge.is_some(),
                    },
                    keep: replay.filter(|_| once).map(|policy| Keep {
                        hold: hold.id(),
                        policy,
                        asked: Asked::of(headers),
                    }),
                    settlement: Settlement::of(hold, gauge),
                    paid: true,
                    ..free
                }
            }
        };
        if route.charges_on() == ChargeOn::Forwarded {
            fare.settlement.sell_act();
        }
        fare
    }

    /// How the request ends, unless something goes wrong.
    const fn outcome(&self) -> Outcome {
        if self.paid {
            Outcome::Paid
        } else {
            Outcome::Free
        }
    }

    /// Releases the hold of a request that gets no answer.
    fn refuse(mut self, refusal: Refusal) -> Refused {
        self.settlement.void(refusal.entry().void);
        let charge = self.settlement.charge();
        Refused { refusal, charge }
    }

    /// The same where the upstream gave none.
    fn refuse_unanswered(mut self, refusal: Refusal) -> Refused {
        let timed_out = refusal.entry().void == VoidReason::TimedOut;
        if self.upload.as_ref().is_some_and(|upload| {
            let stalls = if self.is_dialogue {
                upload.is_awaited()
            } else {
                !upload.has_ended()
            };
            upload.is_spoilt() || (timed_out && stalls)
        }) {
            self.settlement.excuse(ClientFault::Upload);
        }
        self.refuse(refusal)
    }

    /// An answer is there that can be one to what was asked: it does not tell of a broken seller,
    /// and does not speak another protocol from here on.
    fn answered(self, status: StatusCode, route: &Route) -> Result<Self, Refused> {
        let fare = self.open_to(status, route)?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let unasked = UpstreamError::broken("it switched protocols unasked");
            return Err(fare.refuse(unasked.into()));
        }
        Ok(fare)
    }

    /// Refuses an answer that speaks to the seller instead of the client.
    fn open_to(self, status: StatusCode, route: &Route) -> Result<Self, Refused> {
        if route.hides(status) {
            return Err(self.refuse(UpstreamError::RefusesSeller.into()));
        }
        Ok(self)
    }

    /// Releases the hold of an answer that is not charged; answers whether it is.
    async fn judge(&mut self, status: StatusCode, route: &Route, grpc_failed: bool) -> bool {
        if self.settlement.sells_act() {
            return true;
        }
        let charge_on = route.charges_on();
        let charged = charge_on.charges(status) || status == StatusCode::SWITCHING_PROTOCOLS;
        // These would use up a call for what is still to be fetched, or is there.
        let is_elsewhere = self.leads_on || status == StatusCode::NOT_MODIFIED;
        let delivers = match self.settlement.gauge() {
            Some(gauge) => gauge.sells(status),
            None => !is_elsewhere,
        };
        if charged && delivers && !grpc_failed {
            return true;
        }
        let is_spoilt = self.upload.as_ref().is_some_and(|it| it.is_spoilt());
        if is_spoilt {
            self.settlement.excuse(ClientFault::Upload);
        } else if charged && is_elsewhere && !grpc_failed {
            self.settlement.excuse(ClientFault::NotDelivered);
        } else {
            self.settlement.void(VoidReason::Refused);
        }
        let charged = self.settlement.found().await;
        if charged.is_zero() {
            self.keep = None;
            self.receipt.release();
        }
        !charged.is_zero()
    }

    /// Marks a paid answer for caches and tells the payer what it cost.
    fn mark(&self, headers: &mut HeaderMap, route: &Route) {
        if route.sale.is_none() {
            return;
        }
        if route.paid_cache == PaidCache::PrivateNoStore {
            headers::forbid_storing(headers);
        }
        headers.append(VARY, HeaderValue::from_static(PAYMENT_VARY));
        self.receipt.write(headers);
    }

    fn recorder(
        &mut self,
        replays: &Arc<ReplayStore>,
        parts: &http::response::Parts,
    ) -> Option<Recorder> {
        let keep = self.keep.take()?;
        Some(replays.record(keep, parts.status, parts.headers.clone()))
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
    fn charges_on(&self) -> ChargeOn {
        let sale = self.sale.as_ref();
        sale.map_or(ChargeOn::Success, |sale| sale.charge_on)
    }

    /// The header in which the upstream tells the seller, and nobody else, what an answer cost.
    /// Those that paid by the call do not see it either.
    fn hidden_cost(&self) -> Option<&HeaderName> {
        self.sale.as_ref()?.offer.by_use()?.hidden()
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
