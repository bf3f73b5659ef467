//! Where a person types in a preimage: for nodes that cannot tell what was paid.
//!
//! The form proves a payment once; what the browser keeps is not the preimage but our word that it
//! was shown, for the address that the token is for. It leads back to that address, on this host,
//! and nowhere else.

use farebox_core::RequestDigest;
use farebox_http::path::{CanonicalPath, reference};
use farebox_wire::credential::{CredentialError, Malformed, PaymentHeaders, read_credentials};
use farebox_wire::macaroon::Macaroon;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    ORIGIN, SET_COOKIE,
};
use http::{Method, Response, StatusCode, Uri};
use sha2::{Digest, Sha256};

use super::Claims;
use super::cookies::{SameSite, Setting, name_for, path_of};
use super::redeem::cookie_path;
use super::visit::is_secure;
use crate::access_log::{Audience, Exchange};
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::outcome::Outcome;
use crate::plan::{Plan, Route};
use crate::refusal::{FormError, PresentedError, Refusal, RequestError};
use farebox_paywall::claim::{self, Note};
use farebox_paywall::credential::{self, Token};

/// Where the form is sent to.
pub(crate) const PATH: &str = "/.farebox/claim";
/// The longest form that is read, in bytes.
const MAX_FORM: usize = 32 * 1024;

const FORM_TYPE: &str = "application/x-www-form-urlencoded";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What was typed in.
#[derive(Default)]
struct Form {
    macaroon: String,
    preimage: String,
    back: String,
}

/// Where a form leads back to.
struct Back<'a> {
    route: &'a Route,
    path: String,
    query: Option<String>,
}

impl Claims {
    /// Takes a proof of payment from a form, and leads back to what it pays for.
    pub(crate) async fn take_form(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        mut arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        if arrival.parts.method != Method::POST {
            return Err(RequestError::only(&[Method::POST]).into());
        }
        let body = arrival
            .take_bytes(MAX_FORM, &self.bodies.of(exchange.holder))
            .await?;
        exchange.audience = Audience::Person;
        check_origin(&arrival)?;
        let form = Form::read(&arrival.parts.headers, &body)?;
        Ok(self.settle_form(plan, exchange, &arrival, &form)?)
    }

    fn settle_form(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        arrival: &Arrival,
        form: &Form,
    ) -> Result<Response<AnswerBody>, FormError> {
        let (macaroon, token) = self.prove(form)?;
        let back = Back::read(plan, &arrival.host, &form.back).ok_or(FormError::WrongAddress)?;
        if !back.belongs_to(&token) {
            return Err(FormError::WrongAddress);
        }
        let text = claim::write(&self.paywall.keyring, &macaroon, &Note::Paid);
        let text = text.ok_or(FormError::Unproven(PresentedError::UnknownKey))?;
        let terms = &token.granted.terms;
        let name = name_for(terms, &back.path, back.query.as_deref());
        let own_path = path_of(&back.path);
        let setting = Setting {
            name: &name,
            value: &text,
            path: cookie_path(back.route, terms.binding, own_path),
            max_age: terms.claim_by.since(exchange.received_at),
            secure: is_secure(plan, self.scheme, exchange.peer, &arrival.parts.headers),
            same_site: SameSite::Strict,
        };
        exchange.outcome = Outcome::Free;
        lead_back(&back, &setting).ok_or(FormError::WrongAddress)
    }

    fn prove(&self, form: &Form) -> Result<(Macaroon, Token), FormError> {
        let line = format!("L402 {}:{}", form.macaroon.trim(), form.preimage.trim());
        let line = HeaderValue::try_from(line).map_err(|_| FormError::Unreadable)?;
        let headers = HeaderMap::from_iter([(AUTHORIZATION, line)]);
        match read_credentials(&headers).map_err(PresentedError::from)? {
            PaymentHeaders::L402(credential) => {
                let token = credential::verify(&credential, &self.paywall.keyring)?;
                Ok((credential.macaroon, token))
            }
            PaymentHeaders::Nothing | PaymentHeaders::Other => {
                let malformed = CredentialError::from(Malformed::Form);
                Err(PresentedError::from(malformed).into())
            }
        }
    }
}

impl Form {
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, FormError> {
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(FORM_TYPE) {
            return Err(FormError::Unreadable);
        }
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            match &*name {
                "macaroon" => form.macaroon = value.into_owned(),
                "preimage" => form.preimage = value.into_owned(),
                "back" => form.back = value.into_owned(),
                _ => {}
            }
        }
        Ok(form)
    }
}

impl<'a> Back<'a> {
    /// A path and query of a route on this host. What a browser could take for another host, such
    /// as `//elsewhere`, does not survive: only the canonical path is ever sent back.
    fn read(plan: &'a Plan, host: &str, text: &str) -> Option<Self> {
        if !text.starts_with('/') || !text.bytes().all(|byte| matches!(byte, b'!'..=b'~')) {
            return None;
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (text, None),
        };
        let path = CanonicalPath::parse(path, plan.server.parameters()).ok()?;
        let path = path.as_str().to_owned();
        let route = plan.routes.find(host, &path)?;
        Some(Self { route, path, query })
    }

    fn belongs_to(&self, token: &Token) -> bool {
        let granted = &token.granted;
        let digest = RequestDigest::of_request(
            "GET",
            &self.path,
            self.query.as_deref(),
            &Sha256::digest([]).into(),
        );
        granted.terms.route == self.route.name
            && granted.holder.request.is_none_or(|bound| bound == digest)
    }
}

fn lead_back(back: &Back<'_>, setting: &Setting<'_>) -> Option<Response<AnswerBody>> {
    let path = reference(&back.path);
    let target = match &back.query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    let mut response = Response::new(AnswerBody::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(target).ok()?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(SET_COOKIE, setting.to_header()?);
    Some(response)
}

/// Refuses what a page of somebody else sends, as far as the browser tells; a client that says
/// nothing of where it comes from is none that could be made to send anything. Our own page asks
/// for no referrer, for which browsers write `Origin: null`.
fn check_origin(arrival: &Arrival) -> Result<(), FormError> {
    let headers = &arrival.parts.headers;
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        let is_ours = site == "same-origin" || site == "none";
        return if is_ours {
            Ok(())
        } else {
            Err(FormError::Foreign)
        };
    }
    let Some(origin) = headers.get(ORIGIN).filter(|origin| *origin != "null") else {
        return Ok(());
    };
    let uri: Option<Uri> = origin.to_str().ok().and_then(|text| text.parse().ok());
    let host = uri.as_ref().and_then(Uri::host);
    if host.is_some_and(|host| host.eq_ignore_ascii_case(&arrival.host)) {
        Ok(())
    } else {
        Err(FormError::Foreign)
    }
}
