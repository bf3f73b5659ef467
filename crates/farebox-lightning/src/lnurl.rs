//! Lightning Address as a backend: a seller who has nothing but `me@example.com` gets paid there.
//!
//! The address is resolved to a provider's payment endpoint (LUD-16, LUD-06) and each invoice is
//! fetched from it. The provider is trusted with the money, since it receives it, and with nothing
//! else: every invoice must have the amount, network and metadata that were asked for, be payable
//! long enough, and have a payment hash never seen before; every fetch goes through the
//! [`GuardedClient`]. There is no way to pay, refund or cancel here, and no preimage is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use farebox_core::{Clock, Msat, PaymentHash};
use http::Uri;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::made::InvoiceRules;
use crate::{
    AmountLimits, AnswerFault, Backend, CreateInvoice, CreatedInvoice, InvoiceFault,
    InvoiceRequest, InvoiceState, LookupInvoice, Network, NodeError, parse_invoice,
};
pub use address::{Address, AddressError};
use answer::{AnswerError, PayParameters, VerifyAnswer};
pub use check::MetadataCommitment;
use farebox_http::client::{AllowedHosts, CallError, FetchLimits, GuardedClient, host_of};
use issued::Issued;
use resolution::Resolution;

mod address;
pub mod answer;
mod callback;
mod check;
mod issued;
mod resolution;

/// The largest answer that is read, in bytes: LUD-06 metadata may hold an image of 136,536
/// characters.
const MAX_ANSWER: usize = 256 * 1024;

/// How many invoices are fetched at a time; more are refused rather than queued.
const MAX_IN_FLIGHT: usize = 64;

/// Resolving the address and asking for an invoice.
const CALLS_FOR_AN_INVOICE: u32 = 2;

/// The word of LUD-21 for an invoice that the provider does not know.
const NOT_FOUND: &str = "not found";

/// How long a resolved address is used before it is asked again.
const RESOLUTION_TTL: Duration = Duration::from_secs(600);

/// How a [`LightningAddress`] is set up.
#[derive(Clone)]
pub struct LightningAddressOptions {
    /// Who is paid.
    pub address: Address,
    /// What time it is, for the invoices' expiry.
    pub clock: Arc<dyn Clock>,
    /// The network that invoices must be for.
    pub network: Network,
    /// Hosts exempt from the rules of the [`GuardedClient`]; none by default.
    pub allowed: AllowedHosts,
    /// Whether the invoice request's memo goes to the provider, and so to the seller's wallet, cut to
    /// the length that the provider takes (LUD-12).
    pub comment: bool,
    /// Whether an invoice may leave out the hash of the metadata, or carry another.
    pub metadata_commitment: MetadataCommitment,
    /// How long one HTTP call may take. Making an invoice takes at most two.
    pub call_timeout: Duration,
}

/// The Lightning Address backend.
pub struct LightningAddress {
    options: LightningAddressOptions,
    rules: InvoiceRules,
    well_known: Uri,
    client: GuardedClient,
    resolution: Resolution,
    calls: Semaphore,
    issued: Mutex<Issued>,
    /// The provider was asked for less than a satoshi beside whole ones, and did not make that.
    whole_sats: AtomicBool,
}

impl LightningAddressOptions {
    /// Mainnet, the memo as comment, metadata compared where it is given, 5 seconds a call.
    #[must_use]
    pub fn new(address: Address, clock: Arc<dyn Clock>) -> Self {
        Self {
            address,
            clock,
            network: Network::Mainnet,
            allowed: AllowedHosts::default(),
            comment: true,
            metadata_commitment: MetadataCommitment::WhereGiven,
            call_timeout: Duration::from_secs(5),
        }
    }
}

impl LightningAddress {
    /// A backend that has called nobody yet.
    #[must_use]
    pub fn new(options: LightningAddressOptions) -> Self {
        let client = GuardedClient::new(options.allowed.clone());
        Self::with_client(options, client)
    }

