//! The loop that asks the sources, in the background: no request ever waits for them.
//!
//! What fails keeps the old rate in force until it is too old. Nothing here ends the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farebox_core::Clock;
use farebox_http::client::{AllowedHosts, GuardedClient};
use farebox_meter::{Currency, Decimal};
use prometheus_client::registry::Registry;
use tokio::task::{JoinHandle, JoinSet};

use super::median::{Agreed, Agreement, Disagreement, agree};
use super::metrics::RateMetrics;
use super::source::{Source, SourceError};
use super::{Rate, Rates};

/// Which rates are followed, and how.
#[derive(Clone, Debug)]
pub struct LiveRates {
    /// In these currencies; none needs no network.
    pub currencies: Vec<Currency>,
    /// Who is asked.
    pub sources: Vec<Source>,
    /// How often.
    pub every: Duration,
    /// What counts as a rate.
    pub agreement: Agreement,
    /// Hosts that may be called in clear and at private addresses.
    pub allow_hosts: AllowedHosts,
}

/// What came of asking every source once.
pub struct Survey {
    /// What each said, in the order of the sources.
    pub answers: Vec<(String, Result<Decimal, SourceError>)>,
    /// What follows from it.
    pub agreed: Result<Agreed, Disagreement>,
}

/// The running loop, until it is dropped.
pub struct RateWatch {
    clock: Arc<dyn Clock>,
    metrics: RateMetrics,
    registry: Registry,
    running: Mutex<Running>,
}

/// One run of the loop.
struct Running {
    rates: Arc<Rates>,
    task: Option<JoinHandle<()>>,
}

/// What was logged last, so that it is logged once.
#[derive(Default)]
struct Told {
    failing: BTreeSet<(String, Currency)>,
    stale: BTreeSet<Currency>,
}

impl LiveRates {
    /// Asks every source once.
    pub async fn survey(
        &self,
        client: &GuardedClient,
        currency: Currency,
        oldest: farebox_core::UnixMillis,
    ) -> Survey {
        let mut asked = JoinSet::new();
        for (place, source) in self.sources.iter().cloned().enumerate() {
            let client = client.clone();
            asked.spawn(async move {
                let answer = source.ask(&client, currency, oldest).await;
                (place, (source.name, answer))
            });
        }
        let answers: BTreeMap<_, _> = asked.join_all().await.into_iter().collect();
        let answers: Vec<_> = answers.into_values().collect();
        let prices = answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().ok().copied());
        let agreed = agree(prices.collect(), self.agreement);
        Survey { answers, agreed }
    }
}

impl RateWatch {
    /// Follows these rates, on the runtime that this is called on.
    #[must_use]
    pub fn start(live: LiveRates, rates: Arc<Rates>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let metrics = RateMetrics::new(Arc::clone(&clock));
        let mut registry = Registry::with_prefix("farebox");
        registry.register_collector(Box::new(metrics.clone()));
        let watch = Arc::new(Self {
            running: Mutex::new(Running {
                rates: Arc::clone(&rates),
                task: None,
            }),
            metrics,
            registry,
            clock,
        });
        watch.replace(live, rates);
        watch
    }

    /// Follows others from now on. What is known stays known.
    pub fn replace(&self, live: LiveRates, rates: Arc<Rates>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = running.task.take() {
            task.abort();
        }
        for currency in &live.currencies {
            if let Some(known) = running.rates.find(*currency)
                && known.taken_at.is_some()
                && rates.find(*currency).is_none()
            {
                rates.set(*currency, known);
            }
        }
        self.metrics.take(Arc::clone(&rates), &live);
        running.rates = Arc::clone(&rates);
        if !live.currencies.is_empty() {
            let (clock, metrics) = (Arc::clone(&self.clock), self.metrics.clone());
            running.task = Some(tokio::spawn(follow(live, rates, clock, metrics)));
        }
    }

    /// What is counted.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Drop for RateWatch {
    fn drop(&mut self) {
        let running = self.running.get_mut();
        let running = running.unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = running.task.take() {
            task.abort();
        }
    }
}

async fn follow(live: LiveRates, rates: Arc<Rates>, clock: Arc<dyn Clock>, metrics: RateMetrics) {
    let client = GuardedClient::new(live.allow_hosts.clone());
    let mut told = Told::default();
    loop {
        for currency in &live.currencies {
            let asked_at = clock.now();
            let oldest = rates.oldest(asked_at);
            let survey = live.survey(&client, *currency, oldest).await;
            metrics.note(*currency, &survey);
            told.sources(*currency, &survey);
            if let Ok(agreed) = survey.agreed {
                // As old as the question: what a slow source says may have been true then.
                let rate = Rate {
                    currency: *currency,
                    bitcoin_price: agreed.price,
                    taken_at: Some(asked_at),
                };
                rates.set(*currency, rate);
            }
            let is_good = rates.quote(*currency, clock.now()).is_ok();
            told.rate(*currency, is_good, &survey);
        }
        tokio::time::sleep(live.every).await;
    }
}

impl Told {
    fn sources(&mut self, currency: Currency, survey: &Survey) {
        for (source, answer) in &survey.answers {
            let key = (source.clone(), currency);
            let name = currency.name();
            match answer {
                Ok(_) if self.failing.remove(&key) => {
                    tracing::info!(source, currency = name, "the rate source is back");
                }
                Err(error) if self.failing.insert(key) => {
                    let error = error as &dyn std::error::Error;
                    tracing::warn!(source, currency = name, error, "the rate source fails");
                }
                _ => {}
            }
        }
    }

    fn rate(&mut self, currency: Currency, is_good: bool, survey: &Survey) {
        let name = currency.name();
        if is_good {
            if self.stale.remove(&currency) {
                tracing::info!(currency = name, "the exchange rate is known again");
            }
        } else if self.stale.insert(currency) {
            let reason = survey.agreed.err().map(|reason| reason.to_string());
            tracing::warn!(
                currency = name,
                reason,
                "no exchange rate to sell by; what has a price in it waits"
            );
        }
    }
}
