//! A swap is written down before its mint is called, and ended by what became of it.

use std::sync::Arc;

use farebox_core::{MintId, Msat, UnixMillis};

use super::Operation;
use crate::LedgerError;
use crate::book::{Book, Moment};
use crate::money::{self, Verdict};
use crate::name::Name;
use crate::rows::Is;
use crate::store::StoreError;
use crate::swap::{
    CoinName, CoinState, CoinView, NewCoin, SwapBegun, SwapEnd, SwapFacts, SwapRequest, SwapRow,
    SwapState, SwapView,
};

/// Ends a swap.
pub(crate) struct EndSwap {
    pub(crate) facts: SwapFacts,
    pub(crate) end: SwapEnd,
    pub(crate) at: UnixMillis,
}

impl Operation for SwapRequest {
    type Answer = SwapBegun;

    fn footprint(&self, names: &mut Vec<Name>) {
        names.push(Name::Swap(self.facts.id));
        names.extend(self.facts.names().map(Name::Received));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<SwapBegun> {
        let mut before = None;
        for name in self.facts.names() {
            if let Some(swap) = book.received(&name)? {
                before = Some(swap.clone());
            }
        }
        if let Some(view) = before {
            let is_same = view.account == self.facts.account;
            return Ok(Ok(if is_same {
                SwapBegun::Exists(Box::new(view))
            } else {
                SwapBegun::Overlaps
            }));
        }
        let brings = self.terms.amount;
        if !money::has_room(book, self.facts.mint, brings, self.most) {
            return Ok(Ok(SwapBegun::Exposed));
        }
        let view = SwapView {
            id: self.facts.id,
            mint: self.facts.mint,
            account: self.facts.account,
            received: Arc::clone(&self.facts.received),
            terms: self.terms.clone(),
            body: Arc::clone(&self.body),
            state: SwapState::Open,
            begun_at: self.at,
            ended_at: None,
        };
        let epoch = book.counts.epoch;
        book.put_swap(SwapRow { view, epoch })?;
        for name in self.facts.names() {
            book.put_received(name, Some(self.facts.id))?;
        }
        book.notes.moment = Some(Moment::Swap);
        Ok(Ok(SwapBegun::Begun))
    }
}

impl Operation for EndSwap {
    type Answer = ();

    fn footprint(&self, names: &mut Vec<Name>) {
        let coins: &[NewCoin] = match &self.end {
            SwapEnd::Done(coins) => coins,
            SwapEnd::Refused | SwapEnd::Spent | SwapEnd::LetGo => &[],
        };
        name_all(&self.facts, coins, names);
        names.push(Name::Account(self.facts.account));
    }

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        book.notes.moment = Some(Moment::SwapEnd);
        let state = match &self.end {
            SwapEnd::Done(coins) => return done(&self.facts, coins, book, self.at),
            SwapEnd::Refused => return forget(&self.facts, book),
            SwapEnd::Spent => SwapState::Spent,
            SwapEnd::LetGo => SwapState::LetGo,
        };
        let mut row = swap_of(&self.facts, book)?;
        if row.view.state != SwapState::Open {
            return Ok(Ok(()));
        }
        row.view.state = state;
        row.view.ended_at = Some(self.at);
        book.put_swap(row)?;
        release(&self.facts, book)?;
        Ok(Ok(()))
    }
}

/// Nothing came of a swap, and nothing can.
fn forget(facts: &SwapFacts, book: &mut Book<'_>) -> Verdict<()> {
    let row = book.swap(&facts.id)?;
    if row.is_some_and(|row| row.view.state == SwapState::Open) {
        release(facts, book)?;
        book.drop_swap(facts.id)?;
    }
    Ok(Ok(()))
}

/// The coins are still whoever's they were, who may come again with them.
fn release(facts: &SwapFacts, book: &mut Book<'_>) -> Result<(), StoreError> {
    for name in facts.names() {
        book.put_received(name, None)?;
    }
    Ok(())
}

/// The rows of a swap that ends, but for its account.
pub(super) fn name_all(facts: &SwapFacts, coins: &[NewCoin], names: &mut Vec<Name>) {
    names.push(Name::Swap(facts.id));
    names.extend(facts.names().map(Name::Received));
    let mint = facts.mint;
    names.extend(coins.iter().map(|coin| Name::Coin(name_of(mint, coin))));
}

const fn name_of(mint: MintId, coin: &NewCoin) -> CoinName {
    CoinName { mint, y: coin.y }
}

fn swap_of(facts: &SwapFacts, book: &Book<'_>) -> Result<SwapRow, StoreError> {
    let row = book.swap(&facts.id)?;
    row.cloned().ok_or(StoreError::Corrupt("a swap that ends"))
}

/// The coins of a swap are ours, and its account is credited: once. One that had come to nothing before
/// is credited all the same, as its coins turned up.
pub(super) fn done(
    facts: &SwapFacts,
    coins: &[NewCoin],
    book: &mut Book<'_>,
    at: UnixMillis,
) -> Verdict<()> {
    let mut row = swap_of(facts, book)?;
    if row.view.state == SwapState::Done {
        return Ok(Ok(()));
    }
    let worth = coins
        .iter()
        .try_fold(Msat::ZERO, |sum, coin| sum.checked_add(coin.worth));
    if worth != Some(row.view.terms.amount) {
        return Err(StoreError::Corrupt("the worth of a swap's coins"));
    }
    let funding = row.view.funding();
    let credited = match &book.entry(&facts.account)?.is {
        Is::Nothing => money::claim(book, &facts.account, &funding, at)?,
        // A mint took the same coins twice, or the account was closed before they turned up.
        Is::Account(_) => {
            let (rail, sold) = (funding.rail, funding.terms.amount);
            Ok(money::excess(book, &facts.account, rail, sold, at)?)
        }
        Is::Pending { .. } | Is::Deposited { .. } | Is::Spent => Err(LedgerError::SwapEnded),
    };
    if let Err(error) = credited {
        return Ok(Err(error));
    }
    row.view.state = SwapState::Done;
    row.view.ended_at = Some(at);
    row.view.body = Arc::default();
    let made_by = row.view.id;
    book.put_swap(row)?;
    for name in facts.names() {
        book.put_received(name, Some(made_by))?;
    }
    for coin in coins {
        let name = name_of(facts.mint, coin);
        book.put_coin(CoinView {
            name,
            worth: coin.worth,
            bytes: Arc::clone(&coin.bytes),
            state: CoinState::Reserved,
            made_by,
        })?;
    }
    Ok(Ok(()))
}
