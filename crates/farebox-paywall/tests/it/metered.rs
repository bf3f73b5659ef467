//! What is charged by use: the most is held, and what was used is charged.

use farebox_meter::Decimal;
use farebox_paywall::by_use::{Of, Teller};
use farebox_paywall::error::Owed;
use farebox_paywall::gauge::Ending;
use farebox_paywall::gauge::Ending::{Complete, CutByClient, CutByUpstream};
use farebox_paywall::sale::Sale;
use http::HeaderName;

use crate::sales::{AT_MOST, DEPOSIT, by_use, by_use_at};
use crate::shop::{Books, Outcome, Request, Shop, answer};

/// An answer: its fields and pieces, how it ends, and what is charged for it.
struct Case {
    fields: &'static [(&'static str, &'static str)],
    pieces: &'static [&'static str],
    ending: Ending,
    charged: u64,
}

const fn case(
    fields: &'static [(&'static str, &'static str)],
    pieces: &'static [&'static str],
    ending: Ending,
    charged: u64,
) -> Case {
    Case {
        fields,
        pieces,
        ending,
        charged,
    }
}

/// Sells a balance, then has each answer drawn from it.
async fn draws(sale: &Sale, cases: &[Case]) {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let bought = shop.buy(sale, &request).await;
    assert_eq!(bought.paid, DEPOSIT);
    let paid = request.with(&bought);
    let mut charged = 0;
    for (index, case) in cases.iter().enumerate() {
        let mut settlement = shop.serve(sale, &paid).await;
        let held = Books {
            charged,
            held: AT_MOST,
            left: DEPOSIT - charged - AT_MOST,
        };
        assert_eq!(shop.books(&bought).await, held, "case {index}");
        answer(&mut settlement, case.fields, case.pieces, case.ending);
        assert_eq!(settlement.charged().get(), case.charged, "case {index}");
        charged += case.charged;
        let settled = Books {
            charged,
            held: 0,
            left: DEPOSIT - charged,
        };
        assert_eq!(shop.books(&bought).await, settled, "case {index}");
    }
}

