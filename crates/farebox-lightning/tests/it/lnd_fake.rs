//! A scripted LND on loopback, behind TLS with a certificate of its own. Answers have the form of
//! recorded ones; each test changes one thing about an honest node.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use farebox_core::{Msat, PaymentHash, Preimage};
use farebox_lightning::lnd::{Lnd, LndOptions, Macaroon};
use farebox_lightning::{Network, Trust};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lightning_invoice::Currency;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::provider::{Described, Draft, clock};

/// What the fake node does with one call.
pub(crate) enum Reply {
    Json(u16, Value),
    Raw {
        status: u16,
        headers: Vec<(&'static str, String)>,
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
}

/// What comes after the lines of a stream.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    End,
    Cut,
    Open,
}

/// One call, as the script sees it.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// How many calls of this path came before.
    pub(crate) earlier: usize,
}

type Script = dyn Fn(&Call) -> Reply + Send + Sync;

pub(crate) struct FakeNode {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    desk: Desk,
}

#[derive(Clone)]
struct Desk {
    seen: Arc<Mutex<Vec<Call>>>,
    script: Arc<Script>,
}

impl FakeNode {
    pub(crate) async fn start(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["some.other.name".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let acceptor = acceptor(&certificate, &made.signing_key);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Desk {
            seen: Arc::default(),
            script: Arc::new(script),
        };
        tokio::spawn(accept(listener, acceptor, desk.clone()));
        Self {
            address,
            certificate,
            desk,
        }
    }

    /// A node that makes honest invoices and otherwise does what the script says.
    pub(crate) async fn honest() -> Self {
        Self::start(|call| match call.path.as_str() {
            "/v1/invoices" => added(&draft(call)),
            _ => Reply::Json(404, refusal(5, "Not Found")),
        })
        .await
    }

    pub(crate) fn seen(&self, path: &str) -> Vec<Call> {
        let seen = self.desk.seen.lock().unwrap();
        seen.iter()
            .filter(|call| call.path == path)
            .cloned()
            .collect()
    }

    pub(crate) fn seen_paths(&self) -> Vec<String> {
        let seen = self.desk.seen.lock().unwrap();
        seen.iter().map(|call| call.path.clone()).collect()
    }

    pub(crate) fn options(&self) -> LndOptions {
        let url = format!("https://{}", self.address).parse().unwrap();
        let mut options = LndOptions::new(url, everything(), clock());
        options.trust = Trust::Pinned(vec![self.certificate.clone()]);
        options.network = Network::Regtest;
        options
    }

    pub(crate) fn lnd(&self) -> Lnd {
        Lnd::new(self.options()).unwrap()
    }

    /// A backend that gives up soon.
    pub(crate) fn impatient(&self) -> Lnd {
        let mut options = self.options();
        options.call_timeout = Duration::from_millis(300);
        Lnd::new(options).unwrap()
    }
}

fn acceptor(certificate: &CertificateDer<'static>, key: &rcgen::KeyPair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, desk: Desk) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, acceptor.clone(), desk.clone()));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, desk: Desk) {
    // A client that does not like the certificate is part of some tests.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { desk.answer(request).await }
    });
    // So is one that hangs up in the middle.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Content>, Infallible> {
        let call = self.note(request).await;
        Ok(match (self.script)(&call) {
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
        })
    }

    async fn note(&self, request: Request<Incoming>) -> Call {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path().to_owned();
        let mut seen = self.seen.lock().unwrap();
        let call = Call {
            earlier: seen.iter().filter(|call| call.path == path).count(),
            path,
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        seen.push(call.clone());
        call
    }
}

fn respond(status: u16, headers: &[(&'static str, String)], body: Content) -> Response<Content> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(body).unwrap()
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
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Flood => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 8192]))))),
            Self::Cut => Poll::Ready(Some(Err(io::Error::other("cut")))),
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

/// The invoice an honest node makes for this call, different each time.
pub(crate) fn draft(call: &Call) -> Draft {
    let mut preimage = [9; 32];
    preimage[..8].copy_from_slice(&call.earlier.to_be_bytes());
    let number = |field: &str| call.body[field].as_str().unwrap().parse().unwrap();
    Draft {
        msat: Some(number("value_msat")),
        currency: Currency::Regtest,
        description: Described::Text("a call"),
        preimage,
        age: Duration::ZERO,
        expiry: Duration::from_secs(number("expiry")),
    }
}

/// The answer to `POST /v1/invoices`.
pub(crate) fn added(draft: &Draft) -> Reply {
    let hash = draft.preimage().payment_hash();
    Reply::Json(
        200,
        json!({
            "r_hash": base64(hash.as_bytes()),
            "payment_request": draft.sign(),
            "add_index": "2",
            "payment_addr": "qBEebl0GZlxOz4PhjtiW2IFPpl0zwANvesNZDXJRJ9Q=",
        }),
    )
}

/// An invoice as lookups and streams show it.
pub(crate) fn invoice(hash: PaymentHash, state: &str, paid: u64, settle_index: u64) -> Value {
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
pub(crate) fn payment(hash: PaymentHash, status: &str, changes: &Value) -> Value {
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

pub(crate) fn refusal(code: u64, message: &str) -> Value {
    json!({ "code": code, "message": message, "details": [] })
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

pub(crate) fn preimage(byte: u8) -> Preimage {
    Preimage::from_bytes([byte; 32])
}

fn everything() -> Macaroon {
    macaroon(&[
        ("invoices", &["read", "write"]),
        ("offchain", &["read", "write"]),
        ("info", &["read"]),
    ])
}

/// A macaroon with these permissions, its signature left blank.
pub(crate) fn macaroon(operations: &[(&str, &[&str])]) -> Macaroon {
    let field = |tag: u8, value: &[u8]| {
        let length = u8::try_from(value.len()).unwrap();
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
    let packet = [&[2], &identifier[..], &[0, 0], &signature].concat();
    Macaroon::read(&packet).unwrap()
}
