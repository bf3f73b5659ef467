//! What a route sells: price, kind, binding, and which of their combinations make sense.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::Msat;
use farebox_http::limits::TokenLimit;
use farebox_http::replay::ReplayPolicy;
use farebox_paywall::sale::{
    Bind, Buys, ChargeOn, FlatPrice, MethodScope, Offer, OnFailure, Pricing, Sale,
};
use farebox_paywall::webhook::Webhook;

use super::by_use;
use super::models::Market;
use super::server::{bytes, not_zero};
use crate::choice::{PriceSetting, ReplaySetting};
use crate::file::{
    BindSetting, ChargeOnSetting, HttpScopeSetting, OnFailureSetting, ProtocolSetting,
    RouteSection, ServerSection,
};
use crate::mistake::{KeyPath, Mistakes};

/// LUD-06 and many wallets cut longer memos.
const MAX_DESCRIPTION_CHARS: usize = 200;

/// What one payment deposits where requests are charged by use, unless the route says otherwise or
/// the request that is challenged can cost more.
const DEFAULT_DEPOSIT: Msat = match Msat::from_sat(100) {
    Ok(deposit) => deposit,
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
    let offer = offer(route, market, webhook, at, mistakes)?;
    let methods = match route.http_scope {
        HttpScopeSetting::Class => MethodScope::Class,
        HttpScopeSetting::Any => MethodScope::Any,
    };
    check_methods(route, at, mistakes);
    let valid_for = valid_for(route, server, at, mistakes);
    Some(Sale {
        capabilities: None,
        token_limit: TokenLimit::default(),
        epoch: offer.terms_epoch(methods, valid_for),
        offer,
        methods,
        valid_for,
        charge_on: match route.charge_on {
            ChargeOnSetting::Success => ChargeOn::Success,
            ChargeOnSetting::SuccessAndClientError => ChargeOn::SuccessAndClientError,
        },
        replay: replay(route, server, at, mistakes),
        max_voids: max_voids(route, at, mistakes),
        description: description(route, at, mistakes),
    })
}

