//! Held calls: every step of their lives is durable when it is answered.

use farebox_core::{Msat, PaymentHash, UnixMillis};
use tokio::sync::oneshot;

use super::{Ledger, LedgerError};
use crate::queue::Reply;
use crate::store::{Command, HeldStep};
use crate::{HeldCall, HeldLimits, HeldSummary};

impl Ledger {
    /// Keeps a request whose payment is to be held; `call.state` and `call.answer` are taken as
    /// [`Offered`](crate::HeldState::Offered) and none. Answers whether there was room.
    ///
    /// # Errors
    /// [`LedgerError::HeldCallExists`] where this payment is known, [`LedgerError::NotHoldable`]
    /// where the terms are not of a single call; nothing was kept.
    pub async fn open_held_call(
        &self,
        call: HeldCall,
        limits: HeldLimits,
    ) -> Result<bool, LedgerError> {
        call.check()?;
        let hash = call.payment_hash;
        self.held_step(hash, HeldStep::Open(Box::new(call), limits))
            .await
    }

    /// The held call of this payment, with its request and its answer.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn held_call(&self, hash: PaymentHash) -> Result<Option<HeldCall>, LedgerError> {
        self.read(move |reader| reader.held_call(hash)).await
    }

    /// Every held call that was neither settled nor canceled, expired ones included.
    ///
    /// # Errors
    /// [`LedgerError`].
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
        self.held_step(hash, HeldStep::Answer(answer)).await
    }

    /// Answered → Settled: claims the payment and charges it, so that the token buys nothing more
    /// and its use is answered with the receipt.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_settled(
        &self,
        hash: PaymentHash,
        received: Msat,
        at: UnixMillis,
    ) -> Result<bool, LedgerError> {
        self.held_step(hash, HeldStep::Settle { received, at })
            .await
    }

    /// Offered, Running or Answered → Canceled. A canceled call that was answered is a loss.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_canceled(&self, hash: PaymentHash) -> Result<bool, LedgerError> {
        self.held_step(hash, HeldStep::Cancel).await
    }

    async fn held_step(&self, hash: PaymentHash, step: HeldStep) -> Result<bool, LedgerError> {
        let at = self.inner.queue.now();
        let (reply, answer) = oneshot::channel();
        let command = Command::Held(Box::new((hash, step, at)));
        self.inner.queue.request(command, Reply::Held(reply))?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }
}
