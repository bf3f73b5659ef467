//! A small HTTP client for our own console and, in the demo, our own gateway.

use std::time::Duration;

use bytes::Bytes;
use farebox_console::AdminToken;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one address.
pub(crate) struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    address: String,
    token: Option<AdminToken>,
}

/// A whole answer.
pub(crate) struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("not a request")]
    Request(#[from] http::Error),
    #[error("nobody answers at {address}; does the gateway run?")]
    Unreachable {
        address: String,
        source: hyper_util::client::legacy::Error,
    },
    #[error("the answer cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer cannot be understood")]
    Form(#[from] serde_json::Error),
    #[error("no answer within a minute")]
    TimedOut,
}

impl Client {
    /// A client of `address`, with the admin token where one is needed.
    #[must_use]
    pub(crate) fn new(address: String, token: Option<AdminToken>) -> Self {
        let http = HyperClient::builder(TokioExecutor::new()).build_http();
        Self {
            http,
            address,
            token,
        }
    }

    /// Sends a request and reads the whole answer; `body` is JSON, null for none.
    ///
    /// # Errors
    /// [`ClientError`]; answers of every status are answers.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Reply, ClientError> {
        let request = self.request(method, path, headers, body)?;
        tokio::time::timeout(TIMEOUT, self.exchange(request))
            .await
            .map_err(|_| ClientError::TimedOut)?
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(HOST, &self.address);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_null() {
            return request.body(Full::default());
        }
        let body = Bytes::from(body.to_string());
        request
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
        let unreachable = |source| {
            let address = self.address.clone();
            ClientError::Unreachable { address, source }
        };
        let response = self.http.request(request).await.map_err(unreachable)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(ClientError::Body)?;
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }
}

impl Reply {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub(crate) fn json(&self) -> Value {
        self.read().unwrap_or_default()
    }

    /// What the body says.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}
