//! What the commands answer. Amounts are millisatoshis, numbers since v23.08 and texts like
//! `"1000msat"` before.

use farebox_core::{Msat, PaymentHash, UnixMillis};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::{
    AnswerFault, InvoiceState, PaymentFailure, PaymentState, Settlement, SettlementCursor, proof,
};

/// Millisatoshis, however they are written.
#[derive(Clone, Copy)]
pub(super) struct Amount(pub(super) Msat);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        let msat = match Written::deserialize(deserializer)? {
            Written::Number(msat) => Some(msat),
            Written::Text(text) => text.strip_suffix("msat").and_then(|text| text.parse().ok()),
        };
        let amount = msat.and_then(|msat| Msat::new(msat).ok());
        amount
            .map(Self)
            .ok_or_else(|| D::Error::custom("no amount"))
    }
}

#[derive(Deserialize)]
pub(super) struct MadeJson {
    pub(super) bolt11: String,
    pub(super) payment_hash: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct InvoicesJson {
    invoices: Vec<InvoiceJson>,
}

/// Its `payment_preimage` is not read.
#[derive(Deserialize)]
pub(super) struct InvoiceJson {
    payment_hash: String,
    status: String,
    amount_msat: Option<Amount>,
    amount_received_msat: Option<Amount>,
    pay_index: Option<u64>,
}

impl InvoicesJson {
    /// An invoice that was not asked about is no answer.
    pub(super) fn state(&self, hash: &PaymentHash) -> Result<InvoiceState, AnswerFault> {
        if self.invoices.is_empty() {
            return Ok(InvoiceState::Unknown);
        }
        let this = |invoice: &&InvoiceJson| proof::same_hash(&invoice.payment_hash, hash).is_ok();
        let invoice = self.invoices.iter().find(this);
        let invoice = invoice.ok_or(AnswerFault::OtherInvoice)?;
        match invoice.status.as_str() {
            "paid" => Ok(InvoiceState::Settled {
                received: invoice.amount_received_msat.map(|amount| amount.0),
            }),
            "unpaid" => Ok(InvoiceState::Open),
            "expired" => Ok(InvoiceState::Canceled),
            _ => Err(AnswerFault::Missing("status")),
        }
    }
}

impl InvoiceJson {
    /// The settlement, which must come after `last` so that waiting makes progress.
    pub(super) fn settlement(&self, last: u64) -> Result<(Settlement, u64), AnswerFault> {
        let index = self.pay_index.filter(|index| *index > last);
        let index = index.ok_or(AnswerFault::Missing("pay_index"))?;
        let settlement = Settlement {
            payment_hash: proof::hash_in("payment_hash", &self.payment_hash)?,
            asked: self.amount_msat.map(|amount| amount.0),
            received: self.amount_received_msat.map(|amount| amount.0),
            cursor: Some(SettlementCursor(index)),
        };
        Ok((settlement, index))
    }

    pub(super) fn is_paid(&self) -> bool {
        self.status == "paid"
    }
}

/// The result of `pay` and of `xpay`, which says no status.
#[derive(Deserialize)]
pub(super) struct PaidJson {
    status: Option<String>,
    payment_preimage: String,
    amount_msat: Amount,
    amount_sent_msat: Amount,
}

impl PaidJson {
    pub(super) fn state(&self, hash: &PaymentHash) -> Result<PaymentState, AnswerFault> {
        let status = self.status.as_deref();
        if status.is_some_and(|status| status != "complete") {
            return Ok(PaymentState::Pending);
        }
        Ok(PaymentState::Succeeded {
            fee: self.amount_sent_msat.0.saturating_sub(self.amount_msat.0),
            preimage: Some(proof::preimage(&self.payment_preimage, hash)?),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct PaysJson {
    pub(super) pays: Vec<PayJson>,
}

/// All parts of one attempt to pay; a hash may have several attempts.
#[derive(Deserialize)]
pub(super) struct PayJson {
    payment_hash: String,
    status: String,
    created_at: u64,
    amount_msat: Option<Amount>,
    amount_sent_msat: Option<Amount>,
    preimage: Option<String>,
}

impl PayJson {
    pub(super) fn is_for(&self, hash: &PaymentHash) -> bool {
        proof::same_hash(&self.payment_hash, hash).is_ok()
    }

    pub(super) fn created_at(&self) -> UnixMillis {
        UnixMillis::from_secs(self.created_at)
    }

    pub(super) fn state(&self, hash: &PaymentHash) -> Result<PaymentState, AnswerFault> {
        match self.status.as_str() {
            "complete" => {}
            "failed" => return Ok(PaymentState::Failed(PaymentFailure::Other)),
            _ => return Ok(PaymentState::Pending),
        }
        let preimage = self.preimage.as_deref();
        let preimage = preimage.ok_or(AnswerFault::Missing("preimage"))?;
        let arrived = self
            .amount_msat
            .ok_or(AnswerFault::Missing("amount_msat"))?;
        let sent = self
            .amount_sent_msat
            .ok_or(AnswerFault::Missing("amount_sent_msat"))?;
        Ok(PaymentState::Succeeded {
            fee: sent.0.saturating_sub(arrived.0),
            preimage: Some(proof::preimage(preimage, hash)?),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct InfoJson {
    pub(super) id: String,
    pub(super) alias: Option<String>,
    pub(super) version: String,
    pub(super) network: String,
    pub(super) num_active_channels: Option<u64>,
    pub(super) warning_bitcoind_sync: Option<String>,
    pub(super) warning_lightningd_sync: Option<String>,
}
