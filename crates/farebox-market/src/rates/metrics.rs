//! How the rates are: their age, and which sources fail. Nobody is asked for a scrape.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use farebox_core::Clock;
use farebox_http::counted::gauges;
use farebox_meter::Currency;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::Rates;
use super::watch::{LiveRates, Survey};

/// What the last round of every currency came to.
#[derive(Clone)]
pub(super) struct RateMetrics {
    clock: Arc<dyn Clock>,
    rates: Arc<ArcSwapOption<Rates>>,
    rounds: Arc<Mutex<BTreeMap<Currency, Round>>>,
}

/// Per source, whether it answered; and how many agreed.
#[derive(Default)]
struct Round {
    answered: Vec<(String, bool)>,
    agreed: usize,
}

impl RateMetrics {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            rates: Arc::default(),
            rounds: Arc::default(),
        }
    }

    /// Speaks of these from now on.
    pub(super) fn take(&self, rates: Arc<Rates>, live: &LiveRates) {
        self.rates.store(Some(rates));
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        rounds.clear();
        rounds.extend(
            live.currencies
                .iter()
                .map(|currency| (*currency, Round::default())),
        );
    }

    pub(super) fn note(&self, currency: Currency, survey: &Survey) {
        let answers = survey.answers.iter();
        let round = Round {
            answered: answers
                .map(|(name, answer)| (name.clone(), answer.is_ok()))
                .collect(),
            agreed: survey.agreed.map_or(0, |agreed| agreed.sources),
        };
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        rounds.insert(currency, round);
    }

    /// Seconds since the rate of a currency was taken.
    fn age(&self, currency: Currency) -> Option<i64> {
        let rate = self.rates.load_full()?.find(currency)?;
        let age = self.clock.now().get().saturating_sub(rate.taken_at?.get());
        i64::try_from(age / 1000).ok()
    }
}

impl fmt::Debug for RateMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateMetrics").finish_non_exhaustive()
    }
}

impl Collector for RateMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let label = |currency: &Currency| [("currency", currency.name())];
        let ages = rounds
            .keys()
            .filter_map(|it| Some((label(it), self.age(*it)?)));
        gauges(
            &mut encoder,
            "rate_age",
            "How long ago the exchange rate was taken",
            Some(&Unit::Seconds),
            ages,
        )?;
        let agreed = |round: &Round| i64::try_from(round.agreed).unwrap_or(i64::MAX);
        gauges(
            &mut encoder,
            "rate_sources_agreed",
            "Sources that agreed on the exchange rate in the last round",
            None,
            rounds.iter().map(|(it, round)| (label(it), agreed(round))),
        )?;
        let sources = rounds.iter().flat_map(|(currency, round)| {
            let answered = round.answered.iter();
            answered.map(|(source, answered)| {
                let labels = [("currency", currency.name()), ("source", source.clone())];
                (labels, i64::from(*answered))
            })
        });
        gauges(
            &mut encoder,
            "rate_source_up",
            "1 unless the source gave no price in the last round",
            None,
            sources,
        )
    }
}
