//! What one command may see and change of the working set: the rows it named, and no other.

use farebox_core::{
    AccountId, HoldId, Msat, PaymentHash, PayoutId, ProcessEpoch, SwapId, UnixMillis, WithdrawalId,
};

use crate::Rail;
use crate::day::Day;
use crate::name::Name;
use crate::rows::{
    Account, Entry, HoldFacts, OnceRow, OnceState, OpenHold, PayoutGate, PayoutRow, TransferId,
};
use crate::store::StoreError;
use crate::swap::{ChangeRow, CoinName, CoinView, SwapRow, SwapView};
use crate::withdrawal::WithdrawalRow;
use crate::working::{Changes, Rows};

/// What an engine counts for itself. These limits hold for each gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) epoch: ProcessEpoch,
    pub(crate) max_open_holds: usize,
    pub(crate) open_holds: usize,
    /// Held calls neither settled nor canceled, and the bytes of their requests.
    pub(crate) calls: u32,
    pub(crate) call_bytes: u64,
    /// Invoices for keys that wait to be paid.
    pub(crate) pending: u32,
    /// Of ids that were made.
    pub(crate) sequence: u64,
}

/// What one command did, besides its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notes {
    /// What was credited, where this was the first sight of a payment.
    pub(crate) credited: Option<(Rail, Msat)>,
    /// Usage above its hold, or fees above theirs, which the seller lost.
    pub(crate) lost: Msat,
    /// What a hold was charged at its end.
    pub(crate) charged: Msat,
    /// A hold on an account that was there before this batch: it may be handed out before the sync.
    pub(crate) is_early: bool,
    /// What a test may let the process die at, before and after the commit.
    pub(crate) moment: Option<Moment>,
}

/// A commit at which a test kills the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Hold,
    Settle,
    Payout,
    PayoutEnd,
    HeldEnd,
    Deposit,
    Swap,
    SwapEnd,
    Change,
    Withdrawal,
    WithdrawalEnd,
}

impl Moment {
    pub(crate) const fn before(self) -> &'static str {
        match self {
            Self::Hold => "hold-before-commit",
            Self::Settle => "settle-before-commit",
            Self::Payout => "payout-before-commit",
            Self::PayoutEnd => "payout-end-before-commit",
            Self::HeldEnd => "held-end-before-commit",
            Self::Deposit => "deposit-before-commit",
            Self::Swap => "swap-before-commit",
            Self::SwapEnd => "swap-end-before-commit",
            Self::Change => "change-before-commit",
            Self::Withdrawal => "withdrawal-before-commit",
            Self::WithdrawalEnd => "withdrawal-end-before-commit",
        }
    }

    pub(crate) const fn after(self) -> &'static str {
        match self {
            Self::Hold => "hold-after-commit",
            Self::Settle => "settle-after-commit",
            Self::Payout => "payout-after-commit",
            Self::PayoutEnd => "payout-end-after-commit",
            Self::HeldEnd => "held-end-after-commit",
            Self::Deposit => "deposit-after-commit",
            Self::Swap => "swap-after-commit",
            Self::SwapEnd => "swap-end-after-commit",
            Self::Change => "change-after-commit",
            Self::Withdrawal => "withdrawal-after-commit",
            Self::WithdrawalEnd => "withdrawal-end-after-commit",
        }
    }
}

pub(crate) struct Book<'a> {
    pub(crate) rows: &'a mut Rows,
    pub(crate) changes: &'a mut Changes,
    pub(crate) counts: &'a mut Counts,
    pub(crate) notes: Notes,
    named: &'a [Name],
}

impl<'a> Book<'a> {
    pub(crate) fn new(
        rows: &'a mut Rows,
        changes: &'a mut Changes,
        counts: &'a mut Counts,
        named: &'a [Name],
    ) -> Self {
        Self {
            rows,
            changes,
            counts,
            notes: Notes::default(),
            named,
        }
    }

