//! Prices that a program of the seller's says, over a connection to this very process.

use farebox_lightning::AmountLimits;
use farebox_paywall::error::{Error, KeyFault, PaymentError, PriceError};
use farebox_paywall::gauge::Ending;
use farebox_paywall::keys::KeySecret;
use farebox_paywall::settle::Charge;
use farebox_testkit::ScriptedUpstream;

use crate::sales::{DEPOSIT, HOOK, asked, quoted};
use crate::shop::{Books, Bought, Outcome, Request, Shop, answer};

fn seller(says: &'static str) -> ScriptedUpstream {
    let seller = ScriptedUpstream::start().unwrap();
    seller.will_tell(HOOK, "application/json", says);
    seller
}

#[tokio::test]
async fn a_single_call_is_sold_at_the_price_that_was_said_and_not_asked_for_again() {
    let seller = seller(r#"{"price_msat":700}"#);
    let (shop, sale) = (Shop::open(), quoted(&seller));
    let request = Request::post("/a", "one");
    let bought = shop.buy(&sale, &request).await;
    assert_eq!(bought.paid, 700);
    assert_eq!(seller.count(HOOK), 1);
    let paid = request.with(&bought);
    let mut settlement = shop.serve(&sale, &paid).await;
    answer(&mut settlement, &[], &["text"], Ending::Complete);
    assert_eq!(shop.outcome(&sale, &paid).await, Outcome::Finished(700));
    assert_eq!(seller.count(HOOK), 1, "it was sold before");
    let books = Books {
        charged: 700,
        held: 0,
        left: 0,
    };
    assert_eq!(shop.books(&bought).await, books);
}

#[tokio::test]
async fn what_a_call_came_to_is_asked_after_it_and_charged() {
    let seller = seller(r#"{"at_most_msat":900}"#);
    let (shop, sale) = (Shop::open(), asked(&seller));
    let request = Request::get("/a");
    let bought = shop.buy(&sale, &request).await;
    let paid = request.with(&bought);
    let mut charged = 0;
    for (says, charge) in [
        (r#"{"charge_msat":400}"#, 400),
        (r#"{"charge_msat":1400}"#, 900),
        (r#"{"charge_msat":0}"#, 0),
        // The seller chose the hold where nobody says it.
        ("{}", 900),
    ] {
        seller.will_tell(HOOK, "application/json", r#"{"at_most_msat":900}"#);
        let mut settlement = shop.serve(&sale, &paid).await;
        seller.will_tell(HOOK, "application/json", says);
        answer(&mut settlement, &[], &["text"], Ending::Complete);
        let held = Books {
            charged,
            held: 900,
            left: DEPOSIT - charged - 900,
        };
        assert_eq!(shop.books(&bought).await, held, "{says}");
        let Charge::Open { finding, .. } = settlement.charge() else {
            panic!("the seller was not asked yet");
        };
        assert_eq!(finding.found().await.unwrap().msat.get(), charge, "{says}");
        charged += charge;
        let settled = Books {
            charged,
            held: 0,
            left: DEPOSIT - charged,
        };
        assert_eq!(shop.books(&bought).await, settled, "{says}");
    }
}

#[tokio::test]
async fn nobody_pays_for_what_costs_nothing_and_nothing_is_sold_that_has_no_price() {
    let seller = seller(r#"{"price_msat":0}"#);
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for sale in [asked(&seller), quoted(&seller)] {
        seller.will_tell(HOOK, "application/json", r#"{"price_msat":0}"#);
        assert_eq!(shop.outcome(&sale, &request).await, Outcome::Free);
        seller.will_tell(HOOK, "application/json", r#"{"refuse":"sold out"}"#);
        let refused = shop.refusal(&sale, &request).await;
        assert!(matches!(refused, Error::Price(PriceError::Declined(_))));
        seller.will_tell(HOOK, "application/json", "[]");
        let refused = shop.refusal(&sale, &request).await;
        assert!(matches!(refused, Error::Price(PriceError::Untold(_))));
    }
    seller.will_tell(HOOK, "application/json", r#"{"at_most_msat":900}"#);
    let refused = shop.refusal(&quoted(&seller), &request).await;
    let is_untold = matches!(refused, Error::Price(PriceError::Untold(_)));
    assert!(is_untold, "a single call has one price");
    assert_eq!(shop.node.invoices_made(), 0);
}

#[tokio::test]
async fn a_stranger_past_the_limit_never_makes_the_webhook_be_asked() {
    let seller = seller(r#"{"price_msat":700}"#);
    let (shop, request) = (Shop::with(AmountLimits::ANY, 2), Request::get("/a"));
    let sale = asked(&seller);
    let bought = shop.buy(&sale, &request).await;
    shop.offer(&sale, &request).await;
    for _ in 0..3 {
        let refused = shop.refusal(&sale, &request).await;
        assert!(matches!(refused, Error::Price(PriceError::TooOften)));
    }
    assert_eq!(seller.count(HOOK), 2);
    // Whoever has paid is served whoever else asks.
    let outcome = shop.outcome(&sale, &request.with(&bought)).await;
    assert_eq!(outcome, Outcome::Held(700));
}

#[tokio::test]
async fn nobody_is_asked_what_a_request_costs_whose_token_has_no_settled_invoice() {
    let seller = seller(r#"{"price_msat":700}"#);
    let (mut shop, request) = (Shop::open(), Request::get("/a"));
    shop.rules.strict_settlement = true;
    for sale in [asked(&seller), quoted(&seller)] {
        let offered = shop.offer(&sale, &request).await;
        let asked_before = seller.count(HOOK);
        let preimage = shop.twin().pay(offered.invoice.as_str()).unwrap();
        let unsettled = request.with(&Bought::of(&offered, preimage));
        let refused = shop.refusal(&sale, &unsettled).await;
        let is_unsettled = matches!(refused, Error::Payment(PaymentError::NotSettled));
        assert!(is_unsettled, "{refused}");
        assert_eq!(seller.count(HOOK), asked_before);
    }
}

#[tokio::test]
async fn what_leads_to_no_invoice_takes_of_the_limit_too() {
    let seller = seller(r#"{"refuse":"sold out"}"#);
    let (shop, request) = (Shop::with(AmountLimits::ANY, 2), Request::get("/a"));
    let sale = quoted(&seller);
    for request in [&request, &request.by(http::Method::HEAD)] {
        let refused = shop.refusal(&sale, request).await;
        assert!(matches!(refused, Error::Price(PriceError::Declined(_))));
    }
    let refused = shop.refusal(&sale, &request).await;
    assert!(matches!(refused, Error::Price(PriceError::TooOften)));
    assert_eq!(seller.count(HOOK), 2);
}

#[tokio::test]
async fn a_key_pays_what_is_said_and_one_that_nobody_knows_has_nobody_asked() {
    let seller = seller(r#"{"price_msat":700}"#);
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let key = shop.open_key().await;
    shop.top_up(key.hash(), DEPOSIT).await;
    let stranger = KeySecret::draw().unwrap();
    for sale in [asked(&seller), quoted(&seller)] {
        let refused = shop.refusal(&sale, &request.with_key(&stranger)).await;
        assert!(matches!(refused, Error::Key(KeyFault::Unknown)));
        let mut settlement = shop.serve(&sale, &request.with_key(&key)).await;
        settlement.end(Ending::Complete);
    }
    assert_eq!(seller.count(HOOK), 2);
    let books = Books {
        charged: 1_400,
        held: 0,
        left: DEPOSIT - 1_400,
    };
    assert_eq!(shop.key_books(key.hash()).await, books);
}
