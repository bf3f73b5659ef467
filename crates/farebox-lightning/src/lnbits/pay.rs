//! Paying from an LNbits wallet. It takes no fee limit; what it keeps back for the fee is the most
//! that it lets its node spend, so that is compared with ours before.

use async_trait::async_trait;
use farebox_http::client::CallError;
use http::StatusCode;
use serde_json::json;

use farebox_core::PaymentHash;

use super::answer::ReserveJson;
use super::refusal::Refusal;
use super::{Payer, find};
use crate::answer::JudgeAnswer;
use crate::{NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState, proof};

#[async_trait]
impl PayInvoice for Payer {
    async fn pay_invoice(&self, request: PaymentRequest) -> Result<PaymentState, NodeError> {
        let earlier = self.payment_state(request.payment_hash).await?;
        if earlier != PaymentState::Unheard {
            return Ok(earlier);
        }
        if self.fee_reserve(&request.bolt11).await? > request.max_fee.get() {
            return Ok(PaymentState::Failed(PaymentFailure::NoRoute));
        }
        let client = self.client.patient(request.patience);
        let body = json!({ "out": true, "bolt11": request.bolt11 });
        let answer = match client.post_json("/api/v1/payments", &body).await {
            Ok(answer) => answer,
            Err(CallError::TimedOut { .. }) => return Ok(PaymentState::Pending),
            Err(error) => return Err(error.into()),
        };
        let failure = match answer.refusal::<Refusal>() {
            None => None,
            Some(refusal) if refusal.is_final() || answer.status == StatusCode::BAD_REQUEST => {
                Some(refusal.failure())
            }
            Some(refusal) => return Err(refusal.error(&answer)),
        };
        let recorded = self.payment_state(request.payment_hash).await;
        Ok(proof::after_sending(recorded, failure))
    }

    async fn payment_state(&self, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        match find(&self.client, hash).await? {
            None => Ok(PaymentState::Unheard),
            Some((found, answer)) => found.payment(&hash).map_err(|fault| answer.bad(fault)),
        }
    }
}

impl Payer {
    async fn fee_reserve(&self, bolt11: &str) -> Result<u64, NodeError> {
        let path = format!("/api/v1/payments/fee-reserve?invoice={bolt11}");
        let reserve: ReserveJson = self.client.get(&path).await?.json()?;
        Ok(reserve.fee_reserve.0)
    }
}
