//! The gateway's own paths, under `/.farebox/`. Everything else belongs to the routes.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response};

use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::outcome::Outcome;

const PREFIX: &str = "/.farebox";
const HEALTH: &str = "/.farebox/health";

/// Answers a request for one of the gateway's own paths.
pub(crate) fn answer(exchange: &mut Exchange, arrival: &Arrival) -> Option<Response<AnswerBody>> {
    let rest = arrival.path.strip_prefix(PREFIX)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let reads = matches!(arrival.parts.method, Method::GET | Method::HEAD);
    if &*arrival.path != HEALTH || !reads {
        return Some(crate::refusal::Refusal::NoRoute.answer(exchange));
    }
    exchange.outcome = Outcome::Free;
    let mut response = Response::new(AnswerBody::own(&b"{\"status\":\"ok\"}\n"[..]));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}
