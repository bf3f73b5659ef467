//! What a route sells: price, kind, binding, and which of their combinations make sense.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Kind, Msat, Sat, TermsEpoch};
use farebox_gateway::plan::{Bind, ChargeOn, MethodScope, OnFailure, Pricing, Sale};
use farebox_gateway::replay::ReplayPolicy;
use farebox_gateway::webhook::Webhook;
use sha2::{Digest, Sha256};

use super::by_use;
use super::models::Market;
use super::server::{bytes, not_zero};
use crate::choice::{PriceSetting, ReplaySetting};
use crate::file::{
    BindSetting, ChargeOnSetting, MethodScopeSetting, OnFailureSetting, ProtocolSetting,
    RouteSection, ServerSection,
};
use crate::mistake::{KeyPath, Mistakes};

/// LUD-06 and many wallets cut longer memos.
const MAX_DESCRIPTION_CHARS: usize = 200;

/// What one payment deposits where requests are charged by use, unless the route says otherwise or
/// the request that is challenged can cost more.
const DEFAULT_DEPOSIT: Sat = match Sat::new(100) {
    Ok(sat) => sat,
    Err(_) => panic!("less than all bitcoin"),
};

/// The sale of a route, or none when it is free.
pub(super) fn sale(
    route: &RouteSection,
    server: &ServerSection,
    market: &Market,
    webhook: Option<Webhook>,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Sale> {
    let (price, pricing) = priced(route, market, webhook, at, mistakes)?;
    let is_fixed = matches!(pricing, Pricing::Fixed);
    if price.is_zero() && is_fixed {
        let reason = "a price of zero is written price = \"free\"";
        mistakes.note(at.key("price"), None, reason);
    }
    let (kind, amount) = match pricing {
        Pricing::Webhook(_) if sells_quotes(route) => quoted(route, at, mistakes),
        Pricing::Models(_) | Pricing::ByUse(_) | Pricing::Webhook(_) => {
            deposit(route, at, mistakes)
        }
        Pricing::Fixed | Pricing::Fiat(_) => kind(route, price, at, mistakes)?,
    };
    let bind = bind(route, kind, at, mistakes);
    let methods = match route.method_scope {
        MethodScopeSetting::Class => MethodScope::Class,
        MethodScopeSetting::Any => MethodScope::Any,
    };
    check_methods(route, at, mistakes);
    check_cancel(route, kind, bind, at, mistakes);
    let valid_for = valid_for(route, server, at, mistakes);
    Some(Sale {
        price,
        amount,
        kind,
        bind,
        methods,
        valid_for,
        charge_on: match route.charge_on {
            ChargeOnSetting::Success => ChargeOn::Success,
            ChargeOnSetting::SuccessAndClientError => ChargeOn::SuccessAndClientError,
        },
        replay: replay(route, server, at, mistakes),
        max_voids: max_voids(route, at, mistakes),
        description: description(route, at, mistakes),
        epoch: terms_epoch(&[
            &price.get().to_string(),
            &format!("{pricing:?}"),
            &amount.get().to_string(),
            &format!("{kind:?}"),
            &format!("{bind:?}"),
            &format!("{methods:?}"),
            &valid_for.as_secs().to_string(),
        ]),
        on_failure: on_failure(route),
        pricing,
    })
}

/// The price of one request, where it is known now, and how it is found.
fn priced(
    route: &RouteSection,
    market: &Market,
    webhook: Option<Webhook>,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<(Msat, Pricing)> {
    let key = at.key("price");
    let pricing = match &route.price {
        None => {
            let reason = "is missing: write \"free\", { msat = … } or { sat = … }";
            mistakes.note(key, None, reason);
            return None;
        }
        Some(PriceSetting::Free(_)) => {
            refuse_for_free(route, at, mistakes);
            return None;
        }
        Some(PriceSetting::Fixed(amount)) => return Some((amount.0, Pricing::Fixed)),
        Some(PriceSetting::Fiat(price)) => Pricing::Fiat(market.fiat(price, &key, mistakes)?),
        Some(PriceSetting::Models { model_tokens }) => {
            let root = super::route::root(route).unwrap_or_default();
            let key = key.key("model_tokens");
            let models = market.sale(model_tokens, &root, &key, mistakes);
            Pricing::Models(Arc::new(models))
        }
        Some(PriceSetting::ByUse(written)) => {
            Pricing::ByUse(Arc::new(by_use::sale(written, market, &key, mistakes)?))
        }
        Some(PriceSetting::Webhook(_)) => Pricing::Webhook(Arc::new(webhook?)),
    };
    Some((Msat::ZERO, pricing))
}

const fn on_failure(route: &RouteSection) -> OnFailure {
    match route.on_failure {
        OnFailureSetting::Void => OnFailure::Void,
        OnFailureSetting::Cancel => OnFailure::Cancel,
    }
}

/// Whether a single call is sold for the exact request.
pub(super) fn binds_request(route: &RouteSection) -> bool {
    let is_single = route.calls.is_none_or(|calls| calls == 1)
        && route.pass.is_none()
        && route.balance.is_none();
    let is_paid = match route.price {
        Some(PriceSetting::Fixed(_) | PriceSetting::Fiat(_)) => true,
        Some(PriceSetting::Webhook(_)) => sells_quotes(route),
        _ => false,
    };
    is_paid && is_single && route.bind != Some(BindSetting::Route)
}

fn refuse_for_free(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) {
    let set = [
        ("calls", route.calls.is_some()),
        ("pass", route.pass.is_some()),
        ("balance", route.balance.is_some()),
        ("bind", route.bind.is_some()),
        ("on_failure", route.on_failure == OnFailureSetting::Cancel),
        ("max_concurrent", route.max_concurrent.is_some()),
        ("rate", route.rate.is_some()),
    ];
    for (key, _) in set.into_iter().filter(|(_, set)| *set) {
        mistakes.note(
            at.key(key),
            None,
            "makes no sense on a route whose price is \"free\"",
        );
    }
}

/// Whether each quote of a webhook is sold by itself, as the price of that one call, instead of being
/// drawn from a balance.
pub(super) fn sells_quotes(route: &RouteSection) -> bool {
    route.calls == Some(1) || route.bind == Some(BindSetting::Request)
}

/// A quote is for one request, and so is what is bought at it.
fn quoted(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> (Kind, Msat) {
    let others = [
        ("calls", route.calls.is_some_and(|calls| calls != 1)),
        ("pass", route.pass.is_some()),
        ("balance", route.balance.is_some()),
        ("bind", route.bind == Some(BindSetting::Route)),
        ("on_failure", route.on_failure == OnFailureSetting::Cancel),
    ];
    for (key, _) in others.into_iter().filter(|(_, set)| *set) {
        let reason = "makes no sense with a webhook's price for one call";
        mistakes.note(at.key(key), None, reason);
    }
    (Kind::Single, Msat::ZERO)
}

/// What is charged by use is paid from a balance.
fn deposit(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> (Kind, Msat) {
    let others = [
        ("calls", route.calls.is_some()),
        ("pass", route.pass.is_some()),
        ("bind", route.bind == Some(BindSetting::Request)),
        ("on_failure", route.on_failure == OnFailureSetting::Cancel),
    ];
    for (key, _) in others.into_iter().filter(|(_, set)| *set) {
        let reason = "makes no sense with a price by use: one payment buys a balance";
        mistakes.note(at.key(key), None, reason);
    }
    let deposit = route
        .balance
        .map_or(DEFAULT_DEPOSIT.to_msat(), |deposit| deposit.0);
    (Kind::Balance, deposit)
}

/// What one payment buys, and what it asks for.
fn kind(
    route: &RouteSection,
    price: Msat,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<(Kind, Msat)> {
    match (route.calls, route.pass, route.balance) {
        (None | Some(1), None, None) => Some((Kind::Single, price)),
        (Some(calls), None, None) => {
            let amount = price.checked_mul(u64::from(calls)).filter(|_| calls > 0);
            if amount.is_none() {
                let reason = if calls == 0 {
                    "at least one call"
                } else {
                    "more money than exists"
                };
                mistakes.note(at.key("calls"), Some(calls.to_string()), reason);
            }
            Some((Kind::Calls(calls), amount?))
        }
        (None, Some(span), None) => {
            let span = whole_seconds(&at.key("pass"), span.0, mistakes);
            Some((Kind::Pass(span), price))
        }
        (None, None, Some(deposit)) => {
            if deposit.0 < price {
                let reason = format!("less than the price of one request ({price})");
                mistakes.note(at.key("balance"), Some(deposit.0.to_string()), reason);
            }
            Some((Kind::Balance, deposit.0))
        }
        _ => {
            let key = if route.balance.is_some() {
                "balance"
            } else {
                "pass"
            };
            let reason = "a payment buys one thing: calls, a pass or a balance";
            mistakes.note(at.key(key), None, reason);
            None
        }
    }
}

fn bind(route: &RouteSection, kind: Kind, at: &KeyPath, mistakes: &mut Mistakes) -> Bind {
    let single = kind == Kind::Single;
    match route.bind {
        None if single => Bind::Request,
        Some(BindSetting::Request) if single => Bind::Request,
        Some(BindSetting::Request) => {
            let reason = "a token for several requests cannot be bound to one";
            mistakes.note(at.key("bind"), Some("\"request\"".to_owned()), reason);
            Bind::Route
        }
        None | Some(BindSetting::Route) => Bind::Route,
    }
}

/// A payment can be held for one call alone: the very request that was challenged.
fn check_cancel(
    route: &RouteSection,
    kind: Kind,
    bind: Bind,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) {
    if route.on_failure != OnFailureSetting::Cancel {
        return;
    }
    let value = || Some("\"cancel\"".to_owned());
    let key = at.key("on_failure");
    if kind != Kind::Single {
        let reason = "only for a single call: a payment for more cannot be given back by halves";
        mistakes.note(key, value(), reason);
    } else if bind != Bind::Request {
        let reason = "only with bind = \"request\": the call runs before its payer can ask again";
        mistakes.note(key, value(), reason);
    } else if route.protocol == ProtocolSetting::Http2 {
        let reason = "only where answers are kept whole: not for gRPC (protocol = \"http2\")";
        mistakes.note(key, value(), reason);
    }
}

fn check_methods(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) {
    if route.methods.is_empty() {
        mistakes.note(
            at.key("methods"),
            None,
            "a priced route needs a way to be paid",
        );
    }
}

fn valid_for(
    route: &RouteSection,
    server: &ServerSection,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Duration {
    let key = at.key("valid_for");
    if route.valid_for.0 < server.invoice_expiry.0 {
        let reason = format!(
            "shorter than server.invoice_expiry ({})",
            server.invoice_expiry
        );
        mistakes.note(
            key.clone(),
            Some(format!("\"{}\"", route.valid_for)),
            reason,
        );
    }
    whole_seconds(&key, route.valid_for.0, mistakes)
}

/// Tokens say durations in seconds.
fn whole_seconds(key: &KeyPath, span: Duration, mistakes: &mut Mistakes) -> Duration {
    if span.as_secs() == 0 || span.subsec_nanos() != 0 {
        mistakes.note(
            key.clone(),
            None,
            "tokens count whole seconds, at least one",
        );
    }
    span
}

fn replay(
    route: &RouteSection,
    server: &ServerSection,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<ReplayPolicy> {
    let ReplaySetting::Kept(kept) = route.replay else {
        return None;
    };
    let key = at.key("replay");
    if kept.max_bytes.0 > server.replay_budget.0 {
        let reason = format!("more than server.replay_budget ({})", server.replay_budget);
        mistakes.note(
            key.key("max_bytes"),
            Some(format!("\"{}\"", kept.max_bytes)),
            reason,
        );
    }
    Some(ReplayPolicy {
        max_bytes: bytes(key.key("max_bytes"), kept.max_bytes, mistakes)?,
        ttl: not_zero(key.key("ttl"), kept.ttl, mistakes),
    })
}

fn max_voids(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> u32 {
    if route.max_voids == 0 {
        let reason = "at least one: the first attempt may fail by the upstream's fault";
        mistakes.note(at.key("max_voids"), Some("0".to_owned()), reason);
    }
    route.max_voids
}

fn description(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> String {
    let description = route.description.as_deref().unwrap_or(&route.name);
    let too_long = description.chars().count() > MAX_DESCRIPTION_CHARS;
    if too_long || description.chars().any(char::is_control) {
        let reason = format!("at most {MAX_DESCRIPTION_CHARS} characters, none of them a control");
        mistakes.note(at.key("description"), None, reason);
    }
    description.to_owned()
}

fn terms_epoch(parts: &[&str]) -> TermsEpoch {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    TermsEpoch(u32::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3],
    ]))
}
