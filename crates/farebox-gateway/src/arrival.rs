//! A request as it arrived: framing checked, host and path in their one spelling.
//!
//! What is matched here is what is forwarded. A request that two servers could read differently is
//! refused before anything looks at its route.

use std::sync::{Arc, Once};

use bytes::Bytes;
use farebox_core::RequestDigest;
use farebox_http::body_budget::{ByteBudget, Keep, Patience, ReadBody, read_body, read_bytes};
use farebox_http::headers::{UnusualNames, check_framing, drop_unusual_names};
use farebox_http::path::{CanonicalPath, PathParameters};
use farebox_http::subprotocols::Subprotocols;
use farebox_paywall::ask::BodyFacts;
use farebox_wire::grpc::ContentType;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{Request, Version};
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

use crate::refusal::{PaywallError, Refusal, RequestError};

/// A request whose framing is sound.
pub(crate) struct Arrival {
    pub(crate) parts: Parts,
    pub(crate) host: Arc<str>,
    pub(crate) path: Arc<str>,
    pub(crate) body: ArrivedBody,
    /// Which gRPC it speaks, if any.
    pub(crate) grpc: Option<ContentType>,
}

/// The body of a request, before forwarding.
pub(crate) enum ArrivedBody {
    /// Still with the client.
    Unread(Incoming),
    /// Read to its end; the bytes are there if they were kept.
    Read(ReadBody),
    /// Gone: it was given to an upstream, or dropped.
    Taken,
}

impl Arrival {
    pub(crate) fn read(
        parameters: PathParameters,
        names: UnusualNames,
        grpc: Option<ContentType>,
        request: Request<Incoming>,
    ) -> Result<Box<Self>, Refusal> {
        let (mut parts, body) = request.into_parts();
        check_framing(&parts.headers)?;
        if let Some(offered) = Subprotocols::offered(&parts.headers) {
            parts.extensions.insert(offered);
        }
        if names == UnusualNames::Dropped
            && let Some(name) = drop_unusual_names(&mut parts.headers)
        {
            SAID_DROPPED.call_once(|| say_dropped(&name));
        }
        if parts.method.as_str().eq_ignore_ascii_case("CONNECT") {
            return Err(RequestError::NoRoute.into());
        }
        let host = host_of(&parts)?;
        let path = CanonicalPath::parse(parts.uri.path(), parameters)?;
        let path = Arc::from(path.as_str());
        Ok(Box::new(Self {
            parts,
            host,
            path,
            body: ArrivedBody::Unread(body),
            grpc,
        }))
    }

    /// Takes the whole body of a request for ourselves, which nobody has read before.
    pub(crate) async fn take_bytes(
        &mut self,
        limit: usize,
        budget: &Arc<ByteBudget>,
    ) -> Result<Bytes, Refusal> {
        let body = std::mem::replace(&mut self.body, ArrivedBody::Taken);
        let ArrivedBody::Unread(body) = body else {
            return Err(PaywallError::BodyNotKept.into());
        };
        let (bytes, _lease) = read_bytes(body, limit, Patience::default(), budget.lease()).await?;
        Ok(bytes)
    }

    /// The host as the client named it, with its port.
    pub(crate) fn authority(&self) -> Option<HeaderValue> {
        match (self.parts.uri.authority(), self.parts.headers.get(HOST)) {
            (Some(named), _) => HeaderValue::from_str(named.as_str()).ok(),
            (None, Some(named)) => Some(named.clone()),
            (None, None) if self.host.is_empty() => None,
            // A call that was kept: of the host of its request, only the name.
            (None, None) => HeaderValue::from_str(&self.host).ok(),
        }
    }

    /// Whether bytes of a body may still come.
    pub(crate) fn has_unread_body(&self) -> bool {
        matches!(&self.body, ArrivedBody::Unread(body) if !http_body::Body::is_end_stream(body))
    }

    /// How long the body says it is at least, and whether that is its length.
    pub(crate) fn body_length(&self) -> (u64, bool) {
        match &self.body {
            ArrivedBody::Unread(body) => {
                let hint = http_body::Body::size_hint(body);
                (hint.lower(), hint.exact().is_some())
            }
            ArrivedBody::Read(_) | ArrivedBody::Taken => (0, true),
        }
    }

    /// A digest of everything but the content of the body, which is `length` bytes.
    pub(crate) fn outline(&self, length: u64) -> RequestDigest {
        let mut hasher = Sha256::new();
        hasher.update(b"a body too long to be read before forwarding\n");
        hasher.update(length.to_be_bytes());
        self.digest_with(&hasher.finalize().into())
    }

