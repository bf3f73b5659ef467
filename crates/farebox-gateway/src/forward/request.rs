//! The request as the upstream gets it: its own path, host and credential, and nothing that the client
//! pays with.

use bytes::Bytes;
use farebox_http::body::RequestBody;
use farebox_http::body_budget::ReadBody;
use farebox_http::headers;
use farebox_http::subprotocols;
use farebox_paywall::payment_fields;
use farebox_paywall::retry_words::RetryWords;
use farebox_wire::credential::CREDENTIAL_HEADERS;
use farebox_wire::grpc::Framing;
use http::header::{
    ACCEPT_ENCODING, COOKIE, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TE,
    TRANSFER_ENCODING,
};
use http::{Method, Request, Uri, Version};

use super::REQUEST_ID;
use crate::access_log::Exchange;
use crate::arrival::{Arrival, ArrivedBody};
use crate::plan::{Plan, Route, Upstream};
use crate::refusal::{PaywallError, Refusal, RequestError};

/// How browsers send OpenAI's key, as an entry of a WebSocket's subprotocols.
const KEY_PROTOCOL: &[u8] = b"openai-insecure-api-key.";

/// Who asks, and for which route.
pub(super) struct Asker<'a> {
    pub(super) plan: &'a Plan,
    pub(super) exchange: &'a Exchange,
    pub(super) route: &'a Route,
    /// How the client's side is spoken to.
    pub(super) scheme: &'static str,
    /// How its body is framed, where it is a call of gRPC or its kin.
    pub(super) framing: Option<Framing>,
    /// What stands for the payer's idempotency keys.
    pub(super) retry_words: Option<&'a RetryWords>,
}

impl Asker<'_> {
    /// The request as it is sent.
    pub(super) fn request(&self, arrival: Box<Arrival>) -> Result<Request<RequestBody>, Refusal> {
        let (route, peer) = (self.route, self.exchange.peer);
        let host = arrival.authority();
        let Arrival {
            mut parts,
            path,
            body,
            ..
        } = *arrival;
        let upstream = &route.upstream;
        let models = route.sale.as_ref().and_then(|sale| sale.offer.models());
        let query = parts.uri.query().filter(|_| route.keeps_query());
        let query = query.and_then(|query| match models {
            Some(models) => models.query.pass(query),
            None => Some(query.into()),
        });
        parts.uri = target_for(upstream, &path, query.as_deref())?;
        if let Some(shape) = &route.shape {
            shape.prepare(&mut parts.method, &mut parts.headers)?;
        }
        parts.version = Version::HTTP_11;
        headers::prepare_request(
            &mut parts.headers,
            &headers::Forwarded {
                peer,
                trusted: self.plan.server.trusted_proxies.trusts(peer),
                host: host.as_ref(),
                scheme: self.scheme,
            },
            payment_fields::in_requests,
        );
        if route.sale.is_some() {
            RetryWords::replace(self.retry_words, &mut parts.headers);
        }
        if let Some(models) = models {
            models.headers.prepare(&mut parts.headers);
        }
        match self.framing {
            // How the call ended is read in the body.
            Some(framing) if framing.ends_in_body() => {
                let plain = HeaderValue::from_static("identity");
                parts.headers.insert(ACCEPT_ENCODING, plain);
            }
            // It is read in trailers, whether the client wants those or not.
            Some(_) => {
                let trailers = HeaderValue::from_static("trailers");
                parts.headers.insert(TE, trailers);
            }
            None => {}
        }
        if upstream.credential.is_set() {
            take_credentials(&mut parts.headers);
        }
        if !upstream.preserve_host || !parts.headers.contains_key(HOST) {
            parts.headers.insert(HOST, upstream.host_header.clone());
        }
        headers::inject(&mut parts.headers, &upstream.headers);
        parts
            .headers
            .insert(REQUEST_ID, self.exchange.request_id_header.clone());
        let body = request_body(route, body)?;
        announce_body(&parts.method, &mut parts.headers, &body);
        Ok(Request::from_parts(parts, body))
    }
}

/// Says that a body of unknown length follows where hyper, for a GET, would take it for none.
fn announce_body(method: &Method, headers: &mut HeaderMap, body: &RequestBody) {
    let unknown = http_body::Body::size_hint(body).exact().is_none();
    if unknown && matches!(*method, Method::GET | Method::HEAD) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn request_body(route: &Route, body: ArrivedBody) -> Result<RequestBody, PaywallError> {
    match body {
        ArrivedBody::Unread(incoming) => {
            let withheld = payment_fields::in_request_trailers;
            let (limit, silence) = (route.max_body_bytes, route.idle_timeout);
            Ok(RequestBody::stream(incoming, limit, silence, withheld))
        }
        ArrivedBody::Read(ReadBody {
            bytes: Some(bytes),
            lease,
            ..
        }) if !bytes.is_empty() => Ok(RequestBody::Whole(Some(bytes), lease)),
        // What came with a body is never forwarded without it.
        ArrivedBody::Read(ReadBody {
            bytes: None,
            length: 1..,
            ..
        }) => Err(PaywallError::BodyNotKept),
        ArrivedBody::Read(_) | ArrivedBody::Taken => Ok(RequestBody::Empty),
    }
}

/// Path and query as the upstream is asked for them.
fn target_for(upstream: &Upstream, path: &str, query: Option<&str>) -> Result<Uri, Refusal> {
    let more = query.map_or(0, |query| query.len() + 1);
    let mut target = upstream.mapping.forwarded(path, more);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    Ok(Uri::from_maybe_shared(Bytes::from(target)).map_err(RequestError::from)?)
}

/// Takes off what a client sends as a credential for the upstream, which gets the seller's: it would
/// have two, and may believe the other.
fn take_credentials(headers: &mut HeaderMap) {
    headers.remove(COOKIE);
    headers::keep_only(headers, |name| !CREDENTIAL_HEADERS.contains(&name));
    let offered = subprotocols::entries(headers);
    let (keys, others): (Vec<_>, Vec<_>) = offered.partition(|it| it.starts_with(KEY_PROTOCOL));
    if keys.is_empty() {
        return;
    }
    match HeaderValue::from_bytes(&others.join(&b", "[..])) {
        Ok(left) if !left.is_empty() => headers.insert(SEC_WEBSOCKET_PROTOCOL, left),
        _ => headers.remove(SEC_WEBSOCKET_PROTOCOL),
    };
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::super::tests::upstream;
    use super::*;

    #[test]
    fn an_upstream_is_asked_for_its_own_base_and_what_the_prefix_leaves() {
        let check = |base, prefix, path, query, expected: &str| {
            let target = target_for(&upstream(base, prefix), path, query).unwrap();
            assert_eq!(target.to_string(), expected);
        };
        check("", "", "/a/b", None, "/a/b");
        check("", "", "/a", Some(""), "/a?");
        check("/v1", "", "/a", Some("x=1"), "/v1/a?x=1");
        check("/v1", "/api", "/api/a", None, "/v1/a");
        check("/v1/complete", "/gpt", "/gpt", None, "/v1/complete");
        check("", "/gpt", "/gpt", None, "/");
    }

    #[test]
    fn the_client_s_credentials_do_not_go_along_with_the_seller_s() {
        let lines = [
            ("authorization", "Bearer dummy"),
            ("x-api-key", "dummy"),
            ("cookie", "session=dummy"),
            (
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.dummy, v1",
            ),
            ("accept", "*/*"),
        ];
        let mut headers: HeaderMap = lines
            .into_iter()
            .map(|(name, line)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(line))
            })
            .collect();
        take_credentials(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "realtime, v1");
    }
}
