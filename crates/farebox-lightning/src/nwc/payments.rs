//! Paying through a wallet, and what its words prove about a payment.
//!
//! Money is at stake twice over: a payment taken for failed would be made again, or its amount given
//! back to a buyer. So a payment counts as made only with its preimage or the wallet's `settled`,
//! as failed only when the wallet says so in a way that NIP-47 makes final and its own list of
//! transactions agrees, and as pending in every other case. A wallet's `NOT_FOUND` does not make it
//! unheard of: a wallet may forget what it is doing. Only a payment that this very run was asked for
//! and never sent is unheard of, so one that a restart leaves open is settled by the wallet's word
//! or by the operator.
//!
//! Before a payment the wallet is asked about its hash. That shows that it is there at all, and by
//! which relay; the payment goes by that relay alone and once. NIP-47 has no limit on routing fees:
//! what a payment may cost is the wallet's to decide.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Msat, PaymentHash};
use serde_json::json;

use super::call::{Call, CallError, Heard};
use super::reply::{self, Code, Direction, Paid, Refusal, Reply, Standing, Transaction};
use super::waiting::Spread;
use super::{LOOKUP_INVOICE, Nwc};
use crate::{AnswerFault, NodeError, PaymentFailure, PaymentRequest, PaymentState};

pub(super) const PAY_INVOICE: &str = "pay_invoice";

