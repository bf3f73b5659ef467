//! What has to be paid first, and when there is no invoice for it.

use farebox_core::{Binding, Kind, RouteName};
use farebox_ledger::HeldState;
use farebox_lightning::AmountLimits;
use farebox_paywall::admit::Verdict;
use farebox_paywall::ask::Fingerprint;
use farebox_paywall::challenge::{Challenge, held_preimage};
use farebox_paywall::claim::{self, Claim, Note, OpenClaim};
use farebox_paywall::error::{Error, Owed, PaymentError};
use farebox_paywall::gauge::Ending;
use farebox_paywall::payer::Credential;
use farebox_paywall::sale::{Bind, Buys, OnFailure};
use farebox_testkit::mock_node::Fault;
use http::Method;

use crate::sales::{HOUR, ONE_CALL, ONE_REQUEST, PRICE, balance, flat, flat_at};
use crate::shop::{Books, Bought, Outcome, Request, Shop, msat};

fn price_alone(challenge: &Challenge) -> bool {
    matches!(challenge, Challenge::Price { .. })
}

#[tokio::test]
async fn past_the_limit_on_challenges_the_price_alone_is_told() {
    let (shop, request) = (Shop::with(AmountLimits::ANY, 3), Request::get("/a"));
    let sale = flat(ONE_CALL);
    for _ in 0..3 {
        shop.offer(&sale, &request).await;
    }
    let demand = shop.demand(&sale, &request).await.unwrap();
    let Challenge::Price { retry_after } = demand else {
        panic!("this is one invoice too many");
    };
    assert!(retry_after.is_some());
    assert_eq!(shop.node.invoices_made(), 3);
}

#[tokio::test]
async fn a_head_never_makes_an_invoice_and_takes_nothing_of_the_limit() {
    let (shop, request) = (Shop::with(AmountLimits::ANY, 1), Request::get("/a"));
    for buys in [ONE_REQUEST, ONE_CALL, Buys::Calls(3), HOUR, balance()] {
        let sale = flat(buys);
        for method in [Method::HEAD, Method::OPTIONS] {
            let probe = request.by(method);
            let demand = shop.demand(&sale, &probe).await.unwrap();
            assert!(price_alone(&demand), "{buys}");
        }
    }
    assert_eq!(shop.node.invoices_made(), 0);
    shop.offer(&flat(ONE_CALL), &request).await;
}

#[tokio::test]
async fn a_single_request_whose_body_nobody_read_gets_no_invoice() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(ONE_REQUEST);
    let ask = shop.ask(&sale, &request);
    let demand = shop.paywall.challenge(msat(PRICE), None, None, &ask);
    assert!(price_alone(&demand.await.unwrap()));
    assert_eq!(shop.node.invoices_made(), 0);
}

#[tokio::test]
async fn where_the_node_takes_no_less_a_bundle_is_sold_and_each_call_draws_its_price() {
    let least = AmountLimits {
        min: msat(1_000),
        ..AmountLimits::ANY
    };
    let (shop, request) = (Shop::with(least, 100), Request::get("/a"));
    for buys in [ONE_REQUEST, ONE_CALL, Buys::Calls(2)] {
        let sale = flat_at(300, buys);
        let offered = shop.offer(&sale, &request).await;
        assert_eq!(offered.terms.kind, Kind::Balance, "{buys}");
        assert_eq!(offered.terms.binding, Binding::Route, "{buys}");
        assert!(offered.bundle.is_some(), "{buys}");
        let preimage = shop.node.pay(offered.invoice.as_str()).unwrap();
        let bought = Bought::of(&offered, preimage);
        assert_eq!(bought.paid, 1_000, "{buys}");
        let paid = request.with(&bought);
        for _ in 0..3 {
            let mut settlement = shop.serve(&sale, &paid).await;
            settlement.end(Ending::Complete);
        }
        let outcome = shop.outcome(&sale, &paid).await;
        assert_eq!(outcome, Outcome::Owed(Owed::Exhausted), "{buys}");
        let books = Books {
            charged: 900,
            held: 0,
            left: 100,
        };
        assert_eq!(shop.books(&bought).await, books, "{buys}");
    }
    let Err(refused) = shop.demand(&flat_at(300, HOUR), &request).await else {
        panic!("a pass is no bundle");
    };
    assert!(matches!(
        refused,
        Error::Payment(PaymentError::AmountNotTaken)
    ));
}

#[tokio::test]
async fn a_balance_is_never_sold_for_less_than_the_call_that_asks_for_it() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat_at(9_000, balance());
    let bought = shop.buy(&sale, &request).await;
    assert_eq!(bought.paid, 9_000);
    let outcome = shop.outcome(&sale, &request.with(&bought)).await;
    assert_eq!(outcome, Outcome::Held(9_000));
}

#[tokio::test]
async fn a_node_that_is_down_is_told_as_an_outage_and_tokens_still_pay() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(Buys::Calls(2));
    let bought = shop.buy(&sale, &request).await;
    shop.node.set_fault(Fault::Down);
    let Err(refused) = shop.demand(&sale, &request).await else {
        panic!("nobody makes invoices");
    };
    assert!(matches!(refused, Error::Payment(PaymentError::Node(_))));
    let outcome = shop.outcome(&sale, &request.with(&bought)).await;
    assert_eq!(outcome, Outcome::Held(PRICE));
}

