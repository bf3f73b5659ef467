//! The console's listener: few connections, each within limits, and an orderly end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use farebox_http::drain::Drain;
use farebox_http::listen::{ListenLimits, Serve, Server};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_service::Service;

/// Connections at one time, and how long the headers of a request may take and an idle connection rest.
const LIMITS: ListenLimits = ListenLimits {
    max_connections: 256,
    max_header_bytes: 16 << 10,
    header_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(60),
};
/// How long running requests may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// A running console.
pub struct Console {
    address: SocketAddr,
    drain: Drain,
    task: JoinHandle<io::Result<()>>,
}

struct Routes(Router);

impl Serve for Routes {
    type Body = Body;

    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        _: IpAddr,
    ) -> Result<Response<Body>, Infallible> {
        self.0.clone().call(request).await
    }
}

/// Starts the console on the running runtime.
///
/// # Errors
/// When the address cannot be bound.
pub async fn start(listen: SocketAddr, router: Router) -> io::Result<Console> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let (drain, signal) = Drain::new();
    let server = Server {
        service: Arc::new(Routes(router)),
        tls: None,
        limits: LIMITS,
        drain: signal,
        connections: Default::default(),
    };
    let task = tokio::spawn(server.run(listener.into_std()?));
    Ok(Console {
        address,
        drain,
        task,
    })
}

impl Console {
    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and ends when running requests have, or after five seconds.
    pub async fn stop(self) {
        self.drain.run(DRAIN).await;
        // It has ended by itself where the runtime did not take its listener.
        let _ = self.task.await;
    }
}
