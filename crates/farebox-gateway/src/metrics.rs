//! Prometheus metrics. Labels come from closed lists and the route names of the plan only.

mod backends;
mod shared;

use std::sync::Arc;

use farebox_core::{Msat, RouteName};
use farebox_http::counted::{CountersBy, Label, counted};
use farebox_lightning::follow::Settlements;
use farebox_paywall::metrics::PaymentCounters;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::access_log::Exchange;
use crate::outcome::Outcome;
use crate::plan::Plan;
use backends::BackendHealth;
pub(crate) use shared::Shared;

/// The counters of one route, fetched once so that a request touches no map.
#[derive(Debug)]
pub struct RouteMetrics {
    requests: [Counter; Outcome::ALL.len()],
    upstream_seconds: Histogram,
    charged_msat: Counter,
}

/// What every route counts.
struct Routes {
    requests: Family<[(&'static str, String); 2], Counter>,
    upstream_seconds: Family<Label<String>, Histogram, fn() -> Histogram>,
    charged_msat: CountersBy<String>,
}

/// Everything the gateway counts.
pub struct Metrics {
    registry: Registry,
    routes: Routes,
    costs_missing: CountersBy<String>,
    held_calls: CountersBy<&'static str>,
    webhooks: CountersBy<&'static str>,
    connections: Gauge,
    log_batches_dropped: Counter,
    backends: BackendHealth,
    unrouted: RouteMetrics,
}

const UPSTREAM_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0,
];

impl Routes {
    fn new(registry: &mut Registry) -> Self {
        let histogram = || Histogram::new(UPSTREAM_BUCKETS);
        let upstream_seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let requests = counted(registry, "requests", "Requests by route and outcome");
        registry.register_with_unit(
            "upstream_latency",
            "Time from forwarding to the upstream's response headers",
            Unit::Seconds,
            upstream_seconds.clone(),
        );
        Self {
            requests,
            upstream_seconds,
            charged_msat: counted(registry, "charged_msat", "Charged, in msat, by route"),
        }
    }

    /// The counters of a route; they go on where a route of that name had them.
    fn counters(&self, name: &str) -> RouteMetrics {
        let label = [("route", name.to_owned())];
        let requests = |outcome: Outcome| {
            let outcome = ("outcome", outcome.as_str().to_owned());
            let labels = [("route", name.to_owned()), outcome];
            self.requests.get_or_create(&labels).clone()
        };
        RouteMetrics {
            requests: Outcome::ALL.map(requests),
            upstream_seconds: self.upstream_seconds.get_or_create(&label).clone(),
            charged_msat: self.charged_msat.get_or_create(&label).clone(),
        }
    }
}

impl Metrics {
    pub(crate) fn new(
        settlements: Settlements,
        payments: &PaymentCounters,
        shared: Shared,
    ) -> Arc<Self> {
        let mut registry = Registry::with_prefix("farebox");
        let routes = Routes::new(&mut registry);
        let backends = BackendHealth::new(settlements);
        let metrics = Self {
            unrouted: routes.counters("-"),
            routes,
            costs_missing: counted(
                &mut registry,
                "costs_missing",
                "Complete answers whose upstream did not say what they cost, by route",
            ),
            held_calls: counted(
                &mut registry,
                "held_calls",
                "Calls whose payment was held, by how they ended: paid, canceled, or lost where a \
                 served call was not paid",
            ),
            webhooks: counted(
                &mut registry,
                "webhooks",
                "Calls of the backends' webhooks: heard, ignored because they tell of something \
                 else, or refused for their signature",
            ),
            log_batches_dropped: counted(
                &mut registry,
                "log_batches_dropped",
                "Batches of log lines lost because the log could not be written fast enough",
            ),
            connections: counted(&mut registry, "connections", "Open client connections"),
            backends: backends.clone(),
            registry: {
                payments.register(&mut registry);
                registry.register_collector(Box::new(backends));
                registry.register_collector(Box::new(shared));
                registry
            },
        };
        Arc::new(metrics)
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

    /// Gives every route of a plan its counters.
    pub(crate) fn take(&self, plan: &Plan) {
        self.backends.take(plan.payments.node.clone());
        for route in &plan.routes {
            let counters = self.routes.counters(route.name.as_str());
            let _ = route.metrics.set(Arc::new(counters));
        }
    }

    pub(crate) fn count(&self, exchange: &Exchange) {
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
            let label = [("route", exchange.route_name().to_owned())];
            self.costs_missing.get_or_create(&label).inc();
        }
        if let Some(micros) = exchange.upstream_micros {
            route
                .upstream_seconds
                .observe(std::time::Duration::from_micros(micros).as_secs_f64());
        }
    }

    /// A call whose payment was held has ended.
    pub(crate) fn held_call(&self, end: &'static str) {
        self.held_calls.get_or_create(&[("end", end)]).inc();
    }

    /// A backend called, or somebody in its name.
    pub(crate) fn webhook(&self, result: &'static str) {
        self.webhooks.get_or_create(&[("result", result)]).inc();
    }

    /// Money was earned other than by an answer's own settlement.
    pub(crate) fn charged(&self, route: &RouteName, amount: Msat) {
        let charged = self.routes.counters(route.as_str()).charged_msat;
        charged.inc_by(amount.get());
    }

    pub(crate) const fn log_batches_dropped(&self) -> &Counter {
        &self.log_batches_dropped
    }

    pub(crate) const fn connections(&self) -> &Gauge {
        &self.connections
    }
}
