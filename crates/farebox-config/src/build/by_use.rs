//! Prices by what an answer turns out to have used: who tells it, in what, and how much at most.

use std::sync::Arc;

use farebox_gateway::plan::Route;
use farebox_meter::{Decimal, Pointer};
use farebox_paywall::by_use::{ByUse, Of, Rated, Teller};
use farebox_paywall::gauge::{Billing, OnDisconnect};
use http::HeaderName;

use super::at::At;
use super::models::{Market, no_rate};
use crate::choice::{MissingSetting, Money, UsePrice};
use crate::units::Lasting;

/// How long an upstream is listened to whose client left before it had said the cost, unless the
/// route says otherwise.
const DEFAULT_DRAIN: Lasting = Lasting::seconds(600);

/// Header fields without which an answer cannot be read.
const NOT_A_COST: [&str; 6] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "transfer-encoding",
    "trailer",
];

/// What a route sells by use.
pub(super) fn sale(written: &UsePrice, market: &Market, at: &At<'_>) -> Option<ByUse> {
    let (teller, measured) = teller(written, at)?;
    let each = match measured {
        Some(each) => amount(each, market),
        None => each(written, market, at),
    };
    check_keys(written, &teller, at);
    let at_most = at_most(written, market, at)?;
    let least = least(written, at_most, market, at);
    Some(ByUse {
        markup: written.markup_percent.unwrap_or_default().millionths(),
        billing: billing(written, &teller, at),
        teller,
        each: each?,
        at_most,
        least,
        rates: Arc::clone(&market.rates),
        takes_compressed: written.compressed.unwrap_or(false),
    })
}

/// An amount where it was written.
type Written<'m> = (Money, At<'m>);

/// Who tells how much was used, and where that is measured here, what one of it costs.
fn teller<'m>(written: &UsePrice, at: &At<'m>) -> Option<(Teller, Option<Written<'m>>)> {
    let of = written.of.map_or(Of::Answer, Of::from);
    let measures = [
        ("per_byte", written.per_byte, Teller::Bytes { of, per: 1 }),
        (
            "per_kib",
            written.per_kib,
            Teller::Bytes { of, per: 1 << 10 },
        ),
        (
            "per_mib",
            written.per_mib,
            Teller::Bytes { of, per: 1 << 20 },
        ),
        ("per_second", written.per_second, Teller::Seconds),
    ];
    let measured = measures
        .into_iter()
        .filter_map(|(key, each, teller)| Some((teller, Some((each?, at.key(key))))));
    let header = written.upstream_header.as_ref();
    let header = header.map(|name| header_teller(name, written, at));
    let json = written.upstream_json.as_ref().map(|text| {
        let pointer = text.parse::<Pointer>();
        at.key("upstream_json").take(pointer).map(Teller::Json)
    });
    let told = header.into_iter().chain(json);
    let mut all = told
        .map(|teller| teller.map(|teller| (teller, None)))
        .chain(measured.map(Some));
    match (all.next(), all.next()) {
        (Some(one), None) => one,
        _ => {
            let reason = "needs exactly one of `upstream_header`, `upstream_json`, `per_byte`, \
                          `per_kib`, `per_mib` and `per_second`";
            at.note(reason);
            None
        }
    }
}

fn header_teller(name: &str, written: &UsePrice, at: &At<'_>) -> Option<Teller> {
    let key = at.key("upstream_header");
    let name: HeaderName = key.take(name.parse())?;
    if NOT_A_COST.contains(&name.as_str()) {
        key.note("this header says something else");
    }
    Some(Teller::Header {
        name,
        shown: written.show.unwrap_or(false),
    })
}

/// What one of what the upstream says costs: a unit of money, or of something that has a price.
fn each(written: &UsePrice, market: &Market, at: &At<'_>) -> Option<Rated> {
    match (&written.unit, written.each) {
        (Some(unit), None) => {
            let key = at.key("unit");
            let currency = key.take(unit.parse())?;
            let one = Money {
                currency,
                amount: Decimal::from(1),
            };
            amount((one, key), market)
        }
        (None, Some(each)) => amount((each, at.key("each")), market),
        (None, None) => {
            let reason = "is missing: in what the upstream says the cost (msat, sat, usd, …); or \
                          each = { … }, what one of what it says costs";
            at.key("unit").note(reason);
            None
        }
        (Some(_), Some(_)) => {
            let reason = "the upstream says a cost in a `unit`, or a quantity at `each`; not both";
            at.key("each").note(reason);
            None
        }
    }
}

