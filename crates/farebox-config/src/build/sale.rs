//! What a route sells: price, kind, binding, and which of their combinations make sense.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::Msat;
use farebox_http::limits::TokenLimit;
use farebox_http::replay::ReplayPolicy;
use farebox_paywall::sale::{
    Bind, Buys, ChargeOn, FlatPrice, Offer, OnFailure, Pricing, Sale, Ways,
};
use farebox_paywall::webhook::Webhook;

use super::at::At;
use super::by_use;
use super::models::Market;
use crate::choice::{PriceSetting, ReplaySetting};
use crate::file::{
    BindSetting, OnFailureSetting, PaymentMethod, ProtocolSetting, RouteSection, ServerSection,
};

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
    at: &At<'_>,
) -> Option<Sale> {
    let offer = offer(route, market, webhook, at)?;
    let methods = route.http_scope.into();
    check_methods(route, at);
    let valid_for = valid_for(route, server, at);
    Some(Sale {
        capabilities: None,
        token_limit: TokenLimit::default(),
        epoch: offer.terms_epoch(methods, valid_for),
        offer,
        methods,
        valid_for,
        charge_on: route.charge_on.into(),
        replay: replay(route, server, at),
        max_voids: route.max_voids,
        ways: ways(route, at),
        description: description(route, at),
    })
}

/// What a route offers, or none when it is free.
fn offer(
    route: &RouteSection,
    market: &Market,
    webhook: Option<Webhook>,
    at: &At<'_>,
) -> Option<Offer> {
    let key = at.key("price");
    let pricing = match &route.price {
        None => {
            key.note("is missing: write \"free\", { msat = … } or { sat = … }");
            return None;
        }
        Some(PriceSetting::Free(_)) => {
            refuse_for_free(route, at);
            return None;
        }
        Some(PriceSetting::Fixed(amount)) => {
            if amount.0.is_zero() {
                key.note("a price of zero is written price = \"free\"");
            }
            return flat(FlatPrice::Msat(amount.0), route, at);
        }
        Some(PriceSetting::Fiat(price)) => {
            let price = market.fiat(price, &key)?;
            return flat(FlatPrice::Fiat(price), route, at);
        }
        Some(PriceSetting::Models { model_tokens }) => {
            let root = super::route::root(route).unwrap_or_default();
            let key = key.key("model_tokens");
            Pricing::Models(Arc::new(market.sale(model_tokens, &root, &key)))
        }
        Some(PriceSetting::ByUse(written)) => {
            Pricing::Use(Arc::new(by_use::sale(written, market, &key)?))
        }
        Some(PriceSetting::Webhook(_)) => {
            let webhook = Arc::new(webhook?);
            if sells_quotes(route) {
                check_quoted(route, at);
                return Some(Offer::Quoted(webhook));
            }
            Pricing::Webhook(webhook)
        }
    };
    let deposit = deposit(route, at);
    Some(Offer::Metered { deposit, pricing })
}

