//! Held calls in the picture: a state that moves forward by compare-and-set.

use farebox_core::{AccountId, HoldId, Msat, UnixMillis};

use super::{Book, OpenHeldCall, Payment, Retry, RetryKey, Rows, TransferKind};
use crate::store::{HeldStep, Outcome, StoreError};
use crate::{ClaimPolicy, Funding, HeldCall, HeldLimits, HeldState, LedgerError, Rail};

/// The key under which a single-use token is sold at most once.
const SINGLE_USE: [u8; 32] = [0; 32];

type Answer = Result<Result<bool, LedgerError>, StoreError>;

impl Book {
    pub(super) fn held_step(
        &mut self,
        hash: &AccountId,
        step: &HeldStep,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<Outcome, StoreError> {
        let answer = match step {
            HeldStep::Open(call, limits) => self.open_held_call(call, *limits, rows)?,
            HeldStep::Run => self.run_held_call(hash, rows)?,
            HeldStep::Answer(body) => self.answer_held_call(hash, body, rows)?,
            HeldStep::Settle { received, at } => {
                return self.settle_held_call(hash, *received, *at, rows);
            }
            HeldStep::Cancel => self.cancel_held_call(hash, at, rows)?,
        };
        Ok(Outcome::Held {
            answer,
            claimed: None,
        })
    }

    fn open_held_call(
        &mut self,
        call: &HeldCall,
        limits: HeldLimits,
        rows: &mut dyn Rows,
    ) -> Answer {
        let hash = &call.payment_hash.account();
        let claimed = self.fetch(hash, rows)? || rows.unclaimed(hash)?.spent;
        if claimed || rows.held_call(hash)?.is_some() {
            return Ok(Err(LedgerError::HeldCallExists));
        }
        let bytes = u64::try_from(call.request.len()).unwrap_or(u64::MAX);
        if !self.has_room(bytes, limits) {
            return Ok(Ok(false));
        }
        rows.insert_held_call(call)?;
        let state = HeldState::Offered;
        self.held_calls.insert(*hash, OpenHeldCall { state, bytes });
        Ok(Ok(true))
    }

    fn has_room(&self, bytes: u64, limits: HeldLimits) -> bool {
        let calls = u32::try_from(self.held_calls.len()).unwrap_or(u32::MAX);
        let taken = self.held_calls.values().map(|call| call.bytes);
        let taken = taken.fold(bytes, u64::saturating_add);
        calls < limits.max_calls && taken <= limits.max_bytes
    }

    /// A payment that was claimed meanwhile was settled by somebody else: its call is served the
    /// ordinary way.
    fn run_held_call(&mut self, hash: &AccountId, rows: &mut dyn Rows) -> Answer {
        if !self.is_held_at(hash, HeldState::Offered) || self.fetch(hash, rows)? {
            return Ok(Ok(false));
        }
        self.move_held_call(hash, HeldState::Running, rows)
    }

    fn answer_held_call(&mut self, hash: &AccountId, body: &[u8], rows: &mut dyn Rows) -> Answer {
        if !self.is_held_at(hash, HeldState::Running) {
            return Ok(Ok(false));
        }
        rows.put_held_answer(hash, body)?;
        self.move_held_call(hash, HeldState::Answered, rows)
    }

    fn cancel_held_call(
        &mut self,
        hash: &AccountId,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Answer {
        let Some(call) = self.held_calls.remove(hash) else {
            return Ok(Ok(false));
        };
        if call.state == HeldState::Answered {
            tracing::warn!(%hash, "a call was served, and its payment went back: the seller's loss");
        }
        rows.end_held_call(hash, HeldState::Canceled, at)?;
        Ok(Ok(true))
    }

    /// Claims the payment and charges it, as if the token had been used once.
    fn settle_held_call(
        &mut self,
        hash: &AccountId,
        received: Msat,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<Outcome, StoreError> {
        let told = |answer, claimed| Ok(Outcome::Held { answer, claimed });
        if !self.is_held_at(hash, HeldState::Answered) {
            return told(Ok(false), None);
        }
        let call = rows.held_call(hash)?;
        let call = call.ok_or(StoreError::Corrupt("an open held call"))?;
        let mut unclaimed = self.unclaimed(hash, rows)?;
        let known = self.fetch(hash, rows)? || unclaimed.spent;
        if known {
            tracing::error!(%hash, "a held payment was claimed before it was settled");
        } else {
            unclaimed.received = unclaimed.received.max(Some(received));
            let funding = Funding {
                rail: Rail::Lightning,
                id: call.payment_hash,
                amount: call.terms.amount,
                terms: call.terms.clone(),
                key_epoch: call.key_epoch,
                claims: ClaimPolicy::Open,
            };
            let payment = Payment {
                account: *hash,
                funding: &funding,
                now: at,
            };
            if let Err(error) = self.credit(&payment, &unclaimed) {
                return told(Err(error), None);
            }
            if received > call.terms.amount {
                rows.put_received(hash, unclaimed.received.unwrap_or(received), at)?;
            }
            self.charge_held_call(&call, at);
        }
        rows.end_held_call(hash, HeldState::Settled, at)?;
        self.held_calls.remove(hash);
        told(Ok(true), (!known).then_some(call.terms.amount))
    }

    /// Charges the one call of an account that was just credited.
    fn charge_held_call(&mut self, call: &HeldCall, at: UnixMillis) {
        let hash = call.payment_hash.account();
        let id = self.fresh_id(at);
        let charged = call.terms.amount;
        let account = self.accounts.peek(&hash).map_or(0, |account| account.row);
        self.charge(&hash, id, charged, TransferKind::Settle, at);
        self.change(&hash, |account| account.calls_used = 1);
        let retry = Retry {
            digest: call.digest,
            hold: HoldId::from_bytes(id),
            charged,
            settled_at: at,
        };
        let key = SINGLE_USE;
        self.changes
            .retries
            .insert(RetryKey { account, key }, retry);
    }

    fn is_held_at(&self, hash: &AccountId, state: HeldState) -> bool {
        let call = self.held_calls.get(hash);
        call.is_some_and(|call| call.state == state)
    }

    fn move_held_call(&mut self, hash: &AccountId, to: HeldState, rows: &mut dyn Rows) -> Answer {
        rows.move_held_call(hash, to)?;
        if let Some(call) = self.held_calls.get_mut(hash) {
            call.state = to;
        }
        Ok(Ok(true))
    }
}