#[tokio::test]
async fn an_invoice_with_the_hash_of_one_that_was_used_is_not_shown() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(ONE_CALL);
    let bought = shop.buy(&sale, &request).await;
    let outcome = shop.outcome(&sale, &request.with(&bought)).await;
    assert_eq!(outcome, Outcome::Held(PRICE));
    shop.node.set_fault(Fault::RepeatHash);
    let Err(refused) = shop.demand(&sale, &request).await else {
        panic!("its payer would get nothing");
    };
    assert!(matches!(
        refused,
        Error::Payment(PaymentError::RepeatedHash(_))
    ));
}

#[tokio::test]
async fn strict_settlement_asks_the_node_whether_a_token_was_paid() {
    let (mut shop, request) = (Shop::open(), Request::get("/a"));
    shop.rules.strict_settlement = true;
    for buys in [ONE_REQUEST, ONE_CALL, Buys::Calls(3), HOUR, balance()] {
        let sale = flat(buys);
        let bought = shop.buy(&sale, &request).await;
        let outcome = shop.outcome(&sale, &request.with(&bought)).await;
        assert!(
            matches!(outcome, Outcome::Held(PRICE) | Outcome::Pass),
            "{buys}"
        );
        // The right preimage, and a payment that never reached our node.
        let offered = shop.offer(&sale, &request).await;
        let preimage = shop.twin().pay(offered.invoice.as_str()).unwrap();
        let unsettled = Bought::of(&offered, preimage);
        let refused = shop.refusal(&sale, &request.with(&unsettled)).await;
        let is_unsettled = matches!(refused, Error::Payment(PaymentError::NotSettled));
        assert!(is_unsettled, "{buys}: {refused}");
        assert!(!shop.is_credited(&unsettled).await, "{buys}");
        let later = shop.buy(&sale, &request).await;
        shop.node.set_fault(Fault::Down);
        let refused = shop.refusal(&sale, &request.with(&later)).await;
        let is_untold = matches!(refused, Error::Payment(PaymentError::Untold));
        assert!(is_untold, "{buys}: {refused}");
        // Of what was claimed before, nobody asks again.
        let outcome = shop.outcome(&sale, &request.with(&bought)).await;
        assert!(
            matches!(outcome, Outcome::Held(PRICE) | Outcome::Pass),
            "{buys}"
        );
        shop.node.set_fault(Fault::None);
    }
}

#[tokio::test]
async fn a_call_whose_payment_is_held_is_kept_until_it_is_paid_and_there_is_room_for_so_many() {
    let (shop, request) = (Shop::open(), Request::post("/a", "one"));
    let sale = flat(Buys::Single(Bind::Request(OnFailure::Cancel)));
    let offered = shop.offer(&sale, &request).await;
    let (hash, _) = offered.held.as_ref().unwrap();
    let call = shop.paywall.ledger.held_call(*hash).await.unwrap().unwrap();
    assert_eq!(call.state, HeldState::Offered);
    assert_eq!(call.request, b"one");
    assert_eq!(call.terms, offered.terms);
    let keyring = &shop.paywall.keyring;
    let preimage = held_preimage(keyring, call.key_epoch, &call.token_id).unwrap();
    assert!(preimage.opens(hash));
    let again = shop.demand(&sale, &request).await;
    assert!(matches!(again, Err(Error::HeldCalls)));
}

#[tokio::test]
async fn the_limit_on_challenges_is_one_for_all_routes() {
    let (shop, mut request) = (Shop::with(AmountLimits::ANY, 1), Request::get("/a"));
    let sale = flat(ONE_CALL);
    shop.offer(&sale, &request).await;
    request.route = RouteName::parse("other").unwrap();
    let demand = shop.demand(&sale, &request).await.unwrap();
    assert!(price_alone(&demand));
}

#[tokio::test]
async fn whoever_comes_back_to_an_invoice_that_can_still_be_paid_is_shown_it_again() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = flat(ONE_CALL);
    let offered = shop.offer(&sale, &request).await;
    let note = Note::Invoice(offered.invoice.clone());
    let keyring = &shop.paywall.keyring;
    let text = claim::write(keyring, &offered.macaroon, &note).unwrap();
    let claim = Claim::read(&text, keyring).unwrap();
    let claim = Credential::Claim(Box::new(OpenClaim { claim, told: true }));
    let ask = shop.ask(&sale, &request);
    let payer = shop.paywall.payer(claim, &ask).await.unwrap();
    let quote = shop.price(&payer, &sale, &request).await.unwrap();
    let verdict = shop.paywall.admit(payer, quote, Fingerprint::None, &ask);
    let Verdict::Owed(debt) = verdict.await.unwrap() else {
        panic!("nobody has paid");
    };
    assert_eq!(debt.owed, Owed::NotPaidYet);
    let shown = debt.claim.unwrap();
    assert_eq!(shown.claim.invoice(), Some(&offered.invoice));
    assert_eq!(shown.claim.macaroon, offered.macaroon);
}
