//! What a bitcoin costs, for prices that are written in money of states.
//!
//! Readers never wait: whoever finds a rate puts it here, and a rate that has grown old is no rate.
//! `watch` finds them, by asking several `source`s and taking the `median` of those that agree.

pub mod median;
mod metrics;
pub mod source;
pub mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use arc_swap::ArcSwap;
use farebox_core::UnixMillis;
use farebox_meter::{Currency, Decimal, Exchange};

/// The rates in force.
pub struct Rates {
    rates: ArcSwap<BTreeMap<Currency, Rate>>,
    max_age: Duration,
    /// Millionths added to every price against a rate that moves meanwhile.
    buffer: u64,
}

/// The price of one bitcoin, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In which money.
    pub currency: Currency,
    /// In units of it.
    pub bitcoin_price: Decimal,
    /// When it was true; a rate that the seller fixed is always true.
    pub taken_at: Option<UnixMillis>,
}

/// A rate as one request uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Msat for the currency, the buffer included.
    pub exchange: Exchange,
    /// The rate behind it; none for bitcoin's own units.
    pub rate: Option<Rate>,
}

/// There is no rate to sell by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRate {
    /// None was ever known.
    #[error("no exchange rate is known for this currency")]
    Unknown,
    /// The last one is too old.
    #[error("the exchange rate is too old to sell by")]
    Stale,
}

impl Rates {
    /// No rates yet; each is good for `max_age`.
    #[must_use]
    pub fn new(max_age: Duration, buffer: u64) -> Self {
        Self {
            rates: ArcSwap::default(),
            max_age,
            buffer,
        }
    }

    /// Puts a rate in force.
    pub fn set(&self, currency: Currency, rate: Rate) {
        self.rates.rcu(|rates| {
            let mut rates = BTreeMap::clone(rates);
            rates.insert(currency, rate);
            rates
        });
    }

    /// The rate of a currency.
    #[must_use]
    pub fn find(&self, currency: Currency) -> Option<Rate> {
        self.rates.load().get(&currency).copied()
    }

    /// When a rate must have been taken at the earliest, to be good at `now`.
    #[must_use]
    pub fn oldest(&self, now: UnixMillis) -> UnixMillis {
        let age = u64::try_from(self.max_age.as_millis()).unwrap_or(u64::MAX);
        UnixMillis::new(now.get().saturating_sub(age))
    }

    /// The exchange for a price in `currency`.
    ///
    /// # Errors
    /// [`NoRate`]; nothing may be sold by it.
    pub fn quote(&self, currency: Currency, now: UnixMillis) -> Result<Quoted, NoRate> {
        if let Some(exchange) = Exchange::fixed(currency) {
            return Ok(Quoted {
                exchange,
                rate: None,
            });
        }
        let rate = self.find(currency).ok_or(NoRate::Unknown)?;
        if rate.taken_at.is_some_and(|at| at.plus(self.max_age) < now) {
            return Err(NoRate::Stale);
        }
        let exchange = Exchange::of_bitcoin_price(rate.bitcoin_price);
        let exchange = exchange.map_err(|_| NoRate::Unknown)?;
        let buffer = if rate.taken_at.is_some() {
            self.buffer
        } else {
            0
        };
        Ok(Quoted {
            exchange: exchange.dearer_by(buffer),
            rate: Some(rate),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd() -> Currency {
        "usd".parse().unwrap()
    }

    fn one_dollar(rates: &Rates, now: u64) -> Result<u64, NoRate> {
        let quoted = rates.quote(usd(), UnixMillis::new(now))?;
        Ok(quoted.exchange.to_msat("1".parse().unwrap()).unwrap().get())
    }

    fn rate(price: &str, taken_at: Option<u64>) -> Rate {
        Rate {
            currency: usd(),
            bitcoin_price: price.parse().unwrap(),
            taken_at: taken_at.map(UnixMillis::new),
        }
    }

    #[test]
    fn a_rate_is_used_until_it_is_too_old_and_with_its_buffer() {
        let rates = Rates::new(Duration::from_secs(60), 5_000);
        assert_eq!(one_dollar(&rates, 0), Err(NoRate::Unknown));
        rates.set(usd(), rate("100000", Some(1_000)));
        assert_eq!(one_dollar(&rates, 61_000), Ok(1_005_000));
        assert_eq!(one_dollar(&rates, 61_001), Err(NoRate::Stale));
    }

    #[test]
    fn a_fixed_rate_never_grows_old_and_needs_no_buffer() {
        let rates = Rates::new(Duration::from_secs(60), 5_000);
        rates.set(usd(), rate("50000", None));
        assert_eq!(one_dollar(&rates, u64::MAX / 2), Ok(2_000_000));
    }

    #[test]
    fn bitcoins_own_units_need_no_rate() {
        let rates = Rates::new(Duration::ZERO, 0);
        let quoted = rates.quote(Currency::Sat, UnixMillis::new(0)).unwrap();
        assert_eq!(quoted.rate, None);
    }
}
