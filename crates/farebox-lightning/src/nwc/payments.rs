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

use async_trait::async_trait;
use farebox_core::PaymentHash;
use farebox_http::client::CallError;
use serde_json::json;

use super::Nwc;
use super::memory::Memory;
use super::reply::{self, Code, Refusal};
use super::waiting::Spread;
use super::wallet::{Call, NoResult};
use crate::{NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState};

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

#[async_trait]
impl PayInvoice for Nwc {
    /// NIP-47 has no limit on routing fees, so `max_fee` is not passed on: the wallet decides. After
    /// the call's time limit the wallet's list is asked, even where `patience` would last longer; an
    /// answer that comes later is heard and shows in [`payment_state`](Self::payment_state).
    async fn pay_invoice(&self, request: PaymentRequest) -> Result<PaymentState, NodeError> {
        self.pay(&request).await
    }

    /// [`PaymentState::Unheard`] only of what this run was asked to pay and never sent: what a
    /// wallet does not remember it may still be doing.
    async fn payment_state(&self, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        self.state_of(&hash).await
    }
}

impl Nwc {
    fn memory(&self) -> &Memory {
        &self.wallet.hub.memory
    }

    async fn pay(&self, request: &PaymentRequest) -> Result<PaymentState, NodeError> {
        let hash = request.payment_hash;
        let before = match self.ask_before(&hash).await {
            Ok(before) => before,
            Err(error) => {
                self.memory().note_not_sent(hash);
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
            limit: request.patience.min(self.wallet.call_timeout),
        };
        let first = self.memory().note_sent(hash);
        match self.wallet.call(call).await {
            Ok(heard) => {
                let paid = reply::paid(heard.result, &hash);
                paid.map_err(|fault| self.wallet.bad_answer(fault))
            }
            Err(NoResult::NotSent(error)) => {
                self.memory().take_back(hash, first);
                Err(self.not_begun(error))
            }
            Err(NoResult::Refused(refusal)) => Ok(self.judge_refusal(refusal.code, &hash).await),
            Err(NoResult::Unusable(fault)) => Err(self.wallet.bad_answer(fault)),
            // The answer may be lost and the payment long made.
            Err(NoResult::Lost(_)) => {
                let state = self.state_of(&hash).await;
                Ok(state.unwrap_or(PaymentState::Pending))
            }
        }
    }

    /// What the wallet knows of the payment. An error means that nothing was begun.
    async fn ask_before(&self, hash: &PaymentHash) -> Result<Before, NodeError> {
        self.wallet.check_offered(PAY_INVOICE)?;
        match self.wallet.ask_about(hash).await {
            Ok(heard) => {
                let via = heard.via;
                let found = reply::outgoing(heard.result, hash)
                    .map_err(|fault| self.wallet.bad_answer(fault))?;
                Ok(match found {
                    None | Some(PaymentState::Failed(_)) => Before::ToPay { via },
                    Some(state) => Before::Known(state),
                })
            }
            // Wallets have more than one way to say that they know nothing.
            Err(NoResult::Refused(Refusal { code, via, .. })) if !code.is_before_the_start() => {
                Ok(Before::ToPay { via })
            }
            Err(error) => Err(self.wallet.node_error(error)),
        }
    }

    /// The wallet said no to a payment. Whether that is the end of it, its list must say as well:
    /// a relay may have handed it the same request twice, and the no be to the second.
    async fn judge_refusal(&self, code: Code, hash: &PaymentHash) -> PaymentState {
        match self.wallet.ask_about(hash).await {
            Ok(heard) => match reply::outgoing(heard.result, hash) {
                Ok(Some(PaymentState::Failed(_))) => PaymentState::Failed(failure(code)),
                Ok(Some(state)) => state,
                Ok(None) | Err(_) => PaymentState::Pending,
            },
            Err(NoResult::Refused(refusal))
                if refusal.code == Code::NotFound && code.is_before_the_start() =>
            {
                PaymentState::Failed(failure(code))
            }
            Err(_) => PaymentState::Pending,
        }
    }

    async fn state_of(&self, hash: &PaymentHash) -> Result<PaymentState, NodeError> {
        let memory = self.memory();
        if let Some(state) = memory.proven(hash) {
            return Ok(state);
        }
        match self.wallet.ask_about(hash).await {
            Ok(heard) => reply::outgoing(heard.result, hash)
                .map(|state| state.unwrap_or(PaymentState::Pending))
                .map_err(|fault| self.wallet.bad_answer(fault)),
            Err(NoResult::Refused(refusal)) if refusal.code == Code::NotFound => {
                Ok(if memory.was_never_sent(hash) {
                    PaymentState::Unheard
                } else {
                    PaymentState::Pending
                })
            }
            Err(error) => Err(self.wallet.node_error(error)),
        }
    }

    /// The port's error for what certainly did not begin.
    fn not_begun(&self, error: NodeError) -> NodeError {
        if error.is_certain_refusal() {
            return error;
        }
        let source: Arc<dyn Error + Send + Sync> = Arc::new(NotBegun(error));
        NodeError::Call(CallError::NotConnected {
            host: self.wallet.host().to_owned(),
            source,
        })
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
