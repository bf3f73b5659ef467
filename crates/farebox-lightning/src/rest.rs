//! Calling the operator's own node over HTTP: the one client under every backend with a REST API.
//!
//! Whom we call is written in the operator's file, so private addresses are fine here, unlike in
//! [`crate::guard`]. What still holds: redirects are never followed, certificates may be pinned,
//! plain HTTP stays on this machine unless the operator says otherwise, and each answer, line and
//! call has a limit. The credential goes into marked headers and nowhere else; errors name the host
//! only. Calls may come from any runtime of the process. Nothing is sent twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{AnswerFault, NodeError};
pub(crate) use answer::{RestAnswer, printable};
use connect::{CallConnector, StreamConnector};
use lanes::Lanes;
pub(crate) use lines::Lines;
pub use trust::{EndpointError, Trust};

mod answer;
mod connect;
mod gather;
mod lanes;
mod lines;
mod trust;
mod url;

/// How long an unused connection is kept: less than the five seconds of the least patient server
/// that nodes use (uvicorn), so that none is closed under a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

const AGENT: &str = concat!("farebox/", env!("CARGO_PKG_VERSION"));

/// How a [`RestClient`] is set up.
pub(crate) struct RestOptions {
    /// Scheme, host, port and, where the API lies under one, a path.
    pub(crate) base: Uri,
    /// Whose certificates are accepted.
    pub(crate) trust: Trust,
    /// Sent with each call; the values are marked as sensitive.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// From the start of a call to the last byte of its answer.
    pub(crate) call_timeout: Duration,
    /// How many calls may be under way; one more is refused rather than queued. Streams are not
    /// counted.
    pub(crate) max_in_flight: usize,
    /// Lets `http://` leave this machine.
    pub(crate) allow_plain_http: bool,
}

impl RestOptions {
    /// The Web's certificates, no headers, 5 seconds a call, 64 calls at a time, plain HTTP on this
    /// machine only.
    pub(crate) const fn new(base: Uri) -> Self {
        Self {
            base,
            trust: Trust::Web,
            headers: Vec::new(),
            call_timeout: Duration::from_secs(5),
            max_in_flight: 64,
            allow_plain_http: false,
        }
    }
}

type HttpClient<C> = Client<C, Full<Bytes>>;

/// A client of one REST API. Clones share connections and the limit of calls.
#[derive(Clone)]
pub(crate) struct RestClient {
    calling: Lanes<HttpClient<CallConnector>>,
    streaming: Lanes<HttpClient<StreamConnector>>,
    base: Arc<Uri>,
    host: Arc<str>,
    headers: Arc<HeaderMap>,
    call_timeout: Duration,
    calls: Arc<Semaphore>,
    max_in_flight: usize,
}

impl RestClient {
    /// A client that has called nobody yet.
    ///
    /// # Errors
    /// [`EndpointError`]: a URL without a host, with a user name or of another scheme, plain HTTP to
    /// another machine, no certificate to pin.
    pub(crate) fn new(options: RestOptions) -> Result<Self, EndpointError> {
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
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The same client with another time limit, for calls that wait on purpose.
    pub(crate) fn patient(&self, call_timeout: Duration) -> Self {
        Self {
            call_timeout,
            ..self.clone()
        }
    }

    /// GET, to the last byte of the answer, whatever its status.
    ///
    /// # Errors
    /// [`NodeError`]: too many calls under way, no connection, a redirect, an answer that is too
    /// large or too slow.
    pub(crate) async fn get(&self, path_query: &str) -> Result<RestAnswer, NodeError> {
        self.call(Method::GET, path_query, Content::Nothing).await
    }

    /// POST with a JSON body.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(crate) async fn post_json(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<RestAnswer, NodeError> {
        self.call(Method::POST, path, Content::json(body)).await
    }

