//! Coins that leave as a token of the seller's: each once, with books that say so.

use std::sync::Arc;

use farebox_core::WithdrawalId;
use farebox_ledger::{
    CoinState, Heap, LedgerError, NewCoin, Rail, Rest, WithdrawalEnd, WithdrawalRequest,
    WithdrawalState, WithdrawalView,
};

use crate::Place;
use crate::coins::{Purse, mint, now, point, worth};
use crate::shop::{Shop, house, msat, serial};

/// A store with 64 msat of income in one coin, and 32 that were given as change.
async fn earned(place: &dyn Place) -> Shop {
    let shop = Shop::open(place);
    let purse = Purse::new(&shop, 96);
    let coins = purse.buy(&shop, 64, Rest::Stays).await;
    let request = purse.change(&shop, 32, &coins);
    shop.ledger.tell_change(request).await.expect("tells");
    shop
}

async fn request(shop: &Shop, amount: u64, fee: u64) -> WithdrawalRequest {
    let free = shop.ledger.free_coins(mint(), 10).await.expect("reads");
    let mut random = [0; 10];
    random[..8].copy_from_slice(&serial().to_be_bytes());
    let at = now(shop);
    WithdrawalRequest {
        id: WithdrawalId::new(at, random),
        mint: mint(),
        coins: free.iter().map(|coin| coin.name.y).collect(),
        amount: msat(amount),
        fee: msat(fee),
        body: Arc::from(*b"what the new coins can be found by"),
        at,
    }
}

async fn end(shop: &Shop, view: &WithdrawalView, end: WithdrawalEnd) -> WithdrawalView {
    let ended = shop.ledger.end_withdrawal(view, end, now(shop)).await;
    ended.expect("ends")
}

fn coin(amount: u64) -> NewCoin {
    NewCoin {
        y: point(),
        worth: msat(amount),
        bytes: Arc::from(amount.to_be_bytes()),
    }
}

/// A token leaves, the mint takes its fee, and the rest stays as free coins.
pub async fn what_is_withdrawn_leaves_the_books_and_the_rest_stays(place: &dyn Place) {
    let mut shop = earned(place).await;
    let request = request(&shop, 50, 2).await;
    let begun = shop.ledger.begin_withdrawal(request.clone()).await;
    let begun = begun.expect("begins");
    assert_eq!(begun.state, WithdrawalState::Open);
    let stock = shop.ledger.stock().await.expect("reads").remove(0);
    let one = |worth| Heap {
        count: 1,
        worth: msat(worth),
    };
    assert_eq!((stock.leaving, stock.free.count), (one(64), 0));
    shop.sound().await;
    shop = shop.reopen(place).await;
    let open = shop.ledger.open_withdrawals().await.expect("reads");
    assert_eq!(open, [begun]);
    let done = |text: &str| WithdrawalEnd::Done {
        token: text.into(),
        rest: vec![coin(8), coin(4)],
    };
    let ended = end(&shop, &open[0], done("cashuB of 50")).await;
    let again = end(&shop, &open[0], done("cashuB of other coins")).await;
    assert_eq!(ended, again, "it ends once");
    assert_eq!(
        (ended.state, &*ended.token),
        (WithdrawalState::Done, "cashuB of 50")
    );
    let known = shop
        .ledger
        .begin_withdrawal(request)
        .await
        .expect("is known");
    assert_eq!(known, ended);
    assert_eq!(shop.ledger.withdrawals().await.expect("reads"), [ended]);
    let stock = shop.ledger.stock().await.expect("reads").remove(0);
    assert_eq!((stock.free.count, stock.free.worth), (2, msat(12)));
    assert_eq!((stock.withdrawn, stock.leaving.count), (one(52), 0));
    assert_eq!((stock.given, stock.reserved.count), (one(32), 0));
    let trial = shop.sound().await;
    let rail = Rail::Ecash(mint());
    assert_eq!(house(&trial, &rail.to_string()), -12);
    assert_eq!(house(&trial, &format!("withdrawn:{rail}")), -50);
    assert_eq!(house(&trial, "mint_fees"), -2);
}

/// Coins that do not leave after all are free again, and those that somebody else spent are a loss.
pub async fn a_withdrawal_that_fails_frees_its_coins_but_for_those_that_are_lost(
    place: &dyn Place,
) {
    let shop = earned(place).await;
    let first = request(&shop, 60, 0).await;
    let view = shop.ledger.begin_withdrawal(first).await.expect("begins");
    let undone = end(&shop, &view, WithdrawalEnd::Undone).await;
    assert_eq!(undone.state, WithdrawalState::Undone);
    let free = shop.ledger.free_coins(mint(), 10).await.expect("reads");
    assert_eq!(worth(&free, CoinState::Free), 64);
    let second = request(&shop, 60, 0).await;
    let view = shop.ledger.begin_withdrawal(second).await.expect("begins");
    let lost = end(&shop, &view, WithdrawalEnd::Lost(vec![view.coins[0]])).await;
    assert_eq!(lost.state, WithdrawalState::Lost);
    assert_eq!(shop.ledger.free_coins(mint(), 10).await.expect("reads"), []);
    let trial = shop.sound().await;
    assert_eq!(house(&trial, &Rail::Ecash(mint()).to_string()), 0);
    assert_eq!(house(&trial, "seller_loss"), -64);
}

/// Only coins that are nobody's leave, each by one withdrawal, and never more than they are worth.
pub async fn a_coin_leaves_by_one_withdrawal_and_only_if_it_is_free(place: &dyn Place) {
    let shop = earned(place).await;
    let reserved = Purse::new(&shop, 16);
    let coins = reserved.buy(&shop, 0, Rest::Stays).await;
    let mut of_others = request(&shop, 16, 0).await;
    of_others.coins = coins.iter().map(|coin| coin.name.y).collect();
    let refused = shop.ledger.begin_withdrawal(of_others).await;
    assert!(
        matches!(refused, Err(LedgerError::CoinTaken)),
        "{refused:?}"
    );
    for (amount, fee) in [(64, 1), (65, 0), (0, 0)] {
        let too_much = request(&shop, amount, fee).await;
        let refused = shop.ledger.begin_withdrawal(too_much).await;
        assert!(matches!(refused, Err(LedgerError::NoChange)), "{refused:?}");
    }
    let (first, second) = (request(&shop, 64, 0).await, request(&shop, 64, 0).await);
    shop.ledger.begin_withdrawal(first).await.expect("begins");
    let refused = shop.ledger.begin_withdrawal(second).await;
    assert!(
        matches!(refused, Err(LedgerError::CoinTaken)),
        "{refused:?}"
    );
    let accounts = shop
        .ledger
        .reserved_accounts(mint(), 0)
        .await
        .expect("reads");
    let accounts: Vec<_> = accounts.into_iter().map(|(_, account)| account).collect();
    assert_eq!(accounts, [reserved.account]);
    shop.sound().await;
}
