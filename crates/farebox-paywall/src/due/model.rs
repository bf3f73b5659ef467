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

/// The least answer that is worth buying, in tokens, where the payer has less than the whole costs.
const LEAST_OUTPUT: u64 = 16;

/// A call of a model, and the most that it can cost.
pub(crate) struct ModelQuote {
    pub(crate) call: ModelCall,
    pub(crate) rate: Option<Rate>,
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
        let call = ModelCall {
            request,
            price,
            exchange,
            billing,
            at_most,
            counter: None,
        };
        Ok(Self {
            call,
            rate,
            bound,
            body: None,
        })
    }

    /// The most that it can cost.
    pub(crate) const fn at_most(&self) -> Msat {
        self.call.at_most
    }

    /// The model that is called.
    pub(crate) fn model(&self) -> &str {
        &self.call.request.model
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
        aside(None, move || {
            let is_worth_it = self.lower_to(most);
            self.body = Some(self.call.request.to_body().into());
            (self, is_worth_it)
        })
        .await
    }

    fn lower_to(&mut self, most: Msat) -> bool {
        let ModelCall {
            request,
            price,
            exchange,
            at_most,
            ..
        } = &mut self.call;
        let tokens = request.affordable_output(&self.bound, price, exchange, most);
        let Ok(Some(tokens)) = tokens else {
            return false;
        };
        if tokens < LEAST_OUTPUT {
            return false;
        }
        request.lower_output(tokens);
        let Ok(bound) = request.bound(price) else {
            return false;
        };
        let Ok(cost) = bound.cost(price, exchange) else {
            return false;
        };
        (self.bound, *at_most) = (bound, cost);
        cost <= most
    }

    /// What finds out what the call used.
    pub(crate) fn gauge(self) -> Box<dyn Gauge> {
        Box::new(ModelUsage::new(self.call))
    }

    /// The body to forward.
    pub(crate) fn body(&self) -> Bytes {
        let written = self.body.clone();
        written.unwrap_or_else(|| self.call.request.to_body().into())
    }
}
