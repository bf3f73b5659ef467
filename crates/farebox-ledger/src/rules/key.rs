//! The rules of prepaid keys: what one request gets of the money of a key, within its limits and
//! those of its parent.

use farebox_core::{Kind, Msat, UnixMillis};

use crate::day::Day;
use crate::rows::{Account, Key};
use crate::store::StoreError;

use super::{Earlier, Fit, Grant, repeated};
use crate::{Admitted, HoldRequest, KeyLimits, KeyRefusal, Remaining, day};

/// What is known of a key when a request comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyStanding<'a> {
    pub(crate) limits: &'a KeyLimits,
    pub(crate) revoked: bool,
    pub(crate) calls_used: u32,
    pub(crate) voids: u32,
    /// What was charged for its requests, and for its children's.
    pub(crate) spent: Msat,
    /// What their open holds reserve.
    pub(crate) held: Msat,
    /// The parts of both that count on the day of the request.
    pub(crate) spent_today: Msat,
    pub(crate) held_today: Msat,
}

impl<'a> KeyStanding<'a> {
    /// How a key stands on a day, which must be loaded.
    pub(crate) fn of(account: &'a Account, key: &'a Key, day: Day) -> Result<Self, StoreError> {
        let today = key.on(day)?;
        Ok(Self {
            limits: &key.limits,
            revoked: account.revoked_at.is_some(),
            calls_used: account.calls_used,
            voids: account.voids,
            spent: key.spent,
            held: key.held,
            spent_today: today.spent,
            held_today: today.held,
        })
    }
}

/// The money that a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purse {
    /// Whether anything was ever paid in.
    pub(crate) funded: bool,
    pub(crate) balance: Msat,
    /// What open holds and open payouts reserve.
    pub(crate) held: Msat,
}

/// Decides a request of a key, which may have a parent whose money it is. Of the reasons to refuse,
/// those that can never change come before those that might, and those that more money cannot cure
/// before those that it can.
pub(crate) fn key(
    request: &HoldRequest,
    amount: Msat,
    asker: &KeyStanding<'_>,
    parent: Option<&KeyStanding<'_>>,
    purse: &Purse,
    earlier: Earlier,
) -> Admitted<Grant> {
    let both = || std::iter::once(asker).chain(parent);
    if both().any(|key| key.revoked) {
        return Admitted::Revoked;
    }
    if !purse.funded {
        return Admitted::Key(KeyRefusal::Inactive);
    }
    if let Some(answer) = repeated(Kind::Balance, earlier) {
        return answer;
    }
    let expires_at = both().filter_map(|key| key.limits.expires_at).min();
    if expires_at.is_some_and(|end| request.now >= end) {
        return Admitted::Expired;
    }
    if let Some(refusal) = both().find_map(|key| not_allowed(request, key.limits)) {
        return Admitted::Key(refusal);
    }
    if asker.voids >= request.max_voids.saturating_add(asker.calls_used) {
        return Admitted::TooManyVoids;
    }
    let mut verdict = Fit::Now;
    for key in both() {
        match within(request, amount, key) {
            Ok(fit) => verdict = verdict.and(fit),
            Err(refusal) => return Admitted::Key(refusal),
        }
    }
    let free = purse.balance.saturating_sub(purse.held);
    verdict
        .and(Fit::of(amount <= free, amount <= purse.balance))
        .grant(Grant {
            charge: amount,
            remaining: Remaining {
                calls: None,
                msat: left(free, both()).saturating_sub(amount),
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
fn within(request: &HoldRequest, amount: Msat, key: &KeyStanding<'_>) -> Result<Fit, KeyRefusal> {
    let limits = key.limits;
    let total = fit(limits.total, key.spent, key.held, amount);
    if total == Fit::Never {
        return Err(KeyRefusal::TotalLimit);
    }
    let (spent, held) = (key.spent_today, key.held_today);
    let today = fit(limits.per_day, spent, held, amount);
    if today == Fit::Never {
        let resets_at = day::end(day::of(request.now));
        return Err(KeyRefusal::DayLimit { resets_at });
    }
    Ok(total.and(today))
}

fn fit(most: Option<Msat>, spent: Msat, held: Msat, amount: Msat) -> Fit {
    let Some(most) = most else { return Fit::Now };
    let fits = |taken: Option<Msat>| {
        let sum = taken.and_then(|taken| taken.checked_add(amount));
        sum.is_some_and(|sum| sum <= most)
    };
    Fit::of(fits(spent.checked_add(held)), fits(Some(spent)))
}

/// What could be held at once: of the money, and within every limit.
fn left<'a>(free: Msat, keys: impl Iterator<Item = &'a KeyStanding<'a>>) -> Msat {
    let rest = |most: Msat, spent, held| most.saturating_sub(spent).saturating_sub(held);
    keys.fold(free, |left, key| {
        let total = key.limits.total;
        let today = key.limits.per_day;
        let total = total.map_or(left, |most| rest(most, key.spent, key.held));
        let today = today.map_or(left, |most| rest(most, key.spent_today, key.held_today));
        left.min(total).min(today)
    })
}
