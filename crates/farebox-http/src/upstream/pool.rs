//! Connections to one upstream, kept for the next request.
//!
//! A connection is lent to one request and given back when the answer's body has ended; an answer
//! that is dropped before takes its connection with it, which is how the upstream learns that
//! nobody is listening any more. A request that meets a connection the upstream has closed goes out
//! again on another one only where not a byte of it had been sent.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service as _;

use super::early::Early;
use super::{Connector, Transport, UpstreamProtocol};
use crate::body::RequestBody;
use crate::listen::MAX_HEADER_LINES;

/// How long an idle connection is kept.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// How many idle connections one worker keeps to one upstream.
const MAX_IDLE_CONNECTIONS: usize = 512;

type Http1 = http1::SendRequest<RequestBody>;
type Http2 = http2::SendRequest<RequestBody>;

/// The connections to one upstream.
pub struct UpstreamPool {
    transport: Arc<Transport>,
    scheme: Scheme,
    authority: Authority,
    idle: Arc<[Mutex<Idle>]>,
}

#[derive(Default)]
struct Idle {
    http1: VecDeque<(Http1, Instant)>,
    http2: Option<Http2>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection could be made.
    #[error("no connection to the upstream")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// No connection could be made in time.
    #[error("the connection to the upstream took longer than {0:?}")]
    ConnectTimedOut(Duration),
    /// The connection broke, or the upstream does not speak HTTP.
    #[error("the connection to the upstream failed")]
    Send(#[source] hyper::Error),
    /// The answer has more header lines than are read, or longer ones.
    #[error(
        "the upstream's answer has more than {MAX_HEADER_LINES} header lines, or too long ones"
    )]
    Headers(#[source] hyper::Error),
    /// The upstream chose HTTP/2 for a request that asks for an upgrade.
    #[error("the upstream speaks HTTP/2 where an upgrade was asked for")]
    NoUpgrade,
    /// The request has no path, or none that can stand beside the upstream's host.
    #[error("the request has no target that the upstream could be asked for")]
    Target,
}

/// A request that got no answer, and may go out on another connection where it is still there.
struct Unsent {
    request: Option<Request<RequestBody>>,
    error: SendError,
}

impl From<TrySendError<Request<RequestBody>>> for Unsent {
    fn from(mut error: TrySendError<Request<RequestBody>>) -> Self {
        Self {
            request: error.take_message(),
            error: error.into_error().into(),
        }
    }
}

impl From<hyper::Error> for SendError {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::Headers(error)
        } else {
            Self::Send(error)
        }
    }
}

impl From<SendError> for Unsent {
    fn from(error: SendError) -> Self {
        Self {
            request: None,
            error,
        }
    }
}

/// A connection lent to one request; give it back at the end of the answer.
#[derive(Default)]
pub struct Lease(Option<Lent>);

struct Lent {
    sender: Http1,
    idle: Arc<[Mutex<Idle>]>,
    worker: usize,
}

/// An answer, and the connection it comes over.
pub type Answer = (Response<Incoming>, Lease);

enum Connection {
    Http1(Http1),
    Http2(Http2),
}

impl UpstreamPool {
    /// An empty pool for the upstream at `authority`.
    #[must_use]
    pub fn new(transport: Arc<Transport>, scheme: Scheme, authority: Authority) -> Self {
        let idle = (0..transport.workers).map(|_| Mutex::default()).collect();
        Self {
            transport,
            scheme,
            authority,
            idle,
        }
    }

    /// Host and port.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Sends a request, whose URI is path and query alone, on a connection of this worker. `on_way` is
    /// told when it is on one, and when it came back from one that had not taken a byte of it.
    pub async fn send(
        &self,
        worker: usize,
        mut request: Request<RequestBody>,
        mut on_way: impl FnMut(bool),
    ) -> Result<Answer, SendError> {
        while let Some(connection) = self.take(worker) {
            on_way(true);
            match self.send_on(connection, worker, request).await {
                Ok(answer) => return Ok(answer),
                Err(Unsent {
                    request: Some(unsent),
                    ..
                }) => request = unsent,
                Err(Unsent { error, .. }) => return Err(error),
            }
            on_way(false);
        }
        let connection = self
            .connect(&self.transport.connector, self.transport.protocol)
            .await?;
        if let Connection::Http2(sender) = &connection {
            self.idle(worker).http2 = Some(sender.clone());
        }
        on_way(true);
        let sent = self.send_on(connection, worker, request).await;
        sent.map_err(|unsent| unsent.error)
    }

    /// Sends a request that asks for an upgrade, on an HTTP/1.1 connection of its own. `on_way` is told
    /// when it is on it.
    pub async fn send_upgrade(
        &self,
        request: Request<RequestBody>,
        mut on_way: impl FnMut(bool),
    ) -> Result<Answer, SendError> {
        let connector = &self.transport.http1_connector;
        let Connection::Http1(mut sender) =
            self.connect(connector, UpstreamProtocol::Http1).await?
        else {
            return Err(SendError::NoUpgrade);
        };
        on_way(true);
        let answer = sender.send_request(request).await?;
        Ok((answer, Lease::default()))
    }

