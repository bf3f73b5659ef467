//! How LNbits says no: `detail`, and `status` where it was about an invoice or a payment (520).

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::JudgeAnswer;
use crate::lenient;
use crate::{AnswerFault, NodeError, PaymentFailure};
use farebox_http::client::Answer;

/// Its own status for what its node refused.
const NODE_REFUSED: u16 = 520;

/// How it calls a hash that the wallet does not know.
const UNKNOWN_PAYMENT: &str = "Payment does not exist.";

/// How it calls a key that it does not know.
const UNKNOWN_KEY: &str = "Wallet not found.";

/// The JSON of a success, or what LNbits refused with.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, NodeError> {
    match answer.refusal::<Refusal>() {
        Some(refusal) => Err(refusal.error(answer)),
        None => answer.parse(),
    }
}

/// What it refused with.
#[derive(Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    detail: Value,
    #[serde(default, deserialize_with = "lenient::read")]
    status: Option<String>,
}

impl Refusal {
    /// By these very words: a 404 of somebody else on the way proves nothing.
    pub(super) fn is_unknown_payment(&self, answer: &Answer) -> bool {
        answer.status == StatusCode::NOT_FOUND && self.detail == UNKNOWN_PAYMENT
    }

    /// Whether it knows how the matter ended; otherwise it calls it pending.
    pub(super) fn is_final(&self) -> bool {
        self.status.as_deref() == Some("failed")
    }

    /// As an error: whether it is a refusal, or an outage of LNbits or its node.
    pub(super) fn error(&self, answer: &Answer) -> NodeError {
        let reason = self.detail.as_str();
        match (answer.status.as_u16(), reason) {
            (404, Some(UNKNOWN_KEY)) => NodeError::Forbidden {
                host: answer.host.to_string(),
                status: 404,
            },
            (400 | NODE_REFUSED, Some(reason)) if self.may_be_told() => answer.refused(reason),
            (400, None) => answer.refused("a field is not as it should be"),
            _ => match answer.check_status() {
                Err(error) => error,
                Ok(()) => answer.bad(AnswerFault::Status(answer.status.as_u16())),
            },
        }
    }

    /// What its node did not answer is no refusal.
    fn may_be_told(&self) -> bool {
        self.status.as_deref() != Some("pending")
    }

    /// Why a payment failed.
    pub(super) fn failure(&self) -> PaymentFailure {
        let reason = self
            .detail
            .as_str()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        if says(&["insufficient", "reserve at least"]) {
            PaymentFailure::InsufficientBalance
        } else if says(&["no_route", "no route", "no path"]) {
            PaymentFailure::NoRoute
        } else if says(&["expired", "incorrect_payment_details"]) {
            PaymentFailure::RefusedByPayee
        } else {
            PaymentFailure::Other
        }
    }
}
