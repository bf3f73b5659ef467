//! What phoenixd answers. Fields named `…Sat` are satoshis cut off below, `fees` are millisatoshis,
//! and instants are milliseconds.

use std::time::Duration;

use farebox_core::{Msat, PaymentHash, UnixMillis};
use serde::Deserialize;

use crate::lenient::{self, Instant, Number};
use crate::{
    AnswerFault, InvoiceState, PaymentFailure, PaymentState, Settlement, SettlementCursor, proof,
};

/// How long after its expiry an unpaid invoice may still turn out paid: parts of a payment that
/// arrived in time are held for a minute.
const LAST_PARTS: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeJson {
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) payment_hash: Option<String>,
    pub(super) serialized: String,
}

/// Its `preimage` is there before it was paid, and not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IncomingJson {
    payment_hash: String,
    is_paid: bool,
    #[serde(default, deserialize_with = "lenient::read")]
    requested_sat: Option<Number>,
    #[serde(default, deserialize_with = "lenient::read")]
    received_sat: Option<Number>,
    #[serde(default, deserialize_with = "lenient::read")]
    fees: Option<Number>,
    #[serde(default, deserialize_with = "lenient::read")]
    expires_at: Option<Instant>,
    #[serde(default, deserialize_with = "lenient::read")]
    completed_at: Option<Instant>,
}

impl IncomingJson {
    /// What came in and when, in milliseconds; none while it is not paid.
    pub(super) fn settlement(&self) -> Result<Option<(Settlement, u64)>, AnswerFault> {
        let Some(Instant(at)) = self.completed_at.filter(|_| self.is_paid) else {
            return Ok(None);
        };
        let settlement = Settlement {
            payment_hash: proof::hash_in("paymentHash", &self.payment_hash)?,
            asked: self.requested_sat.and_then(msat_of),
            received: self.received(),
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
            let received = self.received();
            return Ok(InvoiceState::Settled { received });
        }
        let is_over = |Instant(at)| UnixMillis::new(at).plus(LAST_PARTS) < now;
        if self.expires_at.is_some_and(is_over) {
            return Ok(InvoiceState::Canceled);
        }
        Ok(InvoiceState::Open)
    }

    /// What the payer sent, less a fraction of a satoshi: `receivedSat` is what was left after fees, cut
    /// off below.
    fn received(&self) -> Option<Msat> {
        let net = self.received_sat.and_then(msat_of)?;
        net.checked_add(self.fees.and_then(Number::msat).unwrap_or(Msat::ZERO))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutgoingJson {
    payment_hash: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    preimage: Option<String>,
    is_paid: bool,
    #[serde(default, deserialize_with = "lenient::read")]
    fees: Option<Number>,
    completed_at: Option<Instant>,
}

impl OutgoingJson {
    pub(super) fn state(&self, hash: &PaymentHash) -> Result<PaymentState, AnswerFault> {
        let named = self.payment_hash.as_deref();
        proof::same_hash(named.ok_or(AnswerFault::Missing("paymentHash"))?, hash)?;
        if self.is_paid {
            return Ok(PaymentState::Succeeded {
                fee: self.fees.and_then(Number::msat).unwrap_or(Msat::ZERO),
                preimage: proof::shown(self.preimage.as_deref(), hash),
            });
        }
        Ok(match self.completed_at {
            Some(Instant(_)) => PaymentState::Failed(PaymentFailure::Other),
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
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) chain: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) channels: Vec<ChannelJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChannelJson {
    #[serde(default, deserialize_with = "lenient::read")]
    pub(super) inbound_liquidity_sat: Option<Number>,
}

fn msat_of(Number(sat): Number) -> Option<Msat> {
    Msat::new(sat.checked_mul(1000)?).ok()
}
