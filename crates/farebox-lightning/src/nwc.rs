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

use farebox_core::{Clock, Msat, PaymentHash, Secret};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::made::{Asked, same_hash};
use crate::{
    AccessReport, AmountLimits, AnswerFault, Backend, BoxFuture, CheckAccess, CreateInvoice,
    CreatedInvoice, InvoiceRequest, InvoiceState, LookupInvoice, Network, NodeError, PayInvoice,
    PaymentRequest, PaymentState, SettlementCursor, Trust, WatchEvent, WatchSettlements,
};
use call::Call;
use hub::Hub;
use reply::{Direction, Standing, Transaction};
use seal::Seal;
use session::{Session, Sessions};
pub use uri::NwcUriError;
use uri::RelayUrl;
use waiting::Spread;

mod access;
mod call;
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
mod watch;

/// How many requests are under way at a time; more are refused rather than queued.
const MAX_IN_FLIGHT: usize = 64;

/// The longest description of an invoice, in bytes (BOLT 11: 1023 groups of five bits).
const MAX_DESCRIPTION: usize = 639;

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
    /// Lets `ws://` leave this machine. It shows on the way when payments are made, not which.
    pub allow_plain_ws: bool,
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
            allow_plain_ws: false,
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
    Trust(#[source] crate::EndpointError),
}

/// The Nostr Wallet Connect backend.
pub struct Nwc {
    hub: Arc<Hub>,
    sessions: Sessions,
    places: Semaphore,
    clock: Arc<dyn Clock>,
    network: Network,
    limits: AmountLimits,
    call_timeout: Duration,
    /// The wallet by the first digits of its key, for errors.
    host: String,
}

impl Nwc {
    /// A backend that has connected to no relay yet; the first call does.
    ///
    /// # Errors
    /// [`NwcError`]; it shows nothing of the URI but a relay's host.
    pub fn new(options: NwcOptions) -> Result<Self, NwcError> {
        let connection = uri::parse(&options.uri, options.allow_plain_ws)?;
        let tls = options.trust.client_config().map_err(NwcError::Trust)?;
        let key = connection.wallet.to_hex();
        let seal = Seal::new(connection.keys, connection.wallet);
        let hub = Arc::new(Hub::new(seal, Arc::clone(&options.clock)));
        Ok(Self {
            sessions: Sessions::new(Arc::clone(&hub), connection.relays, Arc::new(tls)),
            hub,
            places: Semaphore::new(MAX_IN_FLIGHT),
            limits: limits(&options),
            clock: options.clock,
            network: options.network,
            call_timeout: options.call_timeout,
            host: format!("wallet {}", key.get(..8).unwrap_or_default()),
        })
    }

    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn host(&self) -> &str {
        &self.host
    }

    const fn places(&self) -> &Semaphore {
        &self.places
    }

    const fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    fn session(&self) -> Result<Arc<Session>, NodeError> {
        let session = self.sessions.current();
        session.map_err(|error| self.not_connected(Arc::new(error)))
    }

    fn abandon(&self, session: &Arc<Session>) {
        self.sessions.abandon(session);
    }

    fn relays(&self) -> &[RelayUrl] {
        self.sessions.relays()
    }

    fn network_name(&self) -> String {
        self.network.to_string()
    }

    /// What the info event does not list is not even asked for.
    fn check_offered(&self, method: &'static str) -> Result<(), NodeError> {
        let missing = match self.hub.info() {
            Some(info) if !info.takes_nip44 => "NIP-44 encryption, only the deprecated NIP-04",
            Some(info) if !info.offers(method) => method,
            _ => return Ok(()),
        };
        Err(NodeError::NotOffered {
            host: self.host.clone(),
            what: missing,
        })
    }

    async fn ask(
        &self,
        method: &'static str,
        params: serde_json::Value,
    ) -> Result<serde_json::Value, NodeError> {
        let call = Call {
            method,
            params,
            spread: Spread::Everywhere,
            payment: None,
            limit: self.call_timeout,
        };
        let heard = self.call(call).await;
        heard
            .map(|heard| heard.result)
            .map_err(|error| self.node_error(error))
    }

