//! Where a route forwards to: URL, injected headers, TLS and connections.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use farebox_gateway::plan::{Credential, PathMapping, Upstream};
use farebox_http::headers::ASK_OTHERWISE;
use farebox_http::upstream::{Transport, TransportOptions, UpstreamPool};
use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, Scheme, Uri};

use super::at::At;
use super::server::read_certificates;
use super::{Context, Lookups};
use crate::choice::{HeaderText, PathMatch, PriceSetting};
use crate::file::{ProtocolSetting, RouteSection};
use crate::secrets;

/// Fields that the gateway itself writes on every request.
const NOT_INJECTED: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "proxy-connection",
    "expect",
];

/// What routes with the same way to their upstream share.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Profile {
    protocol: ProtocolSetting,
    connect_timeout: Duration,
    ca_file: Option<PathBuf>,
}

/// The transports made so far.
pub(super) struct Transports {
    workers: NonZeroUsize,
    made: HashMap<Profile, Arc<Transport>>,
}

/// The target of an upstream URL.
pub(super) struct Target {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// What stands in front of every path; empty, or begins with a slash and does not end with one.
    pub base_path: String,
}

impl Transports {
    /// None yet, for so many data threads.
    pub(super) fn new(workers: NonZeroUsize) -> Self {
        Self {
            workers,
            made: HashMap::new(),
        }
    }

    /// The transport that routes have which say nothing about theirs.
    pub(super) fn plain(&mut self, at: &At<'_>) -> Option<Arc<Transport>> {
        self.get(&RouteSection::default(), Lookups::Skipped, at)
    }

    fn get(
        &mut self,
        route: &RouteSection,
        lookups: Lookups,
        at: &At<'_>,
    ) -> Option<Arc<Transport>> {
        let profile = Profile {
            protocol: route.protocol,
            connect_timeout: at.key("connect_timeout").not_zero(route.connect_timeout),
            ca_file: route.ca_file.clone().filter(|_| lookups == Lookups::Real),
        };
        if let Some(made) = self.made.get(&profile) {
            return Some(Arc::clone(made));
        }
        let options = TransportOptions {
            tls: client_tls(&profile, &at.key("ca_file"))?,
            protocol: profile.protocol.into(),
            connect_timeout: profile.connect_timeout,
        };
        let made = Arc::new(Transport::new(&options, self.workers.get()));
        self.made.insert(profile, Arc::clone(&made));
        Some(made)
    }
}

/// Builds the upstream of a route.
pub(super) fn upstream(
    route: &RouteSection,
    at: &At<'_>,
    transports: &mut Transports,
    context: &Context,
) -> Option<Upstream> {
    let target = at.key("upstream").take(target(&route.upstream));
    let headers = headers(route, at, context.lookups);
    let strip_prefix = strip_prefix(route, at);
    let transport = transports.get(route, context.lookups, at);
    let target = target?;
    check_ca(route, &target, at);
    Some(Upstream {
        host_header: HeaderValue::from_str(target.authority.as_str()).ok()?,
        mapping: PathMapping {
            base_path: target.base_path,
            strip_prefix,
        },
        scheme: target.scheme.clone(),
        credential: Arc::new(Credential::of(&headers)),
        headers,
        preserve_host: route.preserve_host,
        pool: UpstreamPool::new(transport?, target.scheme, target.authority),
    })
}

/// Why text is no upstream.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    /// Nothing there.
    #[error("is missing: write the URL that requests go to")]
    Missing,
    /// Not a URL.
    #[error("not a URL such as \"https://api.example.com/v1\"")]
    NotUrl,
    /// Another scheme.
    #[error("upstreams are http:// or https://")]
    Scheme,
    /// A user name or password in it.
    #[error("no user and password in a URL; set an Authorization header instead")]
    User,
    /// A query in it.
    #[error("an upstream has no query; the client's own is forwarded")]
    Query,
}

