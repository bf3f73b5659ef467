//! What one request costs, or can cost at most: the step before admission.
//!
//! A fixed price is known from the route. The price of a model's call is bounded from the request
//! itself, which therefore is read here, and rewritten into what will be forwarded: nothing reaches
//! the upstream that was not priced.

use std::sync::Arc;

use bytes::Bytes;
use farebox_core::Msat;
use farebox_http::aside::{Busy, MAX_INLINE, aside};
use farebox_http::body_budget::Keep;
use farebox_market::rates::Rate;
use farebox_meter::request::Bound;
use farebox_meter::{Endpoint, Exchange, ModelPrice, ModelRequest, Refused};
use http::header::{CONTENT_TYPE, HeaderMap};

use crate::arrival::Arrival;
use crate::gauge::Gauge;
use crate::gauge::model::{ModelCall, ModelUsage};
use crate::plan::Route;
use crate::refusal::{Refusal, RequestError, Unsold};
use crate::sale::{FlatPrice, ModelSale, Offer, Pricing, Sale};
use crate::tokens::{TokenCounter, Vocabulary};
use crate::worker::Worker;

/// The least answer that is worth buying, in tokens, where the payer has less than the whole costs.
const LEAST_OUTPUT: u64 = 16;

/// What one request costs.
pub(crate) enum Quote {
    /// Nothing.
    Free,
    /// Exactly this much.
    Fixed(Msat),
    /// Exactly this much, at this rate.
    Fiat(Msat, Option<Rate>),
    /// By what it uses.
    Metered(Box<Metered>),
    /// By what its answer turns out to have used, or what its webhook says when it has ended.
    UpTo(UpTo),
    /// Nobody has asked yet.
    Unasked,
}

/// A request that is charged by what it uses.
pub(crate) struct Metered {
    pub(crate) request: ModelRequest,
    pub(crate) price: Arc<ModelPrice>,
    pub(crate) exchange: Exchange,
    pub(crate) rate: Option<Rate>,
    pub(crate) sale: Arc<ModelSale>,
    /// The most that it can cost.
    pub(crate) at_most: Msat,
    /// Who counts its tokens where nobody tells them.
    pub(crate) counter: Option<(Vocabulary, Arc<TokenCounter>)>,
    bound: Bound,
    /// The request as it is forwarded, where that was written already.
    body: Option<Bytes>,
}

/// A call that is charged by what its gauge finds.
pub(crate) struct UpTo {
    pub(crate) gauge: Box<dyn Gauge>,
    /// The most that it can cost.
    pub(crate) at_most: Msat,
    pub(crate) rate: Option<Rate>,
}

impl Quote {
    /// The rate by which it was found.
    pub(crate) fn rate(&self) -> Option<Rate> {
        match self {
            Self::Free | Self::Fixed(_) | Self::Unasked => None,
            Self::Fiat(_, rate) => *rate,
            Self::Metered(metered) => metered.rate,
            Self::UpTo(up_to) => up_to.rate,
        }
    }

    /// The most that the request can cost.
    pub(crate) fn at_most(&self) -> Msat {
        match self {
            Self::Free | Self::Unasked => Msat::ZERO,
            Self::Fixed(price) | Self::Fiat(price, _) => *price,
            Self::Metered(metered) => metered.at_most,
            Self::UpTo(up_to) => up_to.at_most,
        }
    }

    /// Lets the answer cost no more than `most`, in the request that is forwarded. Answers whether
    /// that can be, and leaves an answer worth having. A long request is written anew for it, beside
    /// the data threads.
    pub(crate) async fn lower_to(&mut self, most: Msat) -> Result<bool, Busy> {
        match std::mem::replace(self, Self::Unasked) {
            Self::Metered(mut metered) if metered.body.is_some() => {
                let lowered = aside(move || {
                    let is_worth_it = metered.lower_to(most);
                    metered.body = Some(metered.request.to_body().into());
                    (metered, is_worth_it)
                });
                let (metered, is_worth_it) = lowered.await?;
                *self = Self::Metered(metered);
                Ok(is_worth_it)
            }
            Self::Metered(mut metered) => {
                let is_worth_it = metered.lower_to(most);
                *self = Self::Metered(metered);
                Ok(is_worth_it)
            }
            other => {
                *self = other;
                Ok(false)
            }
        }
    }
}

impl Worker {
    /// The price of a request. Of a model's call the body is read for it, and replaced.
    pub(crate) async fn price(
        &self,
        route: &Route,
        sale: &Sale,
        arrival: &mut Arrival,
    ) -> Result<Quote, Refusal> {
        let pricing = match &sale.offer {
            Offer::Flat { price, .. } => return Ok(self.flat(price)?),
            Offer::Metered { pricing, .. } => pricing,
            // Who asks is known first.
            Offer::Quoted(_) => return Ok(Quote::Unasked),
        };
        match pricing {
            Pricing::Webhook(_) => Ok(Quote::Unasked),
            Pricing::Use(by_use) => Ok(by_use.quote(arrival, self.shared.clock.now())?),
            Pricing::Models(models) => Box::pin(self.price_call(route, models, arrival)).await,
        }
    }