    /// The same over a client of the caller's, for instance one with other roots of trust. The
    /// `allowed` of the options then only chooses the scheme by which the address is resolved.
    #[must_use]
    pub fn with_client(options: LightningAddressOptions, client: GuardedClient) -> Self {
        Self {
            well_known: options.address.well_known(&options.allowed),
            client,
            resolution: Resolution::new(RESOLUTION_TTL),
            calls: Semaphore::new(MAX_IN_FLIGHT),
            issued: Mutex::new(Issued::default()),
            whole_sats: AtomicBool::new(false),
            rules: InvoiceRules {
                clock: Arc::clone(&options.clock),
                network: options.network,
            },
            options,
        }
    }

    /// Asks the provider what it takes, unless that is known and fresh: tells at start whether the
    /// address is any good.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn resolve(&self) -> Result<AmountLimits, NodeError> {
        let _call = self.begin_call()?;
        let parameters = self.within(CALLS_FOR_AN_INVOICE, self.parameters()).await?;
        Ok(parameters.limits)
    }

    /// Bounds what the time limit of one call does not: waiting for others to finish asking.
    async fn within<T>(
        &self,
        calls: u32,
        work: impl Future<Output = Result<T, NodeError>>,
    ) -> Result<T, NodeError> {
        let limit = self.options.call_timeout * calls;
        let timed_out = || {
            NodeError::Call(CallError::TimedOut {
                host: host_of(&self.well_known),
                limit,
            })
        };
        tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(timed_out()))
    }

    async fn create(&self, request: &InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        let _call = self.begin_call()?;
        let parameters = self.parameters().await?;
        self.limits().check(request.amount)?;
        let made = self.ask_for(&parameters, request).await;
        self.learn_step(request.amount, made.as_ref().err());
        made
    }

    async fn ask_for(
        &self,
        parameters: &PayParameters,
        request: &InvoiceRequest,
    ) -> Result<CreatedInvoice, NodeError> {
        let answer = self.fetch_invoice(parameters, request).await?;
        let created = self.check(&answer.bolt11, parameters, request)?;
        self.remember(created.payment_hash, answer.verify)?;
        Ok(created)
    }

    /// Nothing in LUD-06 tells whether a provider counts in whole satoshis. One that does not make an
    /// invoice over a part of one is asked for whole ones from now on, and no more once that was not
    /// the reason.
    fn learn_step(&self, amount: Msat, error: Option<&NodeError>) {
        if error.is_some_and(|error| is_useless(error) || is_over_another_amount(error)) {
            let satoshi = AmountLimits::WHOLE_SATS.step.get();
            let is_whole = amount.get().is_multiple_of(satoshi);
            let was_known = self.whole_sats.swap(!is_whole, Ordering::Relaxed);
            if !is_whole && !was_known {
                tracing::info!(
                    address = %self.options.address,
                    "the provider of the Lightning Address does not make invoices over parts of a \
                     satoshi: it is asked for whole ones"
                );
            }
        }
    }

    fn begin_call(&self) -> Result<SemaphorePermit<'_>, NodeError> {
        self.calls.try_acquire().map_err(|_| {
            NodeError::Call(CallError::Busy {
                limit: MAX_IN_FLIGHT,
            })
        })
    }

    async fn parameters(&self) -> Result<Arc<PayParameters>, NodeError> {
        self.resolution
            .get(|| self.fetch(&self.well_known, answer::parse_pay_parameters))
            .await
    }

    async fn fetch_invoice(
        &self,
        parameters: &PayParameters,
        request: &InvoiceRequest,
    ) -> Result<answer::InvoiceAnswer, NodeError> {
        let comment = if self.options.comment {
            request.memo.as_str()
        } else {
            ""
        };
        let url = callback::url(parameters, request.amount, comment)
            .map_err(|fault| self.bad_answer(&self.well_known, fault))?;
        let answer = self.fetch(&url, answer::parse_invoice_answer).await;
        if answer.as_ref().is_err_and(is_useless) {
            self.resolution.forget().await;
        }
        answer
    }

    /// Nothing that the provider says is believed beyond this function.
    fn check(
        &self,
        bolt11: &str,
        parameters: &PayParameters,
        request: &InvoiceRequest,
    ) -> Result<CreatedInvoice, InvoiceFault> {
        let invoice = parse_invoice(bolt11)?;
        let created = self.rules.check_read(request, &invoice, bolt11)?;
        let commitment = self.options.metadata_commitment;
        commitment.check(&parameters.metadata_hash, &invoice.description)?;
        Ok(created)
    }

    fn remember(&self, payment_hash: PaymentHash, verify: Option<Uri>) -> Result<(), NodeError> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued
            .insert(payment_hash, verify)
            .map_err(|issued::Repeated| NodeError::RepeatedPaymentHash { payment_hash })
    }

    async fn look_up(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        let Some(url) = self.find_verify_url(&hash) else {
            return Ok(InvoiceState::Unknown);
        };
        let _call = self.begin_call()?;
        match self.fetch(&url, answer::parse_verify_answer).await {
            Ok(answer) => state(&answer, &hash).map_err(|fault| self.bad_answer(&url, fault)),
            // Some providers know an invoice only once it is paid.
            Err(NodeError::Refused { reason, .. })
                if reason.to_ascii_lowercase().contains(NOT_FOUND) =>
            {
                Ok(InvoiceState::Open)
            }
            Err(error) => Err(error),
        }
    }

    fn find_verify_url(&self, hash: &PaymentHash) -> Option<Uri> {
        self.issued
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .find_verify_url(hash)
    }

    async fn fetch<T>(
        &self,
        url: &Uri,
        parse: impl FnOnce(&[u8]) -> Result<T, AnswerError>,
    ) -> Result<T, NodeError> {
        let limits = FetchLimits {
            time: self.options.call_timeout,
            body: MAX_ANSWER,
        };
        let answer = self.client.get(url, limits).await?;
        answer::judge(&answer, parse).map_err(|error| error.at(host_of(url)))
    }

    fn bad_answer(&self, url: &Uri, fault: AnswerFault) -> NodeError {
        NodeError::BadAnswer {
            host: host_of(url),
            fault,
        }
    }
}