    async fn send_on(
        &self,
        connection: Connection,
        worker: usize,
        mut request: Request<RequestBody>,
    ) -> Result<Answer, Unsent> {
        match connection {
            Connection::Http1(mut sender) => {
                for_http1(&mut request)?;
                let answer = sender.try_send_request(request).await?;
                let lent = Lent {
                    sender,
                    idle: Arc::clone(&self.idle),
                    worker,
                };
                Ok((answer, Lease(Some(lent))))
            }
            Connection::Http2(mut sender) => {
                self.for_http2(&mut request)?;
                let answer = sender.try_send_request(request).await?;
                Ok((answer, Lease::default()))
            }
        }
    }

    /// HTTP/2 names the host in the URI (RFC 9113 section 8.3.1). A request that comes back unsent
    /// has it there already.
    fn for_http2(&self, request: &mut Request<RequestBody>) -> Result<(), SendError> {
        let host = request.headers_mut().remove(HOST);
        let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        let named = authority.or(parts.authority);
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(named.unwrap_or_else(|| self.authority.clone()));
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| SendError::Target)?;
        *request.version_mut() = Version::HTTP_2;
        Ok(())
    }

    fn take(&self, worker: usize) -> Option<Connection> {
        let mut idle = self.idle(worker);
        if let Some(sender) = idle.http2.take_if(|sender| sender.is_closed()) {
            drop(sender);
        }
        if let Some(sender) = &idle.http2 {
            return Some(Connection::Http2(sender.clone()));
        }
        idle.take_http1().map(Connection::Http1)
    }

    fn idle(&self, worker: usize) -> MutexGuard<'_, Idle> {
        lock(&self.idle[worker % self.idle.len()])
    }

    /// Boxed, because it is rare and large, and would be copied with every request otherwise.
    async fn connect(
        &self,
        connector: &Connector,
        protocol: UpstreamProtocol,
    ) -> Result<Connection, SendError> {
        let limit = self.transport.connect_timeout;
        match tokio::time::timeout(limit, Box::pin(self.open(connector, protocol))).await {
            Ok(opened) => opened,
            Err(_) => Err(SendError::ConnectTimedOut(limit)),
        }
    }

    async fn open(
        &self,
        connector: &Connector,
        protocol: UpstreamProtocol,
    ) -> Result<Connection, SendError> {
        let target = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query("/")
            .build()
            .map_err(|error| SendError::Connect(error.into()))?;
        let stream = connector
            .clone()
            .call(target)
            .await
            .map_err(SendError::Connect)?;
        if protocol == UpstreamProtocol::Http2 || stream.connected().is_negotiated_h2() {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).adaptive_window(true);
            let (sender, connection) = builder.handshake(stream).await.map_err(SendError::Send)?;
            tokio::spawn(connection);
            return Ok(Connection::Http2(sender));
        }
        let mut builder = http1::Builder::new();
        builder.max_headers(MAX_HEADER_LINES);
        let (sender, connection) = builder
            .handshake(Early::new(stream))
            .await
            .map_err(SendError::Send)?;
        tokio::spawn(connection.with_upgrades());
        Ok(Connection::Http1(sender))
    }
}

impl Idle {
    /// The connection used last that is open and ready. One whose answer has just ended may not
    /// be ready yet; it stays.
    fn take_http1(&mut self) -> Option<Http1> {
        let now = Instant::now();
        for index in (0..self.http1.len()).rev() {
            let (sender, since) = &self.http1[index];
            if sender.is_closed() || now.duration_since(*since) > MAX_IDLE {
                self.http1.remove(index);
            } else if sender.is_ready() {
                return self.http1.remove(index).map(|(sender, _)| sender);
            }
        }
        None
    }

    fn give_back(&mut self, sender: Http1) {
        if sender.is_closed() {
            return;
        }
        if self.http1.len() >= MAX_IDLE_CONNECTIONS {
            self.http1.pop_front();
        }
        self.http1.push_back((sender, Instant::now()));
    }
}

impl Lease {
    /// Makes the connection available to the next request.
    pub fn give_back(&mut self) {
        if let Some(Lent {
            sender,
            idle,
            worker,
        }) = self.0.take()
        {
            lock(&idle[worker % idle.len()]).give_back(sender);
        }
    }
}

/// Undoes [`UpstreamPool::for_http2`] on a request that comes back unsent from a connection of
/// HTTP/2 and goes out on one of HTTP/1.1.
fn for_http1(request: &mut Request<RequestBody>) -> Result<(), SendError> {
    if request.version() != Version::HTTP_2 {
        return Ok(());
    }
    let parts = std::mem::take(request.uri_mut()).into_parts();
    let host = parts
        .authority
        .and_then(|host| HeaderValue::try_from(host.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = parts.path_and_query.ok_or(SendError::Target)?.into();
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::TransportOptions;

    #[test]
    fn a_request_that_comes_back_unsent_keeps_its_host_in_either_version() {
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
        let transport = Transport::new(
            &TransportOptions {
                tls,
                protocol: UpstreamProtocol::Auto,
                connect_timeout: Duration::from_secs(1),
            },
            1,
        );
        let upstream = Authority::from_static("upstream:443");
        let pool = UpstreamPool::new(Arc::new(transport), Scheme::HTTPS, upstream);
        let mut request = Request::get("/a?b")
            .header(HOST, "asked.example")
            .body(RequestBody::Empty)
            .unwrap();
        for _ in 0..2 {
            pool.for_http2(&mut request).unwrap();
            assert_eq!(*request.uri(), "https://asked.example/a?b");
        }
        for_http1(&mut request).unwrap();
        assert_eq!(*request.uri(), "/a?b");
        assert_eq!(request.headers()[HOST], "asked.example");
        assert_eq!(request.version(), Version::HTTP_11);
    }
}
