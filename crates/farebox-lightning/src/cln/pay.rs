//! Paying with Core Lightning: `xpay`, or `pay` where the node or the rune does not know that one.
//!
//! The node's list of payments is asked before and after. It calls a payment failed while the
//! command that makes it merely looks for another route, so a failure counts only once no command
//! can be at work any more: when our own has ended, or its time is long over.

use std::time::Duration;

use farebox_core::{Msat, PaymentHash, Preimage};
use serde_json::{Value, json};

use super::answer::{PaidJson, PayJson, PaysJson};
use super::refusal::{PAY_IN_PROGRESS, Refusal, UNKNOWN_COMMAND};
use super::{Cln, call};
use crate::rest::RestAnswer;
use crate::{NodeError, PaymentFailure, PaymentRequest, PaymentState};

/// The longest that a command may go on trying.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// How much earlier than we the command gives up, so that its answer still reaches us.
const BEFORE_US: Duration = Duration::from_secs(3);

/// How much longer than [`MAX_RETRY`] a failed payment is not believed to be over: a last part may
/// be on its way back, and clocks differ.
const MARGIN: Duration = Duration::from_secs(60);

impl Cln {
    pub(super) async fn send(&self, request: &PaymentRequest) -> Result<PaymentState, NodeError> {
        let earlier = self.find_payment(request.payment_hash).await?;
        if earlier != PaymentState::Unheard {
            return Ok(earlier);
        }
        let answer = match self.run_payment(request).await {
            Ok(answer) => answer,
            Err(NodeError::TimedOut { .. }) => return Ok(PaymentState::Pending),
            Err(error) => return Err(error),
        };
        match Refusal::of(&answer) {
            None => self.paid(&answer, request.payment_hash),
            Some(refusal) => self.refused(&refusal, &answer, request.payment_hash).await,
        }
    }

    async fn run_payment(&self, request: &PaymentRequest) -> Result<RestAnswer, NodeError> {
        let client = self.client.patient(request.patience);
        let retry = request.patience.min(MAX_RETRY).saturating_sub(BEFORE_US);
        let seconds = retry.as_secs().max(1);
        let limits = json!({ "maxfee": request.max_fee.get(), "retry_for": seconds });
        let xpay = with(&limits, "invstring", &request.bolt11);
        let answer = client.post_json("/v1/xpay", &xpay).await?;
        if !is_not_to_be_had(&answer) {
            return Ok(answer);
        }
        let pay = with(&limits, "bolt11", &request.bolt11);
        client.post_json("/v1/pay", &pay).await
    }

    fn paid(&self, answer: &RestAnswer, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        let paid: PaidJson = answer.parse()?;
        let success = paid.success(&hash).map_err(|fault| answer.bad(fault))?;
        Ok(success.map_or(PaymentState::Pending, succeeded))
    }

    /// The command has ended, so what failed stays failed; unless another command is at work, or
    /// nobody knows what the node did because `clnrest` lost it.
    async fn refused(
        &self,
        refusal: &Refusal,
        answer: &RestAnswer,
        hash: PaymentHash,
    ) -> Result<PaymentState, NodeError> {
        let error = refusal.error(answer);
        let Some(code) = refusal.code else {
            return Err(error);
        };
        if matches!(error, NodeError::Forbidden { .. }) {
            return Err(error);
        }
        // It was sent, so that not being able to ask is no refusal.
        let state = match self.best_payment(hash).await {
            Ok(Found::Nothing | Found::Failed(_)) => PaymentState::Failed(failure(code)),
            Ok(Found::Pending) | Err(_) => PaymentState::Pending,
            Ok(Found::Complete(fee, proof)) => succeeded((fee, proof)),
        };
        let is_at_work = code == PAY_IN_PROGRESS && matches!(state, PaymentState::Failed(_));
        Ok(if is_at_work {
            PaymentState::Pending
        } else {
            state
        })
    }

    pub(super) async fn find_payment(&self, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        Ok(match self.best_payment(hash).await? {
            Found::Nothing => PaymentState::Unheard,
            Found::Pending => PaymentState::Pending,
            Found::Complete(fee, proof) => succeeded((fee, proof)),
            Found::Failed(began) if self.clock.now().since(began) > MAX_RETRY + MARGIN => {
                PaymentState::Failed(PaymentFailure::Other)
            }
            Found::Failed(_) => PaymentState::Pending,
        })
    }

    async fn best_payment(&self, hash: PaymentHash) -> Result<Found, NodeError> {
        let body = json!({ "payment_hash": hash.to_string() });
        let answer = call(&self.client, "listpays", &body).await?;
        let list: PaysJson = answer.parse()?;
        let mut best = Found::Nothing;
        for pay in list.pays.iter().filter(|pay| pay.is_for(&hash)) {
            let found = Found::of(pay, &hash).map_err(|fault| answer.bad(fault))?;
            best = best.better(found);
        }
        Ok(best)
    }
}

/// What the list says about a hash, over all attempts.
enum Found {
    Nothing,
    /// The newest attempt began then.
    Failed(farebox_core::UnixMillis),
    Pending,
    Complete(Msat, Preimage),
}

impl Found {
    fn of(pay: &PayJson, hash: &PaymentHash) -> Result<Self, crate::AnswerFault> {
        Ok(match pay.status.as_str() {
            "complete" => {
                let (fee, proof) = pay.success(hash)?;
                Self::Complete(fee, proof)
            }
            "failed" => Self::Failed(pay.created_at()),
            _ => Self::Pending,
        })
    }

    fn better(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Failed(one), Self::Failed(another)) if another > one => other,
            _ if other.rank() > self.rank() => other,
            _ => self,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Failed(_) => 1,
            Self::Pending => 2,
            Self::Complete(..) => 3,
        }
    }
}

fn succeeded((fee, proof): (Msat, Preimage)) -> PaymentState {
    PaymentState::Succeeded {
        fee,
        preimage: Some(proof),
    }
}

/// Neither the node nor the rune was asked to do anything.
fn is_not_to_be_had(answer: &RestAnswer) -> bool {
    let Some(refusal) = Refusal::of(answer) else {
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
