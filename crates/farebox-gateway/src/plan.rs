//! What will run: every setting of the data plane, checked and resolved.
//!
//! A [`Plan`] is built once, from the configuration, by code that reports every mistake; nothing
//! behind this type meets an unchecked setting. A reload builds a whole new plan and swaps it. Each
//! request keeps the plan it began with to its end, so a swap never waits for a stream.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use farebox_core::{Kind, MethodClass, Msat, RouteName, TermsEpoch};
use farebox_lightning::CreateInvoice;
use farebox_lightning::backends::Backends;
use farebox_meter::{Currency, Decimal, RequestRules};
use http::header::{HeaderName, HeaderValue};

use crate::by_use::ByUse;
use crate::capability::RouteCapabilities;
use crate::client_addr::TrustedProxies;
use crate::cors::Cors;
use crate::limits::TokenLimit;
use crate::meter::Billing;
use crate::metrics::RouteMetrics;
use crate::prices::Prices;
use crate::rates::Rates;
use crate::replay::ReplayPolicy;
use crate::routes::RouteTable;
use crate::shape::Shape;
use crate::upstream::UpstreamPool;
use crate::webhook::Webhook;

/// Everything a request may meet.
pub struct Plan {
    /// Rules that hold for all routes.
    pub server: ServerRules,
    /// The routes, by host and canonical path.
    pub routes: RouteTable<Arc<Route>>,
    /// The Lightning nodes that make invoices; absent when nothing is sold for Lightning.
    pub node: Option<Arc<Backends>>,
}

impl Plan {
    /// The backend that new payments are held by, and its name.
    pub(crate) fn holder(&self) -> Option<(&str, &Arc<dyn CreateInvoice>)> {
        let node = self.node.as_ref()?;
        let (name, _) = node.holder()?;
        Some((name, node.named(name)?))
    }
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
    /// How long an invoice can be paid.
    pub invoice_expiry: Duration,
    /// Whether buyers come over https, as far as the configuration says: cookies then never
    /// travel in clear.
    pub public_https: bool,
    /// Whether a token's first use also needs the node to say that its invoice is settled.
    pub strict_settlement: bool,
    /// Whether prepaid keys are sold. Those that were are good either way.
    pub prepaid_keys: bool,
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
    /// What one token may ask at once and in a period.
    pub token_limit: TokenLimit,
    /// Answers to browsers of other origins; none when absent.
    pub cors: Option<Cors>,
    /// What caches are told about paid answers.
    pub paid_cache: PaidCache,
    /// Whether a person with a browser gets the challenge of a GET as a page.
    pub page: bool,
    /// What may be asked of it, where tokens can be narrowed to a part of that.
    pub capabilities: Option<Box<RouteCapabilities>>,
    /// What is made of its requests and answers; they pass as they are when absent.
    pub shape: Option<Box<Shape>>,
    /// The canonical path that all its paths lie under, where it has one: what a browser that
    /// bought something for the whole route sends its claim to.
    pub root: Option<String>,
    /// Its counters; empty until a gateway takes the plan.
    pub metrics: RouteCounters,
}

/// The counters of a route, filled in when a gateway takes the plan.
pub type RouteCounters = OnceLock<Arc<RouteMetrics>>;

/// Where a route forwards to.
pub struct Upstream {
    /// Put in front of the canonical path; empty or begins with a slash and does not end with one.
    pub base_path: String,
    /// Taken off the canonical path first; empty when nothing is.
    pub strip_prefix: String,
    /// Headers set on every forwarded request, replacing the client's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The `Host` it is asked for.
    pub host_header: HeaderValue,
    /// Whether the client's `Host` goes to the upstream instead of the upstream's own.
    pub preserve_host: bool,
    /// Host, port and connections.
    pub pool: UpstreamPool,
}

/// What a route sells, and on which conditions.
#[derive(Clone, Debug)]
pub struct Sale {
    /// The price of one request.
    pub price: Msat,
    /// What one payment asks for: `price` for a single call or a count of calls, the deposit for
    /// a balance, the price of the span for a pass.
    pub amount: Msat,
    /// What one payment buys.
    pub kind: Kind,
    /// Whether a token is good for one exact request or for the route.
    pub bind: Bind,
    /// Which methods a token is good for.
    pub methods: MethodScope,
    /// How long a token can be spent from its first claim on.
    pub valid_for: Duration,
    /// Which upstream answers are charged.
    pub charge_on: ChargeOn,
    /// How finished answers are kept for a client that lost the connection; not at all when absent.
    pub replay: Option<ReplayPolicy>,
    /// How many voided attempts a token has before it is refused.
    pub max_voids: u32,
    /// The invoice's memo.
    pub description: String,
    /// The fingerprint of these conditions.
    pub epoch: TermsEpoch,
    /// What becomes of the payment when the upstream fails.
    pub on_failure: OnFailure,
    /// How the price of one request is found.
    pub pricing: Pricing,
}

