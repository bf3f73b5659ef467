//! Cross-origin requests from browsers, where a route lets them in. Off by default.
//!
//! A preflight is answered here and never reaches payment or the upstream: browsers send it
//! without credentials, and it must not make an invoice. Where the route has CORS switched on, its
//! rules are the only ones: what the upstream says about it is replaced. Being allowed by CORS
//! never means being allowed in.

use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use http::{Method, Uri};

/// The answer fields that a buyer in a browser has to read, which CORS would hide from it.
pub const EXPOSED_HEADERS: [&str; 19] = [
    "WWW-Authenticate",
    "X-Cashu",
    "X-Change-Sats",
    "Payment-Receipt",
    "Retry-After",
    "X-Request-Id",
    "X-Reason",
    "Farebox-Claim",
    "Farebox-Price-Msat",
    "Farebox-Methods",
    "Farebox-Charge-Msat",
    "Farebox-Balance-Msat",
    "Farebox-Calls-Left",
    "Farebox-Receipt",
    "Farebox-Expires",
    "Farebox-Replayed",
    // What clients of lsat-proxy read.
    "X-Msats-Quota",
    // Where gRPC-Web clients find out how a call ended.
    "Grpc-Status",
    "Grpc-Message",
];

/// The most header fields a preflight may ask for.
const MAX_REQUESTED_HEADERS: usize = 64;

const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// Which origins may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All of them.
    Any,
    /// These, compared byte for byte.
    List(Vec<Origin>),
}

/// The origin of a page as browsers write it: scheme, host and a port that is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// Whether a browser may add cookies and its own credentials. A credential that a script sets as a
/// header, as L402 clients do, needs no permission here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// It may not.
    #[default]
    Omitted,
    /// It may.
    Allowed,
}

/// What one route lets browsers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
    credentials: Credentials,
    max_age: Duration,
    expose: HeaderValue,
}

/// A rule that would not do what was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    /// Every page could then act with its visitors' cookies; browsers refuse it for that reason.
    #[error("credentials can only be allowed for listed origins")]
    CredentialsForAnyOrigin,
    /// No request could be allowed.
    #[error("the list of origins is empty")]
    NoOrigins,
    /// No browser writes an origin like that, so it would never be allowed.
    #[error(
        "an origin is http:// or https:// and a host in lower case, a port only if unusual, no path"
    )]
    Origin,
}

/// What becomes of a preflight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// 204 with these fields.
    Allowed(HeaderMap),
    /// 403 without any that the browser would take for a permission.
    Refused,
}

impl Origin {
    /// Parses an origin.
    ///
    /// # Errors
    /// [`CorsError::Origin`] when no browser writes it like that; `null` is nobody's origin.
    pub fn parse(text: &str) -> Result<Self, CorsError> {
        let uri = text.parse::<Uri>().map_err(|_| CorsError::Origin)?;
        let usual_port = match uri.scheme_str() {
            Some("https") => 443,
            Some("http") => 80,
            _ => return Err(CorsError::Origin),
        };
        let authority = uri.authority().ok_or(CorsError::Origin)?.as_str();
        let (_, behind_scheme) = text.split_once("://").ok_or(CorsError::Origin)?;
        let is_bare = authority == behind_scheme && !authority.contains('@');
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let has_port = behind_scheme
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.contains(']'));
        let is_unusual = uri.port_u16().is_some_and(|port| port != usual_port);
        if is_bare && is_lower && has_port == is_unusual {
            Ok(Self(text.to_owned()))
        } else {
            Err(CorsError::Origin)
        }
    }
}

impl Cors {
    /// Rules for a route.
    ///
    /// # Errors
    /// [`CorsError`] when they contradict each other.
    pub fn new(
        origins: Origins,
        credentials: Credentials,
        max_age: Duration,
    ) -> Result<Self, CorsError> {
        match &origins {
            Origins::Any if credentials == Credentials::Allowed => {
                return Err(CorsError::CredentialsForAnyOrigin);
            }
            Origins::List(list) if list.is_empty() => return Err(CorsError::NoOrigins),
            Origins::Any | Origins::List(_) => {}
        }
        let expose = HeaderValue::try_from(EXPOSED_HEADERS.join(", "))
            .unwrap_or(HeaderValue::from_static(EXPOSED_HEADERS[0]));
        Ok(Self {
            origins,
            credentials,
            max_age,
            expose,
        })
    }

