//! LNbits as a backend: a wallet on a node that somebody runs, perhaps the seller.
//!
//! The invoice key makes and looks up invoices; only the admin key, where one is given, pays. The
//! node behind LNbits draws the preimages, so its hashes are not trusted to be new. What LNbits
//! says was received is what it credited, which is what the invoice asked for.
//!
//! Whoever reaches LNbits may ask it, without any key, whether a payment hash was paid and what its
//! preimage is. A preimage alone opens no token, but it is one half of one.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, Msat, PaymentHash, Secret};
use http::Uri;
use http::header::{HeaderName, HeaderValue};
use serde_json::json;

use crate::lnd::Needs;
use crate::made::{Asked, same_hash};
use crate::rest::{RestClient, RestOptions};
use crate::{
    AccessReport, AmountLimits, AnswerFault, BoxFuture, CheckAccess, CreateInvoice, CreatedInvoice,
    EndpointError, InvoiceRequest, InvoiceState, LookupInvoice, Network, NodeError, PayInvoice,
    PaymentRequest, PaymentState, Trust,
};
use answer::{FoundJson, PaymentJson};
use refusal::Refusal;

mod access;
mod answer;
mod pay;
mod refusal;

/// The longest memo that LNbits takes, in characters, of which a text has no more than bytes; and
/// what fits an invoice (BOLT 11).
const MAX_MEMO: usize = 639;

/// How a [`Lnbits`] is set up.
#[derive(Clone)]
pub struct LnbitsOptions {
    /// Where it is, such as `https://lnbits.example.com`.
    pub url: Uri,
    /// The wallet's invoice key, also called invoice/read key.
    pub invoice_key: Secret<String>,
    /// The admin key of the same wallet, only where money is paid out.
    pub admin_key: Option<Secret<String>>,
    /// What time it is, for the invoices' expiry.
    pub clock: Arc<dyn Clock>,
    /// The network that invoices must be for.
    pub network: Network,
    /// Whose certificate is accepted.
    pub trust: Trust,
    /// Lets `http://` leave this machine.
    pub allow_plain_http: bool,
    /// The least amount sold; raised to one satoshi.
    pub min_amount: Option<Msat>,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// What the keys are needed for, for [`CheckAccess`].
    pub needs: Needs,
}

impl LnbitsOptions {
    /// Mainnet, no admin key, the Web's certificates, plain HTTP on this machine only, 5 seconds a
    /// call.
    #[must_use]
    pub fn new(url: Uri, invoice_key: Secret<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            url,
            invoice_key,
            admin_key: None,
            clock,
            network: Network::Mainnet,
            trust: Trust::Web,
            allow_plain_http: false,
            min_amount: None,
            call_timeout: Duration::from_secs(5),
            needs: Needs::default(),
        }
    }
}

/// The LNbits backend.
pub struct Lnbits {
    /// With the invoice key.
    client: RestClient,
    payer: Option<Payer>,
    clock: Arc<dyn Clock>,
    network: Network,
    limits: AmountLimits,
    needs: Needs,
}

/// The half that can pay.
struct Payer {
    /// With the admin key.
    client: RestClient,
}

impl Lnbits {
    /// A backend that has called nobody yet.
    ///
    /// # Errors
    /// [`EndpointError`]: the URL or a key cannot be used.
    pub fn new(options: LnbitsOptions) -> Result<Self, EndpointError> {
        let payer = match &options.admin_key {
            Some(key) => Some(Payer {
                client: client(&options, key)?,
            }),
            None => None,
        };
        Ok(Self {
            client: client(&options, &options.invoice_key)?,
            payer,
            clock: options.clock,
            network: options.network,
            limits: AmountLimits::WHOLE_SATS.at_least(options.min_amount),
            needs: options.needs,
        })
    }