fn flat(price: FlatPrice, route: &RouteSection, at: &At<'_>) -> Option<Offer> {
    let fixed = match price {
        FlatPrice::Msat(price) => Some(price),
        FlatPrice::Fiat(_) => None,
    };
    let buys = buys(route, fixed, at)?;
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

fn refuse_for_free(route: &RouteSection, at: &At<'_>) {
    let set = [
        ("calls", route.calls.is_some()),
        ("pass", route.pass.is_some()),
        ("balance", route.balance.is_some()),
        ("bind", route.bind.is_some()),
        ("on_failure", route.on_failure == OnFailureSetting::Cancel),
        ("max_concurrent", route.max_concurrent.is_some()),
        ("rate", route.rate.is_some()),
    ];
    at.note_each(set, "makes no sense on a route whose price is \"free\"");
}

/// Whether each quote of a webhook is sold by itself, as the price of that one call, instead of being
/// drawn from a balance.
pub(super) fn sells_quotes(route: &RouteSection) -> bool {
    route.calls == Some(1) || route.bind == Some(BindSetting::Request)
}

/// Whether whatever is forwarded is charged.
fn sells_act(route: &RouteSection) -> bool {
    ChargeOn::from(route.charge_on) == ChargeOn::Forwarded
}

/// A quote is for one request, and so is what is bought at it.
fn check_quoted(route: &RouteSection, at: &At<'_>) {
    let others = [
        ("calls", route.calls.is_some_and(|calls| calls != 1)),
        ("pass", route.pass.is_some()),
        ("balance", route.balance.is_some()),
        ("bind", route.bind == Some(BindSetting::Route)),
        ("on_failure", route.on_failure == OnFailureSetting::Cancel),
    ];
    at.note_each(others, "makes no sense with a webhook's price for one call");
}

/// What is charged by use is paid from a balance.
fn deposit(route: &RouteSection, at: &At<'_>) -> Msat {
    let others = [
        ("calls", route.calls.is_some()),
        ("pass", route.pass.is_some()),
        ("bind", route.bind == Some(BindSetting::Request)),
        ("on_failure", route.on_failure == OnFailureSetting::Cancel),
        ("charge_on", sells_act(route)),
    ];
    at.note_each(
        others,
        "makes no sense with a price by use: one payment buys a balance",
    );
    let deposit = route.balance.map(|deposit| deposit.0);
    deposit.unwrap_or(DEFAULT_DEPOSIT)
}

/// What one payment buys at a price that every request has; `fixed` where that is in bitcoin.
fn buys(route: &RouteSection, fixed: Option<Msat>, at: &At<'_>) -> Option<Buys> {
    let buys = match (route.calls, route.pass, route.balance) {
        (None | Some(1), None, None) => {
            return Some(Buys::Single(bind(route, at)));
        }
        (Some(calls), None, None) => calls_together(calls, fixed, at)?,
        (None, Some(span), None) => Buys::Pass(whole_seconds(&at.key("pass"), span.0)),
        (None, None, Some(deposit)) => {
            if let Some(price) = fixed.filter(|price| deposit.0 < *price) {
                at.key("balance")
                    .note(format!("less than the price of one request ({price})"));
            }
            Buys::Balance(deposit.0)
        }
        _ => {
            let key = if route.balance.is_some() {
                "balance"
            } else {
                "pass"
            };
            at.key(key)
                .note("a payment buys one thing: calls, a pass or a balance");
            return None;
        }
    };
    if route.bind == Some(BindSetting::Request) {
        at.key("bind")
            .note("a token for several requests cannot be bound to one");
    }
    if route.on_failure == OnFailureSetting::Cancel {
        let reason = "only for a single call: a payment for more cannot be given back by halves";
        at.key("on_failure").note(reason);
    }
    Some(buys)
}

fn calls_together(calls: u32, fixed: Option<Msat>, at: &At<'_>) -> Option<Buys> {
    let reason = match fixed {
        _ if calls == 0 => "at least one call",
        Some(price) if price.checked_mul(u64::from(calls)).is_none() => "more money than exists",
        _ => return Some(Buys::Calls(calls)),
    };
    at.key("calls").note(reason);
    None
}

/// What a token for a single call is good for. A payment can be held for the very request that was
/// challenged, and for nothing else.
fn bind(route: &RouteSection, at: &At<'_>) -> Bind {
    let is_held = route.on_failure == OnFailureSetting::Cancel;
    let note = |reason| at.key("on_failure").note(reason);
    match route.bind {
        Some(BindSetting::Route) => {
            if is_held {
                note("only with bind = \"request\": the call runs before its payer can ask again");
            }
            Bind::Route
        }
        None | Some(BindSetting::Request) if is_held => {
            if sells_act(route) {
                note("only where the answer is what is sold: not with charge_on = \"forwarded\"");
            }
            if route.protocol == ProtocolSetting::Http2 {
                note("only where answers are kept whole: not for gRPC (protocol = \"http2\")");
            }
            Bind::Request(OnFailure::Cancel)
        }
        None | Some(BindSetting::Request) => Bind::Request(OnFailure::Void),
    }
}

/// By which ways it can be paid.
fn ways(route: &RouteSection, at: &At<'_>) -> Ways {
    let ways = Ways {
        l402: route.methods.contains(&PaymentMethod::L402),
        ecash: route.methods.contains(&PaymentMethod::Cashu),
    };
    if ways.ecash && route.pass.is_some() {
        let reason = "`cashu` pays for one request, and a pass is for a time";
        at.key("methods").note(reason);
    }
    if ways.ecash && !ways.l402 {
        let reason = "an invoice buys this, and `cashu` alone makes none";
        for (key, is_named) in [
            ("calls", route.calls.is_some_and(|calls| calls > 1)),
            ("balance", route.balance.is_some()),
        ] {
            if is_named {
                at.key(key).note(reason);
            }
        }
    }
    if ways.ecash && route.on_failure == OnFailureSetting::Cancel {
        let reason = "only a Lightning payment can be held: not with `cashu`";
        at.key("on_failure").note(reason);
    }
    ways
}

fn check_methods(route: &RouteSection, at: &At<'_>) {
    if route.methods.is_empty() {
        at.key("methods")
            .note("a priced route needs a way to be paid");
    }
}

fn valid_for(route: &RouteSection, server: &ServerSection, at: &At<'_>) -> Duration {
    let key = at.key("valid_for");
    if route.valid_for.0 < server.invoice_expiry.0 {
        let reason = format!(
            "shorter than server.invoice_expiry ({})",
            server.invoice_expiry
        );
        key.note(reason);
    }
    whole_seconds(&key, route.valid_for.0)
}

/// Tokens say durations in seconds.
fn whole_seconds(key: &At<'_>, span: Duration) -> Duration {
    if span.as_secs() == 0 || span.subsec_nanos() != 0 {
        key.note("tokens count whole seconds, at least one");
    }
    span
}

fn replay(route: &RouteSection, server: &ServerSection, at: &At<'_>) -> Option<ReplayPolicy> {
    let ReplaySetting::Kept(kept) = route.replay else {
        return None;
    };
    let key = at.key("replay");
    if kept.max_bytes.0 > server.replay_budget.0 {
        let reason = format!("more than server.replay_budget ({})", server.replay_budget);
        key.key("max_bytes").note(reason);
    }
    Some(ReplayPolicy {
        max_bytes: key.key("max_bytes").bytes(kept.max_bytes)?,
        ttl: key.key("ttl").not_zero(kept.ttl),
    })
}

fn description(route: &RouteSection, at: &At<'_>) -> String {
    let description = route.description.as_deref().unwrap_or(&route.name);
    let too_long = description.chars().count() > MAX_DESCRIPTION_CHARS;
    if too_long || description.chars().any(char::is_control) {
        let reason = format!("at most {MAX_DESCRIPTION_CHARS} characters, none of them a control");
        at.key("description").note(reason);
    }
    description.to_owned()
}
