//! Prepaid keys: they pay for whatever is sold, and are never offered an invoice.

use farebox_ledger::KeyLimits;
use farebox_paywall::error::{Error, KeyFault};
use farebox_paywall::gauge::Ending;
use farebox_paywall::keys::KeySecret;
use farebox_paywall::sale::{Buys, Sale};

use crate::sales::{DEPOSIT, ONE_CALL, ONE_REQUEST, PRICE, balance, flat, in_dollars, rates};
use crate::shop::{Books, Outcome, Request, Shop, msat};

async fn fault(shop: &Shop, sale: &Sale, request: &Request) -> KeyFault {
    match shop.refusal(sale, request).await {
        Error::Key(fault) => fault,
        other => panic!("the key is not at fault: {other}"),
    }
}

#[tokio::test]
async fn a_key_pays_the_price_of_each_call_of_whatever_is_sold_by_the_call() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let rates = rates(None);
    for buys in [ONE_REQUEST, ONE_CALL, Buys::Calls(3), balance()] {
        for sale in [flat(buys), in_dollars(buys, &rates)] {
            let about = sale.offer.to_string();
            let key = shop.open_key().await;
            shop.top_up(key.hash(), DEPOSIT).await;
            let paid = request.with_key(&key);
            let mut charged = 0;
            for (ending, begun) in [
                (Ending::Complete, true),
                (Ending::CutByUpstream, true),
                (Ending::CutByClient, false),
                (Ending::CutByClient, true),
            ] {
                let mut settlement = shop.serve(&sale, &paid).await;
                let books = Books {
                    charged,
                    held: PRICE,
                    left: DEPOSIT - charged - PRICE,
                };
                assert_eq!(shop.key_books(key.hash()).await, books, "{about}");
                if begun {
                    settlement.went_on();
                }
                settlement.end(ending);
                charged += settlement.charged().get();
            }
            let books = Books {
                charged: 2 * PRICE,
                held: 0,
                left: DEPOSIT - 2 * PRICE,
            };
            assert_eq!(shop.key_books(key.hash()).await, books, "{about}");
            let fault = fault(&shop, &sale, &paid).await;
            assert_eq!(fault, KeyFault::UsedUp, "{about}");
        }
    }
    assert_eq!(shop.node.invoices_made(), 8, "each for a deposit");
}

#[tokio::test]
async fn a_payment_that_waits_for_a_key_is_credited_before_the_key_is_refused() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let (sale, key) = (flat(ONE_CALL), shop.open_key().await);
    let paid = request.with_key(&key);
    assert_eq!(fault(&shop, &sale, &paid).await, KeyFault::NotFunded);
    // It was never funded.
    shop.top_up(key.hash(), PRICE + 1).await;
    shop.serve(&sale, &paid).await.end(Ending::Complete);
    assert_eq!(fault(&shop, &sale, &paid).await, KeyFault::UsedUp);
    // It has too little.
    shop.top_up(key.hash(), PRICE).await;
    shop.serve(&sale, &paid).await.end(Ending::Complete);
    assert_eq!(fault(&shop, &sale, &paid).await, KeyFault::UsedUp);
    let books = Books {
        charged: 2 * PRICE,
        held: 0,
        left: 1,
    };
    assert_eq!(shop.key_books(key.hash()).await, books);
}

#[tokio::test]
async fn a_key_that_nobody_knows_pays_for_nothing() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let stranger = request.with_key(&KeySecret::draw().unwrap());
    let garbled = request.paid_by("Bearer sk-farebox-1".to_owned());
    let sale = flat(ONE_CALL);
    assert_eq!(fault(&shop, &sale, &stranger).await, KeyFault::Unknown);
    assert_eq!(fault(&shop, &sale, &garbled).await, KeyFault::Malformed);
    assert_eq!(shop.node.invoices_made(), 0);
}

#[tokio::test]
async fn a_child_spends_its_parents_money_and_a_payment_that_waits_for_it() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let (sale, parent) = (flat(ONE_CALL), shop.open_key().await);
    shop.top_up(parent.hash(), PRICE).await;
    let own = request.with_key(&parent);
    assert_eq!(shop.outcome(&sale, &own).await, Outcome::Held(PRICE));
    let limits = KeyLimits {
        total: Some(msat(2 * PRICE)),
        ..KeyLimits::default()
    };
    let child = shop.open_child(parent.hash(), limits).await;
    shop.top_up(parent.hash(), 2 * PRICE).await;
    let spends = request.with_key(&child);
    for _ in 0..2 {
        shop.serve(&sale, &spends).await.end(Ending::Complete);
    }
    assert_eq!(fault(&shop, &sale, &spends).await, KeyFault::TotalLimit);
    let books = Books {
        charged: 2 * PRICE,
        held: 0,
        left: PRICE,
    };
    assert_eq!(shop.key_books(parent.hash()).await, books);
}

#[tokio::test]
async fn a_key_that_was_revoked_pays_for_nothing() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let (sale, key) = (flat(ONE_CALL), shop.open_key().await);
    shop.top_up(key.hash(), DEPOSIT).await;
    let paid = request.with_key(&key);
    assert_eq!(shop.outcome(&sale, &paid).await, Outcome::Held(PRICE));
    shop.paywall.ledger.revoke_key(key.hash()).await.unwrap();
    assert_eq!(fault(&shop, &sale, &paid).await, KeyFault::Revoked);
}
