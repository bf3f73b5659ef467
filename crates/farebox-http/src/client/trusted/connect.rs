//! Connecting, TLS included, within a limit of its own: a host that accepts and then says nothing
//! is not connected, and the caller may know that nothing was sent.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

use super::gather::GatheringConnector;
use super::{EndpointError, Trust};

/// From the first look at the name to the end of the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection without a word for so long is probed, so that a stream notices a dead peer.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(20);

/// Between probes.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// So many unanswered probes end the connection.
const KEEPALIVE_PROBES: u32 = 3;

/// Connects to what answers at once.
pub(super) type CallConnector = BoundedConnector<HttpsConnector<HttpConnector>>;
/// Connects to what answers time and again.
pub(super) type StreamConnector = BoundedConnector<HttpsConnector<GatheringConnector>>;

pub(super) fn for_calls(trust: &Trust) -> Result<CallConnector, EndpointError> {
    over_tls(trust, tcp())
}

pub(super) fn for_streams(trust: &Trust) -> Result<StreamConnector, EndpointError> {
    over_tls(trust, GatheringConnector(tcp()))
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE_AFTER));
    tcp.set_keepalive_interval(Some(KEEPALIVE_EVERY));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    tcp
}

/// HTTP/1.1 only: a stream that stays open must not share its connection with other calls.
fn over_tls<C>(
    trust: &Trust,
    tcp: C,
) -> Result<BoundedConnector<HttpsConnector<C>>, EndpointError> {
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(trust.client_config()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(BoundedConnector(https))
}

/// A connector that gives up in time.
#[derive(Clone)]
pub(super) struct BoundedConnector<C>(C);

#[derive(Debug, thiserror::Error)]
#[error("no connection within {CONNECT_TIMEOUT:?}")]
struct TooSlow;

type BoxError = Box<dyn Error + Send + Sync>;

impl<C> Service<Uri> for BoundedConnector<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let connected = self.0.call(url);
        Box::pin(async {
            tokio::time::timeout(CONNECT_TIMEOUT, connected)
                .await
                .unwrap_or_else(|_| Err(TooSlow.into()))
        })
    }
}
