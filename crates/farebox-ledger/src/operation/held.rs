//! Held calls: a state that moves forward by compare-and-set.

use std::sync::Arc;

use farebox_core::{HoldId, Msat, PaymentHash, UnixMillis};

use super::Operation;
use crate::book::{Book, Moment};
use crate::money::{self, Moved, Verdict};
use crate::name::{HouseName, Name};
use crate::rows::{Body, HeldRow, Is, OnceRow, OnceState};
use crate::store::StoreError;
use crate::view::TransferKind;
use crate::{ClaimPolicy, Funding, HeldCall, HeldLimits, HeldState, LedgerError, Rail, Receipt};

/// The key under which a single-use token is sold at most once.
const SINGLE_USE: [u8; 32] = [0; 32];

/// Offers a held call, if there is room.
pub(crate) struct OpenHeld {
    /// Without its request.
    pub(crate) call: HeldCall,
    pub(crate) request: Arc<[u8]>,
    pub(crate) limits: HeldLimits,
}

/// Moves a held call on.
pub(crate) struct HeldMove {
    pub(crate) payment: PaymentHash,
    pub(crate) step: HeldStep,
    pub(crate) at: UnixMillis,
}

/// One step of a held call.
pub(crate) enum HeldStep {
    /// It begins to run.
    Run,
    /// It has its answer.
    Answer(Arc<[u8]>),
    /// Its payment is settled, and brought so much.
    Settle(Msat),
    /// Its payment goes back, or never came.
    Cancel,
}

impl Operation for OpenHeld {
    type Answer = bool;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.call.payment_hash.account()));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<bool> {
        let id = self.call.payment_hash.account();
        let entry = book.entry(&id)?;
        if !matches!(entry.is, Is::Nothing) || entry.call.is_some() {
            return Ok(Err(LedgerError::HeldCallExists));
        }
        let bytes = u64::try_from(self.request.len()).unwrap_or(u64::MAX);
        let counts = &mut *book.counts;
        let taken = counts.call_bytes.saturating_add(bytes);
        if counts.calls >= self.limits.max_calls || taken > self.limits.max_bytes {
            return Ok(Ok(false));
        }
        counts.calls += 1;
        counts.call_bytes = taken;
        let epoch = counts.epoch;
        let mut call = self.call.clone();
        call.state = HeldState::Offered;
        book.rewrite(&id)?.call = Some(Box::new(HeldRow {
            call,
            bytes,
            epoch,
            ended_at: None,
        }));
        let body = Body::Request(Arc::clone(&self.request));
        book.changes.bodies.push((id, body));
        Ok(Ok(true))
    }
}

impl Operation for HeldMove {
    /// Whether the step was taken.
    type Answer = bool;

    fn footprint(&self, names: &mut Vec<Name>) {
        let id = self.payment.account();
        names.push(Name::Account(id));
        if let HeldStep::Settle(_) = self.step {
            names.push(Name::Once(id, SINGLE_USE));
        }
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<bool> {
        let id = self.payment.account();
        let entry = book.entry(&id)?;
        let Some(row) = entry.call.as_ref().filter(|row| !row.call.state.is_end()) else {
            return Ok(Ok(false));
        };
        let to = match (&self.step, row.call.state) {
            // A payment that was claimed meanwhile was settled by somebody else: its call is served
            // the ordinary way.
            (HeldStep::Run, HeldState::Offered) if entry.claimed().is_none() => HeldState::Running,
            (HeldStep::Answer(body), HeldState::Running) => {
                let body = Body::Answer(Arc::clone(body));
                book.changes.bodies.push((id, body));
                HeldState::Answered
            }
            (HeldStep::Settle(received), HeldState::Answered) => {
                let row = row.clone();
                if let Err(error) = self.settle(&row, *received, book)? {
                    return Ok(Err(error));
                }
                HeldState::Settled
            }
            (HeldStep::Cancel, state) => {
                if state == HeldState::Answered {
                    let hash = self.payment;
                    tracing::warn!(%hash, "a call was served, and its payment went back: the seller's loss");
                }
                HeldState::Canceled
            }
            _ => return Ok(Ok(false)),
        };
        self.move_on(to, book)?;
        Ok(Ok(true))
    }
}

impl HeldMove {
    fn move_on(&self, to: HeldState, book: &mut Book<'_>) -> Result<(), StoreError> {
        let row = book.rewrite(&self.payment.account())?.call.as_mut();
        let row = row.ok_or(StoreError::Corrupt("an open held call"))?;
        row.call.state = to;
        if to.is_end() {
            row.ended_at = Some(self.at);
            let bytes = row.bytes;
            book.counts.calls = book.counts.calls.saturating_sub(1);
            book.counts.call_bytes = book.counts.call_bytes.saturating_sub(bytes);
        }
        Ok(())
    }

    /// Claims the payment and charges it, as if the token had been used once.
    fn settle(&self, row: &HeldRow, received: Msat, book: &mut Book<'_>) -> Verdict<()> {
        let (id, at) = (self.payment.account(), self.at);
        let call = &row.call;
        let entry = book.entry(&id)?;
        if !matches!(entry.is, Is::Nothing) {
            tracing::error!(hash = %id, "a held payment was claimed before it was settled");
            return Ok(Ok(()));
        }
        let received = received.max(entry.noted());
        let funding = Funding {
            rail: Rail::Lightning,
            amount: received.max(call.terms.amount),
            terms: call.terms.clone(),
            key_epoch: call.key_epoch,
            claims: ClaimPolicy::Open,
        };
        if let Err(error) = money::claim(book, &id, &funding, at)? {
            return Ok(Err(error));
        }
        if received > call.terms.amount {
            book.rewrite(&id)?.received = Some((received, at));
        }
        book.notes.moment = Some(Moment::HeldEnd);
        Ok(Ok(self.charge(call, book)?))
    }

    /// Charges the one call of an account that was just credited.
    fn charge(&self, call: &HeldCall, book: &mut Book<'_>) -> Result<(), StoreError> {
        let (id, at) = (self.payment.account(), self.at);
        let transfer = book.fresh_id(at);
        let charged = call.terms.amount;
        let revenue = HouseName::Revenue(call.terms.route.clone());
        let moved = Moved::new(charged, TransferKind::Settle, at);
        money::take(book, &id, &revenue, transfer, moved)?;
        book.change_account(&id)?.calls_used = 1;
        let state = OnceState::Settled(Receipt {
            hold: HoldId::from_bytes(transfer),
            charged,
            settled_at: at,
        });
        let digest = call.digest;
        book.put_once(id, SINGLE_USE, OnceRow { digest, state })
    }
}
