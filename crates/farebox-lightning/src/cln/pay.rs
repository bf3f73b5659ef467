//! Paying with Core Lightning: `xpay`, or `pay` where the node or the rune does not know that one.
//!
//! The node's list of payments is asked before and after. It calls a payment failed while the
//! command that makes it merely looks for another route, so a failure counts only once no command
//! can be at work any more: when our own has ended, or its time is long over.

use std::time::Duration;

use async_trait::async_trait;
use farebox_core::{PaymentHash, UnixMillis};
use serde_json::{Value, json};

use super::Cln;
use super::answer::{PaidJson, PaysJson};
use super::refusal::{PAY_IN_PROGRESS, Refusal, UNKNOWN_COMMAND};
use crate::answer::JudgeAnswer;
use crate::{NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState, proof};
use farebox_http::client::{Answer, CallError};

/// The longest that a command may go on trying.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// How much earlier than we the command gives up, so that its answer still reaches us.
const BEFORE_US: Duration = Duration::from_secs(3);

/// How much longer than [`MAX_RETRY`] a failed payment is not believed to be over: a last part may
/// be on its way back, and clocks differ.
const MARGIN: Duration = Duration::from_secs(60);

#[async_trait]
impl PayInvoice for Cln {
    async fn pay_invoice(&self, request: PaymentRequest) -> Result<PaymentState, NodeError> {
        let hash = request.payment_hash;
        let earlier = self.payment_state(hash).await?;
        if earlier != PaymentState::Unheard {
            return Ok(earlier);
        }
        let answer = match self.run_payment(&request).await {
            Ok(answer) => answer,
            Err(NodeError::Call(CallError::TimedOut { .. })) => {
                return Ok(PaymentState::Pending);
            }
            Err(error) => return Err(error),
        };
        match answer.refusal::<Refusal>() {
            None => {
                let paid: PaidJson = answer.parse()?;
                paid.state(&hash).map_err(|fault| answer.bad(fault))
            }
            Some(refusal) => self.refused(&refusal, &answer, hash).await,
        }
    }

    async fn payment_state(&self, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        let recorded = self.recorded(hash).await?;
        let is_at_work = |began| self.0.rules.clock.now().since(began) <= MAX_RETRY + MARGIN;
        Ok(match recorded {
            Recorded {
                failed_at: Some(began),
                ..
            } if is_at_work(began) => PaymentState::Pending,
            Recorded { state, .. } => state,
        })
    }
}

impl Cln {
    async fn run_payment(&self, request: &PaymentRequest) -> Result<Answer, NodeError> {
        let client = self.0.client.patient(request.patience);
        let retry = request.patience.min(MAX_RETRY).saturating_sub(BEFORE_US);
        let seconds = retry.as_secs().max(1);
        let limits = json!({ "maxfee": request.max_fee.get(), "retry_for": seconds });
        let xpay = with(&limits, "invstring", &request.bolt11);
        let answer = client.post_json("/v1/xpay", &xpay).await?;
        if !is_not_to_be_had(&answer) {
            return Ok(answer);
        }
        let pay = with(&limits, "bolt11", &request.bolt11);
        Ok(client.post_json("/v1/pay", &pay).await?)
    }

    /// The command has ended, so what failed stays failed; unless another command is at work, or
    /// nobody knows what the node did because `clnrest` lost it.
    async fn refused(
        &self,
        refusal: &Refusal,
        answer: &Answer,
        hash: PaymentHash,
    ) -> Result<PaymentState, NodeError> {
        let error = refusal.error(answer);
        let Some(code) = refusal.code else {
            return Err(error);
        };
        if matches!(error, NodeError::Forbidden { .. }) {
            return Err(error);
        }
        let recorded = self.recorded(hash).await.map(|recorded| recorded.state);
        let state = proof::after_sending(recorded, Some(failure(code)));
        let is_at_work = code == PAY_IN_PROGRESS && matches!(state, PaymentState::Failed(_));
        Ok(if is_at_work {
            PaymentState::Pending
        } else {
            state
        })
    }

    /// What the node's list says, over all attempts to pay this hash.
    async fn recorded(&self, hash: PaymentHash) -> Result<Recorded, NodeError> {
        let body = json!({ "payment_hash": hash.to_string() });
        let answer = self.call("listpays", &body).await?;
        let list: PaysJson = answer.parse()?;
        let mut best = Recorded {
            state: PaymentState::Unheard,
            failed_at: None,
        };
        for pay in list.pays.iter().filter(|pay| pay.is_for(&hash)) {
            let state = pay.state(&hash);
            let failed = matches!(state, PaymentState::Failed(_));
            best = best.better(Recorded {
                failed_at: failed.then(|| pay.created_at()),
                state,
            });
        }
        Ok(best)
    }
}

/// What the list of payments says about a hash.
struct Recorded {
    state: PaymentState,
    /// When the newest attempt began, where all failed.
    failed_at: Option<UnixMillis>,
}

impl Recorded {
    fn better(self, other: Self) -> Self {
        // The later failure, where both failed.
        if (other.rank(), other.failed_at) > (self.rank(), self.failed_at) {
            other
        } else {
            self
        }
    }

    const fn rank(&self) -> u8 {
        match self.state {
            PaymentState::Unheard => 0,
            PaymentState::Failed(_) => 1,
            PaymentState::Pending => 2,
            PaymentState::Succeeded { .. } => 3,
        }
    }
}

/// Neither the node nor the rune was asked to do anything.
fn is_not_to_be_had(answer: &Answer) -> bool {
    let Some(refusal) = answer.refusal::<Refusal>() else {
        return false;
    };
    refusal.code == Some(UNKNOWN_COMMAND)
        || matches!(refusal.error(answer), NodeError::Forbidden { .. })
}

fn failure(code: i64) -> PaymentFailure {
    match code {
        205 | 206 | 210 => PaymentFailure::NoRoute,
        203 | 207 => PaymentFailure::RefusedByPayee,
        _ => PaymentFailure::Other,
    }
}

fn with(limits: &Value, name: &str, bolt11: &str) -> Value {
    let mut body = limits.clone();
    body[name] = bolt11.into();
    body
}
