//! A scripted LNURL provider on loopback. Each test changes one thing about an honest one.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use bytes::Bytes;
use farebox_core::{Clock, Msat, Preimage};
use farebox_http::client::AllowedHosts;
use farebox_lightning::lnurl::{LightningAddress, LightningAddressOptions};
use farebox_lightning::{CreateInvoice, CreatedInvoice, InvoiceRequest, NodeError};
use farebox_testkit::ManualClock;
use http::{Request, Response, header};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

pub(crate) const METADATA: &str = r#"[["text/plain","pay me"],["text/identifier","me@here"]]"#;

/// What a provider does with one request.
pub(crate) enum Reply {
    Json(Value),
    Raw {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Bytes without end.
    Flood,
    /// The head of an answer, then nothing.
    Trickle,
    /// Nothing at all.
    Silence,
}

/// One request, as the script sees it.
pub(crate) struct Ask {
    pub(crate) base: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// How many requests for this path came before.
    pub(crate) earlier: usize,
}

/// An invoice as a provider may make it.
pub(crate) struct Draft {
    pub(crate) msat: Option<u64>,
    pub(crate) currency: Currency,
    pub(crate) description: Described,
    pub(crate) preimage: [u8; 32],
    pub(crate) age: Duration,
    pub(crate) expiry: Duration,
}

pub(crate) enum Described {
    Hash(Vec<u8>),
    Text(&'static str),
}

type Script = dyn Fn(&Ask) -> Reply + Send + Sync;

pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

impl Ask {
    pub(crate) fn is_callback(&self) -> bool {
        self.path == "/cb"
    }

    pub(crate) fn amount(&self) -> u64 {
        let amounts: Vec<_> = self
            .query
            .split('&')
            .filter_map(|p| p.strip_prefix("amount="))
            .collect();
        assert_eq!(amounts.len(), 1, "one amount in {}", self.query);
        amounts[0].parse().unwrap()
    }

    /// What an honest provider answers under the well-known URL.
    pub(crate) fn parameters(&self) -> Value {
        json!({
            "tag": "payRequest",
            "callback": format!("{}/cb?session=a%20b", self.base),
            "minSendable": 1000,
            "maxSendable": 5_000_000,
            "metadata": METADATA,
            "commentAllowed": 12,
        })
    }

    /// The invoice an honest provider makes, different each time.
    pub(crate) fn draft(&self) -> Draft {
        let mut preimage = [9; 32];
        preimage[..8].copy_from_slice(&self.earlier.to_be_bytes());
        Draft {
            msat: Some(self.amount()),
            currency: Currency::Bitcoin,
            description: Described::Hash(METADATA.into()),
            preimage,
            age: Duration::ZERO,
            expiry: Duration::from_secs(600),
        }
    }

    pub(crate) fn honest(&self) -> Reply {
        if self.is_callback() {
            self.draft().reply()
        } else {
            Reply::Json(self.parameters())
        }
    }
}

impl Draft {
    pub(crate) fn sign(&self) -> String {
        let now = Duration::from_secs(clock().now().as_secs());
        let builder = InvoiceBuilder::new(self.currency.clone());
        let builder = match &self.description {
            Described::Hash(metadata) => builder.description_hash(sha256::Hash::hash(metadata)),
            Described::Text(text) => {
                builder.invoice_description(lightning_invoice::Bolt11InvoiceDescription::Direct(
                    lightning_invoice::Description::new((*text).to_owned()).unwrap(),
                ))
            }
        };
        let mut builder = builder
            .payment_hash(sha256::Hash::hash(&self.preimage))
            .payment_secret(PaymentSecret([3; 32]))
            .duration_since_epoch(now - self.age)
            .min_final_cltv_expiry_delta(80)
            .expiry_time(self.expiry);
        if let Some(msat) = self.msat {
            builder = builder.amount_milli_satoshis(msat);
        }
        let key = SecretKey::from_slice(&[5; 32]).unwrap();
        let sign = |hash: &_| Secp256k1::signing_only().sign_ecdsa_recoverable(hash, &key);
        builder.build_signed(sign).unwrap().to_string()
    }

    pub(crate) fn reply(&self) -> Reply {
        Reply::Json(json!({ "pr": self.sign(), "routes": [] }))
    }