    /// Fails unless the command named the row.
    fn check(&self, what: &'static str, is: impl Fn(&Name) -> bool) -> Result<(), StoreError> {
        if self.named.iter().any(is) {
            Ok(())
        } else {
            Err(StoreError::Unnamed(what))
        }
    }

    fn check_account(&self, id: &AccountId) -> Result<(), StoreError> {
        self.check("an account", |name| match name {
            Name::Account(named) | Name::Use(named, _) => named == id,
            Name::Asker(named, _) => {
                let parent = || self.rows.account(named)?.key()?.parent;
                named == id || parent() == Some(*id)
            }
            _ => false,
        })
    }

    /// Whatever the name is.
    pub(crate) fn entry(&self, id: &AccountId) -> Result<&Entry, StoreError> {
        self.check_account(id)?;
        self.rows
            .entry(id)
            .ok_or(StoreError::Unloaded("an account"))
    }

    /// The account of the name, which must be one.
    pub(crate) fn account(&self, id: &AccountId) -> Result<&Account, StoreError> {
        let account = self.entry(id)?.account();
        account.ok_or(StoreError::Corrupt("an account that is in use"))
    }

    /// Changes more of the entry than what is held.
    pub(crate) fn change(&mut self, id: &AccountId) -> Result<&mut Entry, StoreError> {
        self.check_account(id)?;
        let entry = self.rows.entry_mut(id);
        let entry = entry.ok_or(StoreError::Unloaded("an account"))?;
        if !entry.unsaved.listed {
            entry.unsaved.listed = true;
            self.changes.entries.push(*id);
        }
        Ok(entry)
    }

    /// Changes all of the entry: what it stands for, or what was sold.
    pub(crate) fn rewrite(&mut self, id: &AccountId) -> Result<&mut Entry, StoreError> {
        let entry = self.change(id)?;
        entry.unsaved.whole = true;
        Ok(entry)
    }

    /// Changes the account of the name.
    pub(crate) fn change_account(&mut self, id: &AccountId) -> Result<&mut Account, StoreError> {
        let account = self.change(id)?.account_mut();
        account.ok_or(StoreError::Corrupt("an account that is in use"))
    }

    fn check_hold(&self, id: &HoldId) -> Result<(), StoreError> {
        self.check(
            "a hold",
            |name| matches!(name, Name::Hold(named) if named == id),
        )
    }

    /// Whether a hold is open, or was.
    pub(crate) fn is_hold(&self, id: &HoldId) -> Result<bool, StoreError> {
        self.check_hold(id)?;
        Ok(self.rows.holds.contains_key(id) || self.rows.ended.contains(id))
    }

    /// An open hold, to note how far it has come.
    pub(crate) fn open_hold(&mut self, id: &HoldId) -> Result<Option<&mut OpenHold>, StoreError> {
        self.check_hold(id)?;
        Ok(self.rows.holds.get_mut(id))
    }

    /// Reserves what a new hold takes.
    pub(crate) fn begin_hold(&mut self, id: HoldId, hold: OpenHold) -> Result<(), StoreError> {
        self.check_hold(&id)?;
        if let Some(key) = hold.facts.once {
            self.once(&hold.facts.asker, &key)?;
            self.changes.onces.push((hold.facts.asker, key));
        }
        self.list_held(&hold.facts)?;
        self.rows.track(id, hold)?;
        self.changes.holds.push(id);
        self.counts.open_holds += 1;
        Ok(())
    }

    /// Gives back what an open hold took, and takes it out.
    pub(crate) fn end_hold(&mut self, id: &HoldId) -> Result<Option<OpenHold>, StoreError> {
        self.check_hold(id)?;
        let Some(hold) = self.rows.holds.remove(id) else {
            return Ok(None);
        };
        self.rows.ended.insert(*id);
        self.list_held(&hold.facts)?;
        self.rows.count(&hold.facts, hold.amount, false)?;
        self.changes.ended.push((*id, hold.number));
        self.counts.open_holds = self.counts.open_holds.saturating_sub(1);
        Ok(Some(hold))
    }

