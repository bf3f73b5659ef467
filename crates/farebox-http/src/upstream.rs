//! How upstreams are reached: connectors, and one pool of connections for each worker.
//!
//! A worker only ever uses connections of its own, so none crosses threads and no lock is ever
//! waited for. The pool is ours and not a general client's because it is a tenth of what a request
//! costs (`docs/benchmarks.md`); connecting, TLS and both HTTP versions are hyper's.

mod early;
mod pool;

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

pub use pool::{Answer, Lease};
pub use pool::{SendError, UpstreamPool};

/// How long a connection may rest before the kernel asks whether the other side is still there.
/// HTTP/2's own pings are not used for it: gRPC servers take them for an attack.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How often it asks again.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often it asks in vain.
const KEEPALIVE_RETRIES: u32 = 3;
/// How long what was sent may stay unacknowledged, or the other side refuse to read, before the
/// connection counts as dead and no further request is put on it.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);

/// Makes connections.
type Connector = HttpsConnector<HttpConnector>;

/// How a route's upstream is reached.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Certificates and versions for `https`; ALPN is set by `protocol`.
    pub tls: rustls::ClientConfig,
    /// Which HTTP version is spoken.
    pub protocol: UpstreamProtocol,
    /// How long a connection may take to be made, TLS included.
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

/// The connectors of one transport profile; upstreams with the same profile share it.
pub struct Transport {
    protocol: UpstreamProtocol,
    connect_timeout: Duration,
    workers: usize,
    connector: Connector,
    /// For upgrades, which HTTP/2 does not have.
    http1_connector: Connector,
}

impl Transport {
    /// A transport for `workers` worker threads.
    #[must_use]
    pub fn new(options: &TransportOptions, workers: usize) -> Self {
        Self {
            protocol: options.protocol,
            connect_timeout: options.connect_timeout,
            workers: workers.max(1),
            connector: options.connector(options.protocol),
            http1_connector: options.connector(UpstreamProtocol::Http1),
        }
    }
}

impl TransportOptions {
    fn connector(&self, protocol: UpstreamProtocol) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.connect_timeout));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http();
        match protocol {
            UpstreamProtocol::Auto => tls.enable_http1().enable_http2().wrap_connector(tcp),
            UpstreamProtocol::Http1 => tls.enable_http1().wrap_connector(tcp),
            UpstreamProtocol::Http2 => tls.enable_http2().wrap_connector(tcp),
        }
    }
}