    /// POST with a form as its body (`application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(crate) async fn post_form(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<RestAnswer, NodeError> {
        self.call(Method::POST, path, Content::Form(url::form(fields)))
            .await
    }

    /// Any other call.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(crate) async fn call(
        &self,
        method: Method,
        path_query: &str,
        content: Content,
    ) -> Result<RestAnswer, NodeError> {
        let _call = self.calls.try_acquire().map_err(|_| NodeError::Busy {
            limit: self.max_in_flight,
        })?;
        let request = self.request(method, path_query, content)?;
        let whole = async { self.send(&self.calling, request).await?.collect().await };
        tokio::time::timeout(self.call_timeout, whole)
            .await
            .unwrap_or_else(|_| Err(self.timed_out()))
    }

    /// Opens an answer that comes line by line, whatever its status. Returns when its head is there,
    /// which some servers send with the first line only; how long to wait is the caller's to say.
    ///
    /// # Errors
    /// No connection, or a redirect.
    pub(crate) async fn stream(
        &self,
        method: Method,
        path_query: &str,
        body: Option<&Value>,
    ) -> Result<Lines, NodeError> {
        let content = body.map_or(Content::Nothing, Content::json);
        let request = self.request(method, path_query, content)?;
        self.send(&self.streaming, request).await
    }

    async fn send<C>(
        &self,
        clients: &Lanes<HttpClient<C>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Lines, NodeError>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let response = clients.own().request(request).await;
        let response = response.map_err(|error| self.connection_failed(error))?;
        self.refuse_redirect(&response)?;
        Ok(Lines::new(Arc::clone(&self.host), response))
    }

    fn refuse_redirect(&self, response: &Response<Incoming>) -> Result<(), NodeError> {
        if response.status().is_redirection() {
            return Err(self.bad_answer(AnswerFault::Redirect(response.status().as_u16())));
        }
        Ok(())
    }

    fn request(
        &self,
        method: Method,
        path_query: &str,
        content: Content,
    ) -> Result<Request<Full<Bytes>>, NodeError> {
        let url = self.url(path_query)?;
        let (kind, body) = content.into_parts();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url;
        *request.headers_mut() = self.headers.as_ref().clone();
        if let Some(kind) = kind {
            let kind = HeaderValue::from_static(kind);
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        Ok(request)
    }

    fn url(&self, path_query: &str) -> Result<Uri, NodeError> {
        let under = self.base.path().trim_end_matches('/');
        let joined: Result<PathAndQuery, _> = format!("{under}{path_query}").parse();
        let mut parts = self.base.as_ref().clone().into_parts();
        parts.path_and_query = Some(joined.map_err(|_| self.bad_answer(AnswerFault::Url))?);
        Uri::from_parts(parts).map_err(|_| self.bad_answer(AnswerFault::Url))
    }

    /// Only what failed while connecting is known to have reached nobody.
    fn connection_failed(&self, error: hyper_util::client::legacy::Error) -> NodeError {
        let host = self.host.to_string();
        let source = Arc::new(error);
        if source.is_connect() {
            NodeError::NotConnected { host, source }
        } else {
            NodeError::Unreachable { host, source }
        }
    }

    fn timed_out(&self) -> NodeError {
        NodeError::TimedOut {
            host: self.host.to_string(),
            limit: self.call_timeout,
        }
    }

    /// An answer of this host that cannot be used.
    pub(crate) fn bad_answer(&self, fault: AnswerFault) -> NodeError {
        NodeError::BadAnswer {
            host: self.host.to_string(),
            fault,
        }
    }
}

/// What is sent.
pub(crate) enum Content {
    /// No body.
    Nothing,
    /// JSON.
    Json(String),
    /// A form, encoded.
    Form(String),
}

impl Content {
    /// What is sent is made of texts and numbers, whose writing does not fail; no node would take
    /// an empty body for a call.
    fn json(body: &impl Serialize) -> Self {
        Self::Json(serde_json::to_string(body).unwrap_or_default())
    }

    fn into_parts(self) -> (Option<&'static str>, Bytes) {
        match self {
            Self::Nothing => (None, Bytes::new()),
            Self::Json(text) => (Some("application/json"), text.into()),
            Self::Form(text) => (Some("application/x-www-form-urlencoded"), text.into()),
        }
    }
}

fn client<C: Connect + Clone>(connector: C, max_idle: usize) -> HttpClient<C> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(max_idle)
        .build(connector)
}

fn headers(own: Vec<(HeaderName, HeaderValue)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, mut value) in own {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers
}
