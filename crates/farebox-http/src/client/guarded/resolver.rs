//! Names of strangers: looked up once for each connection, which goes to exactly the addresses that
//! were checked. A second lookup, which could answer differently, never happens.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use super::address::is_public;

type BoxError = Box<dyn Error + Send + Sync>;
type Addresses = std::vec::IntoIter<SocketAddr>;

/// A name that is not to be called.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name has an address that is not public")]
pub(super) struct Blocked;

/// Gives public addresses only.
#[derive(Clone)]
pub(super) struct PublicResolver(GaiResolver);

impl PublicResolver {
    pub(super) fn new() -> Self {
        Self(GaiResolver::new())
    }
}

impl Service<Name> for PublicResolver {
    type Response = Addresses;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Addresses, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let looked_up = self.0.call(name);
        Box::pin(async {
            let found: Vec<SocketAddr> = looked_up.await?.collect();
            check(&found)?;
            Ok(found.into_iter())
        })
    }
}

/// One address inside is enough to refuse the name: only a trick mixes them with public ones.
fn check(addresses: &[SocketAddr]) -> Result<(), Blocked> {
    if addresses.iter().all(|address| is_public(address.ip())) {
        Ok(())
    } else {
        Err(Blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(addresses: &[&str]) -> Result<(), Blocked> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        check(&addresses.collect::<Vec<_>>())
    }

    #[test]
    fn one_inner_address_among_public_ones_blocks_the_name() {
        assert_eq!(checked(&["1.1.1.1:0", "10.0.0.1:0"]), Err(Blocked));
        assert_eq!(checked(&["1.1.1.1:0", "[2606:4700::1]:0"]), Ok(()));
    }

    #[tokio::test]
    async fn a_short_form_of_an_inner_address_is_checked_as_what_it_resolves_to() {
        for host in ["127.1", "2130706433", "0x7f.1", "localhost", "localhost."] {
            let resolved = PublicResolver::new().call(host.parse().unwrap()).await;
            // Some are no names to some systems.
            assert!(resolved.is_err(), "{host}: {resolved:?}");
        }
        let resolved = PublicResolver::new().call("localhost".parse().unwrap());
        assert!(resolved.await.unwrap_err().is::<Blocked>());
    }
}
