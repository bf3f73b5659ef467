//! Calling a server of the operator's own, such as a node, over HTTP.
//!
//! Whom we call is written in the operator's file, so private addresses are fine. Certificates may
//! be pinned, and plain HTTP stays on this machine unless the operator says otherwise. The credential
//! goes into marked headers and nowhere else. Calls may come from any runtime of the process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Answer, CallError, HttpClient, Lines, common_headers, send};
use connect::{CallConnector, StreamConnector};
use lanes::Lanes;
pub(super) use trust::web_config;
pub use trust::{EndpointError, Trust};

mod connect;
mod gather;
mod lanes;
mod trust;
mod url;

/// How long an unused connection is kept: less than the five seconds of the least patient server
/// that nodes use (uvicorn), so that none is closed under a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The largest answer that is read, in bytes: lists of payments with their routes are the longest.
const MAX_ANSWER: usize = 1024 * 1024;

/// How a [`TrustedClient`] is set up.
pub struct EndpointOptions {
    /// Scheme, host, port and, where the API lies under one, a path.
    pub base: Uri,
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// Sent with each call; the values are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// From the start of a call to the last byte of its answer.
    pub call_timeout: Duration,
    /// How many calls may be under way; one more is refused rather than queued. Streams are not
    /// counted.
    pub max_in_flight: usize,
    /// Lets `http://` leave this machine.
    pub allow_plain_http: bool,
}

/// The type of a body and its bytes, where there is one.
type Content = Option<(&'static str, Bytes)>;

/// A client of one REST API. Clones share connections and the limit of calls.
#[derive(Clone)]
pub struct TrustedClient {
    calling: Lanes<HttpClient<CallConnector>>,
    streaming: Lanes<HttpClient<StreamConnector>>,
    base: Arc<Uri>,
    host: Arc<str>,
    headers: Arc<HeaderMap>,
    call_timeout: Duration,
    calls: Arc<Semaphore>,
    max_in_flight: usize,
}

impl TrustedClient {
    /// The same client, with more or less patience for each call.
    #[must_use]
    pub fn with_timeout(&self, call_timeout: Duration) -> Self {
        Self {
            call_timeout,
            ..self.clone()
        }
    }

    /// A client that has called nobody yet.
    ///
    /// # Errors
    /// [`EndpointError`]: a URL without a host, with a user name or of another scheme, plain HTTP to
    /// another machine, no certificate to pin.
    pub fn new(options: EndpointOptions) -> Result<Self, EndpointError> {
        let host = url::check(&options.base, options.allow_plain_http)?;
        let (calls, streams) = (
            connect::for_calls(&options.trust)?,
            connect::for_streams(&options.trust)?,
        );
        let most = options.max_in_flight;
        Ok(Self {
            calling: Lanes::new(|| client(calls.clone(), most)),
            streaming: Lanes::new(|| client(streams.clone(), most)),
            base: Arc::new(options.base),
            host: host.into(),
            headers: Arc::new(headers(options.headers)),
            call_timeout: options.call_timeout,
            calls: Arc::new(Semaphore::new(options.max_in_flight)),
            max_in_flight: options.max_in_flight,
        })
    }

    /// The host and port that are called, for errors.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same client with another time limit, for calls that wait on purpose.
    #[must_use]
    pub fn patient(&self, call_timeout: Duration) -> Self {
        Self {
            call_timeout,
            ..self.clone()
        }
    }

    /// GET, to the last byte of the answer, whatever its status.
    ///
    /// # Errors
    /// [`CallError`]: too many calls under way, no connection, a redirect, an answer that is too large
    /// or too slow.
    pub async fn get(&self, path_query: &str) -> Result<Answer, CallError> {
        self.call(Method::GET, path_query, None).await
    }

    /// POST with a JSON body.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn post_json(&self, path: &str, body: &impl Serialize) -> Result<Answer, CallError> {
        self.call(Method::POST, path, json(body)).await
    }

    /// POST with a form as its body (`application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn post_form(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, CallError> {
        let kind = "application/x-www-form-urlencoded";
        let form = url::form(fields).into();
        self.call(Method::POST, path, Some((kind, form))).await
    }

    async fn call(
        &self,
        method: Method,
        path_query: &str,
        content: Content,
    ) -> Result<Answer, CallError> {
        let _call = self.calls.try_acquire().map_err(|_| CallError::Busy {
            limit: self.max_in_flight,
        })?;
        let request = self.request(method, path_query, content)?;
        let host = Arc::clone(&self.host);
        let whole = async {
            let answer = send(self.calling.own(), request, host, MAX_ANSWER);
            answer.await?.collect().await
        };
        let in_time = tokio::time::timeout(self.call_timeout, whole).await;
        in_time.unwrap_or_else(|_| {
            Err(CallError::TimedOut {
                host: self.host.to_string(),
                limit: self.call_timeout,
            })
        })
    }

    /// Opens an answer that comes line by line, whatever its status. Returns when its head is there,
    /// which some servers send with the first line only; how long to wait is the caller's to say.
    ///
    /// # Errors
    /// No connection, or a redirect.
    pub async fn stream(
        &self,
        method: Method,
        path_query: &str,
        body: Option<&Value>,
    ) -> Result<Lines, CallError> {
        let content = body.and_then(json);
        let request = self.request(method, path_query, content)?;
        let host = Arc::clone(&self.host);
        send(self.streaming.own(), request, host, MAX_ANSWER).await
    }

    fn request(
        &self,
        method: Method,
        path_query: &str,
        content: Content,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let url = self.url(path_query).ok_or_else(|| CallError::Url {
            host: self.host.to_string(),
        })?;
        let (kind, body) = content.unzip();
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = url;
        *request.headers_mut() = self.headers.as_ref().clone();
        if let Some(kind) = kind {
            let kind = HeaderValue::from_static(kind);
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        Ok(request)
    }

    fn url(&self, path_query: &str) -> Option<Uri> {
        let under = self.base.path().trim_end_matches('/');
        let joined: PathAndQuery = format!("{under}{path_query}").parse().ok()?;
        let mut parts = self.base.as_ref().clone().into_parts();
        parts.path_and_query = Some(joined);
        Uri::from_parts(parts).ok()
    }
}

/// What is sent is made of texts and numbers, whose writing does not fail; no node would take an
/// empty body for a call.
fn json(body: &impl Serialize) -> Content {
    let text = serde_json::to_string(body).unwrap_or_default();
    Some(("application/json", text.into()))
}

fn client<C: Connect + Clone>(connector: C, max_idle: usize) -> HttpClient<C> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(max_idle)
        .build(connector)
}

fn headers(own: Vec<(HeaderName, HeaderValue)>) -> HeaderMap {
    let mut headers = common_headers();
    for (name, mut value) in own {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers
}
