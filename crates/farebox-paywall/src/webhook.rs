//! Prices that a program of the seller says: it is asked before a call, and where it said only the
//! most, told afterwards what the call was and asked what it came to.
//!
//! Each question is signed. An answer that is late, too long or not exactly one of those that there
//! are is no answer: then nothing is sold. Only the seller's own file says who is asked, so any
//! address is, and redirects are not followed. Credentials of the client are never told.

mod ask;
mod asked;
mod message;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::Secret;
use farebox_http::limits::Places;
use farebox_http::upstream::UpstreamPool;
use farebox_wire::credential::CREDENTIAL_HEADERS;
use http::HeaderName;
use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery};
use tokio::sync::Semaphore;

use crate::gauge::Unsaid;
use crate::payment_fields;

/// Whether a request header of this name, in small letters, holds a credential: nobody is told it.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    const OF_OTHERS: [&str; 3] = ["cookie", "proxy-authorization", "sec-websocket-protocol"];
    OF_OTHERS.contains(&name)
        || CREDENTIAL_HEADERS.contains(&name)
        || payment_fields::in_requests(name)
}

/// Who says what a route's calls cost.
pub struct Webhook {
    pool: UpstreamPool,
    target: PathAndQuery,
    host: HeaderValue,
    secret: Secret<Vec<u8>>,
    rules: WebhookRules,
    /// Who has a question open that nobody has paid for yet.
    askers: Arc<Places>,
    places: Semaphore,
}

/// How a webhook is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRules {
    /// How long one answer may take, in all.
    pub timeout: Duration,
    /// How many questions may be open at a time.
    pub max_in_flight: usize,
    /// How often it is asked what a call came to; at least once.
    pub attempts: u32,
    /// Headers of the request that it is told.
    pub tell: Vec<HeaderName>,
    /// What is charged where it does not say what a call came to.
    pub missing: Unsaid,
}

impl Webhook {
    /// The webhook at `target` of the server behind `pool`.
    #[must_use]
    pub fn new(
        pool: UpstreamPool,
        target: PathAndQuery,
        secret: Secret<Vec<u8>>,
        rules: WebhookRules,
    ) -> Self {
        let host = HeaderValue::from_str(pool.authority().as_str());
        Self {
            pool,
            target,
            host: host.unwrap_or(HeaderValue::from_static("webhook")),
            secret,
            askers: Arc::default(),
            places: Semaphore::new(rules.max_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            rules,
        }
    }
}

impl Webhook {
    /// Host and port.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        self.pool.authority()
    }
}

/// Who is asked: what tells the terms of a sale apart.
impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "webhook={}{}", self.authority(), self.target.path())
    }
}
