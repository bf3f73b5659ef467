//! What a holder is told. Field names are a promise to programs.

use farebox_core::Msat;
use farebox_ledger::{PayoutState, PayoutView, Refundable};
use farebox_paywall::payout::RefundRules;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::answer::AnswerBody;
use crate::refusal::Refusal;

/// A refund: 200 when it was paid, 202 while it is under way, else a problem.
///
/// `place` tells where it stands later.
pub(super) fn begun(
    view: &PayoutView,
    place: &'static str,
) -> Result<Response<AnswerBody>, Refusal> {
    if view.state == PayoutState::Failed {
        let refund = refund(view);
        return Err(Refusal::RefundFailed { refund });
    }
    let mut response = super::super::json(json!({ "refund": refund(view) }).to_string());
    if view.state == PayoutState::Open {
        *response.status_mut() = StatusCode::ACCEPTED;
        let state = HeaderValue::from_static(place);
        response.headers_mut().insert(LOCATION, state);
    }
    Ok(response)
}

/// What could be paid back, and what was. `unused` is what a token has that was never used.
pub(super) fn standing(
    rules: &RefundRules,
    left: Option<&Refundable>,
    unused: Option<Msat>,
    refunds: &[PayoutView],
) -> Value {
    let available = left.map_or(unused, |left| Some(left.available));
    json!({
        "enabled": rules.enabled,
        "revoked": left.is_some_and(|left| left.revoked),
        "refundable_msat": available.unwrap_or(Msat::ZERO).get(),
        "held_msat": left.map_or(0, |left| left.held.get()),
        "least_msat": rules.least.get(),
        "refunds": refunds.iter().map(refund).collect::<Vec<_>>(),
    })
}

fn refund(view: &PayoutView) -> Value {
    json!({
        "id": view.id.to_string(),
        "state": view.state.as_str(),
        "amount_msat": view.amount.get(),
        "max_fee_msat": view.max_fee.get(),
        "fee_msat": view.fee.map(Msat::get),
        "destination_hash": view.destination_hash.to_string(),
        "asked_at": view.asked_at.as_secs(),
        "ended_at": view.ended_at.map(farebox_core::UnixMillis::as_secs),
    })
}
