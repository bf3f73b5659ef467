//! How a node or wallet with an HTTP API is set up: what those have in common whose credential is
//! one line of text.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, Msat, Secret};
use http::Uri;
use http::header::{HeaderName, HeaderValue};

use crate::made::InvoiceRules;
use crate::{Needs, Network};
use farebox_http::client::{EndpointError, EndpointOptions, Trust, TrustedClient};

/// How a [`Cln`](crate::cln::Cln), [`Phoenixd`](crate::phoenixd::Phoenixd) or
/// [`Lnbits`](crate::lnbits::Lnbits) is set up.
#[derive(Clone)]
pub struct NodeOptions {
    /// Where it answers: `clnrest` such as `https://127.0.0.1:3010`, phoenixd such as
    /// `http://127.0.0.1:9740`, or LNbits.
    pub url: Uri,
    /// With which it lets us in: a rune of Core Lightning, a password of phoenixd, the invoice key
    /// of a wallet at LNbits.
    pub credential: Secret<String>,
    /// What time it is, for the invoices' expiry.
    pub clock: Arc<dyn Clock>,
    /// The network that invoices must be for.
    pub network: Network,
    /// Whose certificate is accepted.
    pub trust: Trust,
    /// Lets `http://` leave this machine.
    pub allow_plain_http: bool,
    /// The least amount sold: 1,000 msat unless said otherwise, and where it counts in whole
    /// satoshis never less than one.
    pub min_amount: Option<Msat>,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// What the credential is needed for, for [`CheckAccess`](crate::CheckAccess).
    pub needs: Needs,
}

impl NodeOptions {
    /// Mainnet, the Web's certificates, plain HTTP on this machine only, 5 seconds a call.
    #[must_use]
    pub fn new(url: Uri, credential: Secret<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            url,
            credential,
            clock,
            network: Network::Mainnet,
            trust: Trust::Web,
            allow_plain_http: false,
            min_amount: None,
            call_timeout: Duration::from_secs(5),
            needs: Needs::default(),
        }
    }

    /// What its invoices have to be.
    pub(crate) fn rules(self) -> InvoiceRules {
        InvoiceRules {
            clock: self.clock,
            network: self.network,
        }
    }

    /// Calls it with a credential in this header.
    pub(crate) fn client(
        &self,
        name: HeaderName,
        value: HeaderValue,
    ) -> Result<TrustedClient, EndpointError> {
        TrustedClient::new(EndpointOptions {
            trust: self.trust.clone(),
            headers: vec![(name, value)],
            call_timeout: self.call_timeout,
            allow_plain_http: self.allow_plain_http,
            ..EndpointOptions::new(self.url.clone())
        })
    }
}
