//! `/.farebox/webhooks/phoenixd`: the node says that a payment came in.
//!
//! There is such a path only while a backend was given the secret that its webhook is signed with.
//! Nobody is believed before the signature over the whole body is right, and then nothing is booked
//! from here: the node is asked at once what it has been asked all along. So neither a forged nor a
//! repeated call changes anything.

use farebox_lightning::backends::Backends;
use farebox_lightning::{HearWebhook, WebhookError};
use http::header::{HeaderMap, HeaderName};
use http::{Method, Response, StatusCode};

use super::Own;
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::arrival::Arrival;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::refusal::{Refusal, RequestError};

pub(super) const PHOENIXD: &str = "/.farebox/webhooks/phoenixd";

/// Where phoenixd puts the HMAC of the body.
const SIGNATURE: HeaderName = HeaderName::from_static("x-phoenix-signature");

impl Own {
    pub(super) async fn webhook(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        mut arrival: Arrival,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let node = plan.payments.node.as_deref();
        let longest = node.into_iter().flat_map(Backends::webhooks);
        let longest = longest.map(HearWebhook::max_body).max();
        let (Some(node), Some(longest)) = (node, longest) else {
            return Err(RequestError::NoRoute.into());
        };
        if arrival.parts.method != Method::POST {
            return Err(RequestError::only(&[Method::POST]).into());
        }
        let Some(signature) = signature(&arrival.parts.headers) else {
            return Err(self.unsigned());
        };
        let body = arrival
            .take_bytes(longest, &self.bodies.of(exchange.holder))
            .await?;
        match hear(node, &signature, &body) {
            // What it tells besides payments is nothing to us, and nothing to try again.
            Ok(result) => {
                self.metrics.webhook(result);
                exchange.outcome = Outcome::Free;
                let mut response = Response::new(AnswerBody::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            Err(Unbelieved) => Err(self.unsigned()),
        }
    }

    fn unsigned(&self) -> Refusal {
        self.metrics.webhook("refused");
        RequestError::Unsigned.into()
    }
}

/// No backend's secret makes this signature.
struct Unbelieved;

/// Whose call it is only the signature tells. What became of it is a word for the metrics.
fn hear(node: &Backends, signature: &str, body: &[u8]) -> Result<&'static str, Unbelieved> {
    for webhook in node.webhooks() {
        match webhook.hear(signature, body) {
            Ok(payment_hash) => {
                tracing::debug!(payment.hash = %payment_hash, "a webhook tells of a payment");
                return Ok("heard");
            }
            Err(WebhookError::NotAPayment) => return Ok("ignored"),
            Err(WebhookError::Signature | WebhookError::TooLarge { .. }) => {}
        }
    }
    Err(Unbelieved)
}

/// The one signature; two of them are none.
fn signature(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(SIGNATURE).iter();
    let only = all.next().filter(|_| all.next().is_none())?;
    only.to_str().ok().map(str::to_owned)
}
