//! What has the same price for every request.

use std::num::NonZeroU32;

use farebox_core::{Clock as _, Kind};
use farebox_http::limits::{TokenLimit, TokenRefusal};
use farebox_paywall::admit::Payment;
use farebox_paywall::error::{AdmissionError, Error, Owed};
use farebox_paywall::gauge::Ending;
use farebox_paywall::price::Quote;
use farebox_paywall::sale::{Buys, Sale};

use crate::sales::{DEPOSIT, HOUR, ONE_CALL, ONE_REQUEST, PRICE, balance, flat, in_dollars, rates};
use crate::shop::{Books, Outcome, Request, Shop, answer};

/// Everything that is sold by the call or as a balance, and what one payment for it is.
fn sold() -> [(Buys, u64); 4] {
    [
        (ONE_REQUEST, PRICE),
        (ONE_CALL, PRICE),
        (Buys::Calls(3), 3 * PRICE),
        (balance(), DEPOSIT),
    ]
}

/// The same at a price in bitcoin and at one in dollars.
fn every_sale() -> Vec<(Sale, u64)> {
    let rates = rates(None);
    let both = |(buys, paid)| [(flat(buys), paid), (in_dollars(buys, &rates), paid)];
    sold().into_iter().flat_map(both).collect()
}

#[tokio::test]
async fn a_payment_is_credited_once_and_a_call_is_held_and_then_charged() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for (sale, paid) in every_sale() {
        let about = sale.offer.to_string();
        let bought = shop.buy(&sale, &request).await;
        assert_eq!(bought.paid, paid, "{about}");
        assert!(!shop.is_credited(&bought).await, "{about}");
        let mut settlement = shop.serve(&sale, &request.with(&bought)).await;
        let held = Books {
            charged: 0,
            held: PRICE,
            left: paid - PRICE,
        };
        assert_eq!(shop.books(&bought).await, held, "{about}");
        answer(&mut settlement, &[], &["all of it"], Ending::Complete);
        assert_eq!(settlement.charged().get(), PRICE, "{about}");
        let charged = Books {
            charged: PRICE,
            held: 0,
            left: paid - PRICE,
        };
        assert_eq!(shop.books(&bought).await, charged, "{about}");
    }
}

#[tokio::test]
async fn a_call_that_failed_can_be_made_again_and_one_that_did_not_cannot() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for (sale, paid) in every_sale() {
        let about = sale.offer.to_string();
        let bought = shop.buy(&sale, &request).await;
        let request = request.with(&bought);
        for ending in [Ending::CutByUpstream, Ending::CutByClient] {
            let mut settlement = shop.serve(&sale, &request).await;
            settlement.end(ending);
            assert_eq!(settlement.charged().get(), 0, "{about}");
        }
        let calls = paid / PRICE;
        for _ in 0..calls {
            let mut settlement = shop.serve(&sale, &request).await;
            answer(&mut settlement, &[], &["all of it"], Ending::Complete);
        }
        let books = Books {
            charged: calls * PRICE,
            held: 0,
            left: paid - calls * PRICE,
        };
        assert_eq!(shop.books(&bought).await, books, "{about}");
        let once = matches!(sale.offer.kind(), Kind::Single);
        let over = if once {
            Outcome::Finished(PRICE)
        } else {
            Outcome::Owed(Owed::Exhausted)
        };
        assert_eq!(shop.outcome(&sale, &request).await, over, "{about}");
        assert_eq!(shop.books(&bought).await, books, "{about}");
    }
}

#[tokio::test]
async fn what_was_sold_by_the_call_or_for_a_time_is_prepaid_and_a_balance_is_due() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for (buys, is_prepaid) in [
        (ONE_REQUEST, true),
        (ONE_CALL, true),
        (Buys::Calls(3), true),
        (HOUR, true),
        (balance(), false),
    ] {
        let sale = flat(buys);
        let request = request.with(&shop.buy(&sale, &request).await);
        let payer = shop.payer(&sale, &request).await.unwrap();
        let quote = shop.price(&payer, &sale, &request).await.unwrap();
        assert_eq!(matches!(quote, Quote::Prepaid(_)), is_prepaid, "{buys}");
        assert_eq!(matches!(quote, Quote::Due(_)), !is_prepaid, "{buys}");
    }
}

#[tokio::test]
async fn a_pass_holds_nothing_however_often_it_is_used() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let rates = rates(None);
    for sale in [flat(HOUR), in_dollars(HOUR, &rates)] {
        let bought = shop.buy(&sale, &request).await;
        assert_eq!(bought.paid, PRICE);
        let request = request.with(&bought);
        let mut first = shop.serve(&sale, &request).await;
        first.begin_pass(shop.clock.now());
        first.end(Ending::Complete);
        for _ in 0..3 {
            let admission = shop.admission(&sale, &request).await;
            assert!(matches!(admission.payment, Payment::Pass { .. }));
            let books = Books {
                charged: PRICE,
                held: 0,
                left: 0,
            };
            assert_eq!(shop.books(&bought).await, books);
        }
        shop.clock.advance(crate::sales::VALID_FOR);
        let outcome = shop.outcome(&sale, &request).await;
        assert_eq!(outcome, Outcome::Owed(Owed::Expired));
    }
}

#[tokio::test]
async fn what_is_held_by_one_request_is_not_there_for_another() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(Buys::Calls(2));
    let bought = shop.buy(&sale, &request).await;
    let request = request.with(&bought);
    let first = shop.serve(&sale, &request).await;
    let second = shop.serve(&sale, &request).await;
    let refused = shop.refusal(&sale, &request).await;
    let is_reserved = matches!(refused, Error::Admission(AdmissionError::Reserved));
    assert!(is_reserved, "{refused}");
    drop((first, second));
    let books = Books {
        charged: 0,
        held: 0,
        left: 2 * PRICE,
    };
    assert_eq!(shop.books(&bought).await, books);
}

#[tokio::test]
async fn a_token_whose_calls_are_used_up_is_priced_again_as_nobody_and_buys_again() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(Buys::Calls(2));
    let bought = shop.buy(&sale, &request).await;
    let used = request.with(&bought);
    for _ in 0..2 {
        let mut settlement = shop.serve(&sale, &used).await;
        settlement.end(Ending::Complete);
    }
    let debt = shop.debt(&sale, &used).await.unwrap();
    assert_eq!(debt.owed, Owed::Exhausted);
    assert!(debt.due.is_none(), "what was sold before had no price");
    let again = shop.buy(&sale, &used).await;
    assert_eq!(again.paid, 2 * PRICE);
    let outcome = shop.outcome(&sale, &request.with(&again)).await;
    assert_eq!(outcome, Outcome::Held(PRICE));
}

#[tokio::test]
async fn an_account_has_as_many_requests_in_flight_as_its_seller_allows() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for buys in [Buys::Calls(3), HOUR, balance()] {
        let mut sale = flat(buys);
        sale.token_limit = TokenLimit {
            max_concurrent: Some(NonZeroU32::MIN),
            rate: None,
        };
        let paid = request.with(&shop.buy(&sale, &request).await);
        let first = shop.admission(&sale, &paid).await;
        let refused = shop.refusal(&sale, &paid).await;
        let is_limit = matches!(
            refused,
            Error::Admission(AdmissionError::Limit(TokenRefusal::Concurrency(_)))
        );
        assert!(is_limit, "{buys}: {refused}");
        drop(first);
        let outcome = shop.outcome(&sale, &paid).await;
        assert!(matches!(outcome, Outcome::Held(PRICE) | Outcome::Pass));
    }
}
