//! What phoenixd answers. Fields named `…Sat` are satoshis cut off below, `fees` are millisatoshis,
//! and instants are milliseconds.

use std::time::Duration;

use farebox_core::{Msat, PaymentHash, UnixMillis};
use serde::Deserialize;

use crate::{
    AnswerFault, InvoiceState, PaymentFailure, PaymentState, Settlement, SettlementCursor, proof,
};

/// How long after its expiry an unpaid invoice may still turn out paid: parts of a payment that
/// arrived in time are held for a minute.
const LAST_PARTS: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeJson {
    pub(super) payment_hash: Option<String>,
    pub(super) serialized: String,
}

/// Its `preimage` is there before it was paid, and not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IncomingJson {
    payment_hash: String,
    is_paid: bool,
    requested_sat: Option<u64>,
    received_sat: Option<u64>,
    fees: Option<u64>,
    expires_at: Option<u64>,
    completed_at: Option<u64>,
}

impl IncomingJson {
    /// What came in and when, in milliseconds; none while it is not paid.
    pub(super) fn settlement(&self) -> Result<Option<(Settlement, u64)>, AnswerFault> {
        let Some(at) = self.completed_at.filter(|_| self.is_paid) else {
            return Ok(None);
        };
        let asked = self.requested_sat.map(msat_of).transpose()?;
        let settlement = Settlement {
            payment_hash: proof::hash_in("paymentHash", &self.payment_hash)?,
            asked: asked.and_then(|msat| Msat::new(msat).ok()),
            received: self.received()?,
            cursor: Some(SettlementCursor(at)),
        };
        Ok(Some((settlement, at)))
    }

    pub(super) fn state(
        &self,
        hash: &PaymentHash,
        now: UnixMillis,
    ) -> Result<InvoiceState, AnswerFault> {
        proof::same_hash(&self.payment_hash, hash)?;
        if self.is_paid {
            let received = self.received()?;
            return Ok(InvoiceState::Settled { received });
        }
        let is_over = |at| UnixMillis::new(at).plus(LAST_PARTS) < now;
        if self.expires_at.is_some_and(is_over) {
            return Ok(InvoiceState::Canceled);
        }
        Ok(InvoiceState::Open)
    }

    /// What the payer sent. `receivedSat` is what was left after fees, less a fraction of a
    /// satoshi; where no more than that is missing, it was all paid.
    fn received(&self) -> Result<Option<Msat>, AnswerFault> {
        let Some(net) = self.received_sat else {
            return Ok(None);
        };
        let sent = msat_of(net)?.saturating_add(self.fees.unwrap_or(0));
        let asked = self.requested_sat.map_or(Ok(0), msat_of)?;
        let is_rounded = asked > sent && asked - sent < 1000;
        let sent = if is_rounded { asked } else { sent };
        Msat::new(sent).map(Some).map_err(|_| AnswerFault::Limits)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutgoingJson {
    payment_hash: Option<String>,
    preimage: Option<String>,
    is_paid: bool,
    fees: u64,
    completed_at: Option<u64>,
}

impl OutgoingJson {
    pub(super) fn state(&self, hash: &PaymentHash) -> Result<PaymentState, AnswerFault> {
        let named = self.payment_hash.as_deref();
        proof::same_hash(named.ok_or(AnswerFault::Missing("paymentHash"))?, hash)?;
        if self.is_paid {
            let preimage = self.preimage.as_deref();
            return Ok(PaymentState::Succeeded {
                fee: Msat::new(self.fees).map_err(|_| AnswerFault::Limits)?,
                preimage: preimage.map(|hex| proof::preimage(hex, hash)).transpose()?,
            });
        }
        Ok(match self.completed_at {
            Some(_) => PaymentState::Failed(PaymentFailure::Other),
            None => PaymentState::Pending,
        })
    }
}

/// The answer to a payment: `reason` where it failed.
#[derive(Deserialize)]
pub(super) struct PaidJson {
    reason: Option<String>,
}

impl PaidJson {
    /// Why it failed, by the words of lightning-kmp; none where it did not.
    pub(super) fn failure(&self) -> Option<PaymentFailure> {
        let reason = self.reason.as_deref()?.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        Some(if says(&["balance", "funds"]) {
            PaymentFailure::InsufficientBalance
        } else if says(&["route", "fee", "unreachable", "offline"]) {
            PaymentFailure::NoRoute
        } else if says(&["rejected", "expired"]) {
            PaymentFailure::RefusedByPayee
        } else {
            PaymentFailure::Other
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InfoJson {
    pub(super) node_id: String,
    pub(super) chain: Option<String>,
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) channels: Vec<ChannelJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChannelJson {
    pub(super) inbound_liquidity_sat: Option<u64>,
}

fn msat_of(sat: u64) -> Result<u64, AnswerFault> {
    sat.checked_mul(1000).ok_or(AnswerFault::Limits)
}
