//! LND over its REST API.
//!
//! Everything that receives works with a macaroon for invoices alone; what a macaroon does not allow
//! is an ability that this backend does not have. The node is the seller's own and its word about
//! its invoices and payments counts, but each answer must be about the invoice that was asked
//! about, and each invoice must be the one that was asked for. A payment is begun once by its hash
//! and never replaced; what LND does not say is not guessed. AMP invoices are never made: their
//! payers learn no preimage of ours.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use farebox_http::client::EndpointError;
use http::header::{HeaderName, HeaderValue};

use crate::node_options::Node;
use crate::{AmountLimits, Backend, NodeOptions};
use macaroon::{Access, Need};
pub use macaroon::{Macaroon, MacaroonError};

mod access;
mod answer;
mod hold;
mod invoices;
mod macaroon;
mod pay;
mod watch;

/// How many calls to the node are under way at a time; more are refused rather than queued.
const MAX_IN_FLIGHT: usize = 128;

/// The LND backend.
pub struct Lnd {
    node: Node,
    call_timeout: Duration,
    private_hints: bool,
    access: Access,
    /// The newest settlement when somebody first listened without saying from where; zero for none.
    first_settlement: OnceLock<u64>,
}

impl Lnd {
    /// A backend that has called nobody yet.
    ///
    /// # Errors
    /// [`EndpointError`]: the URL or the certificate.
    pub fn new(options: NodeOptions<Macaroon>) -> Result<Self, EndpointError> {
        let options = NodeOptions {
            max_in_flight: MAX_IN_FLIGHT,
            ..options
        };
        let name = HeaderName::from_static("grpc-metadata-macaroon");
        let hex = HeaderValue::from_str(options.credential.to_hex().reveal());
        let hex = hex.map_err(|_| EndpointError::Credential)?;
        Ok(Self {
            call_timeout: options.call_timeout,
            private_hints: false,
            access: options.credential.access(),
            first_settlement: OnceLock::new(),
            node: options.node(AmountLimits::ANY, name, hex)?,
        })
    }

    /// Whether invoices carry hints to private channels: needed where the node has no public one.
    #[must_use]
    pub fn with_private_hints(self, private_hints: bool) -> Self {
        Self {
            private_hints,
            ..self
        }
    }
}

/// It pays only where the macaroon allows payments and to ask about them. It holds only where the
/// macaroon lets us see the height of the chain: without it nobody knows how long a payment may be
/// held.
impl From<Arc<Lnd>> for Backend {
    fn from(lnd: Arc<Lnd>) -> Self {
        let pays = lnd.access.allows(&Need::PAYING);
        let holds = lnd.access.allows(&Need::HOLDING);
        Self {
            invoices: Some(lnd.clone()),
            lookup: Some(lnd.clone()),
            pay: pays.then(|| lnd.clone() as _),
            hold: holds.then(|| lnd.clone() as _),
            watch: Some(lnd.clone()),
            check: Some(lnd),
            ..Self::new("lnd")
        }
    }
}