    fn list_held(&mut self, facts: &HoldFacts) -> Result<(), StoreError> {
        self.account(&facts.payer)?;
        self.changes.held.push(facts.payer);
        if facts.asker != facts.payer {
            self.account(&facts.asker)?;
            self.changes.held.push(facts.asker);
        }
        Ok(())
    }

    pub(crate) fn once(
        &self,
        asker: &AccountId,
        key: &[u8; 32],
    ) -> Result<Option<&OnceRow>, StoreError> {
        self.check(
            "what is sold once",
            |name| matches!(name, Name::Once(id, named) if id == asker && named == key),
        )?;
        let row = self.rows.onces.get(&(*asker, *key));
        Ok(row.filter(|row| !matches!(row.state, OnceState::Released)))
    }

    pub(crate) fn put_once(
        &mut self,
        asker: AccountId,
        key: [u8; 32],
        row: OnceRow,
    ) -> Result<(), StoreError> {
        self.once(&asker, &key)?;
        self.rows.onces.insert((asker, key), row);
        self.changes.onces.push((asker, key));
        Ok(())
    }

    /// Notes what counts against a key on a day.
    pub(crate) fn spend_on(
        &mut self,
        id: &AccountId,
        day: Day,
        charged: Msat,
    ) -> Result<(), StoreError> {
        let Some(key) = self.change_account(id)?.key_mut() else {
            return Err(StoreError::Corrupt("a key that asked"));
        };
        let today = key.on_mut(day)?;
        today.spent = today.spent.checked_add(charged).unwrap_or(Msat::MAX);
        key.spent = key.spent.checked_add(charged).unwrap_or(Msat::MAX);
        self.changes.days.push((*id, day));
        Ok(())
    }

    pub(crate) fn payout(&self, id: &PayoutId) -> Result<Option<&PayoutRow>, StoreError> {
        self.check(
            "a payout",
            |name| matches!(name, Name::Payout(named) if named == id),
        )?;
        Ok(self.rows.payouts.get(id))
    }

    pub(crate) fn put_payout(&mut self, row: PayoutRow) -> Result<(), StoreError> {
        let id = row.view.id;
        self.payout(&id)?;
        self.rows.payouts.insert(id, row);
        self.changes.payouts.push(id);
        Ok(())
    }

    /// The payout to an outgoing invoice.
    pub(crate) fn payout_to(&self, hash: &PaymentHash) -> Result<Option<&PayoutRow>, StoreError> {
        self.check(
            "an outgoing invoice",
            |name| matches!(name, Name::Outgoing(named) if named == hash),
        )?;
        let id = self.rows.outgoing.get(hash);
        Ok(id.and_then(|id| self.rows.payouts.get(id)))
    }

    pub(crate) fn gate(&self) -> Result<PayoutGate, StoreError> {
        let gate = self.rows.gate;
        gate.ok_or(StoreError::Unnamed(
            "what counts against the limits of payouts",
        ))
    }

    pub(crate) fn key_called(&self, public_id: &str) -> Result<Option<AccountId>, StoreError> {
        self.check(
            "a public name",
            |name| matches!(name, Name::PublicId(named) if **named == *public_id),
        )?;
        Ok(self.rows.public_ids.get(public_id).copied())
    }

    pub(crate) fn owed(&self, account: &AccountId) -> Result<Option<&ChangeRow>, StoreError> {
        self.check(
            "change",
            |name| matches!(name, Name::Change(named) if named == account),
        )?;
        Ok(self.rows.change.get(account))
    }

    pub(crate) fn put_owed(&mut self, row: ChangeRow) -> Result<(), StoreError> {
        let account = row.view.account;
        self.owed(&account)?;
        self.rows.change.insert(account, row);
        self.changes.change.push(account);
        Ok(())
    }

