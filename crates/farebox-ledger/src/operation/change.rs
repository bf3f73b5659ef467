//! Change that is owed is told: with the exact bytes that give it back, which never change again.

use std::sync::Arc;

use farebox_core::Msat;

use super::Operation;
use crate::book::{Book, Moment};
use crate::money::{self, Moved, Verdict};
use crate::name::{HouseName, Name};
use crate::store::StoreError;
use crate::swap::{ChangeRequest, ChangeRow, CoinName, CoinState};
use crate::view::TransferKind;
use crate::{ChangeView, LedgerError};

impl Operation for ChangeRequest {
    type Answer = ChangeView;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Account(self.account));
        names.push(Name::Change(self.account));
        let coins = self.given.iter().chain(&self.freed);
        names.extend(coins.map(|name| Name::Coin(*name)));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<ChangeView> {
        let owed = book.owed(&self.account)?.cloned();
        let told = owed.as_ref().map_or(0, |row| row.view.told.len());
        if let Some(row) = owed.as_ref().filter(|_| self.part < told) {
            return Ok(Ok(row.view.clone()));
        }
        let Some(account) = book.entry(&self.account)?.account() else {
            return Ok(Err(LedgerError::NoChange));
        };
        if account.is_in_use() && !self.freed.is_empty() {
            return Ok(Err(LedgerError::InUse));
        }
        let mut row = owed.unwrap_or_else(|| ChangeRow {
            view: ChangeView {
                account: self.account,
                rail: account.rail(),
                owed: Msat::ZERO,
                since: self.at,
                told: Vec::new(),
            },
            epoch: book.counts.epoch,
        });
        let free = account.free().checked_add(row.view.owed);
        if self.part > told || free.is_none_or(|free| free < self.amount) {
            return Ok(Err(LedgerError::NoChange));
        }
        if let Err(error) = self.give(book)? {
            return Ok(Err(error));
        }
        self.take(&row, book)?;
        row.view.owed = Msat::ZERO;
        if !self.text.is_empty() {
            row.view.told.push(Arc::clone(&self.text));
        }
        let view = row.view.clone();
        book.put_owed(row)?;
        book.notes.moment = Some(Moment::Change);
        Ok(Ok(view))
    }
}

impl ChangeRequest {
    /// Moves what is told to where it came from, and closes the account: what it was told for is over. What
    /// was owed beyond it, less than a coin, is the account's again.
    fn take(&self, row: &ChangeRow, book: &mut Book<'_>) -> Result<(), StoreError> {
        let id = &self.account;
        let rail = row.view.rail;
        let moved = |amount| Moved::new(amount, TransferKind::Change, self.at);
        if !row.view.owed.is_zero() {
            money::give_back(book, id, &HouseName::Owed(rail), moved(row.view.owed))?;
        }
        if !self.amount.is_zero() {
            let transfer = book.fresh_id(self.at);
            let clearing = HouseName::Clearing(rail);
            money::take(book, id, &clearing, transfer, moved(self.amount))?;
        }
        if let Some(account) = book.rewrite(id)?.account_mut() {
            account.expires_at = account.expires_at.min(self.at);
            account.excess = account.excess.min(account.balance);
        }
        Ok(())
    }

    /// Gives the coins, if all of them may be given, and together are what is told.
    fn give(&self, book: &mut Book<'_>) -> Verdict<()> {
        let mut sum = Some(Msat::ZERO);
        for name in &self.given {
            let coin = self.coin(name, book)?;
            let Some(worth) = coin else {
                return Ok(Err(LedgerError::CoinTaken));
            };
            sum = sum.and_then(|sum| sum.checked_add(worth));
        }
        // What came by another rail goes back without coins.
        if !self.given.is_empty() && sum != Some(self.amount) {
            return Ok(Err(LedgerError::CoinTaken));
        }
        for name in &self.freed {
            if self.coin(name, book)?.is_none() {
                return Ok(Err(LedgerError::CoinTaken));
            }
        }
        for (names, state) in [
            (&self.given, CoinState::Given),
            (&self.freed, CoinState::Free),
        ] {
            for name in names {
                let coin = book.coin(name)?.cloned();
                let mut coin = coin.ok_or(StoreError::Corrupt("a coin that is given"))?;
                coin.state = state;
                book.put_coin(coin)?;
            }
        }
        Ok(Ok(()))
    }

    /// What a coin is worth, if it may be given to this account.
    fn coin(&self, name: &CoinName, book: &Book<'_>) -> Result<Option<Msat>, StoreError> {
        let coin = book.coin(name)?;
        Ok(coin
            .filter(|coin| matches!(coin.state, CoinState::Reserved | CoinState::Free))
            .map(|coin| coin.worth))
    }
}
