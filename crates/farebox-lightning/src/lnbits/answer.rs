//! What LNbits answers. Amounts and fees are millisatoshis, negative where they go out.

use farebox_core::{Msat, PaymentHash, Preimage};
use serde::Deserialize;

use crate::{AnswerFault, InvoiceState, PaymentFailure, PaymentState, proof};

/// A payment, in or out, as the wallet keeps it.
#[derive(Deserialize)]
pub(super) struct PaymentJson {
    pub(super) payment_hash: String,
    bolt11: Option<String>,
    /// The invoice, in versions before 1.0.
    payment_request: Option<String>,
    amount: Option<i64>,
    fee: Option<i64>,
    status: Option<String>,
}

impl PaymentJson {
    pub(super) fn bolt11(&self) -> Result<&str, AnswerFault> {
        self.bolt11
            .as_deref()
            .or(self.payment_request.as_deref())
            .ok_or(AnswerFault::Missing("bolt11"))
    }
}

/// The answer to the question about one hash.
#[derive(Deserialize)]
pub(super) struct FoundJson {
    paid: bool,
    preimage: Option<String>,
    /// Only for the wallet that the payment belongs to.
    details: Option<PaymentJson>,
}

impl FoundJson {
    /// As an invoice of ours. Without details the answer is the one that everybody gets: then the
    /// key is not the wallet's.
    pub(super) fn state(&self, hash: &PaymentHash) -> Result<InvoiceState, AnswerFault> {
        let details = self.details(hash)?;
        let amount = details.amount.ok_or(AnswerFault::Missing("amount"))?;
        let amount = u64::try_from(amount).map_err(|_| AnswerFault::OtherInvoice)?;
        if !self.paid {
            return Ok(InvoiceState::Open);
        }
        let received = Msat::new(amount).map_err(|_| AnswerFault::Limits)?;
        Ok(InvoiceState::Settled {
            received: Some(received),
        })
    }

    /// As a payment of ours.
    pub(super) fn payment(&self, hash: &PaymentHash) -> Result<PaymentState, AnswerFault> {
        let details = self.details(hash)?;
        if details.amount.ok_or(AnswerFault::Missing("amount"))? >= 0 {
            return Err(AnswerFault::OtherInvoice);
        }
        if self.paid {
            let fee = details.fee.ok_or(AnswerFault::Missing("fee"))?;
            return Ok(PaymentState::Succeeded {
                fee: Msat::new(fee.unsigned_abs()).map_err(|_| AnswerFault::Limits)?,
                preimage: self.preimage(hash)?,
            });
        }
        Ok(match details.status.as_deref() {
            Some("failed") => PaymentState::Failed(PaymentFailure::Other),
            _ => PaymentState::Pending,
        })
    }

    fn details(&self, hash: &PaymentHash) -> Result<&PaymentJson, AnswerFault> {
        let details = self.details.as_ref();
        let details = details.ok_or(AnswerFault::Missing("details"))?;
        proof::same_hash(&details.payment_hash, hash)?;
        Ok(details)
    }

    /// Some nodes behind LNbits give no preimage: all zeros, or nothing.
    fn preimage(&self, hash: &PaymentHash) -> Result<Option<Preimage>, AnswerFault> {
        let text = self.preimage.as_deref().unwrap_or_default();
        if text.bytes().all(|digit| digit == b'0') {
            return Ok(None);
        }
        proof::preimage(text, hash).map(Some)
    }
}

/// What it keeps back for the fee of a payment.
#[derive(Deserialize)]
pub(super) struct ReserveJson {
    pub(super) fee_reserve: u64,
}

/// What a key opens. Only an admin key is told the wallet's id.
#[derive(Deserialize)]
pub(super) struct WalletJson {
    pub(super) name: String,
    pub(super) id: Option<String>,
}
