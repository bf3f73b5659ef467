//! The rules of prepaid keys: what one request gets of the money of a key, within its limits and
//! those of its parent.

use farebox_core::{Kind, Msat, UnixMillis};

use crate::day::Day;
use crate::rows::{Account, Key, Use};
use crate::store::StoreError;

use super::{Earlier, Fit, Grant, balance_covers, fit, free, repeated};
use crate::{Admitted, HoldRequest, KeyLimits, KeyRefusal, Remaining, day};

/// A key on the day of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnDay<'a> {
    account: &'a Account,
    key: &'a Key,
    /// What counts on the day, its children's requests included.
    today: Use,
}

impl<'a> OnDay<'a> {
    /// A key on a day, which must be loaded.
    pub(crate) fn of(account: &'a Account, key: &'a Key, day: Day) -> Result<Self, StoreError> {
        let today = key.on(day)?;
        Ok(Self {
            account,
            key,
            today,
        })
    }
}

/// Decides a request of a key, which may have a parent whose money it is. Of the reasons to refuse,
/// those that can never change come before those that might, and those that more money cannot cure
/// before those that it can.
pub(crate) fn key(
    request: &HoldRequest,
    amount: Msat,
    asker: &OnDay<'_>,
    parent: Option<&OnDay<'_>>,
    earlier: Earlier,
) -> Admitted<Grant> {
    let both = || std::iter::once(asker).chain(parent);
    if both().any(|on| on.account.revoked_at.is_some()) {
        return Admitted::Revoked;
    }
    let payer = parent.unwrap_or(asker);
    if payer.key.funded_at.is_none() {
        return Admitted::Key(KeyRefusal::Inactive);
    }
    if let Some(answer) = repeated(Kind::Balance, earlier) {
        return answer;
    }
    let expires_at = both().filter_map(|on| on.key.limits.expires_at).min();
    if expires_at.is_some_and(|end| request.now >= end) {
        return Admitted::Expired;
    }
    if let Some(refusal) = both().find_map(|on| not_allowed(request, &on.key.limits)) {
        return Admitted::Key(refusal);
    }
    let mut verdict = balance_covers(payer.account, amount);
    for on in both() {
        match within(request, amount, on) {
            Ok(fit) => verdict = verdict.and(fit),
            Err(refusal) => return Admitted::Key(refusal),
        }
    }
    let money = parent.is_none().then(|| free(payer.account));
    verdict.grant(Grant {
        charge: amount,
        remaining: Remaining {
            calls: None,
            msat: left(money, asker).map(|left| left.saturating_sub(amount)),
        },
        expires_at: expires_at.unwrap_or(UnixMillis::new(u64::MAX)),
    })
}

fn not_allowed(request: &HoldRequest, limits: &KeyLimits) -> Option<KeyRefusal> {
    let routes = limits.routes.as_ref();
    if routes.is_some_and(|routes| !routes.contains(&request.route)) {
        return Some(KeyRefusal::Route);
    }
    let models = limits.models.as_ref()?;
    let asked = request.model.as_ref();
    let allowed = asked.is_some_and(|model| models.contains(model));
    (!allowed).then_some(KeyRefusal::Model)
}

/// Whether a request fits what a key may spend: now, or once open requests gave some back.
fn within(request: &HoldRequest, amount: Msat, on: &OnDay<'_>) -> Result<Fit, KeyRefusal> {
    let OnDay { key, today, .. } = on;
    let total = fit(key.limits.total, key.spent, key.held, amount);
    if total == Fit::Never {
        return Err(KeyRefusal::TotalLimit);
    }
    let today = fit(key.limits.per_day, today.spent, today.held, amount);
    if today == Fit::Never {
        let is_ever_enough = key.limits.per_day >= Some(amount);
        let resets_at = is_ever_enough.then(|| day::end(day::of(request.now)));
        return Err(KeyRefusal::DayLimit { resets_at });
    }
    Ok(total.and(today))
}

/// What the key could hold at once: of its own money, and within its own limits.
fn left(money: Option<Msat>, OnDay { key, today, .. }: &OnDay<'_>) -> Option<Msat> {
    let rest = |most: Msat, spent, held| most.saturating_sub(spent).saturating_sub(held);
    let total = key.limits.total;
    let total = total.map(|most| rest(most, key.spent, key.held));
    let on_day = key.limits.per_day;
    let on_day = on_day.map(|most| rest(most, today.spent, today.held));
    [money, total, on_day].into_iter().flatten().min()
}