/// Why a payment was not begun: the wallet did not even answer a question.
#[derive(Debug, thiserror::Error)]
#[error("the wallet did not answer before the payment, so nothing was sent")]
struct NotBegun(#[source] NodeError);

/// What the wallet says before a payment.
enum Before {
    /// It has made the payment, or is making it.
    Known(PaymentState),
    /// It has not, and answered by this relay.
    ToPay { via: usize },
}

impl Nwc {
    pub(super) async fn pay(&self, request: &PaymentRequest) -> Result<PaymentState, NodeError> {
        let hash = request.payment_hash;
        let before = match self.ask_before(&hash).await {
            Ok(before) => before,
            Err(error) => {
                self.hub().memory.note_not_sent(hash);
                return Err(self.not_begun(error));
            }
        };
        match before {
            Before::Known(state) => Ok(state),
            Before::ToPay { via } => self.send_payment(request, via).await,
        }
    }

    async fn send_payment(
        &self,
        request: &PaymentRequest,
        via: usize,
    ) -> Result<PaymentState, NodeError> {
        let hash = request.payment_hash;
        let call = Call {
            method: PAY_INVOICE,
            params: json!({ "invoice": request.bolt11 }),
            spread: Spread::Only(via),
            payment: Some(hash),
            limit: request.patience.min(self.call_timeout()),
        };
        let first = self.hub().memory.note_sent(hash);
        match self.call(call).await {
            Ok(heard) => {
                let paid = paid(Ok(Reply::Done(heard.result)), &hash);
                paid.map_err(|fault| self.bad_answer(fault))
            }
            Err(CallError::NotSent(error)) => {
                self.hub().memory.take_back(hash, first);
                Err(self.not_begun(error))
            }
            Err(CallError::Refused(refusal)) => Ok(self.judge_refusal(refusal.code, &hash).await),
            Err(CallError::Unusable(fault)) => Err(self.bad_answer(fault)),
            // The answer may be lost and the payment long made.
            Err(CallError::Lost(_)) => {
                let state = self.state_of(&hash).await;
                Ok(state.unwrap_or(PaymentState::Pending))
            }
        }
    }

    /// What the wallet knows of the payment. An error means that nothing was begun.
    async fn ask_before(&self, hash: &PaymentHash) -> Result<Before, NodeError> {
        self.check_offered(PAY_INVOICE)?;
        match self.call(Call::about(hash, self.call_timeout())).await {
            Ok(heard) => {
                let via = heard.via;
                let found = outgoing(heard, hash).map_err(|fault| self.bad_answer(fault))?;
                Ok(match found {
                    None | Some(PaymentState::Failed(_)) => Before::ToPay { via },
                    Some(state) => Before::Known(state),
                })
            }
            // Wallets have more than one way to say that they know nothing.
            Err(CallError::Refused(Refusal { code, via, .. })) if !code.is_before_the_start() => {
                Ok(Before::ToPay { via })
            }
            Err(error) => Err(self.node_error(error)),
        }
    }

    /// The wallet said no to a payment. Whether that is the end of it, its list must say as well:
    /// a relay may have handed it the same request twice, and the no be to the second.
    async fn judge_refusal(&self, code: Code, hash: &PaymentHash) -> PaymentState {
        match self.call(Call::about(hash, self.call_timeout())).await {
            Ok(heard) => match outgoing(heard, hash) {
                Ok(Some(PaymentState::Failed(_))) => PaymentState::Failed(failure(code)),
                Ok(Some(state)) => state,
                Ok(None) | Err(_) => PaymentState::Pending,
            },
            Err(CallError::Refused(refusal))
                if refusal.code == Code::NotFound && code.is_before_the_start() =>
            {
                PaymentState::Failed(failure(code))
            }
            Err(_) => PaymentState::Pending,
        }
    }

    pub(super) async fn state_of(&self, hash: &PaymentHash) -> Result<PaymentState, NodeError> {
        let memory = &self.hub().memory;
        if let Some(state) = memory.proven(hash) {
            return Ok(state);
        }
        match self.call(Call::about(hash, self.call_timeout())).await {
            Ok(heard) => outgoing(heard, hash)
                .map(|state| state.unwrap_or(PaymentState::Pending))
                .map_err(|fault| self.bad_answer(fault)),
            Err(CallError::Refused(refusal)) if refusal.code == Code::NotFound => {
                Ok(if memory.was_never_sent(hash) {
                    PaymentState::Unheard
                } else {
                    PaymentState::Pending
                })
            }
            Err(error) => Err(self.node_error(error)),
        }
    }

    /// The port's error for what certainly did not begin.
    fn not_begun(&self, error: NodeError) -> NodeError {
        if error.is_certain_refusal() {
            return error;
        }
        let source: Arc<dyn Error + Send + Sync> = Arc::new(NotBegun(error));
        NodeError::NotConnected {
            host: self.host().to_owned(),
            source,
        }
    }
}

impl Call {
    /// Asks about an invoice or payment. Harmless, so it goes to every relay.
    pub(super) fn about(hash: &PaymentHash, limit: Duration) -> Self {
        Self {
            method: LOOKUP_INVOICE,
            params: json!({ "payment_hash": hash.to_string() }),
            spread: Spread::Everywhere,
            payment: None,
            limit,
        }
    }
}

const fn failure(code: Code) -> PaymentFailure {
    match code {
        Code::InsufficientBalance | Code::QuotaExceeded => PaymentFailure::InsufficientBalance,
        Code::RateLimited
        | Code::NotImplemented
        | Code::Restricted
        | Code::Unauthorized
        | Code::UnsupportedEncryption
        | Code::NotFound
        | Code::PaymentFailed
        | Code::Other => PaymentFailure::Other,
    }
}

/// What a transaction says about our payment; nothing where it is no payment of ours.
fn outgoing(heard: Heard, hash: &PaymentHash) -> Result<Option<PaymentState>, AnswerFault> {
    let transaction: Transaction = reply::fields(heard.result)?;
    transaction.check_hash(hash)?;
    if transaction.direction() != Direction::Outgoing {
        return Ok(None);
    }
    Ok(Some(match transaction.standing() {
        Standing::Settled => PaymentState::Succeeded {
            fee: transaction.fee().unwrap_or(Msat::ZERO),
            preimage: transaction.preimage(hash)?,
        },
        Standing::Failed => PaymentState::Failed(PaymentFailure::Other),
        Standing::Pending | Standing::Accepted | Standing::Expired => PaymentState::Pending,
    }))
}

/// The answer to `pay_invoice`, which is worth what its preimage proves. A wallet that does not say
/// what the payment cost is taken to have paid nothing on top.
fn paid(
    reply: Result<Reply, AnswerFault>,
    hash: &PaymentHash,
) -> Result<PaymentState, AnswerFault> {
    let Reply::Done(result) = reply? else {
        return Ok(PaymentState::Pending);
    };
    let paid: Paid = reply::fields(result)?;
    Ok(PaymentState::Succeeded {
        preimage: Some(paid.proof(hash)?),
        fee: paid.fee().unwrap_or(Msat::ZERO),
    })
}

/// What a late answer proves: that the payment was made, or nothing.
pub(super) fn proven(
    reply: Result<Reply, AnswerFault>,
    hash: &PaymentHash,
) -> Option<PaymentState> {
    let state = paid(reply, hash).ok()?;
    matches!(state, PaymentState::Succeeded { .. }).then_some(state)
}
