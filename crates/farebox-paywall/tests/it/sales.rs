//! What a seller sells: a sale of every kind of offer and price.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, Secret};
use farebox_http::limits::TokenLimit;
use farebox_http::upstream::{Transport, TransportOptions, UpstreamPool, UpstreamProtocol};
use farebox_market::PriceTable;
use farebox_market::rates::{Rate, Rates};
use farebox_meter::{Currency, ModelPrice, RequestRules, Unit};
use farebox_paywall::by_use::{ByUse, Rated, Teller};
use farebox_paywall::gauge::{Billing, Unsaid};
use farebox_paywall::model_headers::HeaderRules;
use farebox_paywall::model_query::QueryRules;
use farebox_paywall::sale::{
    Bind, Buys, ChargeOn, FiatPrice, FlatPrice, MethodScope, ModelSale, Offer, OnFailure, Pricing,
    Sale, Ways,
};
use farebox_paywall::webhook::{Webhook, WebhookRules};
use farebox_testkit::{ManualClock, ScriptedUpstream};
use http::uri::{PathAndQuery, Scheme};

use crate::shop::msat;

/// The price of one call, in msat.
pub(crate) const PRICE: u64 = 2_000;
/// What is deposited at least, in msat.
pub(crate) const DEPOSIT: u64 = 5_000;
/// The most that one call costs that is charged by use, in msat.
pub(crate) const AT_MOST: u64 = 1_000;
/// How long a token can be spent.
pub(crate) const VALID_FOR: Duration = Duration::from_secs(3600);
/// How long a rate is good.
pub(crate) const RATE_AGE: Duration = Duration::from_secs(60);
/// Where the webhook is asked.
pub(crate) const HOOK: &str = "/v1/price";

pub(crate) const ONE_REQUEST: Buys = Buys::Single(Bind::Request(OnFailure::Void));
pub(crate) const ONE_CALL: Buys = Buys::Single(Bind::Route);
pub(crate) const HOUR: Buys = Buys::Pass(Duration::from_secs(3600));

/// A balance of [`DEPOSIT`].
pub(crate) fn balance() -> Buys {
    Buys::Balance(msat(DEPOSIT))
}

/// What is sold by the call at this price in bitcoin.
pub(crate) fn flat_at(price: u64, buys: Buys) -> Sale {
    let price = FlatPrice::Msat(msat(price));
    sale(Offer::Flat { price, buys })
}

/// The same at [`PRICE`].
pub(crate) fn flat(buys: Buys) -> Sale {
    flat_at(PRICE, buys)
}

/// The same at a price in dollars which comes to [`PRICE`] at these rates.
pub(crate) fn in_dollars(buys: Buys, rates: &Arc<Rates>) -> Sale {
    let price = FlatPrice::Fiat(FiatPrice {
        currency: "usd".parse().unwrap(),
        amount: "0.002".parse().unwrap(),
        rates: Arc::clone(rates),
    });
    sale(Offer::Flat { price, buys })
}

/// No rates at all.
pub(crate) fn no_rates() -> Arc<Rates> {
    Arc::new(Rates::new(RATE_AGE, 0))
}

/// A bitcoin is worth 100 000 dollars: for ever where there is no clock, else for [`RATE_AGE`].
pub(crate) fn rates(since: Option<&ManualClock>) -> Arc<Rates> {
    let (rates, usd) = (no_rates(), "usd".parse().unwrap());
    let rate = Rate {
        currency: usd,
        bitcoin_price: "100000".parse().unwrap(),
        taken_at: since.map(Clock::now),
    };
    rates.set(usd, rate);
    rates
}

/// What is charged by use, at half a msat for each unit, at least 10 and at most [`AT_MOST`].
pub(crate) fn by_use(teller: Teller) -> Sale {
    by_use_at("0.5", teller)
}

/// The same at this price in msat for each unit.
pub(crate) fn by_use_at(each: &str, teller: Teller) -> Sale {
    use_in(Currency::Msat, [each, "1000", "10"], teller, &no_rates())
}

