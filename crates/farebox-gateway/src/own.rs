//! The gateway's own paths, under `/.farebox/`. Everything else belongs to the routes.
//!
//! | | |
//! |---|---|
//! | `GET /.farebox/health` | whether the gateway answers |
//! | `POST /.farebox/keys` | sells a prepaid key |
//! | `POST /.farebox/keys/top-up` | an invoice that pays for somebody's key |
//! | `GET /.farebox/keys/self` | what is on the presented key |
//! | `GET`, `POST /.farebox/keys/children` | keys that spend the money of the presented one |
//! | `DELETE /.farebox/keys/children/{id}` | revokes one of them |
//! | `GET /.farebox/receipts/{id}` | what a request was charged, for whoever paid for it |
//! | `GET /.farebox/refund` | what could be paid back on the presented token, and its refunds |
//! | `POST /.farebox/refund` | pays back what is left on the presented token |
//! | `POST /.farebox/change` | what is left of the coins that paid for a request |
//! | `POST /.farebox/webhooks/phoenixd` | phoenixd says that a payment came in |

mod change;
mod keys;
mod receipts;
mod refund;
mod webhook;

use std::sync::Arc;
use std::time::Instant;

use farebox_http::body_budget::Shares;
use farebox_http::limits::ChallengeLimits;
use farebox_paywall::Paywall;
use farebox_paywall::credential::Reader;
use farebox_paywall::payout::Payouts;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response};

use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::metrics::Metrics;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::refusal::{Refusal, RequestError};

use keys::{KEYS, KeyDesk, KeyPaths};
use receipts::RECEIPTS;
use refund::RefundDesk;

const PREFIX: &str = "/.farebox";
const HEALTH: &str = "/.farebox/health";
const REFUND: &str = "/.farebox/refund";

/// Whether no route ever sees this path.
pub(crate) fn is_own(path: &str) -> bool {
    is_in(PREFIX, path)
}

fn is_in(folder: &str, path: &str) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers the gateway's own paths, for all data threads.
pub(crate) struct Own {
    paywall: Arc<Paywall>,
    metrics: Arc<Metrics>,
    /// Bodies of requests in memory.
    bodies: Arc<Shares>,
    refunds: Arc<RefundDesk>,
    /// How often change is asked for.
    changes: ChallengeLimits,
    keys: KeyPaths,
}

impl Own {
    pub(crate) fn new(
        paywall: Arc<Paywall>,
        metrics: Arc<Metrics>,
        bodies: Arc<Shares>,
        payouts: Option<Arc<Payouts>>,
    ) -> Self {
        let refunds = Arc::new(RefundDesk::new(payouts, Instant::now()));
        Self {
            keys: KeyPaths {
                paywall: Arc::clone(&paywall),
                bodies: Arc::clone(&bodies),
                refunds: Arc::clone(&refunds),
                desk: KeyDesk::new(Instant::now()),
            },
            paywall,
            metrics,
            bodies,
            refunds,
            changes: ChallengeLimits::new(change::rates(), Instant::now()),
        }
    }

    /// Answers a request for one of the gateway's own paths; `reader` is the thread's.
    pub(crate) async fn answer(
        &self,
        reader: &Reader,
        plan: &Plan,
        exchange: &mut Exchange,
        arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let reads = matches!(arrival.parts.method, Method::GET | Method::HEAD);
        match &*arrival.path {
            HEALTH if reads => {
                exchange.outcome = Outcome::Free;
                Ok(json(&b"{\"status\":\"ok\"}\n"[..]))
            }
            REFUND => self.refund(exchange, arrival).await,
            change::CHANGE => Box::pin(change::answer(self, reader, exchange, arrival)).await,
            webhook::PHOENIXD => self.webhook(plan, exchange, arrival).await,
            path if is_in(RECEIPTS, path) => {
                Box::pin(self.receipt(reader, exchange, arrival)).await
            }
            path if is_in(KEYS, path) => {
                Box::pin(self.keys.answer(reader, plan, exchange, arrival)).await
            }
            _ => Err(RequestError::NoRoute.into()),
        }
    }
}

/// JSON of ours, for nobody to keep.
pub(crate) fn json(body: impl Into<bytes::Bytes>) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::own(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_itself_and_what_is_in_it_is_ours() {
        for own in ["/.farebox", "/.farebox/", "/.farebox/refund", "/.farebox/x"] {
            assert!(is_own(own), "{own}");
        }
        for other in ["/", "/.fareboxes", "/a/.farebox/refund", "/.well-known"] {
            assert!(!is_own(other), "{other}");
        }
    }
}
