//! What a token is for: it pays for nothing else, and whoever brings it is told why.

use farebox_core::RouteName;
use farebox_paywall::capability::{CapabilityRule, RouteCapabilities};
use farebox_paywall::challenge::Challenge;
use farebox_paywall::error::{Owed, PresentedError};
use farebox_paywall::sale::{Buys, MethodScope, Sale};
use farebox_wire::caveat::Capabilities;
use http::Method;

use crate::sales::{HOUR, ONE_CALL, ONE_REQUEST, PRICE, VALID_FOR, balance, flat};
use crate::shop::{Books, Bought, Outcome, Request, Shop, in_seconds};

fn everything() -> [Sale; 5] {
    [ONE_REQUEST, ONE_CALL, Buys::Calls(3), HOUR, balance()].map(flat)
}

/// A request that its token does not pay for gets an invoice of its own, and touches no money.
async fn asks_to_pay(shop: &Shop, sale: &Sale, request: &Request, bought: &Bought, why: Owed) {
    let about = sale.offer.to_string();
    let debt = shop.debt(sale, request).await.unwrap();
    assert_eq!(debt.owed, why, "{about}");
    let demand = shop.demand(sale, request).await.unwrap();
    assert!(matches!(demand, Challenge::Invoice(_)), "{about}");
    assert!(!shop.is_credited(bought).await, "{about}");
}

#[tokio::test]
async fn a_token_for_another_route_pays_for_nothing() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for sale in everything() {
        let bought = shop.buy(&sale, &request).await;
        let mut elsewhere = request.with(&bought);
        elsewhere.route = RouteName::parse("other").unwrap();
        asks_to_pay(&shop, &sale, &elsewhere, &bought, Owed::WrongRoute).await;
    }
}

#[tokio::test]
async fn a_token_for_reading_does_not_write_unless_the_seller_says_so() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for mut sale in everything() {
        let bought = shop.buy(&sale, &request).await;
        let writing = request.with(&bought).by(Method::POST);
        asks_to_pay(&shop, &sale, &writing, &bought, Owed::WrongMethod).await;
        if sale.offer.binds_request() {
            continue;
        }
        sale.methods = MethodScope::Any;
        let bought = shop.buy(&sale, &request).await;
        let writing = request.with(&bought).by(Method::POST);
        let outcome = shop.outcome(&sale, &writing).await;
        assert!(matches!(outcome, Outcome::Held(PRICE) | Outcome::Pass));
    }
}

#[tokio::test]
async fn a_token_for_one_request_pays_for_no_other() {
    let shop = Shop::open();
    let (sale, request) = (flat(ONE_REQUEST), Request::post("/a", "one"));
    let bought = shop.buy(&sale, &request).await;
    for other in [Request::post("/a", "two"), Request::post("/b", "one")] {
        let other = other.with(&bought);
        asks_to_pay(&shop, &sale, &other, &bought, Owed::WrongRequest).await;
    }
    let outcome = shop.outcome(&sale, &request.with(&bought)).await;
    assert_eq!(outcome, Outcome::Held(PRICE));
}

#[tokio::test]
async fn a_token_whose_time_is_over_pays_for_nothing_and_loses_nothing() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for sale in [ONE_CALL, Buys::Calls(3), balance()].map(flat) {
        let about = sale.offer.to_string();
        let bought = shop.buy(&sale, &request).await;
        let paid = request.with(&bought);
        assert_eq!(shop.outcome(&sale, &paid).await, Outcome::Held(PRICE));
        shop.clock.advance(VALID_FOR);
        let outcome = shop.outcome(&sale, &paid).await;
        assert_eq!(outcome, Outcome::Owed(Owed::Expired), "{about}");
        let books = Books {
            charged: 0,
            held: 0,
            left: bought.paid,
        };
        assert_eq!(shop.books(&bought).await, books, "{about}");
    }
}

#[tokio::test]
async fn a_holder_may_leave_less_time_and_less_money() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(Buys::Calls(3));
    let bought = shop.buy(&sale, &request).await;
    let end = in_seconds(&shop.clock, 10).as_secs();
    let brief = request.paid_by(bought.narrowed(&format!("valid_until={end}")));
    let once = request.paid_by(bought.narrowed("count=1"));
    assert_eq!(shop.outcome(&sale, &brief).await, Outcome::Held(PRICE));
    let mut settlement = shop.serve(&sale, &once).await;
    settlement.end(farebox_paywall::gauge::Ending::Complete);
    let outcome = shop.outcome(&sale, &once).await;
    assert_eq!(outcome, Outcome::Owed(Owed::Exhausted));
    shop.clock.set(in_seconds(&shop.clock, 10));
    let outcome = shop.outcome(&sale, &brief).await;
    assert_eq!(outcome, Outcome::Owed(Owed::Expired));
    let whole = shop.outcome(&sale, &request.with(&bought)).await;
    assert_eq!(whole, Outcome::Held(PRICE));
}

#[tokio::test]
async fn a_token_that_was_left_one_capability_pays_for_what_needs_no_other() {
    let (shop, request) = (Shop::open(), Request::get("/files/a"));
    for mut sale in everything() {
        if sale.offer.binds_request() {
            continue;
        }
        let rule = |name: &str, path: &str| CapabilityRule {
            name: name.to_owned(),
            http_methods: None,
            paths: vec![path.to_owned()],
        };
        sale.capabilities = Some(Box::new(RouteCapabilities {
            sold: Capabilities::new(["files", "mail"]).unwrap(),
            rules: vec![rule("files", "/files"), rule("mail", "/mail")],
        }));
        let bought = shop.buy(&sale, &request).await;
        let narrowed = bought.narrowed("data_capabilities=files");
        let mail = Request::get("/mail/a").paid_by(narrowed.clone());
        asks_to_pay(&shop, &sale, &mail, &bought, Owed::MissingCapability).await;
        let outcome = shop.outcome(&sale, &request.paid_by(narrowed)).await;
        assert!(matches!(outcome, Outcome::Held(PRICE) | Outcome::Pass));
    }
}

#[tokio::test]
async fn who_brings_nothing_or_proves_nothing_is_asked_to_pay() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(ONE_CALL);
    let outcome = shop.outcome(&sale, &request).await;
    assert_eq!(outcome, Outcome::Owed(Owed::Nothing));
    let (one, two) = (
        shop.buy(&sale, &request).await,
        shop.buy(&sale, &request).await,
    );
    // The proof of one payment under the token of another.
    let forged = request.paid_by(one.line(&two.macaroon));
    let debt = shop.debt(&sale, &forged).await.unwrap();
    assert!(matches!(
        debt.owed,
        Owed::Unproven(PresentedError::Unproven(_))
    ));
    let mut widened = one.macaroon.clone();
    widened.attenuate("methods=any");
    let widened = request.paid_by(one.line(&widened));
    let debt = shop.debt(&sale, &widened).await.unwrap();
    assert!(matches!(debt.owed, Owed::Unproven(_)));
}

#[tokio::test]
async fn a_token_that_was_revoked_pays_for_nothing() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(Buys::Calls(3));
    let bought = shop.buy(&sale, &request).await;
    let paid = request.with(&bought);
    assert_eq!(shop.outcome(&sale, &paid).await, Outcome::Held(PRICE));
    let account = bought.preimage.payment_hash().account();
    assert!(shop.paywall.ledger.revoke(account).await.unwrap());
    let outcome = shop.outcome(&sale, &paid).await;
    assert_eq!(outcome, Outcome::Owed(Owed::Revoked));
}
