//! phoenixd as a backend: a node that opens its own channels, called over its HTTP API.
//!
//! It counts in whole satoshis, takes its own fixed fee for what it pays, and cannot hold a payment.
//! It is asked for new settlements every second, or at once when its webhook says that there is one.
//! Its answers carry the preimages of unpaid invoices too: none is ever read from there.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use farebox_core::{Clock, PaymentHash, Secret};
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue};

use crate::made::{Asked, same_hash};
use crate::rest::{RestAnswer, RestClient, printable};
use crate::{
    AccessReport, AmountLimits, AnswerFault, Backend, BoxFuture, CheckAccess, CreateInvoice,
    CreatedInvoice, EndpointError, InvoiceRequest, InvoiceState, LookupInvoice, Needs, Network,
    NodeError, NodeOptions, PayInvoice, PaymentHashes, PaymentRequest, PaymentState,
    SettlementCursor, WatchEvent, WatchSettlements,
};
use answer::{IncomingJson, MadeJson};
use bell::Bell;
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
    client: RestClient,
    clock: Arc<dyn Clock>,
    network: Network,
    limits: AmountLimits,
    needs: Needs,
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
        Ok(Self {
            client: options.client(AUTHORIZATION, basic(&options.credential)?)?,
            clock: options.clock,
            network: options.network,
            limits: AmountLimits::WHOLE_SATS.at_least(options.min_amount),
            needs: options.needs,
            webhook_secret,
            bell: Bell::default(),
        })
    }

    async fn create(&self, request: &InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.limits.check(request.amount)?;
        let description = &request.memo[..request.memo.floor_char_boundary(MAX_DESCRIPTION)];
        let sats = (request.amount.get() / 1000).to_string();
        let seconds = request.expiry.as_secs().max(1).to_string();
        let fields = [
            ("description", description),
            ("amountSat", &sats),
            ("expirySeconds", &seconds),
        ];
        let answer = self.client.post_form("/createinvoice", &fields).await?;
        refuse_bad_request(&answer)?;
        let made: MadeJson = answer.json()?;
        let asked = Asked {
            request,
            network: self.network,
            now: self.clock.now(),
        };
        let created = asked.check(&made.serialized)?;
        if !same_hash(&created, made.payment_hash()) {
            return Err(answer.bad(AnswerFault::OtherInvoice));
        }
        Ok(created)
    }

    async fn look_up(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        let answer = self
            .client
            .get(&format!("/payments/incoming/{hash}"))
            .await?;
        if is_unknown(&answer, &UNKNOWN_PAYMENT) {
            return Ok(InvoiceState::Unknown);
        }
        let incoming: IncomingJson = answer.json()?;
        incoming
            .state(&hash, self.clock.now())
            .map_err(|fault| answer.bad(fault))
    }
}

/// The user name is empty.
fn basic(password: &Secret<String>) -> Result<HeaderValue, EndpointError> {
    let credentials = STANDARD.encode(format!(":{}", password.reveal()));
    HeaderValue::try_from(format!("Basic {credentials}")).map_err(|_| EndpointError::Credential)
}

/// A parameter that it does not take is answered with 400 and a line of text.
fn refuse_bad_request(answer: &RestAnswer) -> Result<(), NodeError> {
    if answer.status == StatusCode::BAD_REQUEST {
        return Err(answer.refused(&String::from_utf8_lossy(&answer.body)));
    }
    Ok(())
}

fn is_unknown(answer: &RestAnswer, texts: &[&str]) -> bool {
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

impl CreateInvoice for Phoenixd {
    fn create_invoice(
        &self,
        request: InvoiceRequest,
    ) -> BoxFuture<'_, Result<CreatedInvoice, NodeError>> {
        Box::pin(async move { self.create(&request).await })
    }

    fn limits(&self) -> AmountLimits {
        self.limits
    }

    fn payment_hashes(&self) -> PaymentHashes {
        PaymentHashes::Own
    }
}

impl LookupInvoice for Phoenixd {
    /// What was received is what the payer sent: the cost of a channel opened for the payment is the
    /// seller's, and counted in.
    fn lookup_invoice(&self, hash: PaymentHash) -> BoxFuture<'_, Result<InvoiceState, NodeError>> {
        Box::pin(self.look_up(hash))
    }
}

impl PayInvoice for Phoenixd {
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

impl WatchSettlements for Phoenixd {
    /// The cursor is a time of phoenixd's own clock. A settlement may be told twice.
    fn watch<'a>(
        &'a self,
        after: Option<SettlementCursor>,
        sink: &'a mut (dyn FnMut(WatchEvent) + Send),
    ) -> BoxFuture<'a, Result<(), NodeError>> {
        Box::pin(self.ask_for_settlements(after, sink))
    }
}

impl CheckAccess for Phoenixd {
    fn check_access(&self) -> BoxFuture<'_, Result<AccessReport, NodeError>> {
        Box::pin(self.report())
    }
}
