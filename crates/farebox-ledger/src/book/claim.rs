//! The first sight of a payment, and what it brought beyond what was sold.

use farebox_core::{AccountId, Msat, UnixMillis};

use super::money::Side;
use super::{Account, Book, Payment, Rows, Transfer, TransferKind, Unclaimed};
use crate::store::{Granted, Received, StoreError};
use crate::{Admitted, ClaimPolicy, Funding, HeldState, HoldRequest, LedgerError, Rail};

impl Book {
    /// Credits a payment at its first sight, or says why not.
    pub(super) fn claim(
        &mut self,
        request: &HoldRequest,
        funding: &Funding,
        rows: &mut dyn Rows,
    ) -> Result<Option<Result<Admitted<Granted>, LedgerError>>, StoreError> {
        let hash = request.account;
        let unclaimed = self.unclaimed(&hash, rows)?;
        if unclaimed.spent {
            return Ok(Some(Ok(Admitted::Exhausted)));
        }
        if self.is_being_served(&hash) {
            return Ok(Some(Ok(Admitted::InFlight)));
        }
        if funding.claims == ClaimPolicy::ClaimedOnly {
            return Ok(Some(Ok(Admitted::Unclaimed)));
        }
        let payment = Payment {
            account: hash,
            funding,
            now: request.now,
        };
        let credited = self.credit(&payment, &unclaimed);
        Ok(credited.err().map(Err))
    }

    /// What is known of a payment without an account, uncommitted revocations included.
    pub(super) fn unclaimed(
        &self,
        hash: &AccountId,
        rows: &mut dyn Rows,
    ) -> Result<Unclaimed, StoreError> {
        let mut unclaimed = rows.unclaimed(hash)?;
        if let Some(at) = self.changes.revoked.get(hash) {
            unclaimed.revoked_at = unclaimed.revoked_at.or(Some(*at));
        }
        Ok(unclaimed)
    }

    /// Whether a held call is under way that will claim this payment itself.
    pub(super) fn is_being_served(&self, hash: &AccountId) -> bool {
        let call = self.held_calls.get(hash);
        call.is_some_and(|call| matches!(call.state, HeldState::Running | HeldState::Answered))
    }

    /// Makes the account of a payment: what was sold, and what came beyond it.
    pub(super) fn credit(
        &mut self,
        payment: &Payment<'_>,
        unclaimed: &Unclaimed,
    ) -> Result<(), LedgerError> {
        let (rail, amount) = (payment.funding.rail, payment.funding.terms.amount);
        let received = unclaimed.received.unwrap_or_default();
        let extra = received.max(payment.funding.amount).saturating_sub(amount);
        let all = amount.checked_add(extra);
        if !all.is_some_and(|all| self.fits(rail, all)) {
            return Err(LedgerError::TooMuchMoney);
        }
        let row = self.take_row();
        let mut account = Account::claimed(row, payment, unclaimed.revoked_at);
        let transfer = Transfer {
            id: self.fresh_id(payment.now),
            debit: self.move_house(rail.clearing(), amount, Side::Debit),
            credit: row,
            amount,
            kind: TransferKind::Claim,
            at: payment.now,
            previous: None,
        };
        account.last_transfer = Some(transfer.id);
        self.changes.transfers.push(transfer);
        self.changes.accounts.push(payment.account);
        self.accounts.put(payment.account, account);
        self.claims += 1;
        self.add_excess(&payment.account, rail, extra, payment.now)
    }

    /// Credits what a payment brought beyond what was credited before, each msat once.
    pub(super) fn note_received(
        &mut self,
        payment: &Received,
        rows: &mut dyn Rows,
    ) -> Result<Result<(), LedgerError>, StoreError> {
        let Received {
            payment_hash,
            received,
            at,
        } = *payment;
        let account = payment_hash.account();
        let noted = rows.received(&account)?.unwrap_or_default();
        if received <= noted {
            return Ok(Ok(()));
        }
        if self.fetch(&account, rows)? {
            let known = self.accounts.peek(&account);
            let sold = known.map_or(Msat::ZERO, |account| {
                account.terms().map_or(Msat::ZERO, |terms| terms.amount)
            });
            let extra = received.saturating_sub(noted.max(sold));
            if let Err(error) = self.add_excess(&account, Rail::Lightning, extra, at) {
                return Ok(Err(error));
            }
        } else if rows.unclaimed(&account)?.spent {
            return Ok(Ok(()));
        }
        rows.put_received(&account, received, at)?;
        Ok(Ok(()))
    }

    /// Credits money beyond what was sold.
    fn add_excess(
        &mut self,
        hash: &AccountId,
        rail: Rail,
        extra: Msat,
        at: UnixMillis,
    ) -> Result<(), LedgerError> {
        if extra.is_zero() {
            return Ok(());
        }
        if !self.fits(rail, extra) {
            return Err(LedgerError::TooMuchMoney);
        }
        let credit = self.accounts.peek(hash).map_or(0, |account| account.row);
        let debit = self.move_house(rail.clearing(), extra, Side::Debit);
        self.change(hash, |account| {
            account.balance = account.balance.checked_add(extra).unwrap_or(Msat::MAX);
            account.excess = account.excess.checked_add(extra).unwrap_or(Msat::MAX);
            account.unsaved.excess = true;
        });
        let transfer = Transfer {
            id: self.fresh_id(at),
            debit,
            credit,
            amount: extra,
            kind: TransferKind::Excess,
            at,
            previous: None,
        };
        self.append(hash, transfer);
        Ok(())
    }
}
