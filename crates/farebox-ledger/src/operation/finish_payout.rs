//! The end of a payout: charged or given back, once.
//!
//! A payout that has ended never changes: what a node says later and otherwise is an error.

use farebox_core::{AccountId, Kind, Msat, PayoutId, UnixMillis};

use super::Operation;
use crate::book::{Book, Moment};
use crate::money::{self, Moved, Verdict};
use crate::name::{HouseName, Name};
use crate::rows::PayoutRow;
use crate::store::StoreError;
use crate::view::TransferKind;
use crate::{LedgerError, PayoutEnd, PayoutState, PayoutView, Rail};

/// Ends a payout. The same end may be repeated, and another one is an error.
pub(crate) struct FinishPayout {
    pub(crate) id: PayoutId,
    /// Whose it is.
    pub(crate) account: AccountId,
    pub(crate) end: PayoutEnd,
    pub(crate) at: UnixMillis,
}

impl Operation for FinishPayout {
    const TAKES_GATE: bool = true;
    type Answer = PayoutView;

    fn footprint(&self, names: &mut Vec<Name>) {
        // What was paid counts against the limits of others.
        names.push(Name::PayoutGate(self.account, self.at));
        names.push(Name::Account(self.account));
        names.push(Name::Payout(self.id));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<PayoutView> {
        let Some(row) = book.payout(&self.id)? else {
            return Ok(Err(LedgerError::NoPayout));
        };
        let mut row = row.clone();
        match (row.view.state, self.end) {
            (PayoutState::Open, _) => {}
            (PayoutState::Paid, PayoutEnd::Paid { .. })
            | (PayoutState::Failed, PayoutEnd::Failed) => return Ok(Ok(row.view)),
            (state, end) => {
                tracing::error!(
                    payout.id = %self.id,
                    payout.state = state.as_str(),
                    ?end,
                    "the node contradicts itself about a payout; nothing was changed"
                );
                return Ok(Err(LedgerError::PayoutEnded { state }));
            }
        }
        book.rewrite(&self.account)?;
        book.change_account(&self.account)?.release(&row.reserve);
        match self.end {
            PayoutEnd::Paid { fee } => self.pay(&mut row, fee, book)?,
            PayoutEnd::Failed => row.view.state = PayoutState::Failed,
        }
        row.view.ended_at = Some(self.at);
        let view = row.view.clone();
        book.put_payout(row)?;
        book.notes.moment = Some(Moment::PayoutEnd);
        Ok(Ok(view))
    }
}

impl FinishPayout {
    /// Charges a payout and its fee; the part of the fee above its limit is the seller's.
    fn pay(&self, row: &mut PayoutRow, fee: Msat, book: &mut Book<'_>) -> Result<(), StoreError> {
        let PayoutRow { view, reserve, .. } = row;
        let charged = fee.min(view.max_fee);
        self.pay_out(view.amount, TransferKind::Payout, book)?;
        self.pay_out(charged, TransferKind::PayoutFee, book)?;
        let spent = view.amount.checked_add(charged).unwrap_or(Msat::MAX);
        let account = book.change_account(&self.account)?;
        account.calls_used = account.calls_used.saturating_add(reserve.calls);
        // Calls went with all of their money: what was not sent is no longer for sale.
        if account.kind() != Kind::Balance {
            let with_sold = account.excess.checked_add(reserve.sold);
            account.excess = with_sold.unwrap_or(Msat::MAX).saturating_sub(spent);
        }
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
        money::lose(book, &self.account, &HouseName::RoutingFees, above, self.at)
    }

    /// Moves money from the account out of the house. Payouts leave over Lightning.
    fn pay_out(
        &self,
        amount: Msat,
        kind: TransferKind,
        book: &mut Book<'_>,
    ) -> Result<(), StoreError> {
        if amount.is_zero() {
            return Ok(());
        }
        let transfer = book.fresh_id(self.at);
        let clearing = HouseName::Clearing(Rail::Lightning);
        let moved = Moved::new(amount, kind, self.at);
        money::take(book, &self.account, &clearing, transfer, moved)
    }
}
