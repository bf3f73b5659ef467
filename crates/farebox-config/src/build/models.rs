//! Prices of models, rates, and routes that sell by what a call uses.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use farebox_gateway::plan::Route;
use farebox_market::rates::Rates;
use farebox_market::rates::watch::LiveRates;
use farebox_market::{PriceTable, price_file};
use farebox_meter::request::LimitField;
use farebox_meter::{Currency, Decimal, ModelPrice, RequestRules, Unit};
use farebox_paywall::gauge::{Billing, OnDisconnect};
use farebox_paywall::model_headers::HeaderRules;
use farebox_paywall::model_query::QueryRules;
use farebox_paywall::sale::{FiatPrice, ModelSale};
use farebox_paywall::webhook::is_credential;
use http::HeaderName;

use super::at::At;
use super::rates;
use crate::file::{ConfigFile, ModelSection, ModelTokensTable, PerSetting, TokenizerSetting};
use crate::units::Lasting;

/// Prices and rates, shared by all routes.
#[derive(Clone)]
pub struct Market {
    /// What a bitcoin costs: at first what is fixed alone.
    pub rates: Arc<Rates>,
    /// Whose rates are asked for.
    pub live: LiveRates,
    /// The prices of `[[model]]`.
    configured: Arc<PriceTable>,
    limit_fields: BTreeMap<String, LimitField>,
}

impl Market {
    pub(super) fn of(file: &ConfigFile, root: &At<'_>) -> Self {
        let rates = rates::rates(file, &root.key("rates"));
        let live = rates::live(file, &rates, &root.key("rates"));
        let knows_rate = |currency| knows_rate(&rates, &live, currency);
        Self {
            configured: Arc::new(table(file, &knows_rate, root)),
            rates: Arc::new(rates),
            live,
            limit_fields: limit_fields(file),
        }
    }

    /// Whether something can be sold at a price in this currency.
    #[must_use]
    pub fn knows_rate(&self, currency: Currency) -> bool {
        knows_rate(&self.rates, &self.live, currency)
    }

    /// What is known of every currency, a sentence each.
    #[must_use]
    pub fn describe(&self, file: &ConfigFile) -> Vec<String> {
        rates::describe(file, &self.rates, &self.live)
    }

    /// What a route sells by model.
    pub(super) fn sale(&self, settings: &ModelTokensTable, root: &str, at: &At<'_>) -> ModelSale {
        ModelSale {
            prices: self.prices(settings.prices.as_deref(), &at.key("prices")),
            rates: Arc::clone(&self.rates),
            rules: RequestRules {
                allow_fields: settings.allow_fields.iter().cloned().collect(),
                max_choices: settings.max_choices.max(1),
                asks_for_usage: settings.ask_for_usage,
                limit_fields: self.limit_fields.clone(),
            },
            headers: header_rules(settings, at),
            query: QueryRules {
                allow: settings.allow_query.iter().cloned().collect(),
            },
            markup: settings.markup_percent.millionths(),
            billing: Billing {
                usage_missing: settings.usage_missing.into(),
                broken_off: settings.broken_off.into(),
                on_disconnect: match settings.drain {
                    None => OnDisconnect::ForThoughts,
                    Some(Lasting(time)) if time.is_zero() => OnDisconnect::Cancel,
                    Some(Lasting(time)) => OnDisconnect::Drain(time),
                },
            },
            knows_vocabularies: settings.tokenizer == TokenizerSetting::Auto,
            root: root.to_owned(),
        }
    }
}

impl Market {
    /// What a route sells by: `[[model]]`, and what it does not name by the list at `path`.
    fn prices(&self, path: Option<&Path>, at: &At<'_>) -> Arc<PriceTable> {
        let Some(path) = path else {
            if self.configured.is_empty() {
                at.note("no model has a price: name a price list here, or write [[model]]");
            }
            return Arc::clone(&self.configured);
        };
        let list = match price_file::read(path) {
            Ok(list) => list,
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}"));
                at.note(format!("{error}{}", cause.unwrap_or_default()));
                return Arc::clone(&self.configured);
            }
        };
        let currencies: BTreeSet<_> = list.iter().map(|(_, price)| price.currency).collect();
        for currency in currencies.into_iter().filter(|it| !self.knows_rate(*it)) {
            at.note(no_rate(currency));
        }
        Arc::new(list.overridden_by(&self.configured))
    }

    /// A price in the money of some state.
    pub(super) fn fiat(
        &self,
        written: &BTreeMap<String, Decimal>,
        at: &At<'_>,
    ) -> Option<FiatPrice> {
        let (name, amount) = written.iter().next()?;
        let key = at.key(name);
        let currency: Currency = key.take(name.parse())?;
        if amount.is_zero() {
            key.note("a price of zero is written price = \"free\"");
            return None;
        }
        if !self.knows_rate(currency) {
            key.note(no_rate(currency));
        }
        Some(FiatPrice {
            currency,
            amount: *amount,
            rates: Arc::clone(&self.rates),
        })
    }
}

