//! Payments that a mock node makes: to itself and to the mock nodes it is connected to.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use farebox_core::{Msat, PaymentHash, Preimage};
use farebox_http::client::CallError;
use lru::LruCache;
use tokio::time::Instant;

use super::{Fault, MockNode, PayError, lock};
use crate::{
    InvoiceFault, NodeError, PayInvoice, PaymentFailure, PaymentRequest, PaymentState,
    parse_invoice,
};

/// How many payments [`PayInvoice::payment_state`] remembers.
const PAYMENTS_REMEMBERED: usize = 65_536;

/// What goes wrong with payments on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayFault {
    /// Nothing.
    #[default]
    None,
    /// Each payment takes so long.
    Slow(Duration),
    /// Each payment is made, and its answer is lost.
    LoseAnswer,
    /// The request is lost on its way, and nobody can tell.
    LoseRequest,
    /// It is certain that no payment is begun.
    Refuse,
    /// Each payment fails for good.
    Fail(PaymentFailure),
}

/// What a node knows of the payments that it made.
pub(super) struct Outgoing {
    script: Mutex<Script>,
    peers: Mutex<Vec<Weak<MockNode>>>,
    made: Mutex<LruCache<PaymentHash, Made>>,
}

#[derive(Clone, Copy, Default)]
struct Script {
    fault: PayFault,
    fee: Msat,
}

/// A payment whose outcome shows at an instant.
#[derive(Clone)]
struct Made {
    amount: Msat,
    outcome: PaymentState,
    known_at: Instant,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            script: Mutex::default(),
            peers: Mutex::default(),
            made: Mutex::new(LruCache::unbounded()),
        }
    }
}

impl Made {
    fn state(&self, now: Instant) -> PaymentState {
        if now < self.known_at {
            PaymentState::Pending
        } else {
            self.outcome.clone()
        }
    }
}

impl MockNode {
    /// Opens a way to another node, whose invoices this one pays from now on as long as it lives.
    pub fn connect(&self, peer: &Arc<Self>) {
        lock(&self.outgoing.peers).push(Arc::downgrade(peer));
    }

    /// Makes payments fail in this way from now on, until set otherwise.
    pub fn set_pay_fault(&self, fault: PayFault) {
        lock(&self.outgoing.script).fault = fault;
    }

    /// What each payment costs on top of its amount from now on.
    pub fn set_fee(&self, fee: Msat) {
        lock(&self.outgoing.script).fee = fee;
    }

    /// How many payments have arrived, and what left with them, fees included.
    #[must_use]
    pub fn paid_out(&self) -> (usize, Msat) {
        let made = lock(&self.outgoing.made);
        let arrived = made.iter().filter_map(|(_, made)| match made.outcome {
            PaymentState::Succeeded { fee, .. } => Some(made.amount.get() + fee.get()),
            _ => None,
        });
        let (count, total) = arrived.fold((0, 0), |(count, total), left| (count + 1, total + left));
        (count, Msat::new(total).unwrap_or(Msat::MAX))
    }

    fn begin_payment(&self, request: &PaymentRequest) -> Result<Made, NodeError> {
        let script = *lock(&self.outgoing.script);
        if self.fault() == Fault::Down || script.fault == PayFault::Refuse {
            return Err(NodeError::Down);
        }
        if script.fault == PayFault::LoseRequest {
            return Err(lost(request));
        }
        let made = self.pay_once(request, script)?;
        if script.fault == PayFault::LoseAnswer {
            return Err(lost(request));
        }
        Ok(made)
    }

    /// A payment hash is paid once; only what failed may be tried again.
    fn pay_once(&self, request: &PaymentRequest, script: Script) -> Result<Made, NodeError> {
        check(request)?;
        let mut made = lock(&self.outgoing.made);
        let known = made.get(&request.payment_hash).cloned();
        if let Some(known) = known.filter(|known| !is_failed(&known.outcome)) {
            return Ok(known);
        }
        let delay = match script.fault {
            PayFault::Slow(delay) => delay,
            _ => Duration::ZERO,
        };
        let payment = Made {
            amount: request.amount,
            outcome: self.outcome(request, script),
            known_at: Instant::now() + delay,
        };
        made.put(request.payment_hash, payment.clone());
        if made.len() > PAYMENTS_REMEMBERED {
            made.pop_lru();
        }
        Ok(payment)
    }

    fn outcome(&self, request: &PaymentRequest, script: Script) -> PaymentState {
        if let PayFault::Fail(reason) = script.fault {
            return PaymentState::Failed(reason);
        }
        if script.fee > request.max_fee {
            return PaymentState::Failed(PaymentFailure::NoRoute);
        }
        match self.deliver(&request.bolt11) {
            Ok(preimage) => PaymentState::Succeeded {
                fee: script.fee,
                preimage: Some(preimage),
            },
            Err(PayError::Foreign | PayError::Down) => {
                PaymentState::Failed(PaymentFailure::NoRoute)
            }
            Err(PayError::Expired) => PaymentState::Failed(PaymentFailure::RefusedByPayee),
            Err(_) => PaymentState::Failed(PaymentFailure::Other),
        }
    }

    fn deliver(&self, bolt11: &str) -> Result<Preimage, PayError> {
        let peers: Vec<_> = lock(&self.outgoing.peers)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let mut delivered = self.pay(bolt11);
        for peer in peers {
            if delivered != Err(PayError::Foreign) {
                break;
            }
            delivered = peer.pay(bolt11);
        }
        delivered
    }
}

fn check(request: &PaymentRequest) -> Result<(), NodeError> {
    let invoice = parse_invoice(&request.bolt11)?;
    if invoice.amount != request.amount || invoice.payment_hash != request.payment_hash {
        return Err(NodeError::BadInvoice(InvoiceFault::Amount {
            asked: request.amount,
            found: invoice.amount,
        }));
    }
    Ok(())
}

const fn is_failed(state: &PaymentState) -> bool {
    matches!(state, PaymentState::Failed(_))
}

fn lost(request: &PaymentRequest) -> NodeError {
    NodeError::Call(CallError::TimedOut {
        host: "mock".to_owned(),
        limit: request.patience,
    })
}

#[async_trait]
impl PayInvoice for MockNode {
    async fn pay_invoice(&self, request: PaymentRequest) -> Result<PaymentState, NodeError> {
        let made = self.begin_payment(&request)?;
        let patience_ends = Instant::now() + request.patience;
        tokio::time::sleep_until(made.known_at.min(patience_ends)).await;
        Ok(made.state(Instant::now()))
    }

    async fn payment_state(&self, hash: PaymentHash) -> Result<PaymentState, NodeError> {
        if self.fault() == Fault::Down {
            return Err(NodeError::Down);
        }
        let made = lock(&self.outgoing.made);
        let known = made.peek(&hash).map(|made| made.state(Instant::now()));
        Ok(known.unwrap_or(PaymentState::Unheard))
    }
}

#[cfg(test)]
mod tests;
