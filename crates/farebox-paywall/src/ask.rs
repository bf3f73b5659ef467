//! What the paywall has to know of one request: facts that whoever serves it has read off it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farebox_core::{HoldId, RequestDigest, RequestId, RouteName, UnixMillis};
use farebox_ecash::RequestForm;
use farebox_http::body_budget::Holder;
use farebox_lightning::Backend;
use farebox_lightning::backends::Backends;
use http::{HeaderMap, HeaderName, Method};
use sha2::{Digest, Sha256};

use crate::mints::Mints;
use crate::sale::Sale;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How payments are taken at present. A reload replaces them as a whole.
#[derive(Clone)]
pub struct PaymentRules {
    /// The Lightning nodes that make invoices; absent when nothing is sold for Lightning.
    pub node: Option<Arc<Backends>>,
    /// The mints whose coins are taken.
    pub mints: Mints,
    /// In which form coins are asked for.
    pub request_form: RequestForm,
    /// How long an invoice can be paid.
    pub invoice_expiry: Duration,
    /// Whether a token's first use also needs the node to say that its invoice is settled.
    pub strict_settlement: bool,
}

impl PaymentRules {
    /// The backend that new payments are held by, and its name.
    #[must_use]
    pub fn holder(&self) -> Option<(&str, &Arc<Backend>)> {
        let node = self.node.as_ref()?;
        let (name, _) = node.holder()?;
        Some((name, node.named(name)?))
    }
}

/// One request for something that is sold.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// How payments are taken.
    pub rules: &'a PaymentRules,
    /// On which route, as in caveats.
    pub route: &'a RouteName,
    /// What is asked for.
    pub sale: &'a Sale,
    /// The request, as it stands in logs and answers.
    pub request: RequestId,
    /// The hold that is made for it, if one is.
    pub hold: HoldId,
    /// When it came.
    pub received_at: UnixMillis,
    /// Who sent it.
    pub client: IpAddr,
    /// Whose share of what all requests take is taken for it.
    pub holder: Holder,
    /// On which data thread it is served: its connections to a webhook are of that thread.
    pub thread: usize,
    /// Its method.
    pub method: &'a Method,
    /// Its canonical path.
    pub path: &'a str,
    /// Its query.
    pub query: Option<&'a str>,
    /// Its header fields, without those that pay.
    pub headers: &'a HeaderMap,
    /// What is known of its body.
    pub body: BodyFacts<'a>,
}

/// What is known of a request's body.
#[derive(Clone, Copy)]
pub enum BodyFacts<'a> {
    /// It was not read. It says that it is so many bytes long, if it says anything.
    Unread {
        /// In bytes.
        length: Option<u64>,
    },
    /// It was read to its end.
    Read {
        /// Of what came, in bytes.
        length: u64,
        /// Of what came.
        sha256: &'a [u8; 32],
        /// What will be forwarded, where it was kept.
        bytes: Option<&'a Bytes>,
    },
}

/// How a request is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// It is not.
    None,
    /// By everything: method, path, query and body.
    Whole(RequestDigest),
    /// By everything but the content of a body that is too long to be read first. Such a request is
    /// known again, so that it is not sold twice, but is never answered from memory.
    Outline(RequestDigest),
}

impl Ask<'_> {
    /// How many bytes of a body will be forwarded, where that is known.
    #[must_use]
    pub fn forwarded_length(&self) -> Option<u64> {
        match self.body {
            BodyFacts::Unread { length } => length,
            BodyFacts::Read { length, bytes, .. } => {
                Some(bytes.map_or(length, |bytes| bytes.len() as u64))
            }
        }
    }

    /// The key under which its client repeats it, if it names one.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<[u8; 32]> {
        idempotency_key(self.headers)
    }
}

/// Whether a method only asks about the resource. Such a request never gets an invoice.
#[must_use]
pub fn is_probe(method: &Method) -> bool {
    matches!(*method, Method::HEAD | Method::OPTIONS)
}

/// The key under which a client repeats a request, if it names one. All its lines count, as the
/// upstream sees all: what differs in any is another sale.
#[must_use]
pub fn idempotency_key(headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let mut hasher = Sha256::new();
    hasher.update(b"idempotency-key\n");
    hasher.update(lines.next()?.as_bytes());
    for line in lines {
        hasher.update(b"\n");
        hasher.update(line.as_bytes());
    }
    Some(hasher.finalize().into())
}

impl Fingerprint {
    /// What the request is known by, if it is.
    #[must_use]
    pub const fn digest(self) -> Option<RequestDigest> {
        match self {
            Self::None => None,
            Self::Whole(digest) | Self::Outline(digest) => Some(digest),
        }
    }

    /// Whether the request is known to its last byte, so that its answer may be kept.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Whole(_))
    }
}
