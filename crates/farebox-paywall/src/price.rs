//! What a request costs its payer: asked once the payer is known, and again for nobody where what
//! was bought is used up.
//!
//! What was bought by the call or for a time was paid before, and is not priced, only bounded where it
//! calls a model. The price of a model's call is bounded from the request itself, which is written anew for that: nothing reaches
//! the upstream that was not priced.

mod model;

use std::time::Instant;

use bytes::Bytes;
use farebox_core::{Msat, UnixMillis};
use farebox_http::aside::Busy;
use farebox_ledger::{ChargeBasis, RateUsed};
use farebox_market::rates::Rate;

use crate::Paywall;
use crate::ask::{Ask, is_probe};
use crate::due::{Charge, Due, ModelQuote};
use crate::error::{Error, PriceError, Unsold};
use crate::gauge::Gauge;
use crate::payer::Payer;
use crate::sale::{FlatPrice, Offer, Pricing};
use model::{check_headers, quote_call};

/// What one request costs its payer.
pub enum Quote {
    /// It costs nobody anything.
    Free,
    /// It was sold before: by the call, or for a time.
    Prepaid(Prepaid),
    /// It costs this.
    Due(Due),
}

/// A request that was sold before.
pub struct Prepaid {
    /// The rate of the moment, where the price is in the money of some state and there is a rate.
    rate: Option<Rate>,
    /// The call of a model, as it will be forwarded.
    call: Option<Box<ModelQuote>>,
}

impl Quote {
    /// The bounded call of a model.
    fn of_call(call: Box<ModelQuote>, payer: &Payer) -> Self {
        let (at_most, rate) = (call.at_most(), call.rate);
        if payer.has_prepaid() {
            let call = Some(call);
            return Self::Prepaid(Prepaid { rate, call });
        }
        let charge = Charge::Model(call);
        Self::Due(Due {
            at_most,
            rate,
            charge,
        })
    }

    /// The price, where there is one.
    pub fn due(self) -> Option<Due> {
        match self {
            Self::Due(due) => Some(due),
            Self::Free | Self::Prepaid(_) => None,
        }
    }

    /// The most that is held of a balance for it.
    pub const fn at_most(&self) -> Msat {
        match self {
            Self::Due(due) => due.at_most,
            Self::Free | Self::Prepaid(_) => Msat::ZERO,
        }
    }

    /// The rate by which it was found.
    #[must_use]
    pub const fn rate(&self) -> Option<Rate> {
        match self {
            Self::Free => None,
            Self::Prepaid(prepaid) => prepaid.rate,
            Self::Due(due) => due.rate,
        }
    }

    /// The model that is called.
    pub fn model(&self) -> Option<&str> {
        Some(self.call()?.model())
    }

    fn call(&self) -> Option<&ModelQuote> {
        match self {
            Self::Prepaid(prepaid) => prepaid.call.as_deref(),
            Self::Due(Due {
                charge: Charge::Model(call),
                ..
            }) => Some(call),
            Self::Due(_) | Self::Free => None,
        }
    }

    /// What this price was found by, where there is anything to tell. It is handed over with the
    /// hold, so that it is there whatever becomes of this process.
    pub fn basis(&self, now: UnixMillis) -> Option<Box<ChargeBasis>> {
        let rate = self.rate().map(|rate| RateUsed {
            currency: rate.currency.name(),
            bitcoin_price: rate.bitcoin_price.to_string(),
            age_ms: rate.taken_at.map(|at| now.get().saturating_sub(at.get())),
        });
        let model = self.model().map(str::to_owned);
        let is_known = rate.is_some() || model.is_some();
        is_known.then(|| Box::new(ChargeBasis { rate, model }))
    }

    /// Whether the price is the charge, whatever the answer uses.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        match self {
            Self::Due(due) => matches!(due.charge, Charge::Exactly),
            Self::Free | Self::Prepaid(_) => true,
        }
    }

    /// Whether the answer can be made to cost less.
    pub const fn can_shrink(&self) -> bool {
        matches!(self, Self::Due(due) if due.can_shrink())
    }

    /// See [`Due::shrink_to`].
    pub async fn shrink_to(&mut self, most: Msat) -> Result<bool, Busy> {
        match self {
            Self::Due(due) => due.shrink_to(most).await,
            Self::Free | Self::Prepaid(_) => Ok(false),
        }
    }

    /// The body that was priced, where that is not the one that came.
    pub fn into_body(self) -> Option<Bytes> {
        Some(self.call()?.body())
    }

    /// What finds out the charge, where it is not the price, and the body that was priced.
    pub fn into_gauge(self) -> (Option<Box<dyn Gauge>>, Option<Bytes>) {
        match self {
            Self::Due(Due {
                charge: Charge::Gauged(gauge),
                ..
            }) => (Some(gauge), None),
            Self::Due(Due {
                charge: Charge::Model(call),
                ..
            }) => {
                let body = call.body();
                (Some(call.gauge()), Some(body))
            }
            other => (None, other.into_body()),
        }
    }
}

