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

use farebox_core::{Clock, Msat, Secret};
use http::Uri;
use http::header::{HeaderName, HeaderValue};

use crate::made::InvoiceRules;
use crate::{AmountLimits, Backend, Needs, Network};
use farebox_http::client::{EndpointError, EndpointOptions, Trust, TrustedClient};
use macaroon::{Access, Need};
pub use macaroon::{Macaroon, MacaroonError};

mod access;
mod answer;
mod hold;
mod invoices;
mod macaroon;
mod pay;
mod watch;

/// The smallest amount that most channels carry.
const DEFAULT_MIN_AMOUNT: u64 = 1000;

/// How many calls to the node are under way at a time; more are refused rather than queued.
const MAX_IN_FLIGHT: usize = 128;

/// LND's own default for its last hop, about 13 hours: enough for any call, and little to wait for a
/// payer whose money is stuck.
const DEFAULT_HOLD_BLOCKS: u32 = 80;

/// How an [`Lnd`] is set up.
#[derive(Clone)]
pub struct LndOptions {
    /// What time it is, for the invoices' expiry.
    pub clock: Arc<dyn Clock>,
    /// The network that invoices must be for.
    pub network: Network,
    /// Where `restlisten` is, for instance `https://127.0.0.1:8080`.
    pub url: Uri,
    /// Whose certificate the node must show; usually its own `tls.cert`, pinned.
    pub trust: Trust,
    /// Lets plain HTTP leave this machine.
    pub allow_plain_http: bool,
    /// The credential.
    pub macaroon: Macaroon,
    /// The smallest amount sold in one invoice.
    pub min_amount: Msat,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// Whether invoices carry hints to private channels: needed where the node has no public one.
    pub private_hints: bool,
    /// How many blocks the last hop of a held payment is given.
    pub hold_blocks: u32,
    /// What the macaroon is needed for, for [`CheckAccess`].
    pub needs: Needs,
}

/// The LND backend.
pub struct Lnd {
    rules: InvoiceRules,
    limits: AmountLimits,
    call_timeout: Duration,
    private_hints: bool,
    hold_blocks: u32,
    needs: Needs,
    access: Access,
    /// The newest settlement when somebody first listened without saying from where; zero for none.
    first_settlement: OnceLock<u64>,
    client: TrustedClient,
}

impl LndOptions {
    /// Mainnet, the Web's certificates, 1,000 msat at least, 5 seconds a call, no hints.
    #[must_use]
    pub fn new(url: Uri, macaroon: Macaroon, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            network: Network::Mainnet,
            url,
            trust: Trust::Web,
            allow_plain_http: false,
            macaroon,
            min_amount: Msat::new(DEFAULT_MIN_AMOUNT).unwrap_or(Msat::ZERO),
            call_timeout: Duration::from_secs(5),
            private_hints: false,
            hold_blocks: DEFAULT_HOLD_BLOCKS,
            needs: Needs::default(),
        }
    }
}

impl Lnd {
    /// A backend that has called nobody yet.
    ///
    /// # Errors
    /// [`EndpointError`]: the URL or the certificate.
    pub fn new(options: LndOptions) -> Result<Self, EndpointError> {
        let mut rest = EndpointOptions::new(options.url);
        rest.trust = options.trust;
        rest.allow_plain_http = options.allow_plain_http;
        rest.call_timeout = options.call_timeout;
        rest.max_in_flight = MAX_IN_FLIGHT;
        rest.headers = vec![credential(&options.macaroon)?];
        Ok(Self {
            rules: InvoiceRules {
                clock: options.clock,
                network: options.network,
            },
            limits: AmountLimits {
                min: options.min_amount,
                ..AmountLimits::ANY
            },
            call_timeout: options.call_timeout,
            private_hints: options.private_hints,
            hold_blocks: options.hold_blocks,
            needs: options.needs,
            access: options.macaroon.access(),
            first_settlement: OnceLock::new(),
            client: TrustedClient::new(rest)?,
        })
    }
}

fn credential(macaroon: &Macaroon) -> Result<(HeaderName, HeaderValue), EndpointError> {
    let hex: Secret<String> = macaroon.to_hex();
    let value = HeaderValue::from_str(hex.reveal()).map_err(|_| EndpointError::Credential)?;
    Ok((HeaderName::from_static("grpc-metadata-macaroon"), value))
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
