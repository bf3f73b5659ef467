//! What will run: every setting of the data plane, checked and resolved.
//!
//! A [`Plan`] is built once, from the configuration, by code that reports every mistake; nothing
//! behind this type meets an unchecked setting. A reload builds a whole new plan and swaps it. Each
//! request keeps the plan it began with to its end, so a swap never waits for a stream.

mod credential;
mod mapping;

pub use credential::Credential;
pub use mapping::PathMapping;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use farebox_core::RouteName;
use farebox_http::client_addr::TrustedProxies;
use farebox_http::cors::Cors;
use farebox_http::headers::UnusualNames;
use farebox_http::path::PathParameters;
use farebox_http::routes::RouteTable;
use farebox_http::upstream::UpstreamPool;
use farebox_paywall::ask::PaymentRules;
use farebox_paywall::sale::Sale;
use http::header::{HeaderName, HeaderValue};
use http::uri::Scheme;

use crate::metrics::RouteMetrics;
use crate::shape::{Extract, Shape};

/// Everything a request may meet.
pub struct Plan {
    /// Rules that hold for all routes.
    pub server: ServerRules,
    /// The routes, by host and canonical path.
    pub routes: RouteTable<Arc<Route>>,
    /// How payments are taken.
    pub payments: PaymentRules,
}

/// What is sold on a route, under a plan.
#[derive(Clone, Copy)]
pub(crate) struct Sold<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) route: &'a Arc<Route>,
    pub(crate) sale: &'a Sale,
}

/// Rules that hold for all routes.
#[derive(Clone, Debug)]
pub struct ServerRules {
    /// Proxies in front of us whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
    /// The status of a malformed or unverifiable credential.
    pub bad_credential: BadCredential,
    /// Whether a challenge begins with a legacy `LSAT` line.
    pub legacy_challenge: bool,
    /// Whether `;` parameters are let through in paths.
    pub path_parameters: bool,
    /// Whether header names with other characters than letters, digits and hyphens are let through.
    pub underscores_in_headers: bool,
    /// Whether buyers come over https, as far as the configuration says: cookies then never
    /// travel in clear.
    pub public_https: bool,
    /// Whether prepaid keys are sold. Those that were are good either way.
    pub prepaid_keys: bool,
    /// How long an answer may go on after what pays for it is over.
    pub overtime: Duration,
}

impl ServerRules {
    /// What is done about `;` in paths.
    pub(crate) const fn parameters(&self) -> PathParameters {
        if self.path_parameters {
            PathParameters::Allowed
        } else {
            PathParameters::Refused
        }
    }

    /// What is done about header names that some servers take for others.
    pub(crate) const fn unusual_names(&self) -> UnusualNames {
        if self.underscores_in_headers {
            UnusualNames::Kept
        } else {
            UnusualNames::Dropped
        }
    }
}

/// How a credential that does not verify is answered (`401` by RFC 9110 and the L402
/// specification, `402` as Aperture does, whose clients only pay again on 402).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCredential {
    /// 401 with a challenge.
    Unauthorized,
    /// 402 with a challenge.
    PaymentRequired,
}

/// One route: which requests it takes is decided by its place in the [`RouteTable`].
pub struct Route {
    /// Its name, as in caveats, logs and metrics.
    pub name: RouteName,
    /// Methods it answers; all when absent. Others get 405.
    pub http_methods: Option<Vec<http::Method>>,
    /// Where it forwards to.
    pub upstream: Upstream,
    /// What it charges; free when absent.
    pub sale: Option<Sale>,
    /// The longest request body that is read before forwarding, in bytes.
    pub max_read_bytes: usize,
    /// The longest request body that streams through, in bytes.
    pub max_body_bytes: u64,
    /// How long the upstream may take until its response headers.
    pub timeout: Duration,
    /// How long either side of a body may be silent.
    pub idle_timeout: Duration,
    /// Answers to browsers of other origins; none when absent.
    pub cors: Option<Cors>,
    /// What caches are told about paid answers.
    pub paid_cache: PaidCache,
    /// Whether the document of a 402 carries the invoice and the macaroon as well.
    pub challenge_in_body: bool,
    /// Whether a person with a browser gets the challenge of a GET as a page.
    pub page: bool,
    /// What is made of its requests and answers; they pass as they are when absent.
    pub shape: Option<Box<Shape>>,
    /// The canonical path that all its paths lie under, where it has one: what a browser that
    /// bought something for the whole route sends its claim to.
    pub root: Option<String>,
    /// The text that all its paths begin with; empty where they have none in common.
    pub begins_with: String,
    /// How priced routes to the same server map their paths, where this one is free and does so
    /// otherwise: as a lenient server reads them.
    pub neighbours: Vec<PathMapping>,
    /// Its counters; empty until a gateway takes the plan.
    pub metrics: RouteCounters,
}

impl Route {
    /// What its answers are cut down to.
    pub(crate) fn extract(&self) -> Option<&Arc<Extract>> {
        self.shape.as_ref()?.response.as_ref()
    }

    /// Whether the client's query goes on to the upstream: a template says all that is asked.
    pub(crate) fn keeps_query(&self) -> bool {
        let template = self.shape.as_ref().and_then(|it| it.request.as_ref());
        template.is_none()
    }
}

/// The counters of a route, filled in when a gateway takes the plan.
pub type RouteCounters = OnceLock<Arc<RouteMetrics>>;

/// Where a route forwards to.
pub struct Upstream {
    /// How it is asked for a path.
    pub mapping: PathMapping,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Headers set on every forwarded request, replacing the client's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The seller's credential among these.
    pub credential: Arc<Credential>,
    /// The `Host` it is asked for.
    pub host_header: HeaderValue,
    /// Whether the client's `Host` goes to the upstream instead of the upstream's own.
    pub preserve_host: bool,
    /// Host, port and connections.
    pub pool: UpstreamPool,
}

/// What caches are told about paid answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaidCache {
    /// `Cache-Control: private, no-store`, whatever the upstream says.
    PrivateNoStore,
    /// The upstream's own `Cache-Control` passes.
    Upstream,
}
