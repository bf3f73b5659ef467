//! Calling out over HTTP without being turned against the own network.
//!
//! The URLs are written by strangers (the provider of a Lightning Address names its callback), so
//! each one is a chance to make us call something inside. Every connection is made to an address
//! that was checked just before, and plain HTTP is refused. Hosts that the operator lists are exempt
//! from these two rules, and from nothing else; they have connections of their own.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

pub use address::is_public;
use allowed::Access;
pub use allowed::{AllowedHost, AllowedHostError, AllowedHosts};
use resolver::{Blocked, PublicResolver};

use super::trusted::web_config;
use super::{Answer, CallError, HttpClient, common_headers, host_of, send, without_brackets};

mod address;
mod allowed;
mod resolver;

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the addresses of one host may take to accept, TLS not included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many unused connections are kept for one host.
const MAX_IDLE_PER_HOST: usize = 8;

/// An HTTP client for URLs written by strangers.
#[derive(Clone)]
pub struct GuardedClient {
    public: HttpClient<HttpsConnector<HttpConnector<PublicResolver>>>,
    listed: HttpClient<HttpsConnector<HttpConnector>>,
    allowed: Arc<AllowedHosts>,
}

/// What may be spent on one fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// From the first look at the name to the last byte.
    pub time: Duration,
    /// The largest body, in bytes.
    pub body: usize,
}

impl GuardedClient {
    /// A client that exempts the `allowed` hosts and trusts the Web's certificate authorities.
    #[must_use]
    pub fn new(allowed: AllowedHosts) -> Self {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self::with_roots(allowed, roots)
    }

    /// A client that trusts `roots` instead.
    #[must_use]
    pub fn with_roots(allowed: AllowedHosts, roots: rustls::RootCertStore) -> Self {
        let tls = web_config(roots);
        let public = HttpConnector::new_with_resolver(PublicResolver::new());
        Self {
            public: client(https(public, tls.clone())),
            listed: client(https(HttpConnector::new(), tls)),
            allowed: Arc::new(allowed),
        }
    }

    /// Fetches `url` with GET, to the last byte.
    ///
    /// # Errors
    /// A URL or address that is not to be called, no connection, a redirect, an answer that is too
    /// large or too slow. Statuses other than redirects are the caller's to judge.
    pub async fn get(&self, url: &Uri, limits: FetchLimits) -> Result<Answer, CallError> {
        let host = host_of(url);
        // What can be refused without asking the name system is refused first.
        let Some(access) = self.allowed.access(url) else {
            return Err(CallError::Url { host });
        };
        if access == Access::Public && is_inner_address(url) {
            return Err(CallError::Blocked { host });
        }
        let called = Arc::from(host.as_str());
        let fetched = async {
            let request = request(url);
            let answer = match access {
                Access::Public => send(&self.public, request, called, limits.body).await?,
                Access::Listed => send(&self.listed, request, called, limits.body).await?,
            };
            answer.collect().await
        };
        let in_time = tokio::time::timeout(limits.time, fetched).await;
        in_time.unwrap_or_else(|_| {
            Err(CallError::TimedOut {
                host,
                limit: limits.time,
            })
        })
    }
}

fn https<R>(mut tcp: HttpConnector<R>, tls: ClientConfig) -> HttpsConnector<HttpConnector<R>> {
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp)
}

fn client<C: Connect + Clone>(connector: C) -> HttpClient<C> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
        .build(connector)
}

/// An address that is written as one is never looked up.
fn is_inner_address(url: &Uri) -> bool {
    let address = without_brackets(url.host().unwrap_or_default()).parse();
    address.is_ok_and(|address| !is_public(address))
}

fn request(url: &Uri) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = url.clone();
    *request.headers_mut() = common_headers();
    request
}

/// Whether `error` is, or was caused by, an address that is not to be called.
pub(super) fn is_blocked(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<Blocked>() {
            return true;
        }
        cause = error.source();
    }
    false
}
