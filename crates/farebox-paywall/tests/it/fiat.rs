//! Prices in the money of some state, where there is a rate and where there is none.

use farebox_market::rates::NoRate;
use farebox_paywall::by_use::Teller;
use farebox_paywall::error::{Error, Owed, PriceError, Unsold};
use farebox_paywall::gauge::Ending;
use farebox_paywall::sale::Buys;
use http::HeaderName;

use crate::sales::{
    DEPOSIT, HOUR, ONE_CALL, ONE_REQUEST, PRICE, RATE_AGE, balance, by_use_in_dollars, in_dollars,
    models_in_dollars, no_rates, rates,
};
use crate::shop::{Books, Outcome, Request, Shop, answer};

fn no_rate(error: &Error) -> Option<NoRate> {
    match error {
        Error::Price(PriceError::Unsold(Unsold::NoRate(why))) => Some(*why),
        _ => None,
    }
}

#[tokio::test]
async fn what_was_sold_before_needs_no_rate_and_a_new_buyer_does() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for buys in [ONE_REQUEST, ONE_CALL, Buys::Calls(3), HOUR] {
        let sale = in_dollars(buys, &rates(Some(&shop.clock)));
        let bought = shop.buy(&sale, &request).await;
        shop.clock.advance(RATE_AGE * 2);
        let paid = request.with(&bought);
        let payer = shop.payer(&sale, &paid).await.unwrap();
        let quote = shop.price(&payer, &sale, &paid).await.unwrap();
        assert_eq!(quote.rate(), None, "{buys}");
        drop(payer);
        let outcome = shop.outcome(&sale, &paid).await;
        assert!(matches!(outcome, Outcome::Held(PRICE) | Outcome::Pass));
        let refused = shop.refusal(&sale, &request).await;
        assert_eq!(no_rate(&refused), Some(NoRate::Stale), "{buys}");
    }
}

#[tokio::test]
async fn a_balance_and_a_key_need_a_rate_for_each_request() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = in_dollars(balance(), &rates(Some(&shop.clock)));
    let bought = shop.buy(&sale, &request).await;
    let key = shop.open_key().await;
    shop.top_up(key.hash(), DEPOSIT).await;
    for paid in [request.with(&bought), request.with_key(&key)] {
        assert_eq!(shop.outcome(&sale, &paid).await, Outcome::Held(PRICE));
    }
    shop.clock.advance(RATE_AGE * 2);
    for paid in [request.with(&bought), request.with_key(&key)] {
        let refused = shop.refusal(&sale, &paid).await;
        assert_eq!(no_rate(&refused), Some(NoRate::Stale));
    }
    let books = Books {
        charged: 0,
        held: 0,
        left: DEPOSIT,
    };
    assert_eq!(shop.books(&bought).await, books);
    assert_eq!(shop.key_books(key.hash()).await, books);
}

#[tokio::test]
async fn calls_that_are_used_up_cannot_be_bought_again_without_a_rate() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = in_dollars(Buys::Calls(2), &rates(Some(&shop.clock)));
    let bought = shop.buy(&sale, &request).await;
    let used = request.with(&bought);
    shop.clock.advance(RATE_AGE * 2);
    for _ in 0..2 {
        shop.serve(&sale, &used).await.end(Ending::Complete);
    }
    let debt = shop.debt(&sale, &used).await.unwrap();
    assert_eq!(debt.owed, Owed::Exhausted);
    let Err(refused) = shop.demand(&sale, &used).await else {
        panic!("there is no rate to sell by");
    };
    assert_eq!(no_rate(&refused), Some(NoRate::Stale));
    assert_eq!(shop.node.invoices_made(), 1);
}

#[tokio::test]
async fn nothing_is_sold_in_a_currency_that_nobody_knows_the_rate_of() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for buys in [ONE_REQUEST, ONE_CALL, Buys::Calls(3), HOUR, balance()] {
        let sale = in_dollars(buys, &no_rates());
        let refused = shop.refusal(&sale, &request).await;
        assert_eq!(no_rate(&refused), Some(NoRate::Unknown), "{buys}");
    }
    assert_eq!(shop.node.invoices_made(), 0);
}

#[tokio::test]
async fn the_rate_of_the_moment_is_kept_with_the_charge() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    for buys in [ONE_CALL, Buys::Calls(3), balance()] {
        let sale = in_dollars(buys, &rates(Some(&shop.clock)));
        let bought = shop.buy(&sale, &request).await;
        shop.clock.advance(RATE_AGE / 2);
        let paid = request.with(&bought);
        shop.serve(&sale, &paid).await.end(Ending::Complete);
        let charges = shop.charges(&bought).await;
        assert_eq!(charges.len(), 1, "{buys}");
        let rate = charges[0].basis.rate.as_ref().unwrap();
        assert_eq!(rate.currency, "usd", "{buys}");
        assert_eq!(rate.bitcoin_price, "100000", "{buys}");
        assert_eq!(rate.age_ms, Some(30_000), "{buys}");
    }
}

#[tokio::test]
async fn what_a_call_used_is_charged_at_the_rate_by_which_it_was_admitted() {
    let shop = Shop::open();
    let chat = r#"{"model":"small","max_tokens":20,"messages":[{"role":"user","content":"hi"}]}"#;
    let chat = Request::post("/v1/chat/completions", chat);
    let told = r#"{"choices":[{"message":{"content":"hello"}}],
        "usage":{"prompt_tokens":5,"completion_tokens":7}}"#;
    let fields = &[("x-cost", "300"), ("content-type", "application/json")];
    for (is_model, charged) in [(true, 75), (false, 150)] {
        let rates = rates(Some(&shop.clock));
        let name = HeaderName::from_static("x-cost");
        let sale = if is_model {
            models_in_dollars(&rates)
        } else {
            by_use_in_dollars(Teller::Header { name, shown: false }, &rates)
        };
        let bought = shop.buy(&sale, &chat).await;
        assert_eq!(bought.paid, DEPOSIT);
        let paid = chat.with(&bought);
        let mut settlement = shop.serve(&sale, &paid).await;
        shop.clock.advance(RATE_AGE * 2);
        let refused = shop.refusal(&sale, &paid).await;
        assert_eq!(no_rate(&refused), Some(NoRate::Stale));
        answer(&mut settlement, fields, &[told], Ending::Complete);
        let books = Books {
            charged,
            held: 0,
            left: DEPOSIT - charged,
        };
        assert_eq!(shop.books(&bought).await, books);
        let charges = shop.charges(&bought).await;
        let rate = charges[0].basis.rate.as_ref().unwrap();
        assert_eq!(rate.bitcoin_price, "100000");
    }
}
