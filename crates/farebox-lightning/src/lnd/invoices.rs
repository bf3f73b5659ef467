//! Making invoices and asking what became of them.

use async_trait::async_trait;
use farebox_core::PaymentHash;
use serde::{Deserialize, Serialize};

use super::Lnd;
use super::answer::{self, Denial, InvoiceJson};
use crate::answer::JudgeAnswer;
use crate::lenient;
use crate::port::MAX_DESCRIPTION;
use crate::{
    AmountLimits, AnswerFault, CreateInvoice, CreatedInvoice, InvoiceRequest, InvoiceState,
    LookupInvoice, NodeError, PaymentHashes,
};
use farebox_http::client::Answer;

/// What an invoice is asked for with. LND reads numbers of 64 bits as text.
#[derive(Serialize)]
pub(super) struct WantedJson<'a> {
    value_msat: String,
    memo: &'a str,
    expiry: String,
    private: bool,
    #[serde(flatten)]
    pub(super) held: Option<HeldJson>,
}

/// What one whose payment will be held needs besides.
#[derive(Serialize)]
pub(super) struct HeldJson {
    pub(super) hash: String,
    pub(super) cltv_expiry: String,
}

#[derive(Deserialize)]
pub(super) struct AddedJson {
    pub(super) payment_request: String,
    #[serde(default, deserialize_with = "lenient::read")]
    r_hash: Option<String>,
}

#[async_trait]
impl CreateInvoice for Lnd {
    async fn create_invoice(&self, request: InvoiceRequest) -> Result<CreatedInvoice, NodeError> {
        self.node.limits.check(request.amount)?;
        let body = self.invoice_json(&request);
        let answer = self.node.client.post_json("/v1/invoices", &body).await?;
        let added: AddedJson = answer::read(&answer)?;
        let created = self
            .node
            .rules
            .check_own(&request, &added.payment_request)?;
        match added.r_hash.as_deref().and_then(answer::hash_from_base64) {
            Some(hash) if hash != created.payment_hash => {
                Err(answer.bad(AnswerFault::OtherInvoice))
            }
            _ => Ok(created),
        }
    }

    fn limits(&self) -> AmountLimits {
        self.node.limits
    }

    fn payment_hashes(&self) -> PaymentHashes {
        PaymentHashes::Own
    }
}

#[async_trait]
impl LookupInvoice for Lnd {
    async fn lookup_invoice(&self, hash: PaymentHash) -> Result<InvoiceState, NodeError> {
        match self.find_invoice(hash).await? {
            Some((invoice, answer)) => state(&invoice).map_err(|fault| answer.bad(fault)),
            None => Ok(InvoiceState::Unknown),
        }
    }
}

impl Lnd {
    /// What both kinds of invoices are asked for with. LND counts expiry in seconds, at least one.
    pub(super) fn invoice_json<'a>(&self, request: &'a InvoiceRequest) -> WantedJson<'a> {
        WantedJson {
            value_msat: request.amount.get().to_string(),
            memo: request.description(MAX_DESCRIPTION),
            expiry: request.seconds().to_string(),
            private: self.private_hints,
            held: None,
        }
    }

    /// The invoice with this hash, and the answer it came in; none where the node knows none.
    pub(super) async fn find_invoice(
        &self,
        hash: PaymentHash,
    ) -> Result<Option<(InvoiceJson, Answer)>, NodeError> {
        let path = format!("/v1/invoice/{}", answer::hex(hash));
        let answer = self.node.client.get(&path).await?;
        let invoice: InvoiceJson = match answer::read(&answer) {
            Ok(invoice) => invoice,
            Err(Denial::NotFound(_)) => return Ok(None),
            Err(denial) => return Err(denial.into()),
        };
        invoice
            .check_hash(hash)
            .map_err(|fault| answer.bad(fault))?;
        Ok(Some((invoice, answer)))
    }
}

fn state(invoice: &InvoiceJson) -> Result<InvoiceState, AnswerFault> {
    match invoice.state.as_str() {
        "OPEN" => Ok(InvoiceState::Open),
        "ACCEPTED" => Ok(InvoiceState::Held),
        "CANCELED" => Ok(InvoiceState::Canceled),
        "SETTLED" => Ok(InvoiceState::Settled {
            received: invoice.received(),
        }),
        _ => Err(AnswerFault::Missing("state")),
    }
}
