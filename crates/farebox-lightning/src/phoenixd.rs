//! phoenixd as a backend: a node that opens its own channels, called over its HTTP API.
//!
//! It counts in whole satoshis, takes its own fixed fee for what it pays, and cannot hold a payment.
//! It is asked for new settlements every second, or at once when its webhook says that there is one.
//! Its answers carry the preimages of unpaid invoices too: none is ever read from there.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use farebox_core::{PaymentHash, Secret};
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue};

use crate::answer::JudgeAnswer;
use crate::node_options::Node;
use crate::{
    AmountLimits, Backend, CreateInvoice, CreatedInvoice, InvoiceRequest, InvoiceState,
    LookupInvoice, NodeError, NodeOptions, PaymentHashes, proof,
};
use answer::{IncomingJson, MadeJson};
use bell::Bell;
use farebox_http::client::{Answer, EndpointError};
pub use webhook::read_webhook;

mod access;
mod answer;
mod bell;
mod pay;
mod watch;
mod webhook;

/// The longest description that phoenixd takes. It counts UTF-16 units, of which a text has no more
/// than bytes.
const MAX_DESCRIPTION: usize = 128;

/// How phoenixd calls a hash that it does not know: since 0.4, and before.
const UNKNOWN_PAYMENT: [&str; 2] = ["Not found", "Unknown endpoint (check api doc)"];

/// The phoenixd backend. Its credential is `http-password`, or `http-password-limited-access` where
/// nothing is paid out.
pub struct Phoenixd {
    node: Node,
    webhook_secret: Option<Secret<String>>,
    bell: Bell,
}

impl Phoenixd {
    /// A backend that has called nobody yet. Without `webhook-secret` of its `phoenix.conf` nothing is
    /// believed that it tells by itself.
    ///
    /// # Errors
    /// [`EndpointError`]: the URL or the password cannot be used.
    pub fn new(
        options: NodeOptions,
        webhook_secret: Option<Secret<String>>,
    ) -> Result<Self, EndpointError> {
        let password = basic(&options.credential)?;
        Ok(Self {
            node: options.node(AmountLimits::WHOLE_SATS, AUTHORIZATION, password)?,
            webhook_secret,
            bell: Bell::default(),
        })
    }
}

/// The user name is empty.
fn basic(password: &Secret<String>) -> Result<HeaderValue, EndpointError> {
    let credentials = STANDARD.encode(format!(":{}", password.reveal()));
    HeaderValue::try_from(format!("Basic {credentials}")).map_err(|_| EndpointError::Credential)
}

fn is_unknown(answer: &Answer, texts: &[&str]) -> bool {
    answer.status == StatusCode::NOT_FOUND
        && texts.iter().any(|text| answer.body == text.as_bytes())
}

impl From<Arc<Phoenixd>> for Backend {
    fn from(phoenixd: Arc<Phoenixd>) -> Self {
        let signs = phoenixd.webhook_secret.is_some();
        Self {
            invoices: Some(phoenixd.clone()),
            lookup: Some(phoenixd.clone()),
            pay: Some(phoenixd.clone()),
            watch: Some(phoenixd.clone()),
            webhook: signs.then(|| phoenixd.clone() as _),
            check: Some(phoenixd),
            ..Self::new("phoenixd")
        }
    }
}

#[async_trait]
impl CreateInvoice for Phoenixd {
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.node.limits.check(request.amount)?;
        let sats = (request.amount.get() / 1000).to_string();
        let seconds = request.seconds().to_string();
        let fields = [
            ("description", request.description(MAX_DESCRIPTION)),
            ("amountSat", &sats),
            ("expirySeconds", &seconds),
        ];
        let answer = self
            .node
            .client
            .post_form("/createinvoice", &fields)
            .await?;
        // A parameter that it does not take is answered with a line of text.
        if answer.status == StatusCode::BAD_REQUEST {
            return Err(answer.refused(&String::from_utf8_lossy(&answer.body)));
        }
        let made: MadeJson = answer.json()?;
        let created = self.node.rules.check(&request, &made.serialized)?;
        proof::uncontradicted(created, made.payment_hash.as_deref())
            .map_err(|fault| answer.bad(fault))
    }

    fn limits(&self) -> AmountLimits {
        self.node.limits
    }

    fn payment_hashes(&self) -> PaymentHashes {
        PaymentHashes::Own
    }
}

#[async_trait]
impl LookupInvoice for Phoenixd {
    /// What was received is what the payer sent: the cost of a channel opened for the payment is the
    /// seller's, and counted in.
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        let path = format!("/payments/incoming/{hash}");
        let answer = self.node.client.get(&path).await?;
        if is_unknown(&answer, &UNKNOWN_PAYMENT) {
            return Ok(InvoiceState::Unknown);
        }
        let incoming: IncomingJson = answer.json()?;
        incoming
            .state(&hash, self.node.rules.clock.now())
            .map_err(|fault| answer.bad(fault))
    }
}