    /// The answer to a preflight; `None` where the request is none, an ordinary OPTIONS included.
    #[must_use]
    pub fn preflight(&self, method: &Method, request: &HeaderMap) -> Option<Preflight> {
        if method != Method::OPTIONS || !request.contains_key(ORIGIN) {
            return None;
        }
        let wanted = request.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        Some(
            self.allow(wanted, request)
                .map_or(Preflight::Refused, Preflight::Allowed),
        )
    }

    fn allow(&self, method: &HeaderValue, request: &HeaderMap) -> Option<HeaderMap> {
        let origin = self.allowed_origin(request)?;
        Method::from_bytes(method.as_bytes()).ok()?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(names) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            is_list_of_names(names).then_some(())?;
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.as_secs().into());
        headers.insert(VARY, VARY_PREFLIGHT);
        self.permit(origin, &mut headers);
        Some(headers)
    }

    /// Puts our word in place of the upstream's into the fields of an answer to `request`, be it
    /// the upstream's own, a challenge or a problem.
    pub fn apply(&self, request: &HeaderMap, response: &mut HeaderMap) {
        remove_cors_fields(response);
        add_vary(response);
        if let Some(origin) = self.allowed_origin(request) {
            self.permit(origin, response);
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
        }
    }

    fn permit(&self, origin: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials == Credentials::Allowed {
            headers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
    }

    /// What to say in `Access-Control-Allow-Origin`, if anything. Two origins are none.
    fn allowed_origin(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = request.get_all(ORIGIN).iter();
        let (origin, None) = (origins.next()?, origins.next()) else {
            return None;
        };
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::List(list) => list
                .iter()
                .any(|Origin(listed)| origin == listed)
                .then(|| origin.clone()),
        }
    }
}

/// Whether a list has header names and nothing else, so that it may be echoed.
fn is_list_of_names(names: &HeaderValue) -> bool {
    let is_name = |name: &[u8]| HeaderName::from_bytes(name.trim_ascii()).is_ok();
    let mut names = names.as_bytes().split(|&byte| byte == b',');
    names.by_ref().take(MAX_REQUESTED_HEADERS).all(is_name) && names.next().is_none()
}