    /// The digest of this request with a body of this SHA-256.
    pub(crate) fn digest_with(&self, body: &[u8; 32]) -> RequestDigest {
        let (method, query) = (self.parts.method.as_str(), self.parts.uri.query());
        RequestDigest::of_request(method, &self.path, query, body)
    }

    /// The bytes of a body that was read and kept.
    pub(crate) fn read_bytes(&self) -> Option<bytes::Bytes> {
        match &self.body {
            ArrivedBody::Read(read) => read.bytes.clone(),
            ArrivedBody::Unread(_) | ArrivedBody::Taken => None,
        }
    }

    /// What is known of the body.
    pub(crate) fn body_facts(&self) -> BodyFacts<'_> {
        match &self.body {
            ArrivedBody::Read(read) => BodyFacts::Read {
                length: read.length,
                sha256: &read.sha256,
                bytes: read.bytes.as_ref(),
            },
            ArrivedBody::Unread(_) | ArrivedBody::Taken => BodyFacts::Unread {
                length: match self.body_length() {
                    (length, true) => Some(length),
                    (_, false) => None,
                },
            },
        }
    }

    /// Puts JSON of ours into the place of a body that was read. The digest stays that of what came.
    /// The client's own words for the body go with it: under another character set, or a second
    /// type, an upstream could read something else than was priced.
    pub(crate) fn replace_body(&mut self, bytes: bytes::Bytes) {
        if let ArrivedBody::Read(read) = &mut self.body {
            let headers = &mut self.parts.headers;
            headers.remove(TRANSFER_ENCODING);
            headers.remove(CONTENT_ENCODING);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            read.bytes = Some(bytes);
        }
    }

    /// Leaves a request that needs no body without one.
    pub(crate) fn drop_body(&mut self) {
        self.body = ArrivedBody::Taken;
        let headers = &mut self.parts.headers;
        for name in [
            CONTENT_LENGTH,
            CONTENT_TYPE,
            CONTENT_ENCODING,
            TRANSFER_ENCODING,
        ] {
            headers.remove(name);
        }
    }

    /// Reads the body to its end, if that has not happened yet, and gives the request's digest.
    pub(crate) async fn digest(
        &mut self,
        limit: usize,
        budget: &Arc<ByteBudget>,
        keep: Keep,
    ) -> Result<RequestDigest, Refusal> {
        if let ArrivedBody::Unread(_) = self.body
            && let ArrivedBody::Unread(incoming) =
                std::mem::replace(&mut self.body, ArrivedBody::Taken)
        {
            let patience = Patience::default();
            self.body =
                ArrivedBody::Read(read_body(incoming, limit, patience, budget, keep).await?);
        }
        let ArrivedBody::Read(ReadBody { sha256, .. }) = &self.body else {
            return Err(PaywallError::BodyNotKept.into());
        };
        Ok(self.digest_with(sha256))
    }
}

/// How much of a name that a client has chosen is logged.
const MAX_LOGGED_NAME: usize = 32;

/// Once for each process: how often it happens is for clients to choose.
static SAID_DROPPED: Once = Once::new();

fn say_dropped(name: &HeaderName) {
    let name = name.as_str();
    tracing::warn!(
        name = &name[..name.len().min(MAX_LOGGED_NAME)],
        "a header was dropped for its name, and so are all whose names have other characters than \
         letters, digits and hyphens; server.underscores_in_headers keeps them"
    );
}

/// The host the request is for, in lower case and without its port; empty for one of HTTP/1.0 that
/// names none, as old health checks do. HTTP/2's `:authority` and an absolute target must agree with a
/// `Host` header (RFC 9112 section 3.2.2).
fn host_of(parts: &Parts) -> Result<Arc<str>, Refusal> {
    let header = match parts.headers.get(HOST) {
        Some(value) => Some(value.to_str().map_err(|_| RequestError::Host)?),
        None => None,
    };
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = match (authority, header) {
        (Some(one), Some(other)) if !one.eq_ignore_ascii_case(other) => {
            return Err(RequestError::Host.into());
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) if parts.version == Version::HTTP_10 => return Ok("".into()),
        (None, None) => return Err(RequestError::Host.into()),
    };
    let authority: http::uri::Authority = host.parse().map_err(|_| RequestError::Host)?;
    if authority.as_str().contains('@') {
        return Err(RequestError::Host.into());
    }
    let mut host = Arc::from(authority.host());
    str::make_ascii_lowercase(Arc::make_mut(&mut host));
    Ok(host)
}
