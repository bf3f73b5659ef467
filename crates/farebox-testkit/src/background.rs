//! One HTTP server (HTTP/1.1 and HTTP/2 with prior knowledge) on a free loopback port, on a thread
//! and runtime of its own, so that blocking tests can talk to it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// The script wants the connection dropped here.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the script cuts the connection here")]
pub(crate) struct Cut;

pub(crate) type Body = UnsyncBoxBody<Bytes, Cut>;
pub(crate) type Answer = Result<Response<Body>, Cut>;
pub(crate) type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;
pub(crate) type Handler = Arc<dyn Fn(Request<Incoming>) -> AnswerFuture + Send + Sync>;

/// A running server; dropping it closes its port and all its connections.
#[derive(Debug)]
pub(crate) struct Background {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(name: &str, handler: Handler) -> io::Result<Self> {
        Self::serve(name, 0, None, handler)
    }

    /// On this port, which a server before it has left.
    #[cfg(feature = "mint")]
    pub(crate) fn start_at(name: &str, port: u16, handler: Handler) -> io::Result<Self> {
        Self::serve(name, port, None, handler)
    }

    #[cfg(feature = "fake-lnd")]
    pub(crate) fn start_tls(name: &str, tls: TlsAcceptor, handler: Handler) -> io::Result<Self> {
        Self::serve(name, 0, Some(tls), handler)
    }

    /// Port 0 is any that is free.
    fn serve(
        name: &str,
        port: u16,
        tls: Option<TlsAcceptor>,
        handler: Handler,
    ) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, tls, handler) => (),
                        _ = stopped => (),
                    }
                });
                // A script that blocks is nobody's concern any more.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: std::net::TcpListener, tls: Option<TlsAcceptor>, handler: Handler) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        // A failed accept concerns one connection (or a passing shortage of file descriptors).
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(attend(stream, tls.clone(), Arc::clone(&handler)));
        } else {
            tokio::task::yield_now().await;
        }
    }
}

async fn attend(stream: TcpStream, tls: Option<TlsAcceptor>, handler: Handler) {
    drop(stream.set_nodelay(true));
    match tls {
        None => serve(stream, handler).await,
        Some(tls) => {
            // A client that does not like the certificate is part of some tests.
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, handler).await;
            }
        }
    }
}

async fn serve<S>(stream: S, handler: Handler)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| handler(request));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().preserve_header_case(true);
    // The error is the script's own cut, or a client that went away: both are ordinary in tests.
    drop(
        server
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .await,
    );
}