fn remove_cors_fields(headers: &mut HeaderMap) {
    let is_cors = |name: &&HeaderName| name.as_str().starts_with("access-control-");
    let names: Vec<HeaderName> = headers.keys().filter(is_cors).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn add_vary(headers: &mut HeaderMap) {
    let says_origin = |value: &HeaderValue| {
        let mut names = value
            .as_bytes()
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
    };
    if !headers.get_all(VARY).iter().any(says_origin) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "https://shop.example.com";

    fn listed(credentials: Credentials) -> Cors {
        let origins = Origins::List(vec![Origin::parse(SHOP).unwrap()]);
        Cors::new(origins, credentials, Duration::from_secs(600)).unwrap()
    }

    fn any() -> Cors {
        Cors::new(Origins::Any, Credentials::Omitted, Duration::from_secs(600)).unwrap()
    }

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        fields.iter().map(field).collect()
    }

    fn asking(origin: &'static str) -> HeaderMap {
        fields(&[
            ("origin", origin),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization, content-type",
            ),
        ])
    }

    #[test]
    fn a_preflight_from_a_listed_origin_is_allowed_what_it_asks_for() {
        let cors = listed(Credentials::Allowed);
        let Some(Preflight::Allowed(answer)) = cors.preflight(&Method::OPTIONS, &asking(SHOP))
        else {
            panic!("refused")
        };
        let expected = fields(&[
            ("access-control-allow-methods", "POST"),
            (
                "access-control-allow-headers",
                "authorization, content-type",
            ),
            ("access-control-max-age", "600"),
            (
                "vary",
                "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            ),
            ("access-control-allow-origin", SHOP),
            ("access-control-allow-credentials", "true"),
        ]);
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_preflight_from_elsewhere_is_refused() {
        for origin in [
            "https://evil.example.com",
            "null",
            "http://shop.example.com",
            "https://SHOP.example.com",
        ] {
            let answer = listed(Credentials::Omitted).preflight(&Method::OPTIONS, &asking(origin));
            assert_eq!(answer, Some(Preflight::Refused), "{origin}");
        }
    }

    #[test]
    fn a_preflight_that_names_two_origins_or_no_headers_is_refused() {
        let mut two = asking(SHOP);
        two.append(ORIGIN, HeaderValue::from_static("https://evil.example.com"));
        let mut odd = asking(SHOP);
        odd.insert(
            ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_static("a b"),
        );
        for request in [two, odd] {
            let answer = listed(Credentials::Omitted).preflight(&Method::OPTIONS, &request);
            assert_eq!(answer, Some(Preflight::Refused));
        }
    }

    #[test]
    fn an_ordinary_options_request_is_no_preflight() {
        assert_eq!(
            any().preflight(&Method::OPTIONS, &fields(&[("origin", SHOP)])),
            None
        );
        assert_eq!(any().preflight(&Method::GET, &asking(SHOP)), None);
        assert_eq!(any().preflight(&Method::OPTIONS, &HeaderMap::new()), None);
    }

    #[test]
    fn payment_headers_are_exposed_by_name() {
        let mut response = HeaderMap::new();
        any().apply(&fields(&[("origin", SHOP)]), &mut response);
        assert_eq!(response[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let exposed = response[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
        for name in ["WWW-Authenticate", "X-Cashu", "Payment-Receipt"] {
            assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}");
        }
    }

    #[test]
    fn the_upstreams_own_permissions_are_replaced() {
        let upstream = || {
            fields(&[
                ("access-control-allow-origin", "https://evil.example.com"),
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-private-network", "true"),
                ("content-type", "text/plain"),
            ])
        };
        let mut to_shop = upstream();
        listed(Credentials::Omitted).apply(&fields(&[("origin", SHOP)]), &mut to_shop);
        assert_eq!(
            to_shop
                .get_all(ACCESS_CONTROL_ALLOW_ORIGIN)
                .iter()
                .collect::<Vec<_>>(),
            [SHOP]
        );
        assert!(!to_shop.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        let mut to_evil = upstream();
        let evil = fields(&[("origin", "https://evil.example.com")]);
        listed(Credentials::Omitted).apply(&evil, &mut to_evil);
        assert_eq!(
            to_evil,
            fields(&[("content-type", "text/plain"), ("vary", "Origin")])
        );
    }

    #[test]
    fn vary_says_origin_once() {
        for (before, after) in [("Accept", 2), ("accept, ORIGIN", 1), ("*", 1)] {
            let mut response = fields(&[("vary", before)]);
            any().apply(&HeaderMap::new(), &mut response);
            assert_eq!(response.get_all(VARY).iter().count(), after, "{before}");
        }
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        let any = Cors::new(Origins::Any, Credentials::Allowed, Duration::ZERO);
        assert_eq!(any, Err(CorsError::CredentialsForAnyOrigin));
        let none = Cors::new(
            Origins::List(Vec::new()),
            Credentials::Omitted,
            Duration::ZERO,
        );
        assert_eq!(none, Err(CorsError::NoOrigins));
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in [
            SHOP,
            "http://localhost:3000",
            "https://[::1]:8080",
            "http://[::1]",
        ] {
            assert!(Origin::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "shop.example.com",
            "https://shop.example.com/",
            "https://Shop.example.com",
            "https://shop.example.com:443",
            "http://a:80",
            "https://u@a",
            "ftp://a",
            "https://a?b",
            "https://a:",
        ] {
            assert_eq!(Origin::parse(bad), Err(CorsError::Origin), "{bad}");
        }
    }
}
