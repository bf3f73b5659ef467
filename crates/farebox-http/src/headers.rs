//! Which header fields pass, in both directions, and what we say about the client.
//!
//! Everything is stripped before anything is added: a client that names one of our fields in
//! `Connection` takes off its own, never ours. Fields that steer a server past the path and the
//! method that were paid for are taken off too.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap,
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, StatusCode};
use http_body::Frame;

use crate::client_addr::push_address;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");

/// Tells the fields that are for the proxy itself, such as those that pay, by their names in small
/// letters: they pass on neither way.
pub type FieldFilter = fn(&str) -> bool;

/// Tells the same of one line after a body, which nobody has looked at before: by its name in small
/// letters, or by its value.
pub type TrailerFilter = fn(&str, &HeaderValue) -> bool;

/// A request that two servers could cut differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Both fields that say where the body ends (RFC 9112 section 6.1).
    #[error("the request has both Transfer-Encoding and Content-Length")]
    TwoFramings,
    /// A transfer coding other than a single `chunked`.
    #[error("the only transfer coding that is read is chunked")]
    TransferCoding,
    /// A length that is no number, or several that differ (RFC 9110 section 8.6).
    #[error("the request has no single Content-Length")]
    ContentLength,
    /// More than one host (RFC 9112 section 3.2).
    #[error("the request has more than one Host")]
    Host,
}

/// Says how long a body is that is here as a whole, where its head may say so (RFC 9110 section 8.6): to HEAD
/// and with 304 the length is that of what stays away, which only the upstream knows; 204 has none.
pub fn tell_length(headers: &mut HeaderMap, method: &Method, status: StatusCode, length: usize) {
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    } else if *method != Method::HEAD && status != StatusCode::NOT_MODIFIED {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// What the upstream is told about the client's side of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The other end of the socket.
    pub peer: IpAddr,
    /// Whether that is one of our proxies, whose own word is then kept.
    pub trusted: bool,
    /// The host that was asked for, with the port where one was named.
    pub host: Option<&'a HeaderValue>,
    /// `http` or `https`, as the client's connection is.
    pub scheme: &'static str,
}

/// Refuses a request whose end or whose host can be read in two ways. HTTP/2 and what hyper has
/// already refused pass unseen.
///
/// # Errors
/// [`FramingError`] says which field; the client's connection cannot be trusted afterwards.
pub fn check_framing(headers: &HeaderMap) -> Result<(), FramingError> {
    if headers.contains_key(TRANSFER_ENCODING) {
        check_transfer_coding(headers)?;
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(first) = lengths.next() {
        let is_number = first.as_bytes().iter().all(u8::is_ascii_digit) && !first.is_empty();
        if !is_number || lengths.any(|other| other != first) {
            return Err(FramingError::ContentLength);
        }
    }
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(FramingError::Host);
    }
    Ok(())
}

fn check_transfer_coding(headers: &HeaderMap) -> Result<(), FramingError> {
    if headers.contains_key(CONTENT_LENGTH) {
        return Err(FramingError::TwoFramings);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    };
    let sole = codings.next().is_some_and(is_chunked) && codings.next().is_none();
    if sole {
        Ok(())
    } else {
        Err(FramingError::TransferCoding)
    }
}

/// Whether a request asks to become a WebSocket (RFC 6455 section 4.1).
#[must_use]
pub fn is_websocket_upgrade(headers: &HeaderMap) -> bool {
    // Looked for first, as nearly every request lacks it.
    headers.contains_key(UPGRADE)
        && has_token(headers, &UPGRADE, "websocket")
        && has_token(headers, &CONNECTION, "upgrade")
        && headers.contains_key(SEC_WEBSOCKET_KEY)
        && !announces_body(headers)
}

/// Bytes behind such a request would be its body for one server and frames for another.
fn announces_body(headers: &HeaderMap) -> bool {
    let is_empty = |length: &HeaderValue| length == "0";
    headers.contains_key(TRANSFER_ENCODING) || !headers.get_all(CONTENT_LENGTH).iter().all(is_empty)
}

/// Makes the header fields of a request fit for the upstream: takes off what is hop-by-hop, what
/// is `withheld`, and what steers around us, and says who is asking. A WebSocket upgrade and `TE: trailers`,
/// which gRPC needs, stay. `Authorization` is the business of whoever read it; injected fields come
/// afterwards.
pub fn prepare_request(headers: &mut HeaderMap, forwarded: &Forwarded<'_>, withheld: FieldFilter) {
    let upgrade = is_websocket_upgrade(headers);
    let trailers = headers.contains_key(TE) && has_token(headers, &TE, "trailers");
    let is_dropped = |name: &str| is_dropped_from_request(name) || withheld(name);
    strip(headers, |name, _| {
        if is_usual(name) {
            return is_dropped(name);
        }
        // Under an unusual name stands what servers may take for a field that is set here.
        let name = usual(name);
        is_dropped(&name) || is_set_by_the_gateway(&name)
    });
    if upgrade {
        insert_upgrade(headers);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(headers);
    set_forwarded(headers, forwarded);
}

/// What is done about header names with other characters than letters, digits and hyphens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnusualNames {
    /// They are taken off.
    #[default]
    Dropped,
    /// They pass, where no server could take them for a field that is stripped or set here.
    Kept,
}

