//! Money out and money on top: payouts, overpayments, and how far a node's settlements were read.

use farebox_core::{AccountId, KeyHash, Msat, PaymentHash, PayoutId, UnixMillis};

use super::{Ledger, MAX_PAGE};
use crate::operation::{BeginPayout, Beginning, FinishPayout, Received};
use crate::{LedgerError, PayoutAnswer, PayoutEnd, PayoutRequest, PayoutView, Refundable};

impl Ledger {
    /// Reserves the money of a payout, with the claim of its token where that was never used.
    ///
    /// Idempotent by the outgoing invoice. Only [`PayoutAnswer::Begun`] may be sent to the node
    /// as new; what [`Exists`](PayoutAnswer::Exists) may have been sent before.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was reserved.
    pub async fn begin_payout(&self, request: PayoutRequest) -> Result<PayoutAnswer, LedgerError> {
        request.check()?;
        match self.ask(BeginPayout(request)).await? {
            // With its place in listings, which the store gave it.
            Beginning::Answered(PayoutAnswer::Begun(view)) => {
                let stored = self.payout(view.id).await.ok().flatten();
                Ok(PayoutAnswer::Begun(stored.unwrap_or(view)))
            }
            Beginning::Answered(answer) => Ok(answer),
            Beginning::Busy(other) => {
                let other = self.payout(other).await?.ok_or(LedgerError::NoPayout)?;
                Ok(PayoutAnswer::Exists(other))
            }
        }
    }

    /// Writes the end of a payout: charges what was paid, or gives everything back. Repeating the
    /// same end changes nothing and gives the payout as it stands.
    ///
    /// # Errors
    /// [`LedgerError::NoPayout`] where there is none, [`LedgerError::PayoutEnded`] where it ended
    /// otherwise before; nothing was changed.
    pub async fn finish_payout(
        &self,
        id: PayoutId,
        end: PayoutEnd,
        now: UnixMillis,
    ) -> Result<PayoutView, LedgerError> {
        let payout = self.payout(id).await?.ok_or(LedgerError::NoPayout)?;
        let (account, at) = (payout.account, now);
        let finish = FinishPayout {
            id,
            account,
            end,
            at,
        };
        self.ask(finish).await
    }

    /// Every payout of this run or a closed one without an end, in the order in which they were begun.
    pub async fn open_payouts(&self) -> Result<Vec<PayoutView>, LedgerError> {
        self.read(|reader| reader.open_payouts()).await
    }

    /// One payout.
    pub async fn payout(&self, id: PayoutId) -> Result<Option<PayoutView>, LedgerError> {
        self.read(move |reader| reader.payout(id)).await
    }

    /// Up to `limit` (at most 1,000) payouts in the order in which they were begun, from above the
    /// cursor `after`; 0 starts.
    pub async fn payouts(&self, after: u64, limit: u32) -> Result<Vec<PayoutView>, LedgerError> {
        self.read(move |reader| reader.payouts(after, limit.min(MAX_PAGE)))
            .await
    }

    /// Up to `limit` (at most 1,000) payouts of one account, the latest first.
    pub async fn payouts_of(
        &self,
        account: AccountId,
        limit: u32,
    ) -> Result<Vec<PayoutView>, LedgerError> {
        self.read(move |reader| reader.payouts_of(account, limit.min(MAX_PAGE)))
            .await
    }

    /// What could be paid out of an account of a payment or of a prepaid key at this moment; none
    /// where it was never claimed, and none of a child.
    pub async fn refundable(&self, account: AccountId) -> Result<Option<Refundable>, LedgerError> {
        if let Some(view) = self.account(account).await? {
            return Ok(Some(Refundable::of(&view)));
        }
        let key = self.key(KeyHash::from_bytes(*account.as_bytes())).await?;
        Ok(key.as_ref().and_then(Refundable::of_key))
    }

    /// Notes that a payment brought more than was sold. What is beyond the terms becomes excess of
    /// the account: at once where it was claimed, else at its claim. The same payment reported
    /// again credits nothing, and a larger total the difference. Payments that were asked for no
    /// amount are nothing that was sold, and are not remembered.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was noted.
    pub async fn note_received(
        &self,
        hash: PaymentHash,
        asked: Msat,
        received: Msat,
        at: UnixMillis,
    ) -> Result<(), LedgerError> {
        if received <= asked || asked.is_zero() {
            return Ok(());
        }
        let payment = hash;
        let noted = Received {
            payment,
            received,
            at,
        };
        self.ask(noted).await
    }

    /// How far the settlements of the backend of this name were read, as of the last commit before
    /// this run or in it.
    pub async fn settlement_cursor(&self, name: &str) -> Result<Option<u64>, LedgerError> {
        let name = name.to_owned();
        self.read(move |reader| reader.settlement_cursor(&name))
            .await
    }

    /// Notes how far the settlements of a backend were read; written with other work, a second
    /// later at the latest. Call it when what was read is durable: after a crash settlements are
    /// read again from an older cursor, never skipped.
    pub fn note_settlement_cursor(&self, name: &str, cursor: u64) {
        self.inner.queue.note_cursor(name, cursor);
    }
}
