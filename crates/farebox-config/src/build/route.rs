//! One route: its place in the table, its limits, and the parts that have files of their own.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use farebox_core::RouteName;
use farebox_gateway::plan::{PaidCache, Route, RouteCounters};
use farebox_http::cors::{Cors, CorsError, Credentials, Origin, Origins};
use farebox_http::limits::TokenLimit;
use farebox_http::routes::{HostMatch, PathMatch as TablePath, PathRegex, RouteEntry};
use http::Method;

use super::models::Market;
use super::sale::{self, binds_request, sells_quotes};
use super::server::{bytes, not_zero, rate};
use super::upstream::{self, Transports};
use super::{BuiltNode, Context, abilities, capabilities, shape, webhook};
use crate::choice::{self, PriceSetting};
use crate::file::{CacheSetting, ConfigFile, CorsSection, RouteSection};
use crate::mistake::{KeyPath, Mistakes};
use crate::units::ByteSize;

/// The longest body that is read before it is forwarded, unless the route says otherwise.
const DEFAULT_READ: ByteSize = ByteSize(8 << 20);
/// The longest body that is put into a template, unless the route says otherwise.
const DEFAULT_FILLED: ByteSize = ByteSize(1 << 20);
/// The longest body that is streamed through, unless the route says otherwise.
const DEFAULT_STREAMED: ByteSize = ByteSize(1 << 30);

/// Builds the routes of one file.
pub(super) struct Builder<'a> {
    file: &'a ConfigFile,
    node: Option<&'a BuiltNode>,
    context: &'a Context,
    transports: Transports,
    names: HashMap<String, usize>,
    market: Market,
}

impl<'a> Builder<'a> {
    /// Nothing built yet.
    pub(super) fn new(
        file: &'a ConfigFile,
        node: Option<&'a BuiltNode>,
        context: &'a Context,
        market: Market,
    ) -> Self {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let workers = file
            .server
            .threads
            .and_then(NonZeroUsize::new)
            .unwrap_or_else(cores);
        Self {
            file,
            node,
            context,
            transports: Transports::new(workers),
            names: HashMap::new(),
            market,
        }
    }

    /// The entry of the route in this place.
    pub(super) fn entry(
        &mut self,
        place: usize,
        section: &RouteSection,
        mistakes: &mut Mistakes,
    ) -> Option<RouteEntry<Arc<Route>>> {
        let at = KeyPath::of("route").index(place);
        let host = host(section, &at, mistakes);
        let path = path(section, &at, mistakes);
        let route = self.route(place, section, &at, mistakes);
        Some(RouteEntry {
            host: host?,
            path: path?,
            target: Arc::new(route?),
        })
    }

    fn route(
        &mut self,
        place: usize,
        section: &RouteSection,
        at: &KeyPath,
        mistakes: &mut Mistakes,
    ) -> Option<Route> {
        let name = self.name(place, section, at, mistakes);
        let transports = &mut self.transports;
        let upstream = upstream::upstream(section, at, transports, self.context, mistakes);
        let webhook = match &section.price {
            Some(PriceSetting::Webhook(written)) => {
                let key = at.key("price");
                let asked = (written.as_ref(), sells_quotes(section));
                webhook::webhook(asked, transports, self.context, &key, mistakes)
            }
            _ => None,
        };
        let server = &self.file.server;
        let mut sale = sale::sale(section, server, &self.market, webhook, at, mistakes);
        let capabilities = capabilities::capabilities(section, sale.as_ref(), at, mistakes);
        let token_limit = token_limit(section, at, mistakes);
        if let Some(sale) = &mut sale {
            (sale.capabilities, sale.token_limit) = (capabilities, token_limit);
        }
        if let (Some(sale), Some(node)) = (&sale, self.node) {
            abilities::check_amounts(&sale.offer, node, at, mistakes);
        }
        let (read, streamed) = self.body_limits(section, at, mistakes)?;
        let route = Route {
            http_methods: http_methods(section, at, mistakes),
            max_read_bytes: read,
            max_body_bytes: streamed,
            timeout: not_zero(at.key("timeout"), section.timeout, mistakes),
            idle_timeout: not_zero(at.key("idle_timeout"), section.idle_timeout, mistakes),
            cors: section
                .cors
                .as_ref()
                .and_then(|cors| read_cors(cors, at, mistakes)),
            paid_cache: match section.cache {
                CacheSetting::Private => PaidCache::PrivateNoStore,
                CacheSetting::Upstream => PaidCache::Upstream,
            },
            page: section.page,
            shape: shape::shape(section, sale.as_ref(), at, mistakes),
            root: root(section),
            metrics: RouteCounters::new(),
            sale,
            name: name?,
            upstream: upstream?,
        };
        Some(route)
    }