/// Takes off the fields whose names have other characters than letters, digits and hyphens, and gives
/// the name of one of them. CGI, WSGI, PHP and Rack make one name of `X_Original_URL`, `X.Original.URL`
/// and `X-Original-URL`, so that these would pass every rule that is kept here by name.
pub fn drop_unusual_names(headers: &mut HeaderMap) -> Option<HeaderName> {
    let mut names = headers.keys();
    let dropped = names.find(|name| !is_usual(name.as_str())).cloned();
    if dropped.is_some() {
        drop_lines(headers, |name, _| !is_usual(name));
    }
    dropped
}

/// Sets the fields of the route in the place of the client's, however those are spelled.
pub fn inject(headers: &mut HeaderMap, injected: &[(HeaderName, HeaderValue)]) {
    if injected.is_empty() {
        return;
    }
    let is_meant = |name: &str| injected.iter().any(|(own, _)| usual(own.as_str()) == name);
    drop_lines(headers, |name, _| !is_usual(name) && is_meant(&usual(name)));
    for (name, value) in injected {
        headers.insert(name, value.clone());
    }
}

/// Keeps only the fields that `passes`.
pub fn keep_only(headers: &mut HeaderMap, passes: impl Fn(&str) -> bool) {
    drop_lines(headers, |name, _| !passes(name));
}

/// HTTP/2 may cut the cookies into lines of their own; HTTP/1.1 and many servers know one line only
/// (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return;
    };
    let lines: Vec<&[u8]> = [first, second]
        .into_iter()
        .chain(lines)
        .map(HeaderValue::as_bytes)
        .collect();
    // Of such lines one is made that is a field value as each of them was.
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Whether it has only letters, digits and hyphens. Every name of every request is looked at.
fn is_usual(name: &str) -> bool {
    const USUAL: [bool; 256] = {
        let (mut usual, mut byte) = ([false; 256], 0u8);
        while byte < u8::MAX {
            usual[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'-';
            byte += 1;
        }
        usual
    };
    name.bytes().all(|byte| USUAL[usize::from(byte)])
}

/// The name that a server may make of this one.
fn usual(name: &str) -> Cow<'_, str> {
    if is_usual(name) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
}

/// Fields by which a request asks for a part of an answer, for a word that it is the same as before, or
/// for it in another encoding: where it has to be read, none of them may be sent.
pub const ASK_OTHERWISE: [HeaderName; 7] = [
    ACCEPT_ENCODING,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];