    async fn create(&self, request: &InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.limits.check(request.amount)?;
        let made = self.ask(
            MAKE_INVOICE,
            json!({
                "amount": request.amount.get(),
                "description": cut(&request.memo),
                "expiry": request.expiry.as_secs(),
            }),
        );
        let made: Transaction = self.fields(made.await?)?;
        let bolt11 = made.invoice.as_deref();
        let bolt11 = bolt11.ok_or_else(|| self.bad_answer(AnswerFault::Missing("invoice")))?;
        let created = self.asked(request).check(bolt11)?;
        if same_hash(&created, made.hash().ok()) {
            Ok(created)
        } else {
            Err(self.bad_answer(AnswerFault::OtherInvoice))
        }
    }

    fn asked<'a>(&self, request: &'a InvoiceRequest) -> Asked<'a> {
        Asked {
            request,
            network: self.network,
            now: self.clock.now(),
        }
    }

    fn fields<T: serde::de::DeserializeOwned>(
        &self,
        value: serde_json::Value,
    ) -> Result<T, NodeError> {
        reply::fields(value).map_err(|fault| self.bad_answer(fault))
    }

    async fn look_up(&self, hash: &PaymentHash) -> Result<InvoiceState, NodeError> {
        match self.call(Call::about(hash, self.call_timeout)).await {
            Ok(heard) => {
                let found: Transaction = self.fields(heard.result)?;
                invoice_state(&found, hash).map_err(|fault| self.bad_answer(fault))
            }
            Err(call::CallError::Refused(refusal)) if refusal.code == reply::Code::NotFound => {
                Ok(InvoiceState::Unknown)
            }
            Err(error) => Err(self.node_error(error)),
        }
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

fn cut(memo: &str) -> &str {
    let mut end = memo.len().min(MAX_DESCRIPTION);
    while !memo.is_char_boundary(end) {
        end -= 1;
    }
    memo.get(..end).unwrap_or_default()
}

/// What the wallet says of an invoice of ours. Its amount is what was received, or, from a wallet
/// that shows the invoice's, the least that can have been: nobody settles for less.
fn invoice_state(found: &Transaction, hash: &PaymentHash) -> Result<InvoiceState, AnswerFault> {
    found.check_hash(hash)?;
    found.preimage(hash)?;
    if found.direction() == Direction::Outgoing {
        return Ok(InvoiceState::Unknown);
    }
    Ok(match found.standing() {
        Standing::Pending | Standing::Failed => InvoiceState::Open,
        Standing::Accepted => InvoiceState::Held,
        Standing::Expired => InvoiceState::Canceled,
        Standing::Settled => InvoiceState::Settled {
            received: found.amount(),
        },
    })
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

impl CreateInvoice for Nwc {
    fn create_invoice(
        &self,
        request: InvoiceRequest,
    ) -> BoxFuture<'_, Result<CreatedInvoice, NodeError>> {
        Box::pin(async move { self.create(&request).await })
    }

    fn limits(&self) -> AmountLimits {
        self.limits
    }
}

impl LookupInvoice for Nwc {
    fn lookup_invoice(&self, hash: PaymentHash) -> BoxFuture<'_, Result<InvoiceState, NodeError>> {
        Box::pin(async move { self.look_up(&hash).await })
    }
}

impl PayInvoice for Nwc {
    /// NIP-47 has no limit on routing fees, so `max_fee` is not passed on: the wallet decides. After
    /// the call's time limit the wallet's list is asked, even where `patience` would last longer; an
    /// answer that comes later is heard and shows in [`payment_state`](Self::payment_state).
    fn pay_invoice(
        &self,
        request: PaymentRequest,
    ) -> BoxFuture<'_, Result<PaymentState, NodeError>> {
        Box::pin(async move { self.pay(&request).await })
    }

    /// [`PaymentState::Unheard`] only of what this run was asked to pay and never sent: what a
    /// wallet does not remember it may still be doing.
    fn payment_state(&self, hash: PaymentHash) -> BoxFuture<'_, Result<PaymentState, NodeError>> {
        Box::pin(async move { self.state_of(&hash).await })
    }
}

impl WatchSettlements for Nwc {
    /// Hears what is settled from now on: notifications are not kept, so `after` has no meaning.
    fn watch<'a>(
        &'a self,
        _after: Option<SettlementCursor>,
        sink: &'a mut (dyn FnMut(WatchEvent) + Send),
    ) -> BoxFuture<'a, Result<(), NodeError>> {
        Box::pin(self.hear_settlements(sink))
    }
}

impl CheckAccess for Nwc {
    fn check_access(&self) -> BoxFuture<'_, Result<AccessReport, NodeError>> {
        Box::pin(self.report_access())
    }
}
