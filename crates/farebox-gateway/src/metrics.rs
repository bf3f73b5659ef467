//! Prometheus metrics. Labels come from closed lists and the route names of the plan only.

mod backends;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use farebox_core::{Msat, RouteName};
use farebox_lightning::follow::Settlements;
use farebox_paywall::metrics::PaymentCounters;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::access_log::Line;
use crate::outcome::Outcome;
use crate::plan::Plan;
use backends::BackendHealth;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabel {
    end: &'static str,
}

/// The counters of one route, fetched once so that a request touches no map.
#[derive(Debug)]
pub struct RouteMetrics {
    requests: [Counter; Outcome::ALL.len()],
    upstream_seconds: Histogram,
    charged_msat: Counter,
}

/// Everything the gateway counts.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    upstream_seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
    charged_msat: Family<RouteLabel, Counter>,
    costs_missing: Family<RouteLabel, Counter>,
    held_calls: Family<EndLabel, Counter>,
    webhooks: Family<ResultLabel, Counter>,
    connections: Gauge,
    log_batches_dropped: Counter,
    backends: BackendHealth,
    unrouted: RouteMetrics,
}

const UPSTREAM_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0,
];

fn upstream_histogram() -> Histogram {
    Histogram::new(UPSTREAM_BUCKETS)
}

impl Metrics {
    pub(crate) fn new(settlements: Settlements, payments: &PaymentCounters) -> Arc<Self> {
        let mut registry = Registry::with_prefix("farebox");
        let requests = Family::default();
        let upstream_seconds =
            Family::new_with_constructor(upstream_histogram as fn() -> Histogram);
        let charged_msat = Family::default();
        let costs_missing = Family::default();
        let unrouted = route_metrics("-", &requests, &upstream_seconds, &charged_msat);
        let mut metrics = Self {
            requests,
            upstream_seconds,
            charged_msat,
            costs_missing,
            held_calls: Family::default(),
            webhooks: Family::default(),
            connections: Gauge::default(),
            log_batches_dropped: Counter::default(),
            backends: BackendHealth::new(settlements),
            unrouted,
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        payments.register(&mut registry);
        registry.register_collector(Box::new(metrics.backends.clone()));
        metrics.registry = registry;
        Arc::new(metrics)
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests by route and outcome",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "upstream_latency",
            "Time from forwarding to the upstream's response headers",
            Unit::Seconds,
            self.upstream_seconds.clone(),
        );
        registry.register(
            "charged_msat",
            "Charged, in msat, by route",
            self.charged_msat.clone(),
        );
        registry.register(
            "costs_missing",
            "Complete answers whose upstream did not say what they cost, by route",
            self.costs_missing.clone(),
        );
        registry.register(
            "held_calls",
            "Calls whose payment was held, by how they ended: paid, canceled, or lost where a \
             served call was not paid",
            self.held_calls.clone(),
        );
        registry.register(
            "webhooks",
            "Calls of the backends' webhooks: heard, ignored because they tell of something else, \
             or refused for their signature",
            self.webhooks.clone(),
        );
        registry.register(
            "log_batches_dropped",
            "Batches of log lines lost because the log could not be written fast enough",
            self.log_batches_dropped.clone(),
        );
        registry.register(
            "connections",
            "Open client connections",
            self.connections.clone(),
        );
    }

    /// The metrics in the OpenMetrics text format; `more` may append families of its own before
    /// the end mark.
    ///
    /// # Errors
    /// Formatting failures only.
    pub fn render(&self, more: &[&Registry]) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        for registry in more {
            let end = text.trim_end_matches("# EOF\n").len();
            text.truncate(end);
            encode(&mut text, registry)?;
        }
        Ok(text)
    }

    /// Gives every route of a plan its counters; counts go on where a route of that name had them.
    pub(crate) fn take(&self, plan: &Plan) {
        self.backends.take(plan.payments.node.clone());
        for route in &plan.routes {
            let _ = route.metrics.set(self.for_route(&route.name));
        }
    }

    fn for_route(&self, name: &RouteName) -> Arc<RouteMetrics> {
        let metrics = route_metrics(
            name.as_str(),
            &self.requests,
            &self.upstream_seconds,
            &self.charged_msat,
        );
        Arc::new(metrics)
    }

    pub(crate) fn count(&self, line: &Line<'_>) {
        let exchange = line.exchange;
        let route = exchange
            .route
            .as_ref()
            .and_then(|route| route.metrics.get());
        let route = route.map_or(&self.unrouted, AsRef::as_ref);
        route.requests[exchange.outcome as usize].inc();
        let charged = exchange.charged();
        if !charged.msat.is_zero() {
            route.charged_msat.inc_by(charged.msat.get());
        }
        if charged.complaint().is_some() {
            let route = exchange.route.as_ref().map_or("-", |it| it.name.as_str());
            let route = route.to_owned();
            self.costs_missing
                .get_or_create(&RouteLabel { route })
                .inc();
        }
        if let Some(micros) = exchange.upstream_micros {
            route
                .upstream_seconds
                .observe(std::time::Duration::from_micros(micros).as_secs_f64());
        }
    }

    /// A call whose payment was held has ended.
    pub(crate) fn held_call(&self, end: &'static str) {
        self.held_calls.get_or_create(&EndLabel { end }).inc();
    }

    /// A backend called, or somebody in its name.
    pub(crate) fn webhook(&self, result: &'static str) {
        self.webhooks.get_or_create(&ResultLabel { result }).inc();
    }

    /// Money was earned other than by an answer's own settlement.
    pub(crate) fn charged(&self, route: &RouteName, amount: Msat) {
        let route = route.as_str().to_owned();
        let label = RouteLabel { route };
        self.charged_msat.get_or_create(&label).inc_by(amount.get());
    }

    pub(crate) const fn log_batches_dropped(&self) -> &Counter {
        &self.log_batches_dropped
    }

    pub(crate) const fn connections(&self) -> &Gauge {
        &self.connections
    }
}

fn route_metrics(
    name: &str,
    requests: &Family<RequestLabels, Counter>,
    upstream_seconds: &Family<RouteLabel, Histogram, fn() -> Histogram>,
    charged_msat: &Family<RouteLabel, Counter>,
) -> RouteMetrics {
    let label = RouteLabel {
        route: name.to_owned(),
    };
    let counter = |outcome: Outcome| -> Counter<u64, AtomicU64> {
        let labels = RequestLabels {
            route: name.to_owned(),
            outcome: outcome.as_str(),
        };
        requests.get_or_create(&labels).clone()
    };
    RouteMetrics {
        requests: Outcome::ALL.map(counter),
        upstream_seconds: upstream_seconds.get_or_create(&label).clone(),
        charged_msat: charged_msat.get_or_create(&label).clone(),
    }
}