/// What a route offers, or none when it is free.
fn offer(
    route: &RouteSection,
    market: &Market,
    webhook: Option<Webhook>,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Offer> {
    let key = at.key("price");
    let pricing = match &route.price {
        None => {
            let reason = "is missing: write \"free\", { msat = … } or { sat = … }";
            mistakes.note(key, reason);
            return None;
        }
        Some(PriceSetting::Free(_)) => {
            refuse_for_free(route, at, mistakes);
            return None;
        }
        Some(PriceSetting::Fixed(amount)) => {
            if amount.0.is_zero() {
                mistakes.note(key, "a price of zero is written price = \"free\"");
            }
            return flat(FlatPrice::Msat(amount.0), route, at, mistakes);
        }
        Some(PriceSetting::Fiat(price)) => {
            let price = market.fiat(price, &key, mistakes)?;
            return flat(FlatPrice::Fiat(price), route, at, mistakes);
        }
        Some(PriceSetting::Models { model_tokens }) => {
            let root = super::route::root(route).unwrap_or_default();
            let key = key.key("model_tokens");
            Pricing::Models(Arc::new(market.sale(model_tokens, &root, &key, mistakes)))
        }
        Some(PriceSetting::ByUse(written)) => {
            Pricing::Use(Arc::new(by_use::sale(written, market, &key, mistakes)?))
        }
        Some(PriceSetting::Webhook(_)) => {
            let webhook = Arc::new(webhook?);
            if sells_quotes(route) {
                check_quoted(route, at, mistakes);
                return Some(Offer::Quoted(webhook));
            }
            Pricing::Webhook(webhook)
        }
    };
    let deposit = deposit(route, at, mistakes);
    Some(Offer::Metered { deposit, pricing })
}

fn flat(
    price: FlatPrice,
    route: &RouteSection,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Offer> {
    let fixed = match price {
        FlatPrice::Msat(price) => Some(price),
        FlatPrice::Fiat(_) => None,
    };
    let buys = buys(route, fixed, at, mistakes)?;
    Some(Offer::Flat { price, buys })
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
fn check_quoted(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) {
    let others = [
        ("calls", route.calls.is_some_and(|calls| calls != 1)),
        ("pass", route.pass.is_some()),
        ("balance", route.balance.is_some()),
        ("bind", route.bind == Some(BindSetting::Route)),
        ("on_failure", route.on_failure == OnFailureSetting::Cancel),
    ];
    for (key, _) in others.into_iter().filter(|(_, set)| *set) {
        let reason = "makes no sense with a webhook's price for one call";
        mistakes.note(at.key(key), reason);
    }
}

/// What is charged by use is paid from a balance.
fn deposit(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> Msat {
    let others = [
        ("calls", route.calls.is_some()),
        ("pass", route.pass.is_some()),
        ("bind", route.bind == Some(BindSetting::Request)),
        ("on_failure", route.on_failure == OnFailureSetting::Cancel),
    ];
    for (key, _) in others.into_iter().filter(|(_, set)| *set) {
        let reason = "makes no sense with a price by use: one payment buys a balance";
        mistakes.note(at.key(key), reason);
    }
    let deposit = route.balance.map(|deposit| deposit.0);
    deposit.unwrap_or(DEFAULT_DEPOSIT)
}

/// What one payment buys at a price that every request has; `fixed` where that is in bitcoin.
fn buys(
    route: &RouteSection,
    fixed: Option<Msat>,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Buys> {
    let buys = match (route.calls, route.pass, route.balance) {
        (None | Some(1), None, None) => {
            return Some(Buys::Single(bind(route, at, mistakes)));
        }
        (Some(calls), None, None) => calls_together(calls, fixed, at, mistakes)?,
        (None, Some(span), None) => Buys::Pass(whole_seconds(&at.key("pass"), span.0, mistakes)),
        (None, None, Some(deposit)) => {
            if let Some(price) = fixed.filter(|price| deposit.0 < *price) {
                let reason = format!("less than the price of one request ({price})");
                mistakes.note(at.key("balance"), reason);
            }
            Buys::Balance(deposit.0)
        }
        _ => {
            let key = if route.balance.is_some() {
                "balance"
            } else {
                "pass"
            };
            let reason = "a payment buys one thing: calls, a pass or a balance";
            mistakes.note(at.key(key), reason);
            return None;
        }
    };
    if route.bind == Some(BindSetting::Request) {
        let reason = "a token for several requests cannot be bound to one";
        mistakes.note(at.key("bind"), reason);
    }
    if route.on_failure == OnFailureSetting::Cancel {
        let reason = "only for a single call: a payment for more cannot be given back by halves";
        mistakes.note(at.key("on_failure"), reason);
    }
    Some(buys)
}

fn calls_together(
    calls: u32,
    fixed: Option<Msat>,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Buys> {
    let reason = match fixed {
        _ if calls == 0 => "at least one call",
        Some(price) if price.checked_mul(u64::from(calls)).is_none() => "more money than exists",
        _ => return Some(Buys::Calls(calls)),
    };
    mistakes.note(at.key("calls"), reason);
    None
}

/// What a token for a single call is good for. A payment can be held for the very request that was
/// challenged, and for nothing else.
fn bind(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> Bind {
    let is_held = route.on_failure == OnFailureSetting::Cancel;
    let mut note = |reason| {
        mistakes.note(at.key("on_failure"), reason);
    };
    match route.bind {
        Some(BindSetting::Route) => {
            if is_held {
                note("only with bind = \"request\": the call runs before its payer can ask again");
            }
            Bind::Route
        }
        None | Some(BindSetting::Request) if is_held => {
            if route.protocol == ProtocolSetting::Http2 {
                note("only where answers are kept whole: not for gRPC (protocol = \"http2\")");
            }
            Bind::Request(OnFailure::Cancel)
        }
        None | Some(BindSetting::Request) => Bind::Request(OnFailure::Void),
    }
}

fn check_methods(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) {
    if route.methods.is_empty() {
        mistakes.note(at.key("methods"), "a priced route needs a way to be paid");
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
        mistakes.note(key.clone(), reason);
    }
    whole_seconds(&key, route.valid_for.0, mistakes)
}

/// Tokens say durations in seconds.
fn whole_seconds(key: &KeyPath, span: Duration, mistakes: &mut Mistakes) -> Duration {
    if span.as_secs() == 0 || span.subsec_nanos() != 0 {
        mistakes.note(key.clone(), "tokens count whole seconds, at least one");
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
        mistakes.note(key.key("max_bytes"), reason);
    }
    Some(ReplayPolicy {
        max_bytes: bytes(key.key("max_bytes"), kept.max_bytes, mistakes)?,
        ttl: not_zero(key.key("ttl"), kept.ttl, mistakes),
    })
}

fn max_voids(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> u32 {
    if route.max_voids == 0 {
        let reason = "at least one: the first attempt may fail by the upstream's fault";
        mistakes.note(at.key("max_voids"), reason);
    }
    route.max_voids
}

fn description(route: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> String {
    let description = route.description.as_deref().unwrap_or(&route.name);
    let too_long = description.chars().count() > MAX_DESCRIPTION_CHARS;
    if too_long || description.chars().any(char::is_control) {
        let reason = format!("at most {MAX_DESCRIPTION_CHARS} characters, none of them a control");
        mistakes.note(at.key("description"), reason);
    }
    description.to_owned()
}