impl Paywall {
    /// Whether a request's body has to be read, and kept, before it is priced for this payer.
    ///
    /// A credential that pays comes before the price, and strangers are asked for within the limits
    /// on challenges alone: so nobody can make the seller's webhook work more often than the node.
    ///
    /// # Errors
    /// What is not sold, as far as the head tells; a stranger who asked too often.
    pub fn reads(&self, payer: &Payer, ask: &Ask<'_>) -> Result<bool, Error> {
        if let Some(models) = ask.sale.offer.models() {
            check_headers(models, ask.headers)?;
            return Ok(true);
        }
        if let Some(by_use) = ask.sale.offer.by_use() {
            by_use.check_headers(ask.headers)?;
        }
        if ask.sale.offer.webhook().is_none() || payer.has_prepaid() {
            return Ok(false);
        }
        if let Payer::Nobody { .. } = payer {
            self.let_stranger_ask(ask)?;
        }
        // Kept: it is forwarded where it turns out to cost nothing.
        Ok(true)
    }

    /// Whether a stranger may make the webhook be asked now.
    fn let_stranger_ask(&self, ask: &Ask<'_>) -> Result<(), PriceError> {
        let (holder, now) = (ask.holder, Instant::now());
        // These get no invoice, and so would take nothing of the limit later on.
        let refused = if is_probe(ask.method) {
            self.challenges.try_take(holder, now).is_err()
        } else {
            self.challenges.check(holder, now).is_err()
        };
        if refused {
            self.counters.challenge_refused();
            return Err(PriceError::TooOften);
        }
        Ok(())
    }

    /// What led to no invoice takes of the limit on challenges all the same.
    fn note_stranger(&self, ask: &Ask<'_>) {
        if !is_probe(ask.method) {
            let _ = self.challenges.try_take(ask.holder, Instant::now());
        }
    }

    /// What a request costs its payer. Its body was read as [`reads`](Self::reads) says.
    ///
    /// # Errors
    /// Why it has no price: it is not sold, or nobody can say at the moment what it costs.
    pub async fn price(&self, payer: &Payer, ask: &Ask<'_>) -> Result<Quote, Error> {
        let (offer, now) = (&ask.sale.offer, self.clock.now());
        match offer {
            // What was bought by the call is bounded too: nothing is forwarded unread.
            Offer::Metered {
                pricing: Pricing::Models(models),
                ..
            } => {
                let call = Box::pin(quote_call(models, self, ask)).await?;
                Ok(call.map_or(Quote::Free, |call| Quote::of_call(call, payer)))
            }
            Offer::Flat { .. } | Offer::Metered { .. } | Offer::Quoted(_)
                if payer.has_prepaid() =>
            {
                let (rate, call) = (offer.rate(now), None);
                Ok(Quote::Prepaid(Prepaid { rate, call }))
            }
            Offer::Flat { price, .. } => Ok(Quote::Due(price.quote(now)?)),
            Offer::Metered {
                pricing: Pricing::Use(by_use),
                ..
            } => Ok(Quote::Due(by_use.quote(ask.forwarded_length(), now)?)),
            Offer::Metered {
                pricing: Pricing::Webhook(webhook),
                ..
            }
            | Offer::Quoted(webhook) => {
                let quoted = Box::pin(webhook.price(ask, &self.clock, &self.drain)).await;
                if let (Payer::Nobody { .. }, Err(_) | Ok(None)) = (payer, &quoted) {
                    self.note_stranger(ask);
                }
                Ok(quoted?.map_or(Quote::Free, Quote::Due))
            }
        }
    }
}

impl Offer {
    /// The rate of the moment, where the price is in the money of some state and there is a rate.
    fn rate(&self, now: UnixMillis) -> Option<Rate> {
        match self {
            Self::Flat { price, .. } => price.quote(now).ok()?.rate,
            Self::Metered { .. } | Self::Quoted(_) => None,
        }
    }
}

impl FlatPrice {
    fn quote(&self, now: UnixMillis) -> Result<Due, Unsold> {
        match self {
            Self::Msat(price) => Ok(Due::exactly(*price, None)),
            Self::Fiat(price) => {
                let quoted = price.rates.quote(price.currency, now)?;
                let msat = quoted.exchange.to_msat(price.amount)?;
                Ok(Due::exactly(msat, quoted.rate))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(taken_at: Option<u64>) -> Rate {
        Rate {
            currency: "usd".parse().unwrap(),
            bitcoin_price: "64123.50".parse().unwrap(),
            taken_at: taken_at.map(UnixMillis::new),
        }
    }

    #[test]
    fn a_rate_is_kept_with_its_age_and_a_fixed_one_has_none() {
        let at = |taken_at| {
            let quote = Quote::Due(Due::exactly(Msat::ZERO, Some(rate(taken_at))));
            quote.basis(UnixMillis::new(5_000)).unwrap().rate.unwrap()
        };
        assert_eq!(at(Some(3_500)).age_ms, Some(1_500));
        assert_eq!(at(Some(9_000)).age_ms, Some(0), "a clock was set back");
        assert_eq!(at(None).age_ms, None);
        let kept = at(None);
        assert_eq!(kept.currency, "usd");
        assert_eq!(kept.bitcoin_price.parse(), Ok(rate(None).bitcoin_price));
    }

    #[test]
    fn a_fixed_price_in_bitcoin_keeps_nothing() {
        let now = UnixMillis::new(5_000);
        assert_eq!(Quote::Due(Due::exactly(Msat::ZERO, None)).basis(now), None);
    }
}