#[tokio::test]
async fn the_upstream_says_in_a_header_what_a_call_used() {
    let name = HeaderName::from_static("x-cost");
    let sale = by_use(Teller::Header { name, shown: false });
    let cost = &[("x-cost", "300")];
    draws(
        &sale,
        &[
            case(cost, &["text"], Complete, 150),
            case(cost, &["text"], CutByClient, 150),
            case(cost, &[], CutByClient, 0),
            case(cost, &["text"], CutByUpstream, 150),
            case(&[], &["text"], CutByUpstream, 0),
            case(&[], &["text"], Complete, 0),
            case(&[("x-cost", "1")], &["text"], Complete, 10),
            case(&[("x-cost", "5000")], &["text"], Complete, AT_MOST),
            case(&[], &["text"], CutByClient, AT_MOST),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_upstream_says_in_its_json_what_a_call_used() {
    let sale = by_use(Teller::Json("/usage/cost".parse().unwrap()));
    let json = &[("content-type", "application/json")];
    let events = &[("content-type", "text/event-stream")];
    let told = &[r#"{"usage":"#, r#"{"cost":301}}"#];
    let event = &["data: {\"usage\":{\"cost\":400}}\n\n"];
    draws(
        &sale,
        &[
            case(json, told, Complete, 151),
            case(json, told, CutByClient, 0),
            case(json, told, CutByUpstream, 0),
            case(json, &["{}"], Complete, 0),
            case(events, event, Complete, 200),
            case(events, event, CutByClient, 200),
            case(events, event, CutByUpstream, 200),
            case(events, &["data: {}\n\n"], CutByClient, AT_MOST),
        ],
    )
    .await;
}

#[tokio::test]
async fn bytes_of_an_answer_are_counted_as_they_pass() {
    let of = Of::Answer;
    let sale = by_use_at("10", Teller::Bytes { of, per: 4 });
    draws(
        &sale,
        &[
            case(&[], &["12345678", "1"], Complete, 23),
            case(&[], &["12345678"], CutByClient, 20),
            case(&[], &["12345678"], CutByUpstream, 20),
            case(&[], &[], CutByClient, 0),
            case(&[], &["1"], Complete, 10),
        ],
    )
    .await;
}

#[tokio::test]
async fn seconds_cost_the_least_where_there_were_hardly_any() {
    let sale = by_use_at("0.000001", Teller::Seconds);
    draws(
        &sale,
        &[
            case(&[], &["text"], Complete, 10),
            case(&[], &["text"], CutByClient, 10),
            case(&[], &[], CutByClient, 0),
        ],
    )
    .await;
}

#[tokio::test]
async fn bytes_of_a_request_cost_exactly_what_its_length_says() {
    let (shop, request) = (Shop::open(), Request::post("/a", "12345678"));
    let of = Of::Request;
    let sale = by_use_at("10", Teller::Bytes { of, per: 4 });
    let bought = shop.buy(&sale, &request).await;
    let paid = request.with(&bought);
    assert_eq!(shop.outcome(&sale, &paid).await, Outcome::Held(20));
    let mut settlement = shop.serve(&sale, &paid).await;
    answer(&mut settlement, &[], &["a long answer"], Complete);
    let books = Books {
        charged: 20,
        held: 0,
        left: DEPOSIT - 20,
    };
    assert_eq!(shop.books(&bought).await, books);
}

#[tokio::test]
async fn what_the_upstream_told_is_kept_with_the_charge() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let name = HeaderName::from_static("x-cost");
    let sale = by_use(Teller::Header { name, shown: false });
    let bought = shop.buy(&sale, &request).await;
    let mut settlement = shop.serve(&sale, &request.with(&bought)).await;
    answer(&mut settlement, &[("x-cost", "5000")], &["text"], Complete);
    let [charge] = &shop.charges(&bought).await[..] else {
        panic!("there is one charge");
    };
    assert_eq!((charge.charged.get(), charge.used.get()), (AT_MOST, 2_500));
    assert_eq!(charge.quantity, Some(Decimal::from(5_000_u64).to_string()));
    assert_eq!(charge.terminal.as_deref(), Some("complete"));
}

#[tokio::test]
async fn a_balance_that_does_not_cover_the_most_pays_for_nothing_more() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let sale = by_use_at("10000", Teller::Seconds);
    let bought = shop.buy(&sale, &request).await;
    let paid = request.paid_by(bought.narrowed("amount_msat=999"));
    let outcome = shop.outcome(&sale, &paid).await;
    assert_eq!(outcome, Outcome::Owed(Owed::Exhausted));
    let whole = request.with(&bought);
    assert_eq!(shop.outcome(&sale, &whole).await, Outcome::Held(AT_MOST));
}

#[tokio::test]
async fn a_key_is_charged_by_use_like_a_balance() {
    let (shop, request) = (Shop::open(), Request::get("/a"));
    let name = HeaderName::from_static("x-cost");
    let (header, json) = (
        Teller::Header { name, shown: true },
        Teller::Json("/usage/cost".parse().unwrap()),
    );
    let key = shop.open_key().await;
    shop.top_up(key.hash(), DEPOSIT).await;
    let paid = request.with_key(&key);
    let fields = &[("x-cost", "300"), ("content-type", "application/json")];
    for teller in [header, json] {
        let mut settlement = shop.serve(&by_use(teller), &paid).await;
        answer(
            &mut settlement,
            fields,
            &[r#"{"usage":{"cost":300}}"#],
            Complete,
        );
    }
    let books = Books {
        charged: 300,
        held: 0,
        left: DEPOSIT - 300,
    };
    assert_eq!(shop.key_books(key.hash()).await, books);
}