    fn name(
        &mut self,
        place: usize,
        section: &RouteSection,
        at: &KeyPath,
        mistakes: &mut Mistakes,
    ) -> Option<RouteName> {
        let key = at.key("name");
        if section.name.is_empty() {
            mistakes.note(key, "is missing: tokens, logs and metrics need one");
            return None;
        }
        if let Some(first) = self.names.insert(section.name.clone(), place) {
            let reason = format!("the same name as route[{first}]");
            mistakes.note(key.clone(), reason);
        }
        mistakes.take(key, RouteName::parse(&section.name))
    }

    /// How much of a body is read into memory, and how much may stream through.
    fn body_limits(
        &self,
        section: &RouteSection,
        at: &KeyPath,
        mistakes: &mut Mistakes,
    ) -> Option<(usize, u64)> {
        let key = at.key("max_body");
        let is_filled = section.request.is_some();
        let is_read = is_filled || binds_request(section);
        let default = match (is_filled, is_read) {
            (true, _) => DEFAULT_FILLED,
            (false, true) => DEFAULT_READ,
            (false, false) => DEFAULT_STREAMED,
        };
        let streamed = section.max_body.unwrap_or(default);
        let read = if is_read {
            streamed
        } else {
            ByteSize(streamed.0.min(DEFAULT_READ.0))
        };
        let budget = self.file.server.body_budget;
        if is_read && read.0 > budget.0 {
            let reason =
                format!("more than server.body_budget ({budget}), which it is read within");
            mistakes.note(key.clone(), reason);
        }
        Some((bytes(key, read, mistakes)?, streamed.0))
    }
}

fn host(section: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> Option<HostMatch> {
    match &section.host {
        None => Some(HostMatch::ANY),
        Some(host) => mistakes.take(at.key("host"), HostMatch::parse(host)),
    }
}

fn path(section: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> Option<TablePath> {
    let key = at.key("path");
    let path = match &section.path {
        choice::PathMatch::Prefix(prefix) if prefix.is_empty() => {
            mistakes.note(
                key,
                "is missing: write a prefix such as \"/v1\", or \"/\" for all",
            );
            return None;
        }
        choice::PathMatch::Prefix(prefix) => TablePath::Prefix(prefix.clone()),
        choice::PathMatch::Exact { exact } => TablePath::Exact(exact.clone()),
        choice::PathMatch::Regex { regex } => {
            TablePath::Regex(mistakes.take(key, PathRegex::parse(regex))?)
        }
    };
    Some(path)
}

/// The path that all paths of the route lie under.
pub(super) fn root(section: &RouteSection) -> Option<String> {
    match &section.path {
        choice::PathMatch::Prefix(path) | choice::PathMatch::Exact { exact: path } => {
            Some(path.clone())
        }
        choice::PathMatch::Regex { .. } => None,
    }
}

fn http_methods(
    section: &RouteSection,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Vec<Method>> {
    let written = section.http_methods.as_ref()?;
    let key = at.key("http_methods");
    if written.is_empty() {
        mistakes.note(key.clone(), "no request would be answered");
    }
    let parse = |(place, text): (usize, &String)| {
        let method = Method::from_bytes(text.as_bytes());
        let method = mistakes.take(key.index(place), method)?;
        if method == Method::CONNECT {
            mistakes.note(key.index(place), "CONNECT is for forward proxies");
        } else if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let reason = format!("methods have a case; write {:?}", text.to_ascii_uppercase());
            mistakes.note(key.index(place), reason);
        }
        Some(method)
    };
    Some(written.iter().enumerate().filter_map(parse).collect())
}

fn token_limit(section: &RouteSection, at: &KeyPath, mistakes: &mut Mistakes) -> TokenLimit {
    let max_concurrent = section.max_concurrent.and_then(|limit| {
        if limit == 0 {
            let reason = "no request could run; leave it out for no limit";
            mistakes.note(at.key("max_concurrent"), reason);
        }
        NonZeroU32::new(limit)
    });
    TokenLimit {
        max_concurrent,
        rate: section.rate.map(rate),
    }
}

fn read_cors(cors: &CorsSection, at: &KeyPath, mistakes: &mut Mistakes) -> Option<Cors> {
    let key = at.key("cors").key("origins");
    let is_any = matches!(&cors.origins, choice::Texts::One(any) if any == "*");
    let origins = if is_any {
        Origins::Any
    } else {
        let parse =
            |(place, text): (usize, &String)| mistakes.take(key.index(place), Origin::parse(text));
        let written = cors.origins.as_ref().iter().enumerate();
        let origins: Vec<_> = written.map(parse).collect();
        Origins::List(origins.into_iter().collect::<Option<_>>()?)
    };
    let credentials = if cors.allow_credentials {
        Credentials::Allowed
    } else {
        Credentials::Omitted
    };
    match Cors::new(origins, credentials, cors.max_age.0) {
        Ok(cors) => Some(cors),
        Err(error) => {
            let about = match error {
                CorsError::CredentialsForAnyOrigin => at.key("cors").key("allow_credentials"),
                CorsError::NoOrigins | CorsError::Origin => key,
            };
            mistakes.note(about, error);
            None
        }
    }
}
