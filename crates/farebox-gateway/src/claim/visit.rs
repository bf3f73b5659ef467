//! Who came, as far as it is not about money: a browser or a program, with which claims.
//!
//! Read once, before anything else looks at the request, because our cookies have to be off it
//! whatever becomes of it.

use std::net::IpAddr;
use std::time::Duration;

use farebox_core::RequestDigest;
use farebox_http::headers::is_websocket_upgrade;
use farebox_http::path::reference;
use http::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use http::{Method, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::cookies::{
    self, Cookie, RETURNING, SameSite, Setting, name_for_request, name_for_route,
};
use super::{CLAIM, CLAIM_STATUS};
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::outcome::Outcome;
use crate::page;
use crate::plan::{Plan, Route};
use crate::refusal::{AdmissionError, PaywallError, Refusal};
use crate::render;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How long after it was told to come again a browser is not told so a second time.
const RETURNS_WITHIN: Duration = Duration::from_secs(10);

/// A GET that brings a claim, or comes from a browser.
pub(crate) struct Visit {
    /// Our cookies that it brought.
    pub(crate) cookies: Vec<Cookie>,
    /// What stood in the claim header, if anything did: whether it is a claim is not known.
    pub(crate) header: Option<HeaderValue>,
    /// Whether only the state of a claim is asked for.
    pub(crate) asks_status: bool,
    /// Whether the answer to that may wait for a payment.
    pub(crate) waits: bool,
    /// Whether a person waits for a page.
    pub(crate) html: bool,
    /// Whether a page of somebody else made the browser come.
    pub(crate) cross_site: bool,
    /// Whether the browser goes to the address itself, rather than loading a part of a page.
    pub(crate) navigates: bool,
    pub(crate) secure: bool,
    /// The digest of this request.
    pub(crate) digest: RequestDigest,
    pub(crate) address: Address,
    /// The cookie that pays for this request, if one does.
    pub(crate) used: Option<UsedCookie>,
}

/// Where the browser is, in its own spelling and in ours.
pub(crate) struct Address {
    pub(crate) host: String,
    /// As it stood in the request line.
    pub(crate) raw_path: String,
    pub(crate) canonical_path: String,
    pub(crate) query: Option<String>,
}

/// The cookie of a claim that is paid.
pub(crate) struct UsedCookie {
    pub(crate) cookie: Cookie,
    /// How long the browser should keep it from now on, where its token serves further requests.
    pub(crate) keep: Option<Duration>,
    pub(crate) path: String,
}

impl Visit {
    /// Takes our cookies off the request. Gives what is to know about its sender where claims and
    /// pages are for them: a GET without a body, neither gRPC nor an upgrade, on a priced route.
    pub(crate) fn take(
        plan: &Plan,
        scheme: &str,
        peer: IpAddr,
        route: &Route,
        arrival: &mut Arrival,
    ) -> Option<Box<Self>> {
        let cookies = cookies::take(&mut arrival.parts.headers);
        if arrival.parts.method != Method::GET || route.sale.is_none() {
            return None;
        }
        let headers = &arrival.parts.headers;
        let asks_status = headers.contains_key(CLAIM_STATUS);
        let header = headers.get(CLAIM).cloned();
        let html = route.page && page::accept::prefers_html(headers);
        let is_seen = html || asks_status || header.is_some() || !cookies.is_empty();
        if !is_seen || !is_plain(arrival) {
            return None;
        }
        let digest = arrival.bodiless_digest();
        let secure = is_secure(plan, scheme, peer, headers);
        Some(Box::new(Self {
            cookies,
            header,
            asks_status,
            waits: says(headers, &CLAIM_STATUS, "wait"),
            html,
            cross_site: says(headers, &SEC_FETCH_SITE, "cross-site"),
            navigates: says(headers, &SEC_FETCH_MODE, "navigate"),
            secure,
            digest,
            address: Address::of(arrival),
            used: None,
        }))
    }

    /// Whether something here has to be judged before the request counts as unpaid.
    pub(crate) fn brings_claim(&self) -> bool {
        self.header.is_some() || self.asks_status || !self.cookies.is_empty()
    }

    /// The cookies that may pay for this request. Those that another site's page made the browser
    /// send count for nothing.
    pub(crate) fn cookies_for(&self, route: &Route) -> impl Iterator<Item = &Cookie> {
        let address = &self.address;
        let query = address.query.as_deref();
        let names = [
            name_for_request(&address.canonical_path, query),
            name_for_route(&route.name),
        ];
        self.cookies
            .iter()
            .filter(move |cookie| !self.cross_site && names.contains(&cookie.name))
    }

    /// Whether a person came by a link from elsewhere: the browser then keeps our cookies back,
    /// and a new invoice would take the place of one that may be paid. Such a browser is asked to
    /// come again by itself, once.
    pub(crate) fn should_return(&self) -> bool {
        let was_asked = self.cookies.iter().any(|cookie| cookie.name == RETURNING);
        self.html && self.cross_site && self.navigates && !was_asked
    }

    /// The page that asks for its own address again: a page of our own that does has our cookies with
    /// it.
    pub(crate) fn come_again(&self, exchange: &mut Exchange) -> Response<AnswerBody> {
        exchange.outcome = Outcome::OwedBriefly;
        let mut response = Response::new(AnswerBody::own(page::again()));
        *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
        page::headers(response.headers_mut());
        if let Some(cookie) = self.returning_cookie() {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    }

    /// The cookie that says that a browser was asked to come again.
    fn returning_cookie(&self) -> Option<HeaderValue> {
        let setting = Setting {
            name: RETURNING,
            value: "1",
            path: self.own_path(),
            max_age: RETURNS_WITHIN,
            secure: self.secure,
            same_site: SameSite::Lax,
        };
        setting.to_header()
    }

    /// The path that a cookie for this very address has.
    pub(crate) fn own_path(&self) -> &str {
        cookies::path_of(&self.address.raw_path)
    }

    /// The last word to whoever came: the browser is told what to keep.
    pub(crate) fn see_off(
        &self,
        exchange: &mut Exchange,
        served: Result<Response<AnswerBody>, Refusal>,
    ) -> Response<AnswerBody> {
        match served {
            Ok(mut response) => {
                self.keep_used(&mut response);
                response
            }
            Err(refusal) => {
                let mut response = render::refuse(exchange, &refusal);
                if matches!(
                    refusal,
                    Refusal::Paywall(PaywallError::Admission(AdmissionError::Finished(_)))
                ) {
                    self.forget_used(response.headers_mut());
                }
                response
            }
        }
    }

    /// Has the browser forget the claim that paid for this request: its answer is gone, and
    /// whoever comes again wants to buy again.
    fn forget_used(&self, headers: &mut HeaderMap) {
        if let Some(used) = &self.used {
            self.set_used(headers, used, Duration::ZERO);
        }
    }

    /// Has the browser keep a claim for as long as its token is good.
    fn keep_used(&self, response: &mut Response<AnswerBody>) {
        if let Some(used) = &self.used
            && let Some(keep) = used.keep
            && !response.status().is_client_error()
        {
            self.set_used(response.headers_mut(), used, keep);
        }
    }

    fn set_used(&self, headers: &mut HeaderMap, used: &UsedCookie, max_age: Duration) {
        let setting = Setting {
            name: &used.cookie.name,
            value: if max_age.is_zero() {
                ""
            } else {
                &used.cookie.value
            },
            path: &used.path,
            max_age,
            secure: self.secure,
            same_site: SameSite::Strict,
        };
        if let Some(header) = setting.to_header() {
            headers.append(SET_COOKIE, header);
        }
    }
}

impl Address {
    fn of(arrival: &Arrival) -> Self {
        let uri = &arrival.parts.uri;
        Self {
            host: arrival.host.to_string(),
            raw_path: uri.path().to_owned(),
            canonical_path: arrival.path.to_string(),
            query: uri.query().map(str::to_owned),
        }
    }

    /// Path and query, as a link on this host.
    pub(crate) fn link(&self) -> String {
        let path = reference(&self.canonical_path);
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        }
    }
}

impl Arrival {
    /// The digest of this request as one without a body.
    fn bodiless_digest(&self) -> RequestDigest {
        self.digest_with(&Sha256::digest([]).into())
    }
}

/// Whether the client's side of the connection is https, to us or to a proxy of ours.
pub(super) fn is_secure(plan: &Plan, scheme: &str, peer: IpAddr, headers: &HeaderMap) -> bool {
    let server = &plan.server;
    scheme == "https"
        || server.public_https
        || (says(headers, &X_FORWARDED_PROTO, "https") && server.trusted_proxies.trusts(peer))
}

fn is_plain(arrival: &Arrival) -> bool {
    arrival.grpc.is_none()
        && !arrival.has_unread_body()
        && !is_websocket_upgrade(&arrival.parts.headers)
}

fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get(name)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
}
