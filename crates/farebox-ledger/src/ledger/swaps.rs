//! Swaps at mints, coins, and change.

use std::ops::Range;
use std::sync::Arc;

use farebox_core::{AccountId, MintId, SwapId, UnixMillis, WithdrawalId};

use super::{Ledger, MAX_PAGE};
use crate::operation::{EndSwap, EndWithdrawal, Look};
use crate::{
    ChangeRequest, ChangeView, CoinView, LedgerError, MAX_TOLD, Standing, Stock, SwapBegun,
    SwapEnd, SwapFacts, SwapRequest, SwapView, WithdrawalEnd, WithdrawalRequest, WithdrawalView,
};

impl Ledger {
    /// Writes a swap down. Only after [`SwapBegun::Begun`] may its mint be called.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was written.
    pub async fn begin_swap(&self, request: SwapRequest) -> Result<SwapBegun, LedgerError> {
        request.check()?;
        self.ask(request).await
    }

    /// Writes down what became of a swap, and credits its account where its coins are ours: once, however
    /// often it is told, and also where it had come to nothing before.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn end_swap(
        &self,
        facts: SwapFacts,
        end: SwapEnd,
        at: UnixMillis,
    ) -> Result<(), LedgerError> {
        self.ask(EndSwap { facts, end, at }).await
    }

    /// One swap.
    pub async fn swap(&self, id: SwapId) -> Result<Option<SwapView>, LedgerError> {
        self.read(move |reader| reader.swap(id)).await
    }

    /// The latest swap for an account that is open or done.
    pub async fn swap_of(&self, account: AccountId) -> Result<Option<SwapView>, LedgerError> {
        self.read(move |reader| reader.swap_of(account)).await
    }

    /// All swaps of this run or a closed one of which it is not known what became, the oldest first.
    pub async fn open_swaps(&self) -> Result<Vec<SwapView>, LedgerError> {
        self.read(|reader| reader.open_swaps()).await
    }

    /// Up to 1,000 swaps at a unit of a mint that came to nothing in a span of time, its end left out, the
    /// oldest first: something may turn up of them.
    pub async fn vain_swaps(
        &self,
        mint: MintId,
        span: Range<UnixMillis>,
    ) -> Result<Vec<SwapView>, LedgerError> {
        self.read(move |reader| reader.vain_swaps(mint, span, MAX_PAGE))
            .await
    }

    /// Coins that the swaps for an account made, wherever they are now.
    pub async fn coins_of(&self, account: AccountId) -> Result<Vec<CoinView>, LedgerError> {
        self.read(move |reader| reader.coins_of(account)).await
    }

    /// Writes a withdrawal down. Where it is open, its mint may be called; one that was written down before
    /// is told as it stands.
    ///
    /// # Errors
    /// [`LedgerError::CoinTaken`] where one of the coins is not free, [`LedgerError::NoChange`] where they
    /// are worth less; nothing was written.
    pub async fn begin_withdrawal(
        &self,
        request: WithdrawalRequest,
    ) -> Result<WithdrawalView, LedgerError> {
        request.check()?;
        self.ask(request).await
    }

    /// Writes down what became of a withdrawal: once, however often it is told.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn end_withdrawal(
        &self,
        open: &WithdrawalView,
        end: WithdrawalEnd,
        at: UnixMillis,
    ) -> Result<WithdrawalView, LedgerError> {
        end.check()?;
        let (id, mint, coins) = (open.id, open.mint, Arc::clone(&open.coins));
        let end = EndWithdrawal {
            id,
            mint,
            coins,
            end,
            at,
        };
        self.ask(end).await
    }

    /// One withdrawal.
    pub async fn withdrawal(
        &self,
        id: WithdrawalId,
    ) -> Result<Option<WithdrawalView>, LedgerError> {
        self.read(move |reader| reader.withdrawal(id)).await
    }

    /// Up to 1,000 withdrawals, the latest first.
    pub async fn withdrawals(&self) -> Result<Vec<WithdrawalView>, LedgerError> {
        self.read(|reader| reader.withdrawals(MAX_PAGE)).await
    }

    /// All withdrawals of this run or a closed one of which it is not known what became, the oldest first.
    pub async fn open_withdrawals(&self) -> Result<Vec<WithdrawalView>, LedgerError> {
        self.read(|reader| reader.open_withdrawals()).await
    }

    /// What there is of every unit of every mint of which there was anything.
    pub async fn stock(&self) -> Result<Vec<Stock>, LedgerError> {
        self.read(|reader| reader.stock()).await
    }

    /// Up to 1,000 accounts with coins reserved for them, with the number of the swap that made them, from
    /// after that number on.
    pub async fn reserved_accounts(
        &self,
        mint: MintId,
        after: u64,
    ) -> Result<Vec<(u64, AccountId)>, LedgerError> {
        self.read(move |reader| reader.reserved_accounts(mint, after, MAX_PAGE))
            .await
    }

    /// Up to `limit` coins of a unit of a mint that are nobody's, the largest first.
    pub async fn free_coins(&self, mint: MintId, limit: u32) -> Result<Vec<CoinView>, LedgerError> {
        self.read(move |reader| reader.free_coins(mint, limit))
            .await
    }

    /// Writes down with which exact bytes change is given back, before anybody sees them; takes it off
    /// what is owed to the account and what is on it, and closes the account. What was told before stays:
    /// it is the answer.
    ///
    /// # Errors
    /// [`LedgerError::NoChange`], [`LedgerError::InUse`], [`LedgerError::CoinTaken`], [`LedgerError::TooLarge`];
    /// nothing was changed.
    pub async fn tell_change(&self, request: ChangeRequest) -> Result<ChangeView, LedgerError> {
        if request.text.len() > MAX_TOLD || request.text.contains('\n') {
            return Err(LedgerError::TooLarge);
        }
        self.ask(request).await
    }

    /// What an account stands at after all that was asked before; none where there is no such account.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn standing(&self, account: AccountId) -> Result<Option<Standing>, LedgerError> {
        self.ask(Look(account)).await
    }

    /// The change that is owed to an account, or was told.
    pub async fn change(&self, account: AccountId) -> Result<Option<ChangeView>, LedgerError> {
        self.read(move |reader| reader.change(account)).await
    }

    /// All change of this run or a closed one that is owed and not told, the oldest first.
    pub async fn owed_change(&self) -> Result<Vec<ChangeView>, LedgerError> {
        self.read(|reader| reader.owed_change()).await
    }
}
