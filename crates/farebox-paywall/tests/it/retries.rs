//! Requests that are sent again: none is sold twice.

use farebox_paywall::admit::Verdict;
use farebox_paywall::error::{AdmissionError, Error};
use farebox_paywall::gauge::Ending;
use farebox_paywall::sale::Buys;

use crate::sales::{DEPOSIT, ONE_CALL, ONE_REQUEST, PRICE, balance, flat};
use crate::shop::{Books, Outcome, Request, Shop};

fn is_in_flight(refused: &Error) -> bool {
    matches!(refused, Error::Admission(AdmissionError::InFlight))
}

fn is_conflict(refused: &Error) -> bool {
    matches!(
        refused,
        Error::Admission(AdmissionError::IdempotencyConflict)
    )
}

#[tokio::test]
async fn a_single_call_that_is_open_is_in_flight_and_one_that_was_charged_is_finished() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for buys in [ONE_REQUEST, ONE_CALL] {
        let sale = flat(buys);
        let bought = shop.buy(&sale, &request).await;
        let paid = request.with(&bought);
        let mut settlement = shop.serve(&sale, &paid).await;
        assert!(is_in_flight(&shop.refusal(&sale, &paid).await), "{buys}");
        settlement.end(Ending::Complete);
        let Verdict::Finished(finished) = shop.call(&sale, &paid).await.unwrap() else {
            panic!("it was served before");
        };
        assert_eq!(finished.receipt.charged.get(), PRICE, "{buys}");
        let payment = bought.preimage.payment_hash();
        assert_eq!(finished.bought_by, Some(payment), "{buys}");
        let books = Books {
            charged: PRICE,
            held: 0,
            left: 0,
        };
        assert_eq!(shop.books(&bought).await, books, "{buys}");
    }
}

#[tokio::test]
async fn a_named_request_is_sold_once_and_another_body_under_its_name_is_a_conflict() {
    let shop = Shop::open();
    let (request, other) = (Request::post("/a", "one"), Request::post("/a", "two"));
    for buys in [Buys::Calls(3), balance()] {
        let sale = flat(buys);
        let bought = shop.buy(&sale, &request).await;
        let named = request.with(&bought).named("once");
        let mut settlement = shop.serve(&sale, &named).await;
        assert!(is_in_flight(&shop.refusal(&sale, &named).await), "{buys}");
        let other = other.with(&bought).named("once");
        assert!(is_conflict(&shop.refusal(&sale, &other).await), "{buys}");
        settlement.end(Ending::Complete);
        assert!(is_conflict(&shop.refusal(&sale, &other).await), "{buys}");
        let Verdict::Finished(finished) = shop.call(&sale, &named).await.unwrap() else {
            panic!("it was served before");
        };
        assert_eq!(finished.receipt.charged.get(), PRICE, "{buys}");
        assert_eq!(finished.bought_by, None, "its token buys more than that");
        let books = Books {
            charged: PRICE,
            held: 0,
            left: bought.paid - PRICE,
        };
        assert_eq!(shop.books(&bought).await, books, "{buys}");
    }
}

#[tokio::test]
async fn a_named_request_of_a_key_is_sold_once() {
    let (shop, request) = (Shop::open(), Request::post("/a", "one"));
    let (sale, key) = (flat(ONE_CALL), shop.open_key().await);
    shop.top_up(key.hash(), DEPOSIT).await;
    let named = request.with_key(&key).named("once");
    let mut settlement = shop.serve(&sale, &named).await;
    assert!(is_in_flight(&shop.refusal(&sale, &named).await));
    settlement.end(Ending::Complete);
    let outcome = shop.outcome(&sale, &named).await;
    assert_eq!(outcome, Outcome::Finished(PRICE));
    let books = Books {
        charged: PRICE,
        held: 0,
        left: DEPOSIT - PRICE,
    };
    assert_eq!(shop.key_books(key.hash()).await, books);
}

#[tokio::test]
async fn requests_without_a_name_are_each_sold() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for buys in [Buys::Calls(2), balance()] {
        let sale = flat(buys);
        let bought = shop.buy(&sale, &request).await;
        let paid = request.with(&bought);
        let (one, two) = (
            shop.serve(&sale, &paid).await,
            shop.serve(&sale, &paid).await,
        );
        for mut settlement in [one, two] {
            settlement.end(Ending::Complete);
        }
        let books = Books {
            charged: 2 * PRICE,
            held: 0,
            left: bought.paid - 2 * PRICE,
        };
        assert_eq!(shop.books(&bought).await, books, "{buys}");
    }
}

#[tokio::test]
async fn a_named_request_that_failed_is_sold_again() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(Buys::Calls(2));
    let bought = shop.buy(&sale, &request).await;
    let named = request.with(&bought).named("once");
    shop.serve(&sale, &named).await.end(Ending::CutByUpstream);
    let outcome = shop.outcome(&sale, &named).await;
    assert_eq!(outcome, Outcome::Held(PRICE));
}

#[tokio::test]
async fn a_client_that_leaves_too_often_is_charged_and_never_refused() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for buys in [ONE_REQUEST, ONE_CALL, Buys::Calls(2), balance()] {
        let mut sale = flat(buys);
        sale.max_voids = 2;
        let bought = shop.buy(&sale, &request).await;
        let paid = request.with(&bought);
        for charged in [0, 0, PRICE] {
            let mut settlement = shop.serve(&sale, &paid).await;
            settlement.end(Ending::CutByClient);
            assert_eq!(settlement.found().await.get(), charged, "{buys}");
        }
        let books = Books {
            charged: PRICE,
            held: 0,
            left: bought.paid - PRICE,
        };
        assert_eq!(shop.books(&bought).await, books, "{buys}");
    }
}
