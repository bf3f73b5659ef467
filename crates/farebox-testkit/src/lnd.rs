//! A scripted LND on loopback: its REST API, as far as Farebox calls it. The script of a test says
//! what becomes of each call, and the answers here have the form of recorded ones.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use farebox_core::PaymentHash;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::background::{Answer, Background, Cut, Handler};

/// What the node does with one call.
pub enum Reply {
    /// Answers with this status and JSON.
    Json(u16, Value),
    /// Answers with these bytes.
    Raw {
        /// The status.
        status: u16,
        /// More headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Lines, and what comes after them.
    Lines(Vec<Value>, Then),
    /// Bytes without end and without a line break.
    Flood,
    /// The head of an answer, then nothing.
    Trickle,
    /// Nothing at all.
    Silence,
    /// The connection breaks without an answer.
    Cut,
}

/// What comes after the lines of a stream.
#[derive(Clone, Copy)]
pub enum Then {
    /// The end of the answer.
    End,
    /// The connection breaks.
    Cut,
    /// Nothing, for as long as somebody listens.
    Open,
}

/// One call, as the script sees it.
#[derive(Clone)]
pub struct Call {
    /// `GET` or `POST`.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Empty where there is none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// Null where it is no JSON.
    pub body: Value,
    /// How many calls of this path came before.
    pub earlier: usize,
}

type Script = dyn Fn(&Call) -> Reply + Send + Sync;

/// The node, until it is dropped.
pub struct FakeLnd {
    server: Background,
    certificate: Option<CertificateDer<'static>>,
    desk: Desk,
}

#[derive(Clone)]
struct Desk {
    seen: Arc<Mutex<Vec<Call>>>,
    script: Arc<Script>,
}

impl FakeLnd {
    /// A node that speaks TLS with a certificate of its own, as LND does. The script may block.
    ///
    /// # Errors
    /// When no port, thread or certificate is to be had.
    pub fn start(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["some.other.name".to_owned()]);
        let made = made.map_err(io::Error::other)?;
        let certificate = made.cert.der().clone();
        let acceptor = acceptor(&certificate, &made.signing_key)?;
        let desk = Desk::new(script);
        Ok(Self {
            server: Background::start_tls("lnd", acceptor, desk.handler())?,
            certificate: Some(certificate),
            desk,
        })
    }

