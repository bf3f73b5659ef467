//! LNbits as a backend: a wallet on a node that somebody runs, perhaps the seller.
//!
//! The invoice key makes and looks up invoices; only the admin key, where one is given, pays. The
//! node behind LNbits draws the preimages, so its hashes are not trusted to be new. What LNbits
//! says was received is what it credited, which is what the invoice asked for.
//!
//! Whoever reaches LNbits may ask it, without any key, whether a payment hash was paid and what its
//! preimage is. A preimage alone opens no token, but it is one half of one.

use std::sync::Arc;

use async_trait::async_trait;
use farebox_core::{PaymentHash, Secret};
use http::header::{HeaderName, HeaderValue};
use serde_json::json;

use crate::answer::JudgeAnswer;
use crate::node_options::Node;
use crate::port::MAX_DESCRIPTION;
use crate::{
    AmountLimits, Backend, CreateInvoice, CreatedInvoice, InvoiceRequest, InvoiceState,
    LookupInvoice, NodeError, NodeOptions, proof,
};
use answer::{FoundJson, PaymentJson};
use farebox_http::client::{Answer, EndpointError, TrustedClient};
use refusal::Refusal;

mod access;
mod answer;
mod pay;
mod refusal;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The LNbits backend. Its credential is the wallet's invoice key, also called invoice/read key.
pub struct Lnbits {
    /// With the invoice key.
    node: Node,
    payer: Option<Arc<Payer>>,
}

/// The half that can pay.
struct Payer {
    /// With the admin key.
    client: TrustedClient,
}

impl Lnbits {
    /// A backend that has called nobody yet. It pays with the admin key of the same wallet.
    ///
    /// # Errors
    /// [`EndpointError`]: the URL or a key cannot be used.
    pub fn new(
        options: NodeOptions,
        admin_key: Option<&Secret<String>>,
    ) -> Result<Self, EndpointError> {
        let payer = admin_key.map(|key| options.client(API_KEY, header(key)?));
        let payer = payer.transpose()?;
        let key = header(&options.credential)?;
        Ok(Self {
            node: options.node(AmountLimits::WHOLE_SATS, API_KEY, key)?,
            payer: payer.map(|client| Arc::new(Payer { client })),
        })
    }
}

fn header(key: &Secret<String>) -> Result<HeaderValue, EndpointError> {
    HeaderValue::try_from(key.reveal().trim()).map_err(|_| EndpointError::Credential)
}

/// The wallet's own payment with this hash; none where it knows none.
async fn find(
    client: &TrustedClient,
    hash: PaymentHash,
) -> Result<Option<(FoundJson, Answer)>, NodeError> {
    let answer = client.get(&format!("/api/v1/payments/{hash}")).await?;
    if answer
        .refusal::<Refusal>()
        .is_some_and(|refusal| refusal.is_unknown_payment(&answer))
    {
        return Ok(None);
    }
    Ok(Some((refusal::read(&answer)?, answer)))
}

impl From<Arc<Lnbits>> for Backend {
    fn from(lnbits: Arc<Lnbits>) -> Self {
        Self {
            invoices: Some(lnbits.clone()),
            lookup: Some(lnbits.clone()),
            pay: lnbits.payer.clone().map(|payer| payer as _),
            check: Some(lnbits),
            ..Self::new("lnbits")
        }
    }
}

#[async_trait]
impl CreateInvoice for Lnbits {
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.node.limits.check(request.amount)?;
        let body = json!({
            "out": false,
            "amount": request.amount.get() / 1000,
            "unit": "sat",
            "memo": request.description(MAX_DESCRIPTION),
            "expiry": request.seconds(),
        });
        let answer = self
            .node
            .client
            .post_json("/api/v1/payments", &body)
            .await?;
        let made: PaymentJson = refusal::read(&answer)?;
        let bad = |fault| answer.bad(fault);
        let created = self
            .node
            .rules
            .check(&request, made.bolt11().map_err(bad)?)?;
        proof::uncontradicted(created, Some(&made.payment_hash)).map_err(bad)
    }

    fn limits(&self) -> AmountLimits {
        self.node.limits
    }
}

#[async_trait]
impl LookupInvoice for Lnbits {
    /// An invoice that LNbits calls failed is [`InvoiceState::Open`]: it says so of an expired one
    /// without asking its node, and may take that back.
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        match find(&self.node.client, hash).await? {
            None => Ok(InvoiceState::Unknown),
            Some((found, answer)) => found.state(&hash).map_err(|fault| answer.bad(fault)),
        }
    }
}