    fn flat(&self, price: &FlatPrice) -> Result<Quote, Unsold> {
        let price = match price {
            FlatPrice::Msat(price) => return Ok(Quote::Fixed(*price)),
            FlatPrice::Fiat(price) => price,
        };
        let quoted = price.rates.quote(price.currency, self.shared.clock.now())?;
        let msat = quoted.exchange.to_msat(price.amount)?;
        Ok(Quote::Fiat(msat, quoted.rate))
    }

    async fn price_call(
        &self,
        route: &Route,
        models: &Arc<ModelSale>,
        arrival: &mut Arrival,
    ) -> Result<Quote, Refusal> {
        let path = arrival.path.strip_prefix(models.root.as_str());
        let endpoint = Endpoint::of(arrival.parts.method.as_str(), path.unwrap_or_default());
        let endpoint = endpoint.ok_or(Unsold::Endpoint)?;
        if endpoint == Endpoint::Models {
            return Ok(Quote::Free);
        }
        check_headers(&arrival.parts.headers)?;
        let budget = &self.shared.bodies;
        arrival
            .digest(route.max_read_bytes, budget, Keep::Bytes)
            .await?;
        let body = arrival.read_bytes().ok_or(RequestError::BodyNotKept)?;
        let (request, body) = read_request(endpoint, body, models).await?;
        let mut metered = self.bound(models, request)?;
        metered.body = body;
        Ok(Quote::Metered(Box::new(metered)))
    }

    fn bound(&self, models: &Arc<ModelSale>, request: ModelRequest) -> Result<Metered, Unsold> {
        let table = models.prices.table();
        let price = table
            .find_shared(&request.model)
            .filter(|price| price.is_sellable());
        let price = price.ok_or_else(|| Unsold::Model(request.model.clone()))?;
        let quoted = models
            .rates
            .quote(price.currency, self.shared.clock.now())?;
        let exchange = quoted.exchange.dearer_by(models.markup);
        let bound = request.bound(&price)?;
        let at_most = bound.cost(&price, &exchange)?;
        Ok(Metered {
            price,
            exchange,
            rate: quoted.rate,
            sale: Arc::clone(models),
            counter: self.counter(models, &request.model),
            at_most,
            bound,
            request,
            body: None,
        })
    }

    fn counter(&self, sale: &ModelSale, model: &str) -> Option<(Vocabulary, Arc<TokenCounter>)> {
        let vocabulary = Vocabulary::of_model(model).filter(|_| sale.knows_vocabularies)?;
        Some((vocabulary, Arc::clone(&self.shared.counter)))
    }
}

impl Metered {
    /// Lets the answer cost no more than `most`, in the request that is forwarded. Answers whether
    /// that leaves an answer worth having.
    fn lower_to(&mut self, most: Msat) -> bool {
        let (price, exchange) = (&self.price, &self.exchange);
        let tokens = self
            .request
            .affordable_output(&self.bound, price, exchange, most);
        let Ok(Some(tokens)) = tokens else {
            return false;
        };
        if tokens < LEAST_OUTPUT {
            return false;
        }
        self.request.lower_output(tokens);
        let Ok(bound) = self.request.bound(price) else {
            return false;
        };
        let Ok(at_most) = bound.cost(price, exchange) else {
            return false;
        };
        (self.bound, self.at_most) = (bound, at_most);
        at_most <= most
    }

    /// What finds out what the call used.
    pub(crate) fn gauge(self) -> Box<dyn Gauge> {
        Box::new(ModelUsage::new(ModelCall {
            request: self.request,
            price: self.price,
            exchange: self.exchange,
            billing: self.sale.billing,
            at_most: self.at_most,
            counter: self.counter,
        }))
    }

    /// The body to forward.
    pub(crate) fn body(&self) -> Bytes {
        let written = self.body.clone();
        written.unwrap_or_else(|| self.request.to_body().into())
    }
}

/// Reads the call of a model, and where that is work for more than a moment, writes what will be
/// forwarded as well; both then happen beside the data threads.
async fn read_request(
    endpoint: Endpoint,
    body: Bytes,
    models: &Arc<ModelSale>,
) -> Result<(ModelRequest, Option<Bytes>), Refusal> {
    if body.len() <= MAX_INLINE {
        let request = ModelRequest::read(endpoint, &body, &models.rules);
        return Ok((request.map_err(Unsold::from)?, None));
    }
    let models = Arc::clone(models);
    let read = aside(move || {
        let request = ModelRequest::read(endpoint, &body, &models.rules)?;
        let body = Bytes::from(request.to_body());
        Ok((request, Some(body)))
    });
    Ok(read
        .await?
        .map_err(|refused: Refused| Unsold::from(refused))?)
}

/// Headers by which a provider turns features on that the body does not show.
fn check_headers(headers: &HeaderMap) -> Result<(), Unsold> {
    const FEATURES: [&str; 5] = [
        "anthropic-beta",
        "openai-beta",
        "openai-organization",
        "openai-project",
        "x-session-affinity",
    ];
    if let Some(name) = FEATURES
        .into_iter()
        .find(|name| headers.contains_key(*name))
    {
        return Err(Unsold::Header(name));
    }
    let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let is_json = kind.is_none_or(|kind| {
        kind.get(..16)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"application/json"))
    });
    if is_json {
        Ok(())
    } else {
        Err(Unsold::Request(Refused::NotJson))
    }
}