/// Lets a request ask for nothing but the whole answer in the clear: of a part, or of one that is only
/// said to be the same as before, nobody here can tell what it cost or take out what is sold.
pub fn ask_for_whole(headers: &mut HeaderMap) {
    for name in &ASK_OTHERWISE {
        headers.remove(name);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Makes the header fields of an answer fit for the client: takes off what is hop-by-hop and what is
/// `withheld`, by name in small letters or by the value of any line. An answer that switches to a
/// WebSocket keeps saying so.
pub fn prepare_response(
    headers: &mut HeaderMap,
    switching: bool,
    withheld: impl Fn(&str, &HeaderValue) -> bool,
) {
    strip(headers, |name, value| {
        is_dropped_from_response(name) || withheld(name, value)
    });
    if switching {
        insert_upgrade(headers);
    }
}

/// Makes the trailer fields of a request fit for the upstream. Some servers take them for header
/// fields, so what may not stand there may not come after the body either, nor may what only the
/// head can say: who asks, for which host, with which credential. Unusual names never pass here.
#[must_use]
pub fn prepare_request_trailers(frame: Frame<Bytes>, withheld: TrailerFilter) -> Frame<Bytes> {
    without_trailers(frame, |name, value| {
        !is_usual(name)
            || is_dropped_from_request(name)
            || is_set_by_the_gateway(name)
            || withheld(name, value)
    })
}

/// Makes the trailer fields of an answer fit for the client, as [`prepare_response`] does with its
/// header fields.
#[must_use]
pub fn prepare_response_trailers(
    frame: Frame<Bytes>,
    withheld: impl Fn(&str, &HeaderValue) -> bool,
) -> Frame<Bytes> {
    without_trailers(frame, |name, value| {
        is_dropped_from_response(name) || withheld(name, value)
    })
}

fn without_trailers(
    frame: Frame<Bytes>,
    is_dropped: impl Fn(&str, &HeaderValue) -> bool,
) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            drop_lines(&mut trailers, is_dropped);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

/// Takes off the fields of which any line `is_dropped`, by name in small letters and value.
pub fn drop_lines(headers: &mut HeaderMap, is_dropped: impl Fn(&str, &HeaderValue) -> bool) {
    let dropped: Vec<HeaderName> = headers
        .iter()
        .filter(|(name, value)| is_dropped(name.as_str(), value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// Tells every cache on the way that an answer is for one client alone. Fields that address certain
/// caches go as well: those obey them before `Cache-Control` (RFC 9213, nginx's `X-Accel-Expires`).
pub fn forbid_storing(headers: &mut HeaderMap) {
    drop_lines(headers, |name, _| is_for_certain_caches(name));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
}

fn is_for_certain_caches(name: &str) -> bool {
    matches!(
        name,
        "x-accel-expires" | "surrogate-control" | "edge-control" | "expires" | "pragma"
    ) || name.ends_with("cdn-cache-control")
}

fn insert_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Removes the fields that `is_dropped`, and those that `Connection` names.
fn strip(headers: &mut HeaderMap, is_dropped: impl Fn(&str, &HeaderValue) -> bool) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        // In nearly every message, and dropped by its own name.
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect();
    drop_lines(headers, is_dropped);
    for name in named {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    // `Trailer` is not among them: trailers pass, and it announces them.
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "expect"
    )
}

fn is_dropped_from_request(name: &str) -> bool {
    is_hop_by_hop(name) || is_steering(name)
}

/// What only the head says, and there only as it is read or written here.
fn is_set_by_the_gateway(name: &str) -> bool {
    matches!(
        name,
        "authorization" | "content-length" | "content-type" | "cookie" | "host" | "x-request-id"
    ) || name.starts_with("x-forwarded-")
}

/// Fields by which some servers take another path, method, address or host than the request has,
/// all of which were matched, paid for, or set afresh here.
fn is_steering(name: &str) -> bool {
    matches!(
        name,
        "forwarded"
            | "x-real-ip"
            | "x-forwarded-port"
            | "x-forwarded-prefix"
            | "x-forwarded-server"
            | "x-forwarded-ssl"
            | "x-forwarded-uri"
            | "x-original-url"
            | "x-original-uri"
            | "x-rewrite-url"
            | "x-http-method"
            | "x-http-method-override"
            | "x-method-override"
    )
}

fn is_dropped_from_response(name: &str) -> bool {
    // `Alt-Svc` would send clients past us: it names the upstream's other doors as ours.
    is_hop_by_hop(name) || name == "alt-svc"
}

/// Sets what the upstream is told about the client. A client's own words are thrown away, unless
/// it is one of our proxies.
fn set_forwarded(headers: &mut HeaderMap, forwarded: &Forwarded<'_>) {
    let Forwarded {
        peer,
        trusted,
        host,
        scheme,
    } = *forwarded;
    let before = if trusted {
        joined(headers, &X_FORWARDED_FOR)
    } else {
        None
    };
    let mut addresses = before.map_or_else(Vec::new, |before| (before + ", ").into_bytes());
    push_address(&mut addresses, peer.to_canonical());
    let addresses = HeaderValue::from_maybe_shared(Bytes::from(addresses));
    set(headers, X_FORWARDED_FOR, addresses.ok(), false);
    set(
        headers,
        X_FORWARDED_PROTO,
        Some(HeaderValue::from_static(scheme)),
        trusted,
    );
    set(headers, X_FORWARDED_HOST, host.cloned(), trusted);
}

/// Puts one line with `value` in the place of all lines, or takes them off; with `keep` a line that
/// is there stays.
fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>, keep: bool) {
    match (value, keep) {
        (Some(value), true) => {
            headers.entry(name).or_insert(value);
        }
        (Some(value), false) => {
            headers.insert(name, value);
        }
        (None, true) => {}
        (None, false) => {
            headers.remove(name);
        }
    }
}

/// All lines of a field as one; `None` where there is none or one is no text.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Result<Vec<&str>, _> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::to_str)
        .collect();
    lines
        .ok()
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join(", "))
}

/// Whether `wanted` is an element of this list.
pub fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let is_wanted = |token: &[u8]| token.eq_ignore_ascii_case(wanted.as_bytes());
    headers
        .get_all(name)
        .iter()
        .any(|line| tokens(line).any(is_wanted))
}

/// The elements of a comma-separated list, without their parameters.
fn tokens(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let without_parameters = |element: &'_ [u8]| {
        element
            .iter()
            .position(|&byte| byte == b';')
            .unwrap_or(element.len())
    };
    line.as_bytes()
        .split(|&byte| byte == b',')
        .map(move |element| element[..without_parameters(element)].trim_ascii())
}

#[cfg(test)]
mod tests;