/// How the price of one request is found.
#[derive(Clone, Debug)]
pub enum Pricing {
    /// It is [`Sale::price`].
    Fixed,
    /// An amount in the money of some state, at the rate of the moment.
    Fiat(FiatPrice),
    /// By what the call of a model uses. Sold as balances only.
    Models(Arc<ModelSale>),
    /// By what the answer turns out to have used. Sold as balances only.
    ByUse(Arc<ByUse>),
    /// As a program of the seller says. Sold as balances, or as single calls.
    Webhook(Arc<Webhook>),
}

/// A price in the money of some state.
#[derive(Clone)]
pub struct FiatPrice {
    /// Which.
    pub currency: Currency,
    /// How much, for one request.
    pub amount: Decimal,
    /// What a bitcoin costs in it.
    pub rates: Arc<Rates>,
}

impl std::fmt::Debug for FiatPrice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.amount, self.currency.name())
    }
}

/// What is sold of models.
pub struct ModelSale {
    /// What each model costs.
    pub prices: Arc<Prices>,
    /// What a bitcoin costs, for prices in other money.
    pub rates: Arc<Rates>,
    /// What requests may ask besides the known.
    pub rules: RequestRules,
    /// Millionths on top of the listed prices.
    pub markup: u64,
    /// What is charged where an answer does not end well.
    pub billing: Billing,
    /// Whether the tokens of models whose vocabulary is public are counted by it where nobody tells
    /// them. A token is four bytes else.
    pub knows_vocabularies: bool,
    /// The canonical path in front of the endpoints, such as `/openai` or nothing.
    pub root: String,
}

impl std::fmt::Debug for ModelSale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelSale")
            .field("markup", &self.markup)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// What becomes of the payment when the upstream fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The hold on the account is voided: the value stays on the token.
    Void,
    /// The payment itself is canceled at the node and was never made. The call runs while the
    /// payment is held, so only a single call of one exact request can be sold so.
    Cancel,
}

/// What a token is tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// The method, path, query and body of the request that was challenged.
    Request,
    /// The route.
    Route,
}

/// Which methods a token buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodScope {
    /// The class of the challenged request: a token bought for reading does not write.
    Class,
    /// All.
    Any,
}

/// Which upstream answers are charged. Whatever this says, no connection, a time-out before the
/// headers, 401, 402, 403, 407 and a body cut by the upstream are never charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeOn {
    /// 2xx and 3xx.
    Success,
    /// 2xx, 3xx and 4xx: for upstreams whose "not found" is a valuable answer.
    SuccessAndClientError,
}

/// What caches are told about paid answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaidCache {
    /// `Cache-Control: private, no-store`, whatever the upstream says.
    PrivateNoStore,
    /// The upstream's own `Cache-Control` passes.
    Upstream,
}

impl MethodScope {
    /// The class that a token challenged by `method` is good for.
    #[must_use]
    pub fn class_for(self, method: &http::Method) -> MethodClass {
        match self {
            Self::Class => MethodClass::of(method.as_str()),
            Self::Any => MethodClass::Any,
        }
    }
}

impl ChargeOn {
    /// Whether an answer with `status` is charged.
    #[must_use]
    pub fn charges(self, status: http::StatusCode) -> bool {
        status.is_success()
            || status.is_redirection()
            || (self == Self::SuccessAndClientError && status.is_client_error())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Some sale.
    pub(crate) fn sale() -> Sale {
        let price = Msat::new(2_000).unwrap();
        Sale {
            price,
            amount: price,
            kind: Kind::Single,
            bind: Bind::Route,
            methods: MethodScope::Any,
            valid_for: Duration::from_secs(60),
            charge_on: ChargeOn::Success,
            replay: None,
            max_voids: 10,
            description: "weather".to_owned(),
            epoch: TermsEpoch(1),
            on_failure: OnFailure::Void,
            pricing: Pricing::Fixed,
        }
    }
}
