//! The most that the call of a model can cost, and how its answer is made to cost less.

use std::sync::Arc;

use bytes::Bytes;
use farebox_core::Msat;
use farebox_http::aside::{Busy, aside};
use farebox_market::rates::Rate;
use farebox_meter::request::Bound;
use farebox_meter::{Exchange, ModelPrice, ModelRequest};

use crate::error::Unsold;
use crate::gauge::model::{ModelCall, ModelUsage};
use crate::gauge::{Billing, Gauge};
use crate::tokens::{TokenCounter, Vocabulary};

/// The least answer that is worth buying, in tokens, where the payer has less than the whole costs.
const LEAST_OUTPUT: u64 = 16;

/// A call of a model, and the most that it can cost.
pub(crate) struct ModelQuote {
    pub(crate) at_most: Msat,
    pub(crate) rate: Option<Rate>,
    request: ModelRequest,
    price: Arc<ModelPrice>,
    exchange: Exchange,
    billing: Billing,
    /// Who counts its tokens where nobody tells them.
    pub(crate) counter: Option<(Vocabulary, Arc<TokenCounter>)>,
    bound: Bound,
    /// The request as it is forwarded, where that was written already.
    pub(crate) body: Option<Bytes>,
}

impl ModelQuote {
    /// Bounds a call by its request. Nobody counts its tokens yet.
    pub(crate) fn bound(
        request: ModelRequest,
        price: Arc<ModelPrice>,
        exchange: Exchange,
        rate: Option<Rate>,
        billing: Billing,
    ) -> Result<Self, Unsold> {
        let bound = request.bound(&price)?;
        let at_most = bound.cost(&price, &exchange)?;
        Ok(Self {
            at_most,
            rate,
            request,
            price,
            exchange,
            billing,
            counter: None,
            bound,
            body: None,
        })
    }

    /// The model that is called.
    pub(crate) fn model(&self) -> &str {
        &self.request.model
    }

    /// Lets the answer cost no more than `most`, in the request that is forwarded, and tells whether
    /// that leaves an answer worth having. A long request is written anew for it, beside the data
    /// threads.
    pub(crate) async fn shrunk_to(
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
    pub(crate) fn gauge(self) -> Box<dyn Gauge> {
        Box::new(ModelUsage::new(ModelCall {
            request: self.request,
            price: self.price,
            exchange: self.exchange,
            billing: self.billing,
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
