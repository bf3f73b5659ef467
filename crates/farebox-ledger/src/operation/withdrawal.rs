//! A withdrawal is written down before its mint is called, and ended by what became of it.

use std::sync::Arc;

use farebox_core::{MintId, Msat, SwapId, UnixMillis, WithdrawalId};

use super::Operation;
use crate::LedgerError;
use crate::book::{Book, Moment};
use crate::money::{self, Moved, Verdict};
use crate::name::{HouseName, Name};
use crate::store::StoreError;
use crate::swap::{CoinName, CoinState, CoinView, NewCoin};
use crate::view::TransferKind;
use crate::withdrawal::{
    WithdrawalEnd, WithdrawalRequest, WithdrawalRow, WithdrawalState, WithdrawalView,
};

/// Ends a withdrawal.
pub(crate) struct EndWithdrawal {
    pub(crate) id: WithdrawalId,
    pub(crate) mint: MintId,
    /// The coins that leave by it.
    pub(crate) coins: Arc<[[u8; 33]]>,
    pub(crate) end: WithdrawalEnd,
    pub(crate) at: UnixMillis,
}

impl Operation for WithdrawalRequest {
    /// As it is kept: one that was written down before stays as it was.
    type Answer = WithdrawalView;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Withdrawal(self.id));
        names.extend(coins(self.mint, &self.coins).map(Name::Coin));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<WithdrawalView> {
        if let Some(known) = book.withdrawal(&self.id)? {
            return Ok(Ok(known.view.clone()));
        }
        let mut worth = Some(Msat::ZERO);
        for name in coins(self.mint, &self.coins) {
            let coin = book.coin(&name)?;
            let Some(coin) = coin.filter(|coin| coin.state == CoinState::Free) else {
                return Ok(Err(LedgerError::CoinTaken));
            };
            worth = worth.and_then(|sum| sum.checked_add(coin.worth));
        }
        let leaves = self.amount.checked_add(self.fee);
        if worth.is_none() || leaves.is_none() || leaves > worth || self.amount.is_zero() {
            return Ok(Err(LedgerError::NoChange));
        }
        for name in coins(self.mint, &self.coins) {
            set(&name, CoinState::Leaving, book)?;
        }
        let view = WithdrawalView {
            id: self.id,
            mint: self.mint,
            coins: Arc::clone(&self.coins),
            amount: self.amount,
            fee: self.fee,
            body: Arc::clone(&self.body),
            state: WithdrawalState::Open,
            token: Arc::default(),
            begun_at: self.at,
            ended_at: None,
        };
        let epoch = book.counts.epoch;
        let answer = view.clone();
        book.put_withdrawal(WithdrawalRow { view, epoch })?;
        book.notes.moment = Some(Moment::Withdrawal);
        Ok(Ok(answer))
    }
}

impl Operation for EndWithdrawal {
    type Answer = WithdrawalView;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Withdrawal(self.id));
        names.extend(coins(self.mint, &self.coins).map(Name::Coin));
        if let WithdrawalEnd::Done { rest, .. } = &self.end {
            let mint = self.mint;
            names.extend(rest.iter().map(|it| Name::Coin(CoinName { mint, y: it.y })));
        }
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<WithdrawalView> {
        let row = book.withdrawal(&self.id)?.cloned();
        let mut row = row.ok_or(StoreError::Corrupt("a withdrawal that ends"))?;
        if row.view.state != WithdrawalState::Open {
            return Ok(Ok(row.view));
        }
        match &self.end {
            WithdrawalEnd::Done { token, rest } => {
                self.take_out(&row.view, rest, book)?;
                row.view.state = WithdrawalState::Done;
                row.view.token = Arc::clone(token);
            }
            WithdrawalEnd::Undone => {
                self.give_up(&[], book)?;
                row.view.state = WithdrawalState::Undone;
            }
            WithdrawalEnd::Lost(spent) => {
                let lost = self.give_up(spent, book)?;
                self.book_out(lost, TransferKind::SellerLoss, &HouseName::SellerLoss, book);
                row.view.state = WithdrawalState::Lost;
            }
        }
        row.view.body = Arc::default();
        row.view.ended_at = Some(self.at);
        let view = row.view.clone();
        book.put_withdrawal(row)?;
        book.notes.moment = Some(Moment::WithdrawalEnd);
        Ok(Ok(view))
    }
}

