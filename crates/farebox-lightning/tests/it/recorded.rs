//! A node's HTTP API on loopback that says what a test wants, for backends that cannot run here.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use farebox_core::{Msat, PaymentHash, Preimage, UnixMillis};
use farebox_lightning::{InvoiceRequest, Network, PaymentRequest, parse_invoice};
use farebox_testkit::ManualClock;
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::provider::{Described, Draft};

/// One call, as the script sees it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// How many calls of this path came before.
    pub(crate) earlier: usize,
}

/// What the node does with a call.
pub(crate) enum Say {
    Json(u16, Value),
    Text(u16, &'static str),
    /// Takes the call and hangs up.
    HangUp,
    /// Takes the call and says nothing.
    Silence,
}

pub(crate) struct RecordedNode {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

type Script = dyn Fn(&Call) -> Say + Send + Sync;

impl Call {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl RecordedNode {
    pub(crate) async fn start(script: impl Fn(&Call) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let seen = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                let service = service_fn(move |request| {
                    answer(Arc::clone(&seen), Arc::clone(&script), request)
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, calls }
    }

    pub(crate) fn url(&self) -> Uri {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// The calls of all paths that begin with `path`, in order.
    pub(crate) fn calls(&self, path: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls
            .iter()
            .filter(|call| call.path.starts_with(path))
            .cloned()
            .collect()
    }
}

async fn answer(
    seen: Arc<Mutex<Vec<Call>>>,
    script: Arc<Script>,
    request: Request<Incoming>,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query().unwrap().to_string();
    let call = {
        let mut seen = seen.lock().unwrap();
        let call = Call {
            method: head.method.to_string(),
            earlier: seen.iter().filter(|call| call.path == path).count(),
            path,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        seen.push(call.clone());
        call
    };
    let (status, body) = match script(&call) {
        Say::Json(status, value) => (status, value.to_string()),
        Say::Text(status, text) => (status, text.to_owned()),
        Say::HangUp => return Err(io::Error::other("hangs up")),
        Say::Silence => std::future::pending().await,
    };
    let response = Response::builder().status(status);
    Ok(response.body(Full::new(body.into())).unwrap())
}

/// A recorded answer.
pub(crate) fn recorded(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The same with one field changed.
pub(crate) fn with(mut value: Value, pointer: &str, changed: impl Into<Value>) -> Value {
    *value.pointer_mut(pointer).unwrap() = changed.into();
    value
}

/// What may stand in a member that decides nothing.
pub(crate) fn odd() -> [Value; 8] {
    [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!("x"),
        json!("0f".repeat(32)),
        json!([]),
        json!({}),
    ]
}

pub(crate) fn hash(hex: &str) -> PaymentHash {
    PaymentHash::from_hex(hex).unwrap()
}

pub(crate) fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

/// A clock that stands where the recorded invoice was just made.
pub(crate) fn clock_of(bolt11: &str) -> Arc<ManualClock> {
    clock_at(parse_invoice(bolt11).unwrap().created_at)
}

pub(crate) fn clock_at(now: UnixMillis) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(now))
}

/// The request that a recorded invoice answers.
pub(crate) fn request_of(bolt11: &str) -> (InvoiceRequest, Network) {
    let invoice = parse_invoice(bolt11).unwrap();
    let request = InvoiceRequest {
        amount: invoice.amount,
        memo: "a call & more".to_owned(),
        expiry: Duration::from_secs(600),
    };
    (request, invoice.network)
}

/// An invoice of somebody else, to be paid, and its preimage.
pub(crate) fn payable(msat: u64, max_fee: u64) -> (PaymentRequest, Preimage) {
    let draft = Draft {
        msat: Some(msat),
        currency: lightning_invoice::Currency::Bitcoin,
        description: Described::Text("a refund"),
        preimage: [7; 32],
        age: Duration::ZERO,
        expiry: Duration::from_secs(600),
    };
    let request = PaymentRequest {
        bolt11: draft.sign(),
        payment_hash: draft.preimage().payment_hash(),
        amount: self::msat(msat),
        max_fee: self::msat(max_fee),
        patience: Duration::from_secs(5),
    };
    (request, draft.preimage())
}
