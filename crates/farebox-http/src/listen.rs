//! Accepting connections: one single-threaded runtime for each core, each with its own listener on
//! the same address, so that no connection and no upstream connection crosses threads.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus_client::metrics::gauge::Gauge;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::drain::DrainSignal;
use crate::limits::{NoPlace, Place};
use crate::linger::Linger;
use crate::stall::StallGuard;

/// Connections the kernel queues for us.
const BACKLOG: i32 = 4096;
/// How long a connection may rest before the kernel asks whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How often it asks again.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long a TLS handshake may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to rest when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 256;

/// Header lines of one message of HTTP/1, in both directions. Of answers with more nothing is read.
pub const MAX_HEADER_LINES: usize = 128;

/// Limits on connections, before any route is known.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// Open connections, over all threads.
    pub max_connections: usize,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// How long a request's head may take, and how long a connection may rest between requests.
    pub header_timeout: Duration,
    /// How long a client may refuse to read.
    pub write_timeout: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_header_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
        }
    }
}

/// Binds `address` once for each worker; port 0 takes a free one, the same for all.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let first = bind_shared(address)?;
    let address = first.local_addr()?;
    let rest = (1..workers).map(|_| bind_shared(address));
    std::iter::once(Ok(first)).chain(rest).collect()
}

fn bind_shared(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it: a client that vanished without a word, most of all from a tunnel,
    // would keep its place for good.
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE_INTERVAL),
    )?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What answers the requests that a data thread takes.
pub trait Serve: Send + Sync + 'static {
    /// The bodies of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// A place for one more connection from `peer`, of the `limit` that there may be; none where the
    /// connections from there are not counted.
    ///
    /// # Errors
    /// [`NoPlace`] where its client has as many as it may.
    fn let_in(&self, _peer: IpAddr, _limit: u64) -> Result<Option<Place>, NoPlace> {
        Ok(None)
    }

    /// Answers one request from `peer`, the other end of the connection. Every failure is an answer.
    fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> impl Future<Output = Result<Response<Self::Body>, Infallible>> + Send;
}

/// Serves what one listener accepts.
pub struct Server<S> {
    /// What answers.
    pub service: Arc<S>,
    /// Certificate and key, where it speaks TLS.
    pub tls: Option<TlsAcceptor>,
    /// Limits on connections.
    pub limits: ListenLimits,
    /// Counts the connections and ends them.
    pub drain: DrainSignal,
    /// Counts them for the metrics; tunnels are not among them.
    pub connections: Gauge,
}

impl<S: Serve> Server<S> {
    /// Accepts and serves connections until the drain begins, and returns when it cuts what is left.
    ///
    /// # Errors
    /// When the runtime cannot take the listener.
    pub async fn run(self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let builder = Arc::new(http_builder(self.limits));
        let server = Arc::new(self);
        tokio::select! {
            () = server.accept(&listener, &builder) => {}
            () = server.drain.draining() => {}
        }
        drop(listener);
        server.drain.cut().await;
        Ok(())
    }

    async fn accept(
        self: &Arc<Self>,
        listener: &TcpListener,
        builder: &Arc<auto::Builder<TokioExecutor>>,
    ) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (peer, limit) = (peer.ip(), self.limits.max_connections);
                    if self.drain.open() < limit
                        && let Ok(place) = self.service.let_in(peer, limit as u64)
                    {
                        let connection = Connection {
                            server: Arc::clone(self),
                            builder: Arc::clone(builder),
                            peer,
                            _place: place,
                        };
                        tokio::spawn(connection.serve(stream));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn http_builder(limits: ListenLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.max_header_bytes.max(8192))
        .max_headers(MAX_HEADER_LINES)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .adaptive_window(true)
        .keep_alive_interval(Some(limits.header_timeout));
    builder
}

/// One accepted connection.
struct Connection<S> {
    server: Arc<Server<S>>,
    builder: Arc<auto::Builder<TokioExecutor>>,
    peer: IpAddr,
    _place: Option<Place>,
}

impl<S: Serve> Connection<S> {
    async fn serve(self, stream: TcpStream) {
        let open = self.server.drain.enter();
        self.server.connections.inc();
        let _ = stream.set_nodelay(true);
        let (stream, half_closed) = Linger::new(stream);
        match &self.server.tls {
            None => self.serve_http(stream).await,
            Some(acceptor) => {
                if let Ok(Ok(stream)) =
                    tokio::time::timeout(TLS_TIMEOUT, acceptor.accept(stream)).await
                {
                    self.serve_http(stream).await;
                }
            }
        }
        tokio::select! {
            () = half_closed.close() => {}
            () = self.server.drain.cut() => {}
        }
        self.server.connections.dec();
        drop(open);
    }

    async fn serve_http<C>(&self, stream: C)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ListenLimits {
            write_timeout,
            header_timeout,
            ..
        } = self.server.limits;
        let io = TokioIo::new(StallGuard::new(stream, write_timeout, header_timeout));
        let (server, peer) = (&self.server, self.peer);
        let service = service_fn(move |request| Arc::clone(&server.service).serve(request, peer));
        let connection = self.builder.serve_connection_with_upgrades(io, service);
        tokio::pin!(connection);
        let drain = &server.drain;
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = drain.draining() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            biased;
            _ = connection => {}
            () = drain.cut() => {}
        }
    }
}
