//! Calling other servers: one way to send a request and to read its answer, under two policies.
//!
//! [`GuardedClient`] calls what strangers name, and therefore public addresses only.
//! [`TrustedClient`] calls what the operator's own file names, private addresses among them, and
//! can pin certificates. Under both, redirects are never followed, each answer has a limit of bytes
//! and of time, nothing is sent twice, the proxy variables of the environment are ignored, and
//! errors name the host only.

mod error;
mod guarded;
mod lines;
mod trusted;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT};
use http::uri::Authority;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

pub use error::CallError;
pub use guarded::{
    AllowedHost, AllowedHostError, AllowedHosts, FetchLimits, GuardedClient, is_public,
};
pub use lines::{Answer, Lines};
pub use trusted::{EndpointError, EndpointOptions, Trust, TrustedClient};

const AGENT: &str = concat!("farebox/", env!("CARGO_PKG_VERSION"));

type HttpClient<C> = Client<C, Full<Bytes>>;

/// Sends a request; the body of its answer, of at most `limit` bytes, is not read yet.
async fn send<C>(
    client: &HttpClient<C>,
    request: Request<Full<Bytes>>,
    host: Arc<str>,
    limit: usize,
) -> Result<Lines, CallError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let response = match client.request(request).await {
        Ok(response) => response,
        Err(error) => return Err(connection_failed(&host, error)),
    };
    let status = response.status();
    if status.is_redirection() {
        let (host, status) = (host.to_string(), status.as_u16());
        return Err(CallError::Redirect { host, status });
    }
    Ok(Lines::new(host, response, limit))
}

/// Only what failed while connecting is known to have reached nobody.
fn connection_failed(host: &str, error: hyper_util::client::legacy::Error) -> CallError {
    let host = host.to_owned();
    if guarded::is_blocked(&error) {
        return CallError::Blocked { host };
    }
    let source = Arc::new(error);
    if source.is_connect() {
        CallError::NotConnected { host, source }
    } else {
        CallError::Unreachable { host, source }
    }
}

/// The header fields of every call.
fn common_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers
}

/// The host and port of a URL, for errors and logs: what follows may be private.
#[must_use]
pub fn host_of(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

/// The host without the brackets of an IPv6 address, as it is resolved.
#[must_use]
pub fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Whether a host is this machine. Names are not looked up: `localhost` is this machine by
/// definition (RFC 6761), others may change.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || without_brackets(host)
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 section 2.3.
#[must_use]
pub fn percent_encode(text: &str) -> PercentEncode<'_> {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, RESERVED)
}

/// A port that is written and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the port is not a number up to 65535")]
pub struct BadPort;

/// The port behind the host, if one is written. `Authority` passes over a port that is not a
/// number or too large; here it is an error.
///
/// # Errors
/// [`BadPort`].
pub fn written_port(authority: &Authority) -> Result<Option<u16>, BadPort> {
    let text = authority.as_str();
    match text.strip_prefix(authority.host()).ok_or(BadPort)? {
        "" => Ok(None),
        rest => {
            let digits = rest.strip_prefix(':').ok_or(BadPort)?;
            digits.parse().map(Some).map_err(|_| BadPort)
        }
    }
}
