//! What a bitcoin costs: rates that are fixed, and rates that are asked for.

use farebox_market::rates::median::Agreement;
use farebox_market::rates::source::Source;
use farebox_market::rates::watch::LiveRates;
use farebox_market::rates::{Rate, Rates};
use farebox_meter::Currency;

use super::at::At;
use super::lightning::allowed_hosts;
use crate::file::{ConfigFile, RateSourceSection, RatesSection};

/// More sources than this is a slip.
const MAX_SOURCES: usize = 32;

/// The rates that are fixed, in a table that takes the others too.
pub(super) fn rates(file: &ConfigFile, at: &At<'_>) -> Rates {
    let section = &file.rates;
    let max_age = at.key("max_age").not_zero(section.max_age);
    let buffer = section.buffer_percent.millionths();
    let rates = Rates::new(max_age, buffer);
    for (name, price) in &section.fixed {
        let key = at.key("fixed").key(name);
        let currency: Option<Currency> = key.take(name.parse());
        if price.is_zero() {
            key.note("a bitcoin for nothing");
        } else if let Some(currency) = currency {
            let rate = Rate {
                currency,
                bitcoin_price: *price,
                taken_at: None,
            };
            rates.set(currency, rate);
        }
    }
    rates
}

/// The rates that are asked for. What is fixed is not.
pub(super) fn live(file: &ConfigFile, rates: &Rates, at: &At<'_>) -> LiveRates {
    let section = &file.rates;
    let mut currencies = currencies(section, at);
    let sources = sources(section, &currencies, at);
    check_times(section, at);
    let quorum = section.quorum;
    // As many as are written: one that is wrong is told apart.
    let count = sources.len().max(section.source.len());
    if !currencies.is_empty() && !(1..=count).contains(&quorum) {
        at.key("quorum")
            .note(format!("at least one, and no more than sources ({count})"));
    }
    currencies.retain(|currency| rates.find(*currency).is_none());
    LiveRates {
        currencies,
        sources,
        every: at.key("every").not_zero(section.every),
        agreement: Agreement {
            quorum,
            max_deviation: section.max_deviation_percent.millionths(),
        },
        allow_hosts: allowed_hosts(&section.allow_hosts, at),
    }
}

fn currencies(section: &RatesSection, at: &At<'_>) -> Vec<Currency> {
    let mut currencies = Vec::new();
    for (place, name) in section.live.iter().enumerate() {
        let key = at.key("live").index(place);
        match key.take(name.parse()) {
            Some(currency @ Currency::Fiat(_)) => currencies.push(currency),
            Some(_) => key.note("bitcoin needs no rate"),
            None => {}
        }
    }
    currencies.sort_unstable();
    currencies.dedup();
    currencies
}

fn check_times(section: &RatesSection, at: &At<'_>) {
    if section.every.0 > section.max_age.0 {
        let reason = format!(
            "longer than rates.max_age ({}): every rate would be too old before the next",
            section.max_age
        );
        at.key("every").note(reason);
    }
}

fn sources(section: &RatesSection, currencies: &[Currency], at: &At<'_>) -> Vec<Source> {
    if section.source.is_empty() {
        return Source::defaults();
    }
    if section.source.len() > MAX_SOURCES {
        at.key("source").note(format!("at most {MAX_SOURCES}"));
    }
    let mut sources: Vec<Source> = Vec::new();
    for (place, written) in section.source.iter().enumerate() {
        let key = at.key("source").index(place);
        let Some(source) = source(written, &key) else {
            continue;
        };
        if sources.iter().any(|other| other.name == source.name) {
            key.key("name").note("is written twice: a vote for each");
            continue;
        }
        check(&source, currencies, &key);
        sources.push(source);
    }
    sources
}

fn source(written: &RateSourceSection, key: &At<'_>) -> Option<Source> {
    if written.name.is_empty() {
        key.key("name").note("is missing");
        return None;
    }
    let mut known = Source::defaults().into_iter();
    let default = known.find(|source| source.name == written.name);
    match (&written.url, &written.pointer, default) {
        (None, None, Some(default)) => Some(default),
        (Some(url), Some(pointer), _) => Some(Source {
            name: written.name.clone(),
            url: url.clone(),
            pointer: pointer.clone(),
            time: written.time.clone(),
            aliases: &[],
        }),
        (url, _, _) => {
            let missing = if url.is_none() { "url" } else { "pointer" };
            let reason = "is missing: a source has url and pointer, or is one of kraken, coinbase, \
                          bitstamp, binance, mempool";
            key.key(missing).note(reason);
            None
        }
    }
}

fn check(source: &Source, currencies: &[Currency], key: &At<'_>) {
    if currencies.len() > 1 && !source.knows_currency() {
        let reason = "would answer the same for every currency: write {currency} or {CURRENCY}";
        key.key("url").note(reason);
    }
    for currency in currencies.iter().take(1) {
        if let Err(error) = source.check(*currency) {
            key.note(error.to_string());
        }
    }
}

/// What is known of every currency, a sentence each.
pub(super) fn describe(file: &ConfigFile, rates: &Rates, live: &LiveRates) -> Vec<String> {
    let mut lines = Vec::new();
    for name in file.rates.fixed.keys() {
        let fixed = name.parse().ok().and_then(|currency| rates.find(currency));
        lines.extend(fixed.filter(|rate| rate.taken_at.is_none()).map(|rate| {
            format!(
                "rates: {name} is fixed: a bitcoin is {}",
                rate.bitcoin_price
            )
        }));
    }
    let names: Vec<_> = live.sources.iter().map(|it| it.name.as_str()).collect();
    for currency in &live.currencies {
        lines.push(format!(
            "rates: {} is live: the median of {}, asked every {}, good for {}; {} have to agree",
            currency.name(),
            names.join(", "),
            file.rates.every,
            file.rates.max_age,
            live.agreement.quorum,
        ));
    }
    lines
}
