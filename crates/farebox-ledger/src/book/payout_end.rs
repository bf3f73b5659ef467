//! The end of a payout in the picture: charged or given back, once.
//!
//! A payout that has ended never changes: what a node says later and otherwise is an error.

use farebox_core::{AccountId, Kind, Msat, PayoutId, UnixMillis};

use super::money::Side;
use super::{Book, Payout, Rows, Transfer, TransferKind};
use crate::store::{Outcome, StoreError};
use crate::{LedgerError, PayoutEnd, PayoutState, PayoutView, Rail};

impl Book {
    fn release(&mut self, id: &PayoutId) {
        let Some(payout) = self.payouts.remove(id) else {
            return;
        };
        let Some(held) = self.held.get_mut(&payout.account) else {
            return;
        };
        held.msat = held.msat.saturating_sub(payout.reserve.sold);
        held.excess = held.excess.saturating_sub(payout.reserve.excess);
        held.calls = held.calls.saturating_sub(payout.reserve.calls);
        held.payouts = held.payouts.saturating_sub(1);
        if held.is_nothing() {
            self.held.remove(&payout.account);
        }
    }

    /// Ends an open payout. One that has ended is left alone: the same end may be repeated, and
    /// another one is an error.
    pub(super) fn finish_payout(
        &mut self,
        id: PayoutId,
        end: PayoutEnd,
        at: UnixMillis,
        rows: &mut dyn Rows,
    ) -> Result<Outcome, StoreError> {
        let Some(mut payout) = rows.payout(&id)? else {
            return Ok(ended(Err(LedgerError::NoPayout), Msat::ZERO));
        };
        match (payout.view.state, end) {
            (PayoutState::Open, _) => {}
            (PayoutState::Paid, PayoutEnd::Paid { .. })
            | (PayoutState::Failed, PayoutEnd::Failed) => {
                return Ok(ended(Ok(payout.view), Msat::ZERO));
            }
            (state, _) => {
                tracing::error!(
                    payout.id = %id,
                    payout.state = state.as_str(),
                    ?end,
                    "the node contradicts itself about a payout; nothing was changed"
                );
                return Ok(ended(Err(LedgerError::PayoutEnded { state }), Msat::ZERO));
            }
        }
        if !self.fetch_payer(&payout.view.account, rows)? {
            return Err(StoreError::Corrupt("a payout without an account"));
        }
        self.release(&id);
        let loss = match end {
            PayoutEnd::Paid { fee } => self.pay(&mut payout, fee, at),
            PayoutEnd::Failed => {
                payout.view.state = PayoutState::Failed;
                Msat::ZERO
            }
        };
        payout.view.ended_at = Some(at);
        rows.end_payout(&payout.view)?;
        Ok(ended(Ok(payout.view), loss))
    }

    /// Charges a payout and its fee; gives the part of the fee that the seller bears.
    fn pay(&mut self, payout: &mut Payout, fee: Msat, at: UnixMillis) -> Msat {
        let Payout { view, reserve } = payout;
        let hash = view.account;
        let charged = fee.min(view.max_fee);
        self.pay_out(&hash, view.amount, TransferKind::Payout, at);
        self.pay_out(&hash, charged, TransferKind::PayoutFee, at);
        let spent = view.amount.checked_add(charged).unwrap_or(Msat::MAX);
        self.change(&hash, |account| {
            account.calls_used = account.calls_used.saturating_add(reserve.calls);
            // Calls went with all of their money: what was not sent is no longer for sale.
            if account.kind() != Kind::Balance {
                let with_sold = account
                    .excess
                    .checked_add(reserve.sold)
                    .unwrap_or(Msat::MAX);
                account.excess = with_sold.saturating_sub(spent);
                account.unsaved.excess = true;
            }
        });
        view.state = PayoutState::Paid;
        view.fee = Some(fee);
        let above = fee.saturating_sub(charged);
        if !above.is_zero() {
            tracing::warn!(
                payout.id = %view.id,
                fee.msat = fee.get(),
                max_fee.msat = view.max_fee.get(),
                "a payout cost more than its limit; the rest is the seller's loss"
            );
        }
        self.lose_fee(&hash, above, at)
    }

    /// Moves money from a payer's account out of the house.
    fn pay_out(&mut self, hash: &AccountId, amount: Msat, kind: TransferKind, at: UnixMillis) {
        let Some(account) = self.accounts.peek(hash).filter(|_| !amount.is_zero()) else {
            return;
        };
        let debit = account.row;
        let transfer = Transfer {
            id: self.fresh_id(at),
            debit,
            credit: self.move_house(Rail::Lightning.clearing(), amount, Side::Credit),
            amount,
            kind,
            at,
            previous: None,
        };
        self.change(hash, |account| {
            account.balance = account.balance.saturating_sub(amount);
        });
        self.append(hash, transfer);
    }
}

fn ended(answer: Result<PayoutView, LedgerError>, loss: Msat) -> Outcome {
    Outcome::PayoutEnded {
        answer: Box::new(answer),
        loss,
    }
}
