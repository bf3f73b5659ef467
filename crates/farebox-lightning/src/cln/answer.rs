//! What the commands answer. Amounts are millisatoshis, numbers since v23.08 and texts like
//! `"1000msat"` before.

use farebox_core::{Msat, PaymentHash, UnixMillis};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::lenient::{self, Instant, Number};
use crate::{
    AnswerFault, InvoiceState, PaymentFailure, PaymentState, Settlement, SettlementCursor, proof,
};

/// Millisatoshis, however they are written.
#[derive(Clone, Copy)]
pub(super) struct Amount(pub(super) Msat);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut written = Value::deserialize(deserializer)?;
        if let Value::String(text) = &mut written
            && let Some(number) = text.strip_suffix("msat")
        {
            *text = number.to_owned();
        }
        let number: Number = serde_json::from_value(written).map_err(D::Error::custom)?;
        let amount = number.msat().map(Self);
        amount.ok_or_else(|| D::Error::custom("no amount"))
    }
}

#[derive(Deserialize)]
pub(super) struct MadeJson {
    pub(super) bolt11: String,
    #[serde(default, deserialize_with = "lenient::read")]
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
    #[serde(default, deserialize_with = "lenient::read")]
    amount_msat: Option<Amount>,
    #[serde(default, deserialize_with = "lenient::read")]
    amount_received_msat: Option<Amount>,
    #[serde(default, deserialize_with = "lenient::read")]
    pay_index: Option<Number>,
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
        let index = self.pay_index.map(|index| index.0);
        let index = index.filter(|index| *index > last);
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
    #[serde(default, deserialize_with = "lenient::read")]
    amount_msat: Option<Amount>,
    #[serde(default, deserialize_with = "lenient::read")]
    amount_sent_msat: Option<Amount>,
}

impl PaidJson {
    pub(super) fn state(&self, hash: &PaymentHash) -> Result<PaymentState, AnswerFault> {
        let status = self.status.as_deref();
        if status.is_some_and(|status| status != "complete") {
            return Ok(PaymentState::Pending);
        }
        Ok(PaymentState::Succeeded {
            fee: fee(self.amount_msat, self.amount_sent_msat),
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
    #[serde(default, deserialize_with = "lenient::read")]
    created_at: Option<Instant>,
    #[serde(default, deserialize_with = "lenient::read")]
    amount_msat: Option<Amount>,
    #[serde(default, deserialize_with = "lenient::read")]
    amount_sent_msat: Option<Amount>,
    #[serde(default, deserialize_with = "lenient::read")]
    preimage: Option<String>,
}

impl PayJson {
    pub(super) fn is_for(&self, hash: &PaymentHash) -> bool {
        proof::same_hash(&self.payment_hash, hash).is_ok()
    }

    /// One whose beginning is not told may have begun just now.
    pub(super) fn created_at(&self) -> UnixMillis {
        let began = self.created_at.map(|Instant(at)| UnixMillis::from_secs(at));
        began.unwrap_or(UnixMillis::new(u64::MAX))
    }

    pub(super) fn state(&self, hash: &PaymentHash) -> PaymentState {
        match self.status.as_str() {
            "complete" => PaymentState::Succeeded {
                fee: fee(self.amount_msat, self.amount_sent_msat),
                preimage: proof::shown(self.preimage.as_deref(), hash),
            },
            "failed" => PaymentState::Failed(PaymentFailure::Other),
            _ => PaymentState::Pending,
        }
    }
}

/// What was sent beyond what arrived; zero where the node does not say both.
fn fee(arrived: Option<Amount>, sent: Option<Amount>) -> Msat {
    let fee = arrived
        .zip(sent)
        .map(|(arrived, sent)| sent.0.saturating_sub(arrived.0));
    fee.unwrap_or(Msat::ZERO)
}

#[derive(Deserialize)]
pub(super) struct InfoJson {
    pub(super) id: String,
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) alias: Option<String>,
    pub(super) version: String,
    pub(super) network: String,
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) num_active_channels: Option<Number>,
    pub(super) warning_bitcoind_sync: Option<String>,
    pub(super) warning_lightningd_sync: Option<String>,
}
