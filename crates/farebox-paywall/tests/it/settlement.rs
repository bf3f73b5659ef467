//! How an answer ends, and what that is charged.

use farebox_ledger::VoidReason;
use farebox_paywall::gauge::Ending;
use farebox_paywall::sale::Buys;

use crate::sales::{DEPOSIT, ONE_CALL, ONE_REQUEST, PRICE, balance, flat, models};
use crate::shop::{Books, Request, Shop, answer};

/// Each end, whether bytes had gone out by then, and whether a fixed price is charged.
const ENDS: [(Ending, bool, bool); 6] = [
    (Ending::Complete, true, true),
    (Ending::Complete, false, true),
    (Ending::CutByClient, true, true),
    (Ending::CutByClient, false, false),
    (Ending::CutByUpstream, true, false),
    (Ending::CutByUpstream, false, false),
];

#[tokio::test]
async fn each_end_charges_all_that_was_held_or_none_of_it() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for buys in [ONE_REQUEST, ONE_CALL, Buys::Calls(3), balance()] {
        let sale = flat(buys);
        for (ending, has_begun, is_charged) in ENDS {
            let bought = shop.buy(&sale, &request).await;
            let mut settlement = shop.serve(&sale, &request.with(&bought)).await;
            let pieces = if has_begun { &["a part"][..] } else { &[] };
            answer(&mut settlement, &[], pieces, ending);
            settlement.end(Ending::Complete);
            drop(settlement);
            let charged = if is_charged { PRICE } else { 0 };
            let books = Books {
                charged,
                held: 0,
                left: bought.paid - charged,
            };
            let about = format!("{buys} {ending:?} {has_begun}");
            assert_eq!(shop.books(&bought).await, books, "{about}");
        }
    }
}

#[tokio::test]
async fn what_is_voided_goes_back_whole() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for buys in [ONE_REQUEST, ONE_CALL, Buys::Calls(3), balance()] {
        let sale = flat(buys);
        let bought = shop.buy(&sale, &request).await;
        for reason in [
            VoidReason::NotForwarded,
            VoidReason::Unreachable,
            VoidReason::TimedOut,
            VoidReason::Refused,
        ] {
            let mut settlement = shop.serve(&sale, &request.with(&bought)).await;
            settlement.void(reason);
            settlement.end(Ending::Complete);
            drop(settlement);
            let books = Books {
                charged: 0,
                held: 0,
                left: bought.paid,
            };
            assert_eq!(shop.books(&bought).await, books, "{buys} {reason:?}");
        }
    }
}

#[tokio::test]
async fn an_admission_that_nobody_uses_costs_nothing() {
    let shop = Shop::open();
    let chat = Request::post(
        "/v1/chat/completions",
        r#"{"model":"small","max_tokens":20,"messages":[{"role":"user","content":"hi"}]}"#,
    );
    let sale = models();
    let bought = shop.buy(&sale, &chat).await;
    drop(shop.admission(&sale, &chat.with(&bought)).await);
    let books = Books {
        charged: 0,
        held: 0,
        left: DEPOSIT,
    };
    assert_eq!(shop.books(&bought).await, books);
}