    pub(crate) fn preimage(&self) -> Preimage {
        Preimage::from_bytes(self.preimage)
    }
}

impl Provider {
    pub(crate) async fn honest() -> Self {
        Self::start(Ask::honest).await
    }

    /// An honest provider but for its invoices.
    pub(crate) async fn drafting(draft: impl Fn(&Ask) -> Draft + Send + Sync + 'static) -> Self {
        Self::start(move |ask| {
            if ask.is_callback() {
                draft(ask).reply()
            } else {
                ask.honest()
            }
        })
        .await
    }

    /// An honest provider but for what its callback answers.
    pub(crate) async fn calling_back(
        reply: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |ask| {
            if ask.is_callback() {
                reply(ask)
            } else {
                ask.honest()
            }
        })
        .await
    }

    /// An honest provider but for one of its parameters.
    pub(crate) async fn stating(field: &'static str, value: Value) -> Self {
        Self::start(move |ask| {
            let mut parameters = ask.parameters();
            parameters[field] = value.clone();
            if ask.is_callback() {
                ask.honest()
            } else {
                Reply::Json(parameters)
            }
        })
        .await
    }

    pub(crate) async fn start(script: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let desk = Desk {
            base: format!("http://{address}"),
            seen: seen.clone(),
            script: Arc::new(script),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, desk.clone()));
            }
        });
        Self { address, seen }
    }

    /// The queries of all requests for this path so far.
    pub(crate) fn seen(&self, path: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|(p, _)| p == path)
            .map(|(_, query)| query.clone())
            .collect()
    }

    pub(crate) fn options(&self) -> LightningAddressOptions {
        let address = format!("me@{}", self.address).parse().unwrap();
        let mut options = LightningAddressOptions::new(address, clock());
        options.allowed = AllowedHosts::new(vec![self.address.to_string().parse().unwrap()]);
        options
    }

    /// A backend that pays to this provider.
    pub(crate) fn backend(&self) -> LightningAddress {
        LightningAddress::new(self.options())
    }

    /// One invoice of 2,000 msat through a fresh backend.
    pub(crate) async fn invoice(&self) -> Result<CreatedInvoice, NodeError> {
        self.backend().create_invoice(request(2000)).await
    }
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::default())
}

pub(crate) fn request(msat: u64) -> InvoiceRequest {
    InvoiceRequest {
        amount: Msat::new(msat).unwrap(),
        memo: "a call & more".to_owned(),
        expiry: Duration::from_secs(600),
    }
}

#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) base: String,
    pub(crate) seen: Arc<Mutex<Vec<(String, String)>>>,
    pub(crate) script: Arc<Script>,
}

pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    desk: Desk,
) {
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { desk.answer(&request).await }
    });
    let connection = auto::Builder::new(TokioExecutor::new());
    // A client that hangs up in the middle is part of some tests.
    let _ = connection
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Desk {
    async fn answer(&self, request: &Request<Incoming>) -> Result<Response<Content>, Infallible> {
        let ask = self.note(request);
        Ok(match (self.script)(&ask) {
            Reply::Json(value) => respond(200, &[], Content::Whole(Some(value.to_string().into()))),
            Reply::Raw {
                status,
                headers,
                body,
            } => respond(status, &headers, Content::Whole(Some(body.into()))),
            Reply::Flood => respond(200, &[], Content::Flood),
            Reply::Trickle => respond(200, &[], Content::Stalled),
            Reply::Silence => pending().await,
        })
    }

    fn note(&self, request: &Request<Incoming>) -> Ask {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let mut seen = self.seen.lock().unwrap();
        let earlier = seen.iter().filter(|(p, _)| *p == path).count();
        seen.push((path.clone(), query.clone()));
        Ask {
            base: self.base.clone(),
            path,
            query,
            earlier,
        }
    }
}

fn respond(status: u16, headers: &[(&'static str, String)], body: Content) -> Response<Content> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    if headers.is_empty() {
        response = response.header(header::CONTENT_TYPE, "application/json");
    }
    response.body(body).unwrap()
}

enum Content {
    Whole(Option<Bytes>),
    Flood,
    Stalled,
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Flood => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 8192]))))),
            Self::Stalled => Poll::Pending,
        }
    }
}
