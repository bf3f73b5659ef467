//! One route: its place in the table, its limits, and the parts that have files of their own.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use farebox_core::RouteName;
use farebox_gateway::plan::{PaidCache, PathMapping, Route, RouteCounters};
use farebox_http::body_budget::Shares;
use farebox_http::cors::{Cors, CorsError, Credentials, Origin, Origins};
use farebox_http::limits::TokenLimit;
use farebox_http::routes::{HostMatch, PathMatch as TablePath, PathRegex, RouteEntry};
use http::Method;

use super::at::At;
use super::models::Market;
use super::sale::{self, binds_request, sells_quotes};
use super::server::rate;
use super::upstream::{self, Transports};
use super::{BuiltNode, Context, abilities, capabilities, shape, webhook};
use crate::choice::{self, PriceSetting};
use crate::file::{CacheSetting, ConfigFile, CorsSection, RouteSection};
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
        at: &At<'_>,
    ) -> Option<RouteEntry<Arc<Route>>> {
        let host = host(section, at);
        let path = path(section, at);
        let route = self.route(place, section, at);
        Some(RouteEntry {
            host: host?,
            path: path?,
            target: Arc::new(route?),
        })
    }

    fn route(&mut self, place: usize, section: &RouteSection, at: &At<'_>) -> Option<Route> {
        let name = self.name(place, section, at);
        let transports = &mut self.transports;
        let upstream = upstream::upstream(section, at, transports, self.context);
        let webhook = match &section.price {
            Some(PriceSetting::Webhook(written)) => {
                let key = at.key("price");
                let asked = (written.as_ref(), sells_quotes(section));
                webhook::webhook(asked, transports, self.context, &key)
            }
            _ => None,
        };
        let server = &self.file.server;
        let mut sale = sale::sale(section, server, &self.market, webhook, at);
        let capabilities = capabilities::capabilities(section, sale.as_ref(), at);
        let token_limit = token_limit(section, at);
        if let Some(sale) = &mut sale {
            (sale.capabilities, sale.token_limit) = (capabilities, token_limit);
        }
        if let (Some(sale), Some(node)) = (&sale, self.node) {
            abilities::check_amounts(&sale.offer, node, at);
        }
        let (read, streamed) = self.body_limits(section, at)?;
        let route = Route {
            http_methods: http_methods(section, at),
            max_read_bytes: read,
            max_body_bytes: streamed,
            timeout: at.key("timeout").not_zero(section.timeout),
            idle_timeout: at.key("idle_timeout").not_zero(section.idle_timeout),
            cors: section.cors.as_ref().and_then(|cors| read_cors(cors, at)),
            paid_cache: match section.cache {
                CacheSetting::Private => PaidCache::PrivateNoStore,
                CacheSetting::Upstream => PaidCache::Upstream,
            },
            page: section.page,
            challenge_in_body: section.challenge_in_body,
            shape: shape::shape(section, sale.as_ref(), at),
            root: root(section),
            begins_with: begins_with(section),
            neighbours: self.neighbours(section),
            metrics: RouteCounters::new(),
            sale,
            name: name?,
            upstream: upstream?,
        };
        Some(route)
    }

    fn name(&mut self, place: usize, section: &RouteSection, at: &At<'_>) -> Option<RouteName> {
        let key = at.key("name");
        if section.name.is_empty() {
            key.note("is missing: tokens, logs and metrics need one");
            return None;
        }
        if let Some(first) = self.names.insert(section.name.clone(), place) {
            key.note(format!("the same name as route[{first}]"));
        }
        key.take(RouteName::parse(&section.name))
    }

    /// How priced routes to the same server map their paths, where this one is free and does so
    /// otherwise. A seller may sell one thing under two prices, each by its own route.
    fn neighbours(&self, section: &RouteSection) -> Vec<PathMapping> {
        let is_priced =
            |other: &RouteSection| !matches!(&other.price, None | Some(PriceSetting::Free(_)));
        let mapping = upstream::mapping(section).filter(|_| !is_priced(section));
        let Some((server, own)) = mapping else {
            return Vec::new();
        };
        let mut found: Vec<PathMapping> = Vec::new();
        for other in self.file.route.iter().filter(|other| is_priced(other)) {
            let mapping = upstream::mapping(other).filter(|(authority, _)| *authority == server);
            let mapping = mapping.map(|(_, mapping)| mapping.lenient());
            found.extend(mapping.filter(|it| *it != own.lenient() && !found.contains(it)));
        }
        found
    }

    /// How much of a body is read into memory, and how much may stream through.
    fn body_limits(&self, section: &RouteSection, at: &At<'_>) -> Option<(usize, u64)> {
        let key = at.key("max_body");
        let is_filled = section.request.is_some();
        let is_read = is_filled || binds_request(section);
        let default = match (is_filled, is_read) {
            (true, _) => DEFAULT_FILLED,
            (false, true) => DEFAULT_READ,
            (false, false) => DEFAULT_STREAMED,
        };
        let streamed = section.max_body.unwrap_or(default);
        let share = ByteSize(Shares::least(self.file.server.body_budget.0));
        let read = if is_read {
            streamed
        } else {
            ByteSize(streamed.0.min(DEFAULT_READ.0).min(share.0))
        };
        if is_read && read.0 > share.0 {
            let reason = format!("more than {share}, one client's share of server.body_budget");
            key.note(reason);
        }
        Some((key.bytes(read)?, streamed.0))
    }
}

