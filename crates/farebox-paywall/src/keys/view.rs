//! A prepaid key as its holder and the operator see it.

use farebox_api::{Key, KeyLimits};
use farebox_core::{Msat, RouteName, UnixMillis};
use farebox_ledger::KeyView;

/// What is known of a key. Nothing in it opens anything.
#[must_use]
pub fn describe(view: &KeyView) -> Key {
    let limits = &view.limits;
    let names = |routes: &Vec<RouteName>| routes.iter().map(ToString::to_string).collect();
    Key {
        id: view.public_id.clone(),
        child: view.parent.is_some(),
        note: view.note.clone(),
        state: state(view).to_owned(),
        created_at: view.created_at.as_secs(),
        deposited_msat: view.deposited.get(),
        balance_msat: view.balance.get(),
        held_msat: view.held.get(),
        spent_msat: view.spent.get(),
        spent_today_msat: view.spent_today.get(),
        calls: view.calls,
        limits: KeyLimits {
            total_msat: limits.total.map(Msat::get),
            per_day_msat: limits.per_day.map(Msat::get),
            routes: limits.routes.as_ref().map(names),
            models: limits.models.clone(),
            expires_at: limits.expires_at.map(UnixMillis::as_secs),
        },
    }
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
