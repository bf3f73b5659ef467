//! Core Lightning as a backend, over its `clnrest` plugin: each call is a POST of one JSON-RPC
//! command's parameters, allowed by a rune.
//!
//! Invoices carry a random label, since nothing here is remembered by label. Settlements are waited
//! for in the order of the node's own `pay_index`, so none is missed between two connections. It
//! cannot hold a payment without plugins.

use std::sync::Arc;

use async_trait::async_trait;
use farebox_core::PaymentHash;
use http::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::answer::JudgeAnswer;
use crate::node_options::Node;
use crate::port::MAX_DESCRIPTION;
use crate::{
    AmountLimits, Backend, CreateInvoice, CreatedInvoice, InvoiceRequest, InvoiceState,
    LookupInvoice, NodeError, NodeOptions, PaymentHashes, proof,
};
use answer::{InvoicesJson, MadeJson};
use farebox_http::client::{Answer, CallError, EndpointError};
use refusal::Refusal;

mod access;
mod answer;
mod pay;
mod refusal;
mod watch;

/// The Core Lightning backend. Its credential is a rune for `invoice`, `listinvoices`,
/// `waitanyinvoice` and `getinfo`; where money is paid out also for `xpay`, `pay` and `listpays`.
/// The certificate that it shows is `server.pem` of `clnrest`.
pub struct Cln(Node);

impl Cln {
    /// A backend that has called nobody yet.
    ///
    /// # Errors
    /// [`EndpointError`]: the URL or the rune cannot be used.
    pub fn new(options: NodeOptions) -> Result<Self, EndpointError> {
        let rune = HeaderValue::try_from(options.credential.reveal().trim());
        let rune = rune.map_err(|_| EndpointError::Credential)?;
        let name = HeaderName::from_static("rune");
        options.node(AmountLimits::ANY, name, rune).map(Self)
    }

    /// Never the same twice, whoever else makes invoices on this node.
    fn random_label(&self) -> Result<String, NodeError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| {
            NodeError::Call(CallError::NotConnected {
                host: self.0.client.host().to_owned(),
                source: Arc::new(error),
            })
        })?;
        Ok(format!("farebox-{:032x}", u128::from_be_bytes(random)))
    }

    /// Calls a command. Only its result comes back.
    async fn call(&self, command: &str, body: &Value) -> Result<Answer, NodeError> {
        let path = format!("/v1/{command}");
        let answer = self.0.client.post_json(&path, body).await?;
        match answer.refusal::<Refusal>() {
            Some(refusal) => Err(refusal.error(&answer)),
            None => Ok(answer),
        }
    }
}

impl From<Arc<Cln>> for Backend {
    fn from(cln: Arc<Cln>) -> Self {
        Self {
            invoices: Some(cln.clone()),
            lookup: Some(cln.clone()),
            pay: Some(cln.clone()),
            watch: Some(cln.clone()),
            check: Some(cln),
            ..Self::new("cln")
        }
    }
}

#[async_trait]
impl CreateInvoice for Cln {
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.0.limits.check(request.amount)?;
        let body = json!({
            "amount_msat": request.amount.get(),
            "label": self.random_label()?,
            // It takes no JSON escapes for control characters.
            "description": request.description(MAX_DESCRIPTION).replace(char::is_control, " "),
            "expiry": request.seconds(),
        });
        let answer = self.call("invoice", &body).await?;
        let made: MadeJson = answer.parse()?;
        let created = self.0.rules.check(&request, &made.bolt11)?;
        proof::uncontradicted(created, made.payment_hash.as_deref())
            .map_err(|fault| answer.bad(fault))
    }

    fn limits(&self) -> AmountLimits {
        self.0.limits
    }

    fn payment_hashes(&self) -> PaymentHashes {
        PaymentHashes::Own
    }
}

#[async_trait]
impl LookupInvoice for Cln {
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        let body = json!({ "payment_hash": hash.to_string() });
        let answer = self.call("listinvoices", &body).await?;
        let found: InvoicesJson = answer.parse()?;
        found.state(&hash).map_err(|fault| answer.bad(fault))
    }
}
