//! The call of a model: bounded from the very bytes that are forwarded.

use std::sync::Arc;

use bytes::Bytes;
use farebox_core::{Msat, UnixMillis};
use farebox_http::aside::{Busy, MAX_INLINE, aside};
use farebox_market::rates::Rate;
use farebox_meter::request::Bound;
use farebox_meter::{Endpoint, Exchange, ModelPrice, ModelRequest, Refused};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::ask::{Ask, BodyFacts};
use crate::error::{Error, Unsold};
use crate::gauge::Gauge;
use crate::gauge::model::{ModelCall, ModelUsage};
use crate::sale::ModelSale;
use crate::tokens::{TokenCounter, Vocabulary};

/// The least answer that is worth buying, in tokens, where the payer has less than the whole costs.
const LEAST_OUTPUT: u64 = 16;

/// A call of a model, and the most that it can cost.
pub(super) struct ModelQuote {
    pub(super) at_most: Msat,
    pub(super) rate: Option<Rate>,
    request: ModelRequest,
    price: Arc<ModelPrice>,
    exchange: Exchange,
    sale: Arc<ModelSale>,
    /// Who counts its tokens where nobody tells them.
    counter: Option<(Vocabulary, Arc<TokenCounter>)>,
    bound: Bound,
    /// The request as it is forwarded, where that was written already.
    body: Option<Bytes>,
}

impl ModelSale {
    /// What is asked of the models; the list of them costs nothing.
    ///
    /// # Errors
    /// [`Unsold::Endpoint`].
    pub fn endpoint(&self, method: &str, path: &str) -> Result<Endpoint, Unsold> {
        let path = path.strip_prefix(self.root.as_str());
        Endpoint::of(method, path.unwrap_or_default()).ok_or(Unsold::Endpoint)
    }

    /// Who counts the tokens of a model where nobody tells them.
    fn counts(
        &self,
        model: &str,
        counter: &Arc<TokenCounter>,
    ) -> Option<(Vocabulary, Arc<TokenCounter>)> {
        let vocabulary = Vocabulary::of_model(model).filter(|_| self.knows_vocabularies)?;
        Some((vocabulary, Arc::clone(counter)))
    }
}

impl ModelQuote {
    /// Bounds the call of a model by its body. None where it costs nothing.
    pub(super) async fn of(
        models: &Arc<ModelSale>,
        counter: &Arc<TokenCounter>,
        ask: &Ask<'_>,
    ) -> Result<Option<Box<Self>>, Error> {
        let endpoint = models.endpoint(ask.method.as_str(), ask.path)?;
        if endpoint == Endpoint::Models {
            return Ok(None);
        }
        check_headers(ask.headers)?;
        let body = match ask.body {
            BodyFacts::Read {
                bytes: Some(bytes), ..
            } => bytes.clone(),
            BodyFacts::Read { bytes: None, .. } | BodyFacts::Unread { .. } => {
                return Err(Error::BodyNotKept);
            }
        };
        let (request, body) = read_request(endpoint, body, models).await?;
        let mut quote = Self::bound(models, request, ask.received_at)?;
        quote.counter = models.counts(&quote.request.model, counter);
        quote.body = body;
        Ok(Some(Box::new(quote)))
    }

    fn bound(
        models: &Arc<ModelSale>,
        request: ModelRequest,
        now: UnixMillis,
    ) -> Result<Self, Unsold> {
        let table = models.prices.table();
        let price = table
            .find_shared(&request.model)
            .filter(|price| price.is_sellable());
        let price = price.ok_or_else(|| Unsold::Model(request.model.clone()))?;
        let quoted = models.rates.quote(price.currency, now)?;
        let exchange = quoted.exchange.dearer_by(models.markup);
        let bound = request.bound(&price)?;
        let at_most = bound.cost(&price, &exchange)?;
        Ok(Self {
            at_most,
            rate: quoted.rate,
            price,
            exchange,
            sale: Arc::clone(models),
            counter: None,
            bound,
            request,
            body: None,
        })
    }
    /// The model that is called.
    pub(super) fn model(&self) -> &str {
        &self.request.model
    }

    /// Lets the answer cost no more than `most`, in the request that is forwarded, and tells whether
    /// that leaves an answer worth having. A long request is written anew for it, beside the data
    /// threads.
    pub(super) async fn shrunk_to(
        mut self: Box<Self>,
        most: Msat,
    ) -> Result<(Box<Self>, bool), Busy> {
        if self.body.is_none() {
            let is_worth_it = self.lower_to(most);
            return Ok((self, is_worth_it));
        }
        aside(move || {
            let is_worth_it = self.lower_to(most);
            self.body = Some(self.request.to_body().into());
            (self, is_worth_it)
        })
        .await
    }

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
    pub(super) fn gauge(self) -> Box<dyn Gauge> {
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
    pub(super) fn body(&self) -> Bytes {
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
) -> Result<(ModelRequest, Option<Bytes>), Error> {
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
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
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