    /// One that is called over plain HTTP.
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn start_plain(
        script: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let desk = Desk::new(script);
        Ok(Self {
            server: Background::start("lnd", desk.handler())?,
            certificate: None,
            desk,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What it shows, where it speaks TLS.
    #[must_use]
    pub const fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }

    /// The calls of this path, in order.
    #[must_use]
    pub fn seen(&self, path: &str) -> Vec<Call> {
        let mut seen = self.all_seen();
        seen.retain(|call| call.path == path);
        seen
    }

    /// All calls, in order.
    #[must_use]
    pub fn all_seen(&self) -> Vec<Call> {
        let seen = self.desk.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn acceptor(
    certificate: &CertificateDer<'static>,
    key: &rcgen::KeyPair,
) -> io::Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Desk {
    fn new(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            seen: Arc::default(),
            script: Arc::new(script),
        }
    }

    fn handler(&self) -> Handler {
        let desk = self.clone();
        Arc::new(move |request| {
            let desk = desk.clone();
            Box::pin(async move { desk.answer(request).await })
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let call = self.note(request).await?;
        let script = Arc::clone(&self.script);
        let reply = tokio::task::spawn_blocking(move || script(&call)).await;
        match reply.map_err(|_| Cut)? {
            Reply::Json(status, value) => {
                respond(status, &[], Content::whole(value.to_string().into()))
            }
            Reply::Raw {
                status,
                headers,
                body,
            } => respond(status, &headers, Content::whole(body.into())),
            Reply::Lines(lines, then) => {
                let lines = lines.iter().map(|line| format!("{line}\n").into());
                respond(200, &[], Content::Pieces(lines.rev().collect(), then))
            }
            Reply::Flood => respond(200, &[], Content::Flood),
            Reply::Trickle => respond(200, &[], Content::Pieces(vec![], Then::Open)),
            Reply::Silence => pending().await,
            Reply::Cut => Err(Cut),
        }
    }

    async fn note(&self, request: Request<Incoming>) -> Result<Call, Cut> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let path = head.uri.path().to_owned();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let call = Call {
            method: head.method.to_string(),
            earlier: seen.iter().filter(|call| call.path == path).count(),
            path,
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        seen.push(call.clone());
        Ok(call)
    }
}

fn respond(status: u16, headers: &[(&'static str, String)], body: Content) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(body.boxed_unsync()).map_err(|_| Cut)
}

enum Content {
    /// Last first.
    Pieces(Vec<Bytes>, Then),
    Flood,
    Cut,
}

impl Content {
    fn whole(bytes: Bytes) -> Self {
        Self::Pieces(vec![bytes], Then::End)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Flood => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 8192]))))),
            Self::Cut => Poll::Ready(Some(Err(Cut))),
            Self::Pieces(pieces, then) => match (pieces.pop(), then) {
                (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                (None, Then::End) => Poll::Ready(None),
                (None, Then::Cut) => {
                    // What was sent goes out before the connection breaks.
                    *self = Self::Cut;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                (None, Then::Open) => Poll::Pending,
            },
        }
    }
}

/// The answer to `POST /v1/invoices`.
#[must_use]
pub fn added(hash: PaymentHash, bolt11: &str) -> Reply {
    Reply::Json(
        200,
        json!({
            "r_hash": base64(hash.as_bytes()),
            "payment_request": bolt11,
            "add_index": "2",
            "payment_addr": "qBEebl0GZlxOz4PhjtiW2IFPpl0zwANvesNZDXJRJ9Q=",
        }),
    )
}

/// An invoice as lookups and streams show it.
#[must_use]
pub fn invoice(hash: PaymentHash, state: &str, paid: u64, settle_index: u64) -> Value {
    json!({
        "memo": "a call",
        "r_preimage": base64(&[9; 32]),
        "r_hash": base64(hash.as_bytes()),
        "value": "2",
        "value_msat": "2000",
        "settled": state == "SETTLED",
        "creation_date": "1763740000",
        "settle_date": "0",
        "payment_request": "lnbcrt20n1…",
        "expiry": "600",
        "cltv_expiry": "80",
        "private": false,
        "add_index": "7",
        "settle_index": settle_index.to_string(),
        "amt_paid_sat": (paid / 1000).to_string(),
        "amt_paid_msat": paid.to_string(),
        "state": state,
        "htlcs": [],
        "is_keysend": false,
        "is_amp": false,
    })
}

/// A payment as `/v2/router` shows it.
#[must_use]
pub fn payment(hash: PaymentHash, status: &str, changes: &Value) -> Value {
    let mut payment = json!({
        "payment_hash": hash.to_string(),
        "value_msat": "2000",
        "payment_preimage": "0".repeat(64),
        "status": status,
        "fee_msat": "0",
        "creation_time_ns": "1763740000000000000",
        "htlcs": [],
        "failure_reason": "FAILURE_REASON_NONE",
    });
    for (field, value) in changes.as_object().into_iter().flatten() {
        payment[field] = value.clone();
    }
    json!({ "result": payment })
}

/// A gRPC status as LND's gateway writes it.
#[must_use]
pub fn refusal(code: u64, message: &str) -> Value {
    json!({ "code": code, "message": message, "details": [] })
}

/// Bytes as LND writes them.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A macaroon with these permissions, its signature left blank.
#[must_use]
pub fn macaroon(operations: &[(&str, &[&str])]) -> Vec<u8> {
    let field = |tag: u8, value: &[u8]| {
        let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
        [&[tag, length], value].concat()
    };
    let mut identifier = vec![3];
    for (entity, actions) in operations {
        let mut operation = field(10, entity.as_bytes());
        for action in *actions {
            operation.extend(field(18, action.as_bytes()));
        }
        identifier.extend(field(26, &operation));
    }
    let (identifier, signature) = (field(2, &identifier), field(6, &[0; 32]));
    [&[2], &identifier[..], &[0, 0], &signature].concat()
}
