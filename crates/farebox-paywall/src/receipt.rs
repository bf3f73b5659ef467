//! A charge as its payer and the operator see it. Field names are a promise to programs.

use std::collections::BTreeMap;

use farebox_ledger::{ChargeView, RateUsed};
use serde::Serialize;

/// One charge. Whose money it was is not in it.
#[derive(Debug, Serialize)]
pub struct ReceiptJson {
    id: String,
    route: String,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_msat: Option<u64>,
    used_msat: u64,
    charged_msat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_back_msat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<RateJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    usage: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<String>,
}

/// What a bitcoin cost.
#[derive(Debug, Serialize)]
struct RateJson {
    currency: String,
    bitcoin_price: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
}

impl ReceiptJson {
    /// The receipt of a charge.
    #[must_use]
    pub fn new(charge: ChargeView) -> Self {
        let given_back = charge.held.map(|held| held.saturating_sub(charge.charged));
        Self {
            id: charge.hold.to_string(),
            route: charge.route.to_string(),
            at: charge.at.as_secs(),
            held_msat: charge.held.map(farebox_core::Msat::get),
            used_msat: charge.used.get(),
            charged_msat: charge.charged.get(),
            given_back_msat: given_back.map(farebox_core::Msat::get),
            rate: charge.basis.rate.map(RateJson::new),
            model: charge.basis.model,
            ended: charge.terminal,
            usage: charge.usage.into_iter().collect(),
            quantity: charge.quantity,
        }
    }
}

impl RateJson {
    fn new(rate: RateUsed) -> Self {
        Self {
            currency: rate.currency,
            bitcoin_price: rate.bitcoin_price,
            age_ms: rate.age_ms,
        }
    }
}