fn host(section: &RouteSection, at: &At<'_>) -> Option<HostMatch> {
    match &section.host {
        None => Some(HostMatch::ANY),
        Some(host) => at.key("host").take(HostMatch::parse(host)),
    }
}

fn path(section: &RouteSection, at: &At<'_>) -> Option<TablePath> {
    let key = at.key("path");
    let path = match &section.path {
        choice::PathMatch::Prefix(prefix) if prefix.is_empty() => {
            key.note("is missing: write a prefix such as \"/v1\", or \"/\" for all");
            return None;
        }
        choice::PathMatch::Prefix(prefix) => TablePath::Prefix(prefix.clone()),
        choice::PathMatch::Exact { exact } => TablePath::Exact(exact.clone()),
        choice::PathMatch::Regex { regex } => TablePath::Regex(key.take(PathRegex::parse(regex))?),
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

/// The text that all paths of the route begin with.
fn begins_with(section: &RouteSection) -> String {
    match &section.path {
        choice::PathMatch::Prefix(path) | choice::PathMatch::Exact { exact: path } => path.clone(),
        choice::PathMatch::Regex { regex } => {
            let pattern = PathRegex::parse(regex);
            pattern.map_or_else(|_| String::new(), |it| it.begins_with())
        }
    }
}

fn http_methods(section: &RouteSection, at: &At<'_>) -> Option<Vec<Method>> {
    let written = section.http_methods.as_ref()?;
    let key = at.key("http_methods");
    if written.is_empty() {
        key.note("no request would be answered");
    }
    let parse = |(place, text): (usize, &String)| {
        let method = Method::from_bytes(text.as_bytes());
        let method = key.index(place).take(method)?;
        if method == Method::CONNECT {
            key.index(place).note("CONNECT is for forward proxies");
        } else if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let reason = format!("methods have a case; write {:?}", text.to_ascii_uppercase());
            key.index(place).note(reason);
        }
        Some(method)
    };
    Some(written.iter().enumerate().filter_map(parse).collect())
}

fn token_limit(section: &RouteSection, at: &At<'_>) -> TokenLimit {
    let max_concurrent = section.max_concurrent.and_then(|limit| {
        if limit == 0 {
            at.key("max_concurrent")
                .note("no request could run; leave it out for no limit");
        }
        NonZeroU32::new(limit)
    });
    TokenLimit {
        max_concurrent,
        rate: section.rate.map(rate),
    }
}

fn read_cors(cors: &CorsSection, at: &At<'_>) -> Option<Cors> {
    let key = at.key("cors").key("origins");
    let is_any = matches!(&cors.origins, choice::Texts::One(any) if any == "*");
    let origins = if is_any {
        Origins::Any
    } else {
        let parse = |(place, text): (usize, &String)| key.index(place).take(Origin::parse(text));
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
            about.note(error);
            None
        }
    }
}