fn header_rules(settings: &ModelTokensTable, at: &At<'_>) -> HeaderRules {
    let key = at.key("allow_headers");
    let written = settings.allow_headers.iter().enumerate();
    let allow = written.filter_map(|(place, name)| {
        let key = key.index(place);
        let name = key.take(HeaderName::from_bytes(name.as_bytes()))?;
        if is_credential(name.as_str()) {
            key.note("a credential: clients' own never reach a model's upstream");
        }
        Some(name)
    });
    HeaderRules {
        allow: allow.collect(),
        pass_betas: settings.pass_betas.iter().cloned().collect(),
        drop_betas: settings.drop_betas.iter().cloned().collect(),
    }
}

fn limit_fields(file: &ConfigFile) -> BTreeMap<String, LimitField> {
    let sections = file.model.iter();
    let chosen = sections.filter_map(|model| Some((model.name.clone(), model.limit_field?)));
    chosen.map(|(name, field)| (name, field.into())).collect()
}

fn knows_rate(rates: &Rates, live: &LiveRates, currency: Currency) -> bool {
    let is_fiat = matches!(currency, Currency::Fiat(_));
    !is_fiat || rates.find(currency).is_some() || live.currencies.contains(&currency)
}

/// How many models a route has prices for, where it sells by them.
pub(super) fn describe(route: &Route) -> Option<String> {
    let prices = &route.sale.as_ref()?.offer.models()?.prices;
    let (name, count) = (&route.name, prices.len());
    Some(format!("route {name}: models with a price: {count}"))
}

pub(super) fn no_rate(currency: Currency) -> String {
    let name = currency.name();
    format!(
        "no rate is known for it: add {name:?} to rates.live, or set rates.fixed.{name} to the \
         price of one bitcoin"
    )
}

fn table(file: &ConfigFile, knows_rate: &dyn Fn(Currency) -> bool, root: &At<'_>) -> PriceTable {
    let mut table = PriceTable::default();
    for (place, section) in file.model.iter().enumerate() {
        let at = root.key("model").index(place);
        if section.name.is_empty() {
            at.key("name").note("is missing: what clients ask for");
        } else if table.find(&section.name).is_some() {
            at.key("name").note("has a price already");
        } else if let Some(price) = price(section, knows_rate, &at) {
            table.insert(section.name.clone(), price);
        }
    }
    table
}

fn price(
    section: &ModelSection,
    knows_rate: &dyn Fn(Currency) -> bool,
    at: &At<'_>,
) -> Option<ModelPrice> {
    let written = section.currency.parse();
    let currency = at.key("currency").take(written)?;
    if !knows_rate(currency) {
        at.key("currency").note(no_rate(currency));
    }
    let price = ModelPrice {
        currency,
        rows: rows(section, at),
        images: section.images.clone(),
        context_tokens: section.context_tokens,
        max_output_tokens: section.max_output_tokens,
        is_free: section.free,
    };
    if !price.is_sellable() {
        at.note("costs nothing: write its prices, or free = true");
    }
    Some(price)
}

fn rows(section: &ModelSection, at: &At<'_>) -> BTreeMap<Unit, Decimal> {
    let per_token = [
        (Unit::Input, section.input),
        (Unit::CachedInput, section.cached_input),
        (Unit::CacheWrite, section.cache_write),
        (Unit::Output, section.output),
        (Unit::Reasoning, section.reasoning),
        (Unit::AudioInput, section.audio_input),
        (Unit::AudioOutput, section.audio_output),
        (Unit::ImageInput, section.image_input),
        (Unit::ImageOutput, section.image_output),
        (Unit::Character, section.character),
    ];
    let apiece = [
        (Unit::Image, section.image),
        (Unit::Request, section.request),
    ];
    let mut rows = BTreeMap::new();
    for (unit, price) in per_token {
        let Some(price) = price else { continue };
        let one = match section.per {
            PerSetting::Unit => Ok(price),
            PerSetting::Million => price.per_million(),
        };
        let one = at.key(unit.as_str()).take(one);
        rows.extend(one.map(|one| (unit, one)));
    }
    rows.extend(
        apiece
            .into_iter()
            .filter_map(|(unit, price)| Some((unit, price?))),
    );
    rows
}
