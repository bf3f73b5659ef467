//! The connector: looks a name up, checks every address, connects to exactly those it checked.
//! A second lookup, which could answer differently, never happens.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tower_service::Service;

use super::address::is_public;
use super::allowed::{Access, AllowedHosts, port_of};
use crate::client::without_brackets;

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 8;

/// How long one address may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub(super) struct GuardedConnector {
    allowed: Arc<AllowedHosts>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the URL names no host that may be called")]
    Url,
    #[error("the name has an address that is not public")]
    Blocked,
    #[error("the name has no address")]
    NoAddress,
    #[error("the name was not found")]
    Lookup(#[source] io::Error),
    #[error("the connection was not made")]
    Connect(#[source] io::Error),
}

impl GuardedConnector {
    pub(super) const fn new(allowed: Arc<AllowedHosts>) -> Self {
        Self { allowed }
    }

    async fn connect(self, url: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let access = self.allowed.access(&url).ok_or(ConnectError::Url)?;
        let addresses = addresses(&url).await?;
        check(access, &addresses)?;
        connect_first(&addresses).await.map(TokioIo::new)
    }
}

impl Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(self.clone().connect(url))
    }
}

async fn addresses(url: &Uri) -> Result<Vec<SocketAddr>, ConnectError> {
    let port = port_of(url).ok_or(ConnectError::Url)?;
    let host = url.host().ok_or(ConnectError::Url)?;
    if let Ok(address) = without_brackets(host).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = lookup_host((host, port))
        .await
        .map_err(ConnectError::Lookup)?;
    Ok(found.collect())
}

/// One address inside is enough to refuse the name: only a trick mixes them with public ones.
fn check(access: Access, addresses: &[SocketAddr]) -> Result<(), ConnectError> {
    if addresses.is_empty() {
        return Err(ConnectError::NoAddress);
    }
    let inside = |address: &SocketAddr| !is_public(address.ip());
    if access == Access::Public && addresses.iter().any(inside) {
        return Err(ConnectError::Blocked);
    }
    Ok(())
}

async fn connect_first(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let mut failure = ConnectError::NoAddress;
    for address in addresses.iter().take(MAX_ADDRESSES) {
        match connect_to(*address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = ConnectError::Connect(error),
        }
    }
    Err(failure)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect()
    }

    #[test]
    fn one_inner_address_among_public_ones_blocks_the_name() {
        let mixed = at(&["1.1.1.1:443", "10.0.0.1:443"]);
        assert!(matches!(
            check(Access::Public, &mixed),
            Err(ConnectError::Blocked)
        ));
        assert!(check(Access::Listed, &mixed).is_ok());
        assert!(check(Access::Public, &at(&["1.1.1.1:443", "[2606:4700::1]:443"])).is_ok());
        assert!(matches!(
            check(Access::Public, &[]),
            Err(ConnectError::NoAddress)
        ));
    }

    #[tokio::test]
    async fn an_address_in_brackets_is_an_address_and_not_a_name() {
        let url = "https://[::1]:8443/".parse().unwrap();
        assert_eq!(addresses(&url).await.unwrap(), at(&["[::1]:8443"]));
    }

    #[tokio::test]
    async fn a_short_form_of_an_inner_address_is_checked_as_what_it_resolves_to() {
        for host in ["127.1", "2130706433", "0x7f.1", "localhost", "localhost."] {
            let connector = GuardedConnector::new(Arc::default());
            let url = format!("https://{host}:1/").parse().unwrap();
            let refused = connector.connect(url).await;
            assert!(
                matches!(
                    refused,
                    Err(ConnectError::Blocked | ConnectError::Lookup(_))
                ),
                "{host}: {refused:?}"
            );
        }
    }
}
