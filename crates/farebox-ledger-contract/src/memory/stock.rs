//! What there is of each mint in the store in memory.

use std::collections::BTreeMap;

use farebox_core::{MintId, Msat};
use farebox_ledger::{CoinState, Heap, Stock, SwapState, SwapView, WithdrawalState};

use super::tables::Tables;

/// What there is of every unit of every mint of which there was anything.
pub(super) fn stock(tables: &Tables) -> Vec<Stock> {
    let mut all: BTreeMap<MintId, Stock> = BTreeMap::new();
    fn of(all: &mut BTreeMap<MintId, Stock>, mint: MintId) -> &mut Stock {
        all.entry(mint).or_insert_with(|| Stock::none(mint))
    }
    let add = |heap: &mut Heap, worth: Msat| {
        heap.count += 1;
        heap.worth = heap.worth.checked_add(worth).unwrap_or(Msat::MAX);
    };
    for coin in tables.coins.values() {
        let stock = of(&mut all, coin.name.mint);
        let heap = match coin.state {
            CoinState::Reserved => &mut stock.reserved,
            CoinState::Free => &mut stock.free,
            CoinState::Given => &mut stock.given,
            CoinState::Leaving => &mut stock.leaving,
        };
        add(heap, coin.worth);
    }
    for SwapView {
        mint,
        terms,
        begun_at,
        ..
    } in tables
        .swaps
        .iter()
        .map(|row| &row.view)
        .filter(|view| view.state == SwapState::Open)
    {
        let stock = of(&mut all, *mint);
        add(&mut stock.in_doubt, terms.amount);
        let oldest = stock.oldest_doubt.unwrap_or(*begun_at);
        stock.oldest_doubt = Some(oldest.min(*begun_at));
    }
    for view in tables.withdrawals.iter().map(|row| &row.view) {
        if view.state == WithdrawalState::Done {
            let leaves = view.amount.checked_add(view.fee).unwrap_or(Msat::MAX);
            add(&mut of(&mut all, view.mint).withdrawn, leaves);
        }
    }
    all.into_values().collect()
}
