//! A key as its holder and the operator see it. Field names are a promise to programs.

use farebox_core::{Msat, UnixMillis};
use farebox_ledger::KeyView;
use serde_json::{Value, json};

/// What is known of a key. Nothing in it opens anything.
#[must_use]
pub fn describe(view: &KeyView) -> Value {
    let limits = &view.limits;
    let names = |routes: &Vec<farebox_core::RouteName>| {
        let names = routes.iter().map(ToString::to_string);
        names.collect::<Vec<_>>()
    };
    json!({
        "id": view.public_id,
        "child": view.parent.is_some(),
        "note": view.note,
        "state": state(view),
        "created_at": view.created_at.as_secs(),
        "deposited_msat": view.deposited.get(),
        "balance_msat": view.balance.get(),
        "held_msat": view.held.get(),
        "spent_msat": view.spent.get(),
        "spent_today_msat": view.spent_today.get(),
        "calls": view.calls,
        "limits": {
            "total_msat": limits.total.map(Msat::get),
            "per_day_msat": limits.per_day.map(Msat::get),
            "routes": limits.routes.as_ref().map(names),
            "models": limits.models,
            "expires_at": limits.expires_at.map(UnixMillis::as_secs),
        },
    })
}

const fn state(view: &KeyView) -> &'static str {
    if view.revoked_at.is_some() {
        "revoked"
    } else if view.funded_at.is_none() && view.parent.is_none() {
        "not_funded"
    } else {
        "active"
    }
}
