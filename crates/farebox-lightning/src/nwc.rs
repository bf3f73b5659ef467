//! A wallet that speaks Nostr Wallet Connect (NIP-47) as a backend: somebody else's node, reached
//! by signed and encrypted events over relays that nobody needs to trust.
//!
//! A relay may drop, delay, repeat, reorder or forge what passes through it. The first four cost
//! time, the last nothing: an answer counts if the wallet signed it and it names the request that it
//! answers, and then once. The wallet itself is trusted with the money, since it holds it, and
//! otherwise as little as possible: invoices are compared with what was asked for, a payment needs
//! its proof, and what stays unclear stays unknown. Requests go out under NIP-44 only; a wallet that
//! can read nothing but NIP-04 is refused with a word about it. What a connection can do is known
//! when the wallet's info event is there; until then, all of it is tried.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use farebox_core::{Clock, Msat, PaymentHash, Secret};
use farebox_http::client::Trust;
use serde_json::json;

use crate::made::InvoiceRules;
use crate::port::MAX_DESCRIPTION;
use crate::{
    AmountLimits, AnswerFault, Backend, CreateInvoice, CreatedInvoice, InvoiceRequest,
    InvoiceState, LookupInvoice, Network, NodeError, proof,
};
use reply::{Code, Transaction};
pub use uri::NwcUriError;
use wallet::{NoResult, Wallet};

mod access;
mod hub;
mod info;
mod links;
mod memory;
mod payments;
mod relay;
mod reply;
mod seal;
mod session;
mod socket;
mod uri;
mod waiting;
mod wallet;
mod watch;

/// How many requests are under way at a time; more are refused rather than queued.
const MAX_IN_FLIGHT: usize = 64;

const MAKE_INVOICE: &str = "make_invoice";
const LOOKUP_INVOICE: &str = "lookup_invoice";

/// How a [`Nwc`] is set up.
pub struct NwcOptions {
    /// The wallet's connection URI, `nostr+walletconnect://…`: a credential as a whole.
    pub uri: Secret<String>,
    /// What time it is, for events and for the invoices' expiry.
    pub clock: Arc<dyn Clock>,
    /// The network that invoices must be for.
    pub network: Network,
    /// The least amount of an invoice, where it is more than 1,000 msat.
    pub min_amount: Option<Msat>,
    /// Whether amounts are whole satoshis. NIP-47 counts in millisatoshis, and many wallets round.
    pub whole_sats: bool,
    /// How long one request may take, connecting included.
    pub call_timeout: Duration,
    /// Whose certificates the relays may show.
    pub trust: Trust,
}

impl NwcOptions {
    /// Mainnet, whole satoshis, 15 seconds a request, the Web's certificates.
    #[must_use]
    pub fn new(uri: Secret<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            uri,
            clock,
            network: Network::Mainnet,
            min_amount: None,
            whole_sats: true,
            call_timeout: Duration::from_secs(15),
            trust: Trust::Web,
        }
    }
}

/// Why no backend can be made of the options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NwcError {
    /// The connection URI is not one.
    #[error(transparent)]
    Uri(#[from] NwcUriError),
    /// There is no certificate to pin.
    #[error("the relays' certificates cannot be checked")]
    Trust(#[source] farebox_http::client::EndpointError),
}

/// The Nostr Wallet Connect backend.
pub struct Nwc {
    wallet: Wallet,
    rules: InvoiceRules,
    limits: AmountLimits,
}

impl Nwc {
    /// A backend that has connected to no relay yet; the first call does.
    ///
    /// # Errors
    /// [`NwcError`]; it shows nothing of the URI but a relay's host.
    pub fn new(options: NwcOptions) -> Result<Self, NwcError> {
        let connection = uri::parse(&options.uri)?;
        let tls = options.trust.client_config().map_err(NwcError::Trust)?;
        let clock = Arc::clone(&options.clock);
        Ok(Self {
            wallet: Wallet::new(connection, tls, clock, options.call_timeout),
            limits: limits(&options),
            rules: InvoiceRules {
                clock: options.clock,
                network: options.network,
            },
        })
    }
}

/// Less than a satoshi is taken by none of the wallets.
fn limits(options: &NwcOptions) -> AmountLimits {
    let whole = AmountLimits::WHOLE_SATS;
    let step = if options.whole_sats {
        whole.step
    } else {
        AmountLimits::ANY.step
    };
    AmountLimits { step, ..whole }.at_least(options.min_amount)
}

impl From<Arc<Nwc>> for Backend {
    fn from(nwc: Arc<Nwc>) -> Self {
        Self {
            invoices: Some(nwc.clone()),
            lookup: Some(nwc.clone()),
            pay: Some(nwc.clone()),
            watch: Some(nwc.clone()),
            check: Some(nwc),
            ..Self::new("nwc")
        }
    }
}

#[async_trait]
impl CreateInvoice for Nwc {
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.limits.check(request.amount)?;
        let params = json!({
            "amount": request.amount.get(),
            "description": request.description(MAX_DESCRIPTION),
            "expiry": request.expiry.as_secs(),
        });
        let made: Transaction = self.wallet.ask(MAKE_INVOICE, params).await?;
        let bad = |fault| self.wallet.bad_answer(fault);
        let bolt11 = made.invoice.as_deref();
        let bolt11 = bolt11.ok_or_else(|| bad(AnswerFault::Missing("invoice")))?;
        let created = self.rules.check(&request, bolt11)?;
        proof::uncontradicted(created, made.payment_hash.as_deref()).map_err(bad)
    }

    fn limits(&self) -> AmountLimits {
        self.limits
    }
}

#[async_trait]
impl LookupInvoice for Nwc {
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        match self.wallet.ask_about(&hash).await {
            Ok(heard) => {
                reply::incoming(heard.result, &hash).map_err(|fault| self.wallet.bad_answer(fault))
            }
            Err(NoResult::Refused(refusal)) if refusal.code == Code::NotFound => {
                Ok(InvoiceState::Unknown)
            }
            Err(error) => Err(self.wallet.node_error(error)),
        }
    }
}
