//! Calling out over HTTP without being turned against the own network.
//!
//! The URLs are written by strangers (the provider of a Lightning Address names its callback), so
//! each one is a chance to make us call something inside. Every connection is made to an address
//! that was checked just before, and plain HTTP is refused. Hosts that the operator lists are exempt
//! from these two rules, and from nothing else.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use address::is_public;
pub use allowed::{AllowedHost, AllowedHostError, AllowedHosts};
use connect::{ConnectError, GuardedConnector};

use super::trusted::web_config;
use super::{Answer, CallError, HttpClient, common_headers, host_of, send};

mod address;
mod allowed;
mod connect;

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How many unused connections are kept for one host.
const MAX_IDLE_PER_HOST: usize = 8;

/// An HTTP client for URLs written by strangers.
#[derive(Clone)]
pub struct GuardedClient {
    client: HttpClient<HttpsConnector<GuardedConnector>>,
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
        let allowed = Arc::new(allowed);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(web_config(roots))
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(GuardedConnector::new(Arc::clone(&allowed)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .build(connector);
        Self { client, allowed }
    }

    /// Fetches `url` with GET, to the last byte.
    ///
    /// # Errors
    /// A URL or address that is not to be called, no connection, a redirect, an answer that is too
    /// large or too slow. Statuses other than redirects are the caller's to judge.
    pub async fn get(&self, url: &Uri, limits: FetchLimits) -> Result<Answer, CallError> {
        let host = host_of(url);
        // What can be refused without asking the name system is refused first.
        if self.allowed.access(url).is_none() {
            return Err(CallError::Url { host });
        }
        let fetched = async {
            let answer = send(
                &self.client,
                request(url),
                host.as_str().into(),
                limits.body,
            );
            answer.await?.collect().await
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
        if let Some(ConnectError::Blocked) = error.downcast_ref() {
            return true;
        }
        cause = error.source();
    }
    false
}
