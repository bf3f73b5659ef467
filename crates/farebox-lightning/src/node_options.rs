//! How a node or wallet with an HTTP API is set up, and what all of these have in common.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, Msat, Secret};
use farebox_http::client::{EndpointError, EndpointOptions, Trust, TrustedClient};
use http::Uri;
use http::header::{HeaderName, HeaderValue};

use crate::made::InvoiceRules;
use crate::{AmountLimits, Needs, Network};

/// The least amount that channels take unless both sides agreed on less.
const LEAST: Msat = match Msat::new(1000) {
    Ok(amount) => amount,
    Err(_) => Msat::MAX,
};

/// How an [`Lnd`](crate::lnd::Lnd), [`Cln`](crate::cln::Cln),
/// [`Phoenixd`](crate::phoenixd::Phoenixd) or [`Lnbits`](crate::lnbits::Lnbits) is set up.
#[derive(Clone)]
pub struct NodeOptions<C = Secret<String>> {
    /// Where it answers: LND's `restlisten` such as `https://127.0.0.1:8080`, `clnrest` such as
    /// `https://127.0.0.1:3010`, phoenixd such as `http://127.0.0.1:9740`, or LNbits.
    pub url: Uri,
    /// With which it lets us in: a macaroon of LND, a rune of Core Lightning, a password of
    /// phoenixd, the invoice key of a wallet at LNbits.
    pub credential: C,
    /// What time it is, for the invoices' expiry.
    pub clock: Arc<dyn Clock>,
    /// The network that invoices must be for.
    pub network: Network,
    /// Whose certificate is accepted; usually the node's own, pinned.
    pub trust: Trust,
    /// Lets `http://` leave this machine.
    pub allow_plain_http: bool,
    /// The least amount sold: 1,000 msat unless said otherwise, and where it counts in whole
    /// satoshis never less than one.
    pub min_amount: Option<Msat>,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How many calls may be under way; one more is refused rather than queued.
    pub max_in_flight: usize,
    /// What the credential is needed for, for [`CheckAccess`](crate::CheckAccess).
    pub needs: Needs,
}

/// A node that is called: how, for which amounts, and what its invoices have to be.
pub(crate) struct Node {
    pub(crate) client: TrustedClient,
    pub(crate) rules: InvoiceRules,
    pub(crate) limits: AmountLimits,
    pub(crate) needs: Needs,
}

impl<C> NodeOptions<C> {
    /// Mainnet, the Web's certificates, plain HTTP on this machine only, 5 seconds a call, 64 calls
    /// at a time.
    #[must_use]
    pub fn new(url: Uri, credential: C, clock: Arc<dyn Clock>) -> Self {
        Self {
            url,
            credential,
            clock,
            network: Network::Mainnet,
            trust: Trust::Web,
            allow_plain_http: false,
            min_amount: None,
            call_timeout: Duration::from_secs(5),
            max_in_flight: 64,
            needs: Needs::default(),
        }
    }

    /// The node, of a kind that takes these amounts, called with a credential in this header.
    pub(crate) fn node(
        self,
        kind: AmountLimits,
        name: HeaderName,
        value: HeaderValue,
    ) -> Result<Node, EndpointError> {
        Ok(Node {
            client: self.client(name, value)?,
            limits: kind.at_least(Some(self.min_amount.unwrap_or(LEAST))),
            needs: self.needs,
            rules: InvoiceRules {
                clock: self.clock,
                network: self.network,
            },
        })
    }

    /// Calls it with a credential in this header.
    pub(crate) fn client(
        &self,
        name: HeaderName,
        value: HeaderValue,
    ) -> Result<TrustedClient, EndpointError> {
        TrustedClient::new(EndpointOptions {
            base: self.url.clone(),
            trust: self.trust.clone(),
            headers: vec![(name, value)],
            call_timeout: self.call_timeout,
            max_in_flight: self.max_in_flight,
            allow_plain_http: self.allow_plain_http,
        })
    }
}