/// Parses an upstream URL.
pub(super) fn target(url: &str) -> Result<Target, TargetError> {
    if url.is_empty() {
        return Err(TargetError::Missing);
    }
    let uri: Uri = url.parse().map_err(|_| TargetError::NotUrl)?;
    let parts = uri.into_parts();
    let scheme = parts.scheme.ok_or(TargetError::NotUrl)?;
    if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
        return Err(TargetError::Scheme);
    }
    let authority = parts.authority.ok_or(TargetError::NotUrl)?;
    if authority.as_str().contains('@') {
        return Err(TargetError::User);
    }
    let path = parts.path_and_query.ok_or(TargetError::NotUrl)?;
    if path.query().is_some() || url.contains('#') {
        return Err(TargetError::Query);
    }
    let base_path = path.path().trim_end_matches('/').to_owned();
    Ok(Target {
        scheme,
        authority,
        base_path,
    })
}

impl Target {
    /// Its port, written or not.
    pub(super) fn port(&self) -> u16 {
        let default = if self.scheme == Scheme::HTTPS {
            443
        } else {
            80
        };
        self.authority.port_u16().unwrap_or(default)
    }
}

/// How the paths of a route become those of its upstream, and which server that is; none where that is
/// not written well, which is noted elsewhere.
pub(super) fn mapping(route: &RouteSection) -> Option<(Authority, PathMapping)> {
    let target = target(&route.upstream).ok()?;
    let mapping = PathMapping {
        base_path: target.base_path,
        strip_prefix: stripped(route)?,
    };
    Some((target.authority, mapping))
}

fn strip_prefix(route: &RouteSection, at: &At<'_>) -> String {
    let stripped = stripped(route);
    if stripped.is_none() {
        let reason = "a regex has no prefix that could be taken off";
        at.key("strip_prefix").note(reason);
    }
    stripped.unwrap_or_default()
}

/// What is taken off the paths of a route; none where nothing can be.
fn stripped(route: &RouteSection) -> Option<String> {
    match &route.path {
        _ if !route.strip_prefix => Some(String::new()),
        PathMatch::Prefix(path) | PathMatch::Exact { exact: path } => {
            Some(path.trim_end_matches('/').to_owned())
        }
        PathMatch::Regex { .. } => None,
    }
}

fn headers(route: &RouteSection, at: &At<'_>, lookups: Lookups) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, text) in &route.headers {
        let key = at.key("headers").key(name);
        let Ok(header) = HeaderName::try_from(name) else {
            key.note("not the name of a header");
            continue;
        };
        if NOT_INJECTED.contains(&header.as_str()) {
            key.note("the gateway itself writes this header");
            continue;
        }
        if reads_answer(route) && ASK_OTHERWISE.contains(&header) {
            let reason = "take it out: the answer is read here, for its price or for what is sold of \
                          it, and so asked for whole and in the clear";
            key.note(reason);
            continue;
        }
        if headers.iter().any(|(other, _)| *other == header) {
            key.note("the same header twice, as names have no case");
            continue;
        }
        headers.extend(header_value(text, lookups, &key).map(|value| (header, value)));
    }
    headers
}

/// Whether the price of an answer, or what is sold of it, stands in its body.
fn reads_answer(route: &RouteSection) -> bool {
    let has_price = match &route.price {
        Some(PriceSetting::Models { .. }) => true,
        Some(PriceSetting::ByUse(written)) => written.upstream_json.is_some(),
        _ => false,
    };
    has_price || route.response.is_some()
}

fn header_value(text: &HeaderText, lookups: Lookups, key: &At<'_>) -> Option<HeaderValue> {
    if lookups == Lookups::Skipped && !matches!(text, HeaderText::Text(_)) {
        return None;
    }
    let secret = match secrets::resolve(text) {
        Ok(secret) => secret,
        Err(error) => {
            key.note(error);
            return None;
        }
    };
    let Ok(mut value) = HeaderValue::from_str(secret.reveal()) else {
        key.note("has characters that no header can have");
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

fn check_ca(route: &RouteSection, target: &Target, at: &At<'_>) {
    if route.ca_file.is_some() && target.scheme == Scheme::HTTP {
        at.key("ca_file")
            .note("makes no sense with an http:// upstream");
    }
}

fn client_tls(profile: &Profile, key: &At<'_>) -> Option<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    match &profile.ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let read = read_certificates(path);
            for authority in key.take(read)? {
                key.take(roots.add(authority))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = key.take(builder)?;
    Some(builder.with_root_certificates(roots).with_no_client_auth())
}
