//! The call of a model: bounded from the very bytes that are forwarded.

use std::sync::Arc;

use bytes::Bytes;
use farebox_core::UnixMillis;
use farebox_http::aside::{MAX_INLINE, aside};
use farebox_http::body_budget::Holder;
use farebox_meter::{Endpoint, ModelRequest, Refused};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::Paywall;
use crate::ask::{Ask, BodyFacts};
use crate::due::ModelQuote;
use crate::error::{Error, Unsold};
use crate::sale::ModelSale;
use crate::tokens::{TokenCounter, Vocabulary};

impl ModelSale {
    /// What is asked of the models; the list of them costs nothing.
    ///
    /// # Errors
    /// [`Unsold::Endpoint`].
    pub fn endpoint(&self, method: &str, path: &str) -> Result<Endpoint, Unsold> {
        let path = path.strip_prefix(self.root.as_str());
        Endpoint::of(method, path.unwrap_or_default()).ok_or(Unsold::Endpoint)
    }

    /// Reads a call, which asks for no longer an answer than its model's price counts on.
    fn read(&self, endpoint: Endpoint, body: &[u8]) -> Result<ModelRequest, Refused> {
        let mut request = ModelRequest::read(endpoint, body, &self.rules)?;
        if let Some(price) = self.prices.find(&request.model) {
            request.keep_to(price);
        }
        Ok(request)
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

/// Bounds the call of a model by its body. None where it costs nothing.
pub(super) async fn quote_call(
    models: &Arc<ModelSale>,
    paywall: &Paywall,
    ask: &Ask<'_>,
) -> Result<Option<Box<ModelQuote>>, Error> {
    let endpoint = models.endpoint(ask.method.as_str(), ask.path)?;
    if endpoint == Endpoint::Models {
        return Ok(None);
    }
    let body = match ask.body {
        BodyFacts::Read {
            bytes: Some(bytes), ..
        } => bytes.clone(),
        BodyFacts::Read { bytes: None, .. } | BodyFacts::Unread { .. } => {
            return Err(Error::BodyNotKept);
        }
    };
    let (request, body) = read_request(endpoint, body, models, ask.holder).await?;
    // Of this moment: the body may have taken its time, and a rate gets old.
    let counter = models.counts(&request.model, &paywall.counter);
    let mut quote = bound(models, request, paywall.clock.now())?;
    (quote.call.counter, quote.body) = (counter, body);
    Ok(Some(Box::new(quote)))
}

fn bound(models: &ModelSale, request: ModelRequest, now: UnixMillis) -> Result<ModelQuote, Unsold> {
    let price = models.prices.find(&request.model);
    let price = price.filter(|price| price.is_sellable());
    let price = Arc::clone(price.ok_or_else(|| Unsold::Model(request.model.clone()))?);
    let quoted = models.rates.quote(price.currency, now)?;
    let exchange = quoted.exchange.dearer_by(models.markup);
    ModelQuote::bound(request, price, exchange, quoted.rate, models.billing)
}

/// Reads the call of a model, and where that is work for more than a moment, writes what will be
/// forwarded as well; both then happen beside the data threads.
async fn read_request(
    endpoint: Endpoint,
    body: Bytes,
    models: &Arc<ModelSale>,
    holder: Holder,
) -> Result<(ModelRequest, Option<Bytes>), Error> {
    if body.len() <= MAX_INLINE {
        let request = models.read(endpoint, &body);
        return Ok((request.map_err(Unsold::from)?, None));
    }
    let models = Arc::clone(models);
    let read = aside(Some(holder), move || {
        let request = models.read(endpoint, &body)?;
        let body = Bytes::from(request.to_body());
        Ok((request, Some(body)))
    });
    Ok(read
        .await?
        .map_err(|refused: Refused| Unsold::from(refused))?)
}

/// Refuses what headers ask for that has no price, and a body in another form than is read.
pub(super) fn check_headers(models: &ModelSale, headers: &HeaderMap) -> Result<(), Unsold> {
    models.headers.check(headers)?;
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