    pub(crate) fn swap(&self, id: &SwapId) -> Result<Option<&SwapRow>, StoreError> {
        self.check(
            "a swap",
            |name| matches!(name, Name::Swap(named) if named == id),
        )?;
        Ok(self.rows.swaps.get(id))
    }

    pub(crate) fn put_swap(&mut self, row: SwapRow) -> Result<(), StoreError> {
        let id = row.view.id;
        self.swap(&id)?;
        self.rows.swaps.insert(id, row);
        self.changes.swaps.push(id);
        Ok(())
    }

    /// Forgets a swap of which nothing came, as if it had not been begun.
    pub(crate) fn drop_swap(&mut self, id: SwapId) -> Result<(), StoreError> {
        self.swap(&id)?;
        self.rows.swaps.remove(&id);
        self.changes.swaps.push(id);
        Ok(())
    }

    /// The swap that a coin was received for, where it was.
    pub(crate) fn received(&self, coin: &CoinName) -> Result<Option<&SwapView>, StoreError> {
        self.check(
            "a coin that was received",
            |name| matches!(name, Name::Received(named) if named == coin),
        )?;
        let swap = self.rows.received.get(coin);
        let swap = swap.map(|id| self.rows.swaps.get(id).map(|row| &row.view));
        match swap {
            Some(None) => Err(StoreError::Corrupt("the swap of a coin")),
            Some(swap) => Ok(swap),
            None => Ok(None),
        }
    }

    pub(crate) fn put_received(
        &mut self,
        coin: CoinName,
        swap: Option<SwapId>,
    ) -> Result<(), StoreError> {
        self.received(&coin)?;
        match swap {
            Some(id) => self.rows.received.insert(coin, id),
            None => self.rows.received.remove(&coin),
        };
        self.changes.received.push(coin);
        Ok(())
    }

    pub(crate) fn coin(&self, coin: &CoinName) -> Result<Option<&CoinView>, StoreError> {
        self.check(
            "a coin",
            |name| matches!(name, Name::Coin(named) if named == coin),
        )?;
        Ok(self.rows.coins.get(coin))
    }

    pub(crate) fn put_coin(&mut self, coin: CoinView) -> Result<(), StoreError> {
        let name = coin.name;
        self.coin(&name)?;
        self.rows.coins.insert(name, coin);
        self.changes.coins.push(name);
        Ok(())
    }

    /// Forgets a coin that is spent.
    pub(crate) fn drop_coin(&mut self, name: CoinName) -> Result<(), StoreError> {
        self.coin(&name)?;
        self.rows.coins.remove(&name);
        self.changes.coins.push(name);
        Ok(())
    }

    pub(crate) fn withdrawal(
        &self,
        id: &WithdrawalId,
    ) -> Result<Option<&WithdrawalRow>, StoreError> {
        self.check(
            "a withdrawal",
            |name| matches!(name, Name::Withdrawal(named) if named == id),
        )?;
        Ok(self.rows.withdrawals.get(id))
    }

    pub(crate) fn put_withdrawal(&mut self, row: WithdrawalRow) -> Result<(), StoreError> {
        let id = row.view.id;
        self.withdrawal(&id)?;
        self.rows.withdrawals.insert(id, row);
        self.changes.withdrawals.push(id);
        Ok(())
    }

    /// A new id for a transfer that is not a settlement: ordered by time, then by run and number.
    /// It differs from every UUID of version 7 in the place of the version.
    pub(crate) fn fresh_id(&mut self, at: UnixMillis) -> TransferId {
        self.counts.sequence += 1;
        let mut id = [0; 16];
        id[..6].copy_from_slice(&at.get().to_be_bytes()[2..]);
        id[6..10].copy_from_slice(&self.counts.epoch.0.to_be_bytes());
        id[10..].copy_from_slice(&self.counts.sequence.to_be_bytes()[2..]);
        id
    }
}
