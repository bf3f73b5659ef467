//! Connections to upstreams: one pooled client for each worker thread and transport profile.
//!
//! A worker only ever uses its own client, so that no connection crosses threads.

use std::sync::OnceLock;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::body::RequestBody;

/// The client one worker uses.
pub type UpstreamClient = Client<HttpsConnector<HttpConnector>, RequestBody>;

/// How long an idle upstream connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// How many idle connections one worker keeps to one upstream.
const POOL_MAX_IDLE: usize = 512;

/// How a route's upstream is reached.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Certificates and versions for `https`.
    pub tls: rustls::ClientConfig,
    /// Which HTTP version is spoken.
    pub protocol: UpstreamProtocol,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
}

/// Which HTTP version an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 in clear; what ALPN agrees on over TLS.
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, with prior knowledge in clear (h2c): gRPC servers.
    Http2,
}

/// The pooled clients of one transport profile, one for each worker, made at first use.
pub struct Transport {
    options: TransportOptions,
    clients: Box<[OnceLock<UpstreamClient>]>,
}

impl Transport {
    /// A transport for `workers` worker threads.
    #[must_use]
    pub fn new(options: TransportOptions, workers: usize) -> Self {
        Self {
            options,
            clients: (0..workers.max(1)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The client of worker number `worker`, counted from zero.
    #[must_use]
    pub fn client(&self, worker: usize) -> &UpstreamClient {
        let slot = worker % self.clients.len();
        self.clients[slot].get_or_init(|| self.options.build_client())
    }
}

impl TransportOptions {
    fn build_client(&self) -> UpstreamClient {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.connect_timeout));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http();
        let connector = match self.protocol {
            UpstreamProtocol::Auto => tls.enable_http1().enable_http2().wrap_connector(tcp),
            UpstreamProtocol::Http1 => tls.enable_http1().wrap_connector(tcp),
            UpstreamProtocol::Http2 => tls.enable_http2().wrap_connector(tcp),
        };
        self.client_builder().build(connector)
    }

    fn client_builder(&self) -> Builder {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .retry_canceled_requests(true)
            .set_host(false)
            .http1_preserve_header_case(false)
            .http2_only(self.protocol == UpstreamProtocol::Http2)
            .http2_adaptive_window(true);
        builder
    }
}
