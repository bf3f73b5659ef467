//! Reading phoenixd's webhook: who sent it is proven by the HMAC over its body, what it says is
//! that a payment came in.
//!
//! It only wakes whoever asks for settlements: how much came in is what phoenixd answers there,
//! because `amountSat` is what was left after fees. So one that is sent again does no harm.

use farebox_core::{PaymentHash, Secret};
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::Phoenixd;
use crate::{HearWebhook, WebhookError};

/// The longest body that is looked at.
const MAX_BODY: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventJson {
    #[serde(rename = "type")]
    kind: String,
    payment_hash: String,
}

/// Reads one call of the webhook. `secret` is `webhook-secret` of `phoenix.conf`, `signature` the
/// header `X-Phoenix-Signature`. Gives the payment's hash.
///
/// # Errors
/// [`WebhookError`].
pub fn read_webhook(
    secret: &Secret<String>,
    signature: &str,
    body: &[u8],
) -> Result<PaymentHash, WebhookError> {
    if body.len() > MAX_BODY {
        return Err(WebhookError::TooLarge { limit: MAX_BODY });
    }
    check_signature(secret, signature, body)?;
    let event: EventJson = serde_json::from_slice(body).map_err(|_| WebhookError::NotAPayment)?;
    let hash = PaymentHash::from_hex(&event.payment_hash);
    match hash {
        Ok(payment_hash) if event.kind == "payment_received" => Ok(payment_hash),
        _ => Err(WebhookError::NotAPayment),
    }
}

fn check_signature(
    secret: &Secret<String>,
    signature: &str,
    body: &[u8],
) -> Result<(), WebhookError> {
    let told = hex::decode(signature.trim()).map_err(|_| WebhookError::Signature)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
        .map_err(|_| WebhookError::Signature)?;
    mac.update(body);
    mac.verify_slice(&told).map_err(|_| WebhookError::Signature)
}

impl HearWebhook for Phoenixd {
    fn hear(&self, signature: &str, body: &[u8]) -> Result<PaymentHash, WebhookError> {
        let secret = self.webhook_secret.as_ref();
        let payment_hash = read_webhook(secret.ok_or(WebhookError::Signature)?, signature, body)?;
        if self.bell.ring() {
            tracing::info!("the webhook of phoenixd is heard: it is asked for payments less often");
        }
        Ok(payment_hash)
    }

    fn max_body(&self) -> usize {
        MAX_BODY
    }
}