/// Whether the provider answered, and what it said suggests that the address has changed.
fn is_useless(error: &NodeError) -> bool {
    match error {
        NodeError::Refused { .. } | NodeError::BadAnswer { .. } => true,
        NodeError::Call(error) => error.is_bad_answer(),
        _ => false,
    }
}

/// The invoice that was made is over another amount than the one asked for.
const fn is_over_another_amount(error: &NodeError) -> bool {
    matches!(error, NodeError::BadInvoice(InvoiceFault::Amount { .. }))
}

/// LUD-21: settled if the provider, who receives the money, says so about this very invoice.
fn state(answer: &VerifyAnswer, hash: &PaymentHash) -> Result<InvoiceState, AnswerFault> {
    if answer.invoice_hash.is_some_and(|about| about != *hash) {
        return Err(AnswerFault::OtherInvoice);
    }
    Ok(if answer.settled {
        InvoiceState::Settled { received: None }
    } else {
        InvoiceState::Open
    })
}

impl From<Arc<LightningAddress>> for Backend {
    fn from(address: Arc<LightningAddress>) -> Self {
        Self {
            invoices: Some(address.clone()),
            lookup: Some(address),
            ..Self::new("lightning-address")
        }
    }
}

#[async_trait]
impl CreateInvoice for LightningAddress {
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.within(CALLS_FOR_AN_INVOICE, self.create(&request))
            .await
    }

    /// Every amount, until the address was resolved for the first time; and parts of a satoshi, until the
    /// provider was asked for one in vain.
    fn limits(&self) -> AmountLimits {
        let mut limits = self.resolution.last_limits().unwrap_or(AmountLimits::ANY);
        if self.whole_sats.load(Ordering::Relaxed) {
            limits.step = AmountLimits::WHOLE_SATS.step;
        }
        limits
    }
}

#[async_trait]
impl LookupInvoice for LightningAddress {
    /// Knows recent invoices of this run for which the provider named a `verify` URL (LUD-21);
    /// every other is [`InvoiceState::Unknown`].
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        self.look_up(hash).await
    }
}