/// What is charged by use at prices in dollars, which come to those of [`by_use`] at these rates.
pub(crate) fn by_use_in_dollars(teller: Teller, rates: &Arc<Rates>) -> Sale {
    let amounts = ["0.0000005", "0.001", "0.00001"];
    use_in("usd".parse().unwrap(), amounts, teller, rates)
}

/// The price of one unit, of one call at most, and of one at least.
fn use_in(currency: Currency, amounts: [&str; 3], teller: Teller, rates: &Arc<Rates>) -> Sale {
    let [each, at_most, least] = amounts.map(|amount| Rated {
        currency,
        amount: amount.parse().unwrap(),
    });
    metered(Pricing::Use(Arc::new(ByUse {
        teller,
        each,
        at_most,
        least: Some(least),
        rates: Arc::clone(rates),
        markup: 0,
        billing: Billing::default(),
        takes_compressed: false,
    })))
}

/// The model `small`, at 1 msat for a token read and 10 for one written.
pub(crate) fn models() -> Sale {
    models_in(Currency::Msat, ["1", "10"], &no_rates())
}

/// The same at prices in dollars, which come to that at these rates.
pub(crate) fn models_in_dollars(rates: &Arc<Rates>) -> Sale {
    let usd = "usd".parse().unwrap();
    models_in(usd, ["0.000001", "0.00001"], rates)
}

fn models_in(currency: Currency, [input, output]: [&str; 2], rates: &Arc<Rates>) -> Sale {
    let rows = [(Unit::Input, input), (Unit::Output, output)];
    let price = ModelPrice {
        currency,
        rows: rows
            .map(|(unit, each)| (unit, each.parse().unwrap()))
            .into(),
        images: BTreeMap::new(),
        context_tokens: None,
        max_output_tokens: None,
        is_free: false,
    };
    let mut table = PriceTable::default();
    table.insert("small", price);
    metered(Pricing::Models(Arc::new(ModelSale {
        prices: Arc::new(table),
        rates: Arc::clone(rates),
        rules: RequestRules::default(),
        headers: HeaderRules::default(),
        query: QueryRules::default(),
        markup: 0,
        billing: Billing::default(),
        knows_vocabularies: false,
        root: String::new(),
    })))
}

/// One exact request, at the price that a program of the seller's says.
pub(crate) fn quoted(seller: &ScriptedUpstream) -> Sale {
    sale(Offer::Quoted(webhook(seller)))
}

/// A balance, charged as a program of the seller's says.
pub(crate) fn asked(seller: &ScriptedUpstream) -> Sale {
    metered(Pricing::Webhook(webhook(seller)))
}

fn webhook(seller: &ScriptedUpstream) -> Arc<Webhook> {
    let provider = rustls::crypto::ring::default_provider();
    let options = TransportOptions {
        tls: rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
        protocol: UpstreamProtocol::Auto,
        connect_timeout: Duration::from_secs(10),
    };
    let authority = seller.address().to_string().parse().unwrap();
    let transport = Arc::new(Transport::new(&options, 1));
    let rules = WebhookRules {
        timeout: Duration::from_secs(10),
        max_in_flight: 4,
        attempts: 1,
        tell: Vec::new(),
        missing: Unsaid::Hold,
    };
    Arc::new(Webhook::new(
        UpstreamPool::new(transport, Scheme::HTTP, authority),
        PathAndQuery::from_static(HOOK),
        Secret::new(b"secret".to_vec()),
        rules,
    ))
}

fn metered(pricing: Pricing) -> Sale {
    let deposit = msat(DEPOSIT);
    sale(Offer::Metered { deposit, pricing })
}

fn sale(offer: Offer) -> Sale {
    let methods = MethodScope::Class;
    Sale {
        capabilities: None,
        token_limit: TokenLimit::default(),
        epoch: offer.terms_epoch(methods, VALID_FOR),
        offer,
        methods,
        valid_for: VALID_FOR,
        charge_on: ChargeOn::Success,
        replay: None,
        ways: Ways::L402,
        max_voids: 1_000,
        description: "data".to_owned(),
    }
}
