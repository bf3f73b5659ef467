//! Paying. LND keeps every payment by its hash and begins none twice, so asking again for the same
//! invoice is safe; what is not known stays unknown here.

use std::time::Duration;

use async_trait::async_trait;
use farebox_core::{Msat, PaymentHash};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::Lnd;
use super::answer::{self, Denial};
use crate::lenient::{self, Number};
use crate::{
    AnswerFault, NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState, proof,
};
use farebox_http::client::{Answer, CallError, Lines};

/// LND is given this much less time than the caller has, to hear the outcome of its last attempt.
const LAST_WORD: Duration = Duration::from_secs(2);

/// `lnrpc.Payment`, as far as it is read.
#[derive(Deserialize)]
struct PaymentJson {
    payment_hash: String,
    status: String,
    #[serde(default, deserialize_with = "lenient::read")]
    payment_preimage: Option<String>,
    #[serde(default, deserialize_with = "lenient::read")]
    fee_msat: Option<Number>,
    #[serde(default, deserialize_with = "lenient::read")]
    failure_reason: Option<String>,
}

#[async_trait]
impl PayInvoice for Lnd {
    async fn pay_invoice(&self, request: PaymentRequest) -> Result<PaymentState, NodeError> {
        tokio::time::timeout(request.patience, self.send(&request))
            .await
            .unwrap_or(Ok(PaymentState::Pending))
    }

    /// The first line is the state at this moment.
    async fn payment_state(&self, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        let now = async {
            let path = format!("/v2/router/track/{}", answer::base64_for_path(hash));
            let mut lines = self.node.client.stream(Method::GET, &path, None).await?;
            if !lines.status().is_success() {
                return not_tracked(&lines.collect().await?);
            }
            match lines.next().await {
                Some(line) => self.payment(&line?, hash),
                None => Ok(PaymentState::Pending),
            }
        };
        tokio::time::timeout(self.call_timeout, now)
            .await
            .unwrap_or_else(|_| Err(self.timed_out()))
    }
}

impl Lnd {
    /// Answers with the first outcome; the node goes on without us where we hang up.
    async fn send(&self, request: &PaymentRequest) -> Result<PaymentState, NodeError> {
        let attempts = request.patience.saturating_sub(LAST_WORD).as_secs().max(1);
        let body = json!({
            "payment_request": request.bolt11,
            "fee_limit_msat": request.max_fee.get().to_string(),
            "timeout_seconds": attempts,
            "no_inflight_updates": true,
        });
        let lines = self
            .node
            .client
            .stream(Method::POST, "/v2/router/send", Some(&body))
            .await?;
        if lines.status().is_success() {
            return self.outcome(lines, request.payment_hash).await;
        }
        self.after_refusal(&lines.collect().await?, request.payment_hash)
            .await
    }

    async fn outcome(
        &self,
        mut lines: Lines,
        hash: PaymentHash,
    ) -> Result<PaymentState, NodeError> {
        while let Some(line) = lines.next().await {
            match self.payment(&line?, hash)? {
                PaymentState::Pending | PaymentState::Unheard => {}
                outcome => return Ok(outcome),
            }
        }
        Ok(PaymentState::Pending)
    }

    /// LND refuses before it begins, but the same payment may have begun earlier: only where it
    /// knows of none is the refusal the end.
    async fn after_refusal(
        &self,
        answer: &Answer,
        hash: PaymentHash,
    ) -> Result<PaymentState, NodeError> {
        match answer::check(answer) {
            Err(Denial::Refused(refused)) => match self.payment_state(hash).await? {
                PaymentState::Unheard => Ok(PaymentState::Failed(refusal(&refused))),
                known => Ok(known),
            },
            Err(Denial::Exists(_)) => self.payment_state(hash).await,
            Err(denial) => Err(denial.into()),
            Ok(()) => Ok(PaymentState::Pending),
        }
    }

    fn payment(&self, line: &[u8], hash: PaymentHash) -> Result<PaymentState, NodeError> {
        let host = self.node.client.host();
        match answer::read_line::<PaymentJson>(host, line)? {
            Some(payment) => {
                state(&payment, hash).map_err(|fault| NodeError::bad_answer(host, fault))
            }
            None => Ok(PaymentState::Pending),
        }
    }

    fn timed_out(&self) -> NodeError {
        NodeError::Call(CallError::TimedOut {
            host: self.node.client.host().to_owned(),
            limit: self.call_timeout,
        })
    }
}

fn not_tracked(answer: &Answer) -> Result<PaymentState, NodeError> {
    match answer::check(answer) {
        Err(Denial::NotFound(_)) => Ok(PaymentState::Unheard),
        Err(denial) => Err(denial.into()),
        Ok(()) => Ok(PaymentState::Pending),
    }
}

fn state(payment: &PaymentJson, hash: PaymentHash) -> Result<PaymentState, AnswerFault> {
    proof::same_hash(&payment.payment_hash, &hash)?;
    Ok(match payment.status.as_str() {
        "SUCCEEDED" => PaymentState::Succeeded {
            fee: payment
                .fee_msat
                .and_then(Number::msat)
                .unwrap_or(Msat::ZERO),
            preimage: proof::shown(payment.payment_preimage.as_deref(), &hash),
        },
        "FAILED" => PaymentState::Failed(failure(payment.failure_reason.as_deref())),
        _ => PaymentState::Pending,
    })
}

fn failure(reason: Option<&str>) -> PaymentFailure {
    match reason.unwrap_or_default() {
        "FAILURE_REASON_NO_ROUTE" | "FAILURE_REASON_TIMEOUT" => PaymentFailure::NoRoute,
        "FAILURE_REASON_INSUFFICIENT_BALANCE" => PaymentFailure::InsufficientBalance,
        "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS" => PaymentFailure::RefusedByPayee,
        _ => PaymentFailure::Other,
    }
}

fn refusal(refused: &NodeError) -> PaymentFailure {
    match refused {
        NodeError::Refused { reason, .. } if reason.contains("expired") => {
            PaymentFailure::RefusedByPayee
        }
        _ => PaymentFailure::Other,
    }
}