    async fn create(&self, request: &InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.limits.check(request.amount)?;
        let body = json!({
            "out": false,
            "amount": request.amount.get() / 1000,
            "unit": "sat",
            "memo": &request.memo[..request.memo.floor_char_boundary(MAX_MEMO)],
            "expiry": request.expiry.as_secs().max(1),
        });
        let answer = self.client.post_json("/api/v1/payments", &body).await?;
        if let Some(refusal) = Refusal::of(&answer) {
            return Err(refusal.error(&answer));
        }
        let made: PaymentJson = answer.parse()?;
        let asked = Asked {
            request,
            network: self.network,
            now: self.clock.now(),
        };
        let bolt11 = made.bolt11().map_err(|fault| answer.bad(fault))?;
        let created = asked.check(bolt11)?;
        if !same_hash(&created, made.payment_hash()) {
            return Err(answer.bad(AnswerFault::OtherInvoice));
        }
        Ok(created)
    }

    async fn look_up(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        match find(&self.client, hash).await? {
            None => Ok(InvoiceState::Unknown),
            Some((found, answer)) => found.state(&hash).map_err(|fault| answer.bad(fault)),
        }
    }
}

fn client(options: &LnbitsOptions, key: &Secret<String>) -> Result<RestClient, EndpointError> {
    let key = HeaderValue::try_from(key.reveal().trim()).map_err(|_| EndpointError::Credential)?;
    RestClient::new(RestOptions {
        trust: options.trust.clone(),
        headers: vec![(HeaderName::from_static("x-api-key"), key)],
        call_timeout: options.call_timeout,
        allow_plain_http: options.allow_plain_http,
        ..RestOptions::new(options.url.clone())
    })
}

/// The wallet's own payment with this hash; none where it knows none.
async fn find(
    client: &RestClient,
    hash: PaymentHash,
) -> Result<Option<(FoundJson, crate::rest::RestAnswer)>, NodeError> {
    let answer = client.get(&format!("/api/v1/payments/{hash}")).await?;
    match Refusal::of(&answer) {
        Some(refusal) if refusal.is_unknown_payment(&answer) => Ok(None),
        Some(refusal) => Err(refusal.error(&answer)),
        None => Ok(Some((answer.parse()?, answer))),
    }
}

impl CreateInvoice for Lnbits {
    fn create_invoice(
        &self,
        request: InvoiceRequest,
    ) -> BoxFuture<'_, Result<CreatedInvoice, NodeError>> {
        Box::pin(async move { self.create(&request).await })
    }

    fn limits(&self) -> AmountLimits {
        self.limits
    }

    fn describe(&self) -> &'static str {
        "lnbits"
    }

    fn lookup(&self) -> Option<&dyn LookupInvoice> {
        Some(self)
    }

    fn pay(&self) -> Option<&dyn PayInvoice> {
        self.payer.as_ref().map(|payer| payer as &dyn PayInvoice)
    }

    fn access(&self) -> Option<&dyn CheckAccess> {
        Some(self)
    }
}

impl LookupInvoice for Lnbits {
    /// An invoice that LNbits calls failed is [`InvoiceState::Open`]: it says so of an expired one
    /// without asking its node, and may take that back.
    fn lookup_invoice(&self, hash: PaymentHash) -> BoxFuture<'_, Result<InvoiceState, NodeError>> {
        Box::pin(self.look_up(hash))
    }
}

impl PayInvoice for Payer {
    fn pay_invoice(
        &self,
        request: PaymentRequest,
    ) -> BoxFuture<'_, Result<PaymentState, NodeError>> {
        Box::pin(async move { self.send(&request).await })
    }

    fn payment_state(&self, hash: PaymentHash) -> BoxFuture<'_, Result<PaymentState, NodeError>> {
        Box::pin(self.find_payment(hash))
    }
}

impl CheckAccess for Lnbits {
    fn check_access(&self) -> BoxFuture<'_, Result<AccessReport, NodeError>> {
        Box::pin(self.report())
    }
}
