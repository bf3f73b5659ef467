//! What LNbits answers. Amounts and fees are millisatoshis, negative where they go out.

use farebox_core::{Msat, PaymentHash};
use serde::Deserialize;

use crate::lenient::{self, Number};
use crate::{AnswerFault, InvoiceState, PaymentFailure, PaymentState, proof};

/// A payment, in or out, as the wallet keeps it.
#[derive(Deserialize)]
pub(super) struct PaymentJson {
    pub(super) payment_hash: String,
    #[serde(default, deserialize_with = "lenient::read")]
    bolt11: Option<String>,
    /// The invoice, in versions before 1.0.
    #[serde(default, deserialize_with = "lenient::read")]
    payment_request: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    amount: Option<Number<i64>>,
    #[serde(default, deserialize_with = "lenient::read")]
    fee: Option<Number<i64>>,
    #[serde(default, deserialize_with = "lenient::read")]
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
    #[serde(default, deserialize_with = "lenient::read")]
    preimage: Option<String>,
    /// Only for the wallet that the payment belongs to.
    details: Option<PaymentJson>,
}

impl FoundJson {
    /// As an invoice of ours. Without details the answer is the one that everybody gets: then the
    /// key is not the wallet's.
    pub(super) fn state(&self, hash: &PaymentHash) -> Result<InvoiceState, AnswerFault> {
        let amount = self.details(hash)?.amount;
        if amount.is_some_and(|Number(amount)| amount < 0) {
            return Err(AnswerFault::OtherInvoice);
        }
        if !self.paid {
            return Ok(InvoiceState::Open);
        }
        Ok(InvoiceState::Settled {
            received: amount.and_then(size),
        })
    }

    /// As a payment of ours.
    pub(super) fn payment(&self, hash: &PaymentHash) -> Result<PaymentState, AnswerFault> {
        let details = self.details(hash)?;
        // Which way it went, it has to say: a refund may go to an invoice of the same wallet.
        let Number(amount) = details.amount.ok_or(AnswerFault::Missing("amount"))?;
        if amount >= 0 {
            return Err(AnswerFault::OtherInvoice);
        }
        if self.paid {
            return Ok(PaymentState::Succeeded {
                fee: details.fee.and_then(size).unwrap_or(Msat::ZERO),
                preimage: proof::shown(self.preimage.as_deref(), hash),
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
}

/// How much moved, either way.
fn size(Number(msat): Number<i64>) -> Option<Msat> {
    Msat::new(msat.unsigned_abs()).ok()
}

/// What it keeps back for the fee of a payment.
#[derive(Deserialize)]
pub(super) struct ReserveJson {
    pub(super) fee_reserve: Number,
}

/// What a key opens. Only an admin key is told the wallet's id.
#[derive(Deserialize)]
pub(super) struct WalletJson {
    pub(super) name: String,
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) id: Option<String>,
}
