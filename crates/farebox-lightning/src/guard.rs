//! Calling out over HTTP without being turned against the own network.
//!
//! The URLs we fetch are written by strangers (an address's provider names its callback), so each
//! one is a chance to make the gateway call something inside. Every connection is made to an
//! address that was checked just before, redirects are never followed, plain HTTP is refused, and
//! each answer has a limit of bytes and time. Hosts that the operator lists are exempt from the
//! address and scheme rules, and from nothing else. Proxy variables of the environment are ignored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use address::is_public;
pub(crate) use allowed::written_port;
pub use allowed::{AllowedHost, AllowedHostError, AllowedHosts};
use connect::{ConnectError, GuardedConnector};

use crate::{AnswerFault, NodeError};

mod address;
mod allowed;
mod connect;

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How many unused connections are kept for one host.
const MAX_IDLE_PER_HOST: usize = 8;

const AGENT: &str = concat!("farebox/", env!("CARGO_PKG_VERSION"));

/// An HTTP client for URLs written by strangers.
#[derive(Clone)]
pub struct GuardedClient {
    client: Client<HttpsConnector<GuardedConnector>, Empty<Bytes>>,
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

/// A complete answer that is not a redirect.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// Whether it calls itself HTML.
    pub is_web_page: bool,
    /// The body.
    pub body: Bytes,
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
            .with_tls_config(tls(roots))
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
    pub async fn get(&self, url: &Uri, limits: FetchLimits) -> Result<Answer, NodeError> {
        let host = host_of(url);
        self.check_url(url)?;
        tokio::time::timeout(limits.time, self.fetch(url, limits.body))
            .await
            .unwrap_or(Err(NodeError::TimedOut {
                host,
                limit: limits.time,
            }))
    }

    /// Refuses what can be refused without asking the name system.
    fn check_url(&self, url: &Uri) -> Result<(), NodeError> {
        self.allowed
            .access(url)
            .map(|_| ())
            .ok_or_else(|| NodeError::BadAnswer {
                host: host_of(url),
                fault: AnswerFault::Url,
            })
    }

    async fn fetch(&self, url: &Uri, limit: usize) -> Result<Answer, NodeError> {
        let host = host_of(url);
        let response = self.client.request(request(url)).await;
        let response = response.map_err(|error| connection_failed(&host, error))?;
        if response.status().is_redirection() {
            let fault = AnswerFault::Redirect(response.status().as_u16());
            return Err(NodeError::BadAnswer { host, fault });
        }
        read(host, response, limit).await
    }
}

/// The host and port of a URL, for errors and logs: what follows may be private.
#[must_use]
pub fn host_of(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

fn tls(roots: rustls::RootCertStore) -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring serves the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn request(url: &Uri) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = url.clone();
    let headers = request.headers_mut();
    headers.insert(ACCEPT, http::HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, http::HeaderValue::from_static(AGENT));
    request
}

async fn read(
    host: String,
    response: Response<Incoming>,
    limit: usize,
) -> Result<Answer, NodeError> {
    let status = response.status();
    let is_web_page = is_web_page(response.headers());
    match Limited::new(response.into_body(), limit).collect().await {
        Ok(body) => Ok(Answer {
            status,
            is_web_page,
            body: body.to_bytes(),
        }),
        Err(error) if error.is::<LengthLimitError>() => Err(NodeError::BadAnswer {
            host,
            fault: AnswerFault::TooLarge { limit },
        }),
        Err(error) => Err(NodeError::Unreachable {
            host,
            source: error.into(),
        }),
    }
}

/// Only a web page is told by its type: addresses served as plain files come as anything.
fn is_web_page(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    kind.len() >= 9 && kind[..9].eq_ignore_ascii_case(b"text/html")
}

fn connection_failed(host: &str, error: hyper_util::client::legacy::Error) -> NodeError {
    let host = host.to_owned();
    if ConnectError::is_blocked(&error) {
        NodeError::BlockedAddress { host }
    } else {
        NodeError::Unreachable {
            host,
            source: Arc::new(error),
        }
    }
}
