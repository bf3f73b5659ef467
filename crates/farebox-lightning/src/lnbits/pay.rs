//! Paying from an LNbits wallet. It takes no fee limit; what it keeps back for the fee is the most
//! that it lets its node spend, so that is compared with ours before.

use http::StatusCode;
use serde_json::json;

use farebox_core::PaymentHash;

use super::answer::ReserveJson;
use super::refusal::Refusal;
use super::{Payer, find};
use crate::{NodeError, PaymentFailure, PaymentRequest, PaymentState};

impl Payer {
    pub(super) async fn send(&self, request: &PaymentRequest) -> Result<PaymentState, NodeError> {
        let earlier = self.find_payment(request.payment_hash).await?;
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
            Err(NodeError::TimedOut { .. }) => return Ok(PaymentState::Pending),
            Err(error) => return Err(error),
        };
        match Refusal::of(&answer) {
            None => Ok(self.recorded(request.payment_hash, None).await),
            Some(refusal) if refusal.is_final() || answer.status == StatusCode::BAD_REQUEST => {
                let failure = refusal.failure();
                Ok(self.recorded(request.payment_hash, Some(failure)).await)
            }
            Some(refusal) => Err(refusal.error(&answer)),
        }
    }

    /// What the wallet's record says. A refused payment may have left none; and as it was sent, not
    /// being able to ask is no refusal.
    async fn recorded(&self, hash: PaymentHash, failure: Option<PaymentFailure>) -> PaymentState {
        let state = self.find_payment(hash).await;
        match (state.unwrap_or(PaymentState::Pending), failure) {
            (PaymentState::Failed(_) | PaymentState::Unheard, Some(failure)) => {
                PaymentState::Failed(failure)
            }
            (PaymentState::Unheard, None) => PaymentState::Pending,
            (state, _) => state,
        }
    }

    async fn fee_reserve(&self, bolt11: &str) -> Result<u64, NodeError> {
        let path = format!("/api/v1/payments/fee-reserve?invoice={bolt11}");
        let reserve: ReserveJson = self.client.get(&path).await?.json()?;
        Ok(reserve.fee_reserve)
    }

    pub(super) async fn find_payment(&self, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        match find(&self.client, hash).await? {
            None => Ok(PaymentState::Unheard),
            Some((found, answer)) => found.payment(&hash).map_err(|fault| answer.bad(fault)),
        }
    }
}
