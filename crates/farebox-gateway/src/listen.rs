//! Accepting connections: one single-threaded runtime for each core, each with its own listener on
//! the same address, so that no connection and no upstream connection crosses threads.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::stall::StallGuard;
use crate::worker::Worker;

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
/// How often a worker hands its log lines over.
const LOG_FLUSH: Duration = Duration::from_millis(200);
/// How often answers that nobody came back for are forgotten.
const FORGET_ANSWERS: Duration = Duration::from_secs(15);
/// How often a worker looks for answers that are not read.
const FIND_UNREAD: Duration = Duration::from_secs(1);
/// Requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 256;

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

/// Binds `address` once for each worker.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<std::net::TcpListener>> {
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

/// Accepts and serves connections until the drain begins.
pub(crate) async fn run(
    worker: Arc<Worker>,
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    limits: ListenLimits,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let drain = worker.shared.drain.clone();
    tokio::spawn(keep_house(Arc::clone(&worker), limits.write_timeout));
    let builder = Arc::new(http_builder(limits));
    tokio::select! {
        () = accept(&worker, &listener, tls.as_ref(), &builder, limits) => {}
        () = drain.draining() => {}
    }
    drop(listener);
    drain.cut().await;
    Ok(())
}

async fn accept(
    worker: &Arc<Worker>,
    listener: &TcpListener,
    tls: Option<&TlsAcceptor>,
    builder: &Arc<auto::Builder<TokioExecutor>>,
    limits: ListenLimits,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if worker.shared.drain.open() < limits.max_connections {
                    let conn = Connection {
                        worker: Arc::clone(worker),
                        builder: Arc::clone(builder),
                        peer: peer.ip(),
                        limits,
                    };
                    tokio::spawn(conn.serve(stream, tls.cloned()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
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
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .adaptive_window(true)
        .keep_alive_interval(Some(limits.header_timeout));
    builder
}

/// One accepted connection.
struct Connection {
    worker: Arc<Worker>,
    builder: Arc<auto::Builder<TokioExecutor>>,
    peer: IpAddr,
    limits: ListenLimits,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let open = self.worker.shared.drain.enter();
        let gauge = self.worker.shared.metrics.connections();
        gauge.inc();
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.serve_http(stream).await,
            Some(acceptor) => {
                if let Ok(Ok(stream)) =
                    tokio::time::timeout(TLS_TIMEOUT, acceptor.accept(stream)).await
                {
                    self.serve_http(stream).await;
                }
            }
        }
        gauge.dec();
        drop(open);
    }

    async fn serve_http<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ListenLimits {
            write_timeout,
            header_timeout,
            ..
        } = self.limits;
        let io = TokioIo::new(StallGuard::new(stream, write_timeout, header_timeout));
        let (worker, peer) = (&self.worker, self.peer);
        let service = service_fn(move |request| Arc::clone(worker).serve(request, peer));
        let connection = self.builder.serve_connection_with_upgrades(io, service);
        tokio::pin!(connection);
        let drain = &self.worker.shared.drain;
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

async fn keep_house(worker: Arc<Worker>, write_timeout: Duration) {
    let mut tick = tokio::time::interval(LOG_FLUSH);
    let mut forgotten_at = Instant::now();
    let mut looked_at = forgotten_at;
    loop {
        tick.tick().await;
        worker.shared.log.flush();
        let now = Instant::now();
        if worker.index == 0 && now.duration_since(forgotten_at) >= FORGET_ANSWERS {
            worker.shared.replays.forget_expired(now);
            forgotten_at = now;
        }
        if now.duration_since(looked_at) >= FIND_UNREAD {
            worker.watched.let_go_of_unread(write_timeout);
            looked_at = now;
        }
    }
}
