//! Reading phoenixd's webhook: who sent it is proven by the HMAC over its body, what it says is
//! that a payment came in. Pure; whoever receives it looks the payment up for how much it was,
//! because `amountSat` is what was left after fees.

use farebox_core::{PaymentHash, Secret};
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::Settlement;

/// The longest body that is looked at.
const MAX_BODY: usize = 16 * 1024;

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The signature is missing, malformed or another one.
    #[error("the webhook's signature is not phoenixd's")]
    Signature,
    /// Longer than any event.
    #[error("the webhook is longer than {MAX_BODY} bytes")]
    TooLarge,
    /// Signed, and not an event that says that a payment came in.
    #[error("the webhook does not tell of a payment")]
    NotAPayment,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventJson {
    #[serde(rename = "type")]
    kind: String,
    payment_hash: String,
}

/// Reads one call of the webhook. `secret` is `webhook-secret` of `phoenix.conf`, `signature` the
/// header `X-Phoenix-Signature`. The same event may come more than once.
///
/// # Errors
/// [`WebhookError`].
pub fn read_webhook(
    secret: &Secret<String>,
    signature: &str,
    body: &[u8],
) -> Result<Settlement, WebhookError> {
    if body.len() > MAX_BODY {
        return Err(WebhookError::TooLarge);
    }
    check_signature(secret, signature, body)?;
    let event: EventJson = serde_json::from_slice(body).map_err(|_| WebhookError::NotAPayment)?;
    let hash = PaymentHash::from_hex(&event.payment_hash);
    match hash {
        Ok(payment_hash) if event.kind == "payment_received" => Ok(Settlement {
            payment_hash,
            asked: None,
            received: None,
            cursor: None,
        }),
        _ => Err(WebhookError::NotAPayment),
    }
}

fn check_signature(
    secret: &Secret<String>,
    signature: &str,
    body: &[u8],
) -> Result<(), WebhookError> {
    let mut told = [0; 32];
    hex_to(&mut told, signature.trim()).ok_or(WebhookError::Signature)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
        .map_err(|_| WebhookError::Signature)?;
    mac.update(body);
    mac.verify_slice(&told).map_err(|_| WebhookError::Signature)
}

/// Borrows the one parser of 64 hex digits; a signature is no payment hash.
fn hex_to(told: &mut [u8; 32], text: &str) -> Option<()> {
    *told = *PaymentHash::from_hex(text).ok()?.as_bytes();
    Some(())
}
