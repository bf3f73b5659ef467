//! Held calls: every step of their lives is durable when it is answered.

use std::sync::Arc;

use farebox_core::{Msat, PaymentHash, UnixMillis};

use super::Ledger;
use crate::operation::{HeldMove, HeldStep, OpenHeld};
use crate::{HeldCall, HeldLimits, HeldSummary, LedgerError};

impl Ledger {
    /// Keeps a request whose payment is to be held; `call.state` and `call.answer` are taken as
    /// [`Offered`](crate::HeldState::Offered) and none. Answers whether there was room.
    ///
    /// # Errors
    /// [`LedgerError::HeldCallExists`] where this payment is known, [`LedgerError::NotHoldable`]
    /// where the terms are not of a single call; nothing was kept.
    pub async fn open_held_call(
        &self,
        mut call: HeldCall,
        limits: HeldLimits,
    ) -> Result<bool, LedgerError> {
        call.check()?;
        call.answer = None;
        let request = Arc::from(std::mem::take(&mut call.request));
        let open = OpenHeld {
            call,
            request,
            limits,
        };
        self.ask(open).await
    }

    /// The held call of this payment, with its request and its answer.
    pub async fn held_call(&self, hash: PaymentHash) -> Result<Option<HeldCall>, LedgerError> {
        self.read(move |reader| reader.held_call(hash)).await
    }

    /// Every held call that was neither settled nor canceled, expired ones included: of this run and
    /// of closed ones.
    pub async fn held_calls(&self) -> Result<Vec<HeldSummary>, LedgerError> {
        self.read(|reader| reader.held_calls()).await
    }

    /// Offered → Running. Whoever gets `true` runs the call, and nobody else ever does.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_run(&self, hash: PaymentHash) -> Result<bool, LedgerError> {
        self.held_step(hash, HeldStep::Run).await
    }

    /// Running → Answered, with the answer. From here on the payment may be settled.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_answered(
        &self,
        hash: PaymentHash,
        answer: Vec<u8>,
    ) -> Result<bool, LedgerError> {
        if answer.len() > crate::MAX_HELD_ANSWER {
            return Err(LedgerError::TooLarge);
        }
        self.held_step(hash, HeldStep::Answer(answer.into())).await
    }

    /// Answered → Settled: claims the payment and charges it, so that the token buys nothing more
    /// and its use is answered with the receipt.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_settled(
        &self,
        payment: PaymentHash,
        received: Msat,
        at: UnixMillis,
    ) -> Result<bool, LedgerError> {
        let step = HeldStep::Settle(received);
        self.ask(HeldMove { payment, step, at }).await
    }

    /// Offered, Running or Answered → Canceled. A canceled call that was answered is a loss.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_canceled(&self, hash: PaymentHash) -> Result<bool, LedgerError> {
        self.held_step(hash, HeldStep::Cancel).await
    }

    async fn held_step(&self, payment: PaymentHash, step: HeldStep) -> Result<bool, LedgerError> {
        let at = self.inner.queue.now();
        self.ask(HeldMove { payment, step, at }).await
    }
}
