//! A charge as its payer and the operator see it.

use farebox_api::{Rate, Receipt};
use farebox_core::Msat;
use farebox_ledger::ChargeView;

/// The receipt of a charge.
#[must_use]
pub fn receipt(charge: ChargeView) -> Receipt {
    let given_back = charge.held.map(|held| held.saturating_sub(charge.charged));
    let rate = charge.basis.rate.map(|rate| Rate {
        currency: rate.currency,
        bitcoin_price: rate.bitcoin_price,
        age_ms: rate.age_ms,
    });
    Receipt {
        id: charge.hold.to_string(),
        route: charge.route.to_string(),
        at: charge.at.as_secs(),
        held_msat: charge.held.map(Msat::get),
        used_msat: charge.used.get(),
        charged_msat: charge.charged.get(),
        given_back_msat: given_back.map(Msat::get),
        rate,
        model: charge.basis.model,
        ended: charge.terminal,
        usage: charge.usage.into_iter().collect(),
        quantity: charge.quantity,
    }
}