fn at_most(written: &UsePrice, market: &Market, at: &At<'_>) -> Option<Rated> {
    let key = at.key("at_most");
    let Some(most) = written.at_most else {
        let reason = "is missing: what one call costs at most, such as { sat = 10 }; it is held \
                      before the call is forwarded";
        key.note(reason);
        return None;
    };
    amount((most, key), market)
}

fn least(written: &UsePrice, most: Rated, market: &Market, at: &At<'_>) -> Option<Rated> {
    let key = at.key("least");
    let least = amount((written.least?, key.clone()), market)?;
    let is_comparable = least.currency == most.currency;
    if is_comparable && least.amount.exceeds(most.amount) {
        key.note(format!("more than at_most ({})", most.amount));
    }
    Some(least)
}

/// An amount that something costs, and that can be turned into bitcoin.
fn amount((money, key): Written<'_>, market: &Market) -> Option<Rated> {
    let Money { currency, amount } = money;
    if amount.is_zero() {
        key.note("costs nothing");
        return None;
    }
    if !market.knows_rate(currency) {
        key.note(no_rate(currency));
    }
    Some(Rated { currency, amount })
}

/// Notes what says something about another kind of price.
fn check_keys(written: &UsePrice, teller: &Teller, at: &At<'_>) {
    let is_told = matches!(teller, Teller::Header { .. } | Teller::Json(_));
    let of_told = [
        ("unit", written.unit.is_some()),
        ("each", written.each.is_some()),
        ("markup_percent", written.markup_percent.is_some()),
        ("missing", written.missing.is_some()),
        ("drain", written.drain.is_some()),
    ];
    if !is_told {
        let reason = "only where the upstream says what was used; here it is measured";
        at.note_each(of_told, reason);
    }
    let is_header = matches!(teller, Teller::Header { .. });
    let is_wrong = written.show.is_some() && !is_header;
    at.note_each([("show", is_wrong)], "only with `upstream_header`");
    let is_wrong = written.of.is_some() && !matches!(teller, Teller::Bytes { .. });
    at.note_each([("of", is_wrong)], "only with a price by bytes");
    let counts_requests = matches!(
        teller,
        Teller::Bytes {
            of: Of::Request | Of::Both,
            ..
        }
    );
    let is_wrong = written.compressed.is_some() && !counts_requests;
    let reason = "only with a price by the bytes of requests (`of`)";
    at.note_each([("compressed", is_wrong)], reason);
}

fn billing(written: &UsePrice, teller: &Teller, at: &At<'_>) -> Billing {
    Billing {
        // Whoever asks can often choose a form of the answer that says nothing.
        usage_missing: written.missing.unwrap_or(MissingSetting::Hold).into(),
        broken_off: written.broken_off.unwrap_or_default().into(),
        on_disconnect: match teller {
            Teller::Header { .. } | Teller::Json(_) => {
                let drain = written.drain.unwrap_or(DEFAULT_DRAIN);
                OnDisconnect::Drain(at.key("drain").not_zero(drain))
            }
            // What was measured is known.
            Teller::Bytes { .. } | Teller::Seconds => OnDisconnect::Cancel,
        },
    }
}

/// What the calls of a route cost, in words, where that is not known before.
pub(super) fn describe(route: &Route) -> Option<String> {
    let offer = &route.sale.as_ref()?.offer;
    if let Some(webhook) = offer.webhook() {
        let (name, who) = (&route.name, webhook.authority());
        return Some(format!("route {name}: {who} says what each call costs"));
    }
    let by_use = offer.by_use()?;
    let Rated { currency, amount } = by_use.at_most;
    let who = match &by_use.teller {
        Teller::Header { name, .. } => format!("what the upstream says in {name}"),
        Teller::Json(_) => "what the upstream says in its JSON".to_owned(),
        Teller::Bytes { of: Of::Answer, .. } => "the bytes of its answer".to_owned(),
        Teller::Bytes {
            of: Of::Request, ..
        } => "the bytes of its request".to_owned(),
        Teller::Bytes { of: Of::Both, .. } => "the bytes of request and answer".to_owned(),
        Teller::Seconds => "its seconds".to_owned(),
    };
    Some(format!(
        "route {}: a call is charged by {who}; {amount} {} at most, which are held before it",
        route.name,
        currency.name()
    ))
}

#[cfg(test)]
mod tests;