impl EndWithdrawal {
    /// The old coins are gone, the new ones that stay are free, and what left is booked.
    fn take_out(
        &self,
        view: &WithdrawalView,
        rest: &[NewCoin],
        book: &mut Book<'_>,
    ) -> Result<(), StoreError> {
        const WORTH: StoreError = StoreError::Corrupt("the worth of a withdrawal's coins");
        let mut worth = Msat::ZERO;
        for name in coins(self.mint, &self.coins) {
            let gone = remove(&name, book)?;
            worth = worth.checked_add(gone).ok_or(WORTH)?;
        }
        let mut stays = Msat::ZERO;
        for coin in rest {
            stays = stays.checked_add(coin.worth).ok_or(WORTH)?;
            book.put_coin(CoinView {
                name: CoinName {
                    mint: self.mint,
                    y: coin.y,
                },
                worth: coin.worth,
                bytes: Arc::clone(&coin.bytes),
                state: CoinState::Free,
                made_by: SwapId::from_bytes(*self.id.as_bytes()),
            })?;
        }
        let leaves = view.amount.checked_add(view.fee).ok_or(WORTH)?;
        if leaves.checked_add(stays) != Some(worth) {
            return Err(WORTH);
        }
        let rail = crate::Rail::Ecash(self.mint);
        let withdrawn = HouseName::Withdrawn(rail);
        self.book_out(view.amount, TransferKind::Withdrawal, &withdrawn, book);
        self.book_out(view.fee, TransferKind::MintFee, &HouseName::MintFees, book);
        Ok(())
    }

    /// The coins are free again, but for those that are lost. Gives what those are worth.
    fn give_up(&self, lost: &[[u8; 33]], book: &mut Book<'_>) -> Result<Msat, StoreError> {
        let mut worth = Msat::ZERO;
        for name in coins(self.mint, &self.coins) {
            if lost.contains(&name.y) {
                let gone = remove(&name, book)?;
                worth = worth.checked_add(gone).unwrap_or(Msat::MAX);
            } else {
                set(&name, CoinState::Free, book)?;
            }
        }
        Ok(worth)
    }

    /// Takes what left off what the mint's coins are worth.
    fn book_out(&self, amount: Msat, kind: TransferKind, from: &HouseName, book: &mut Book<'_>) {
        let clearing = HouseName::Clearing(crate::Rail::Ecash(self.mint));
        money::in_house(book, from, &clearing, Moved::new(amount, kind, self.at));
    }
}

fn coins(mint: MintId, coins: &[[u8; 33]]) -> impl Iterator<Item = CoinName> {
    coins.iter().map(move |y| CoinName { mint, y: *y })
}

/// Puts a coin into a state.
fn set(name: &CoinName, state: CoinState, book: &mut Book<'_>) -> Result<(), StoreError> {
    let coin = book.coin(name)?.cloned();
    let mut coin = coin.ok_or(StoreError::Corrupt("a coin of a withdrawal"))?;
    coin.state = state;
    book.put_coin(coin)
}

/// Forgets a coin that is spent; gives what it was worth.
fn remove(name: &CoinName, book: &mut Book<'_>) -> Result<Msat, StoreError> {
    let coin = book.coin(name)?;
    let worth = coin.map(|coin| coin.worth);
    book.drop_coin(*name)?;
    worth.ok_or(StoreError::Corrupt("a coin of a withdrawal"))
}
