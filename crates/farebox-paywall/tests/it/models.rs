//! Calls of models: bounded from their requests, and charged by what they used.

use farebox_ledger::KeyLimits;
use farebox_paywall::admit::Admission;
use farebox_paywall::error::{Error, KeyFault, Owed, PriceError, Unsold};
use farebox_paywall::gauge::Ending::{Complete, CutByClient, CutByUpstream};
use serde_json::{Value, json};

use crate::sales::{DEPOSIT, models};
use crate::shop::{Books, Outcome, Request, Shop, answer, forwarded, msat};

const CHAT: &str = "/v1/chat/completions";
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const EVENTS: &[(&str, &str)] = &[("content-type", "text/event-stream")];
/// 5 tokens read at 1 msat, and 7 written at 10.
const USED: u64 = 75;
const ANSWER: &str = r#"{
    "choices": [{ "message": { "content": "hello" } }],
    "usage": { "prompt_tokens": 5, "completion_tokens": 7 }
}"#;
const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}\n\n";

fn chat(most: u64, stream: bool) -> Request {
    let body = json!({
        "model": "small",
        "max_tokens": most,
        "stream": stream,
        "messages": [{ "role": "user", "content": "hi" }],
    });
    Request::post(CHAT, body.to_string())
}

/// The most tokens that an admitted request lets the model write.
fn most_of(admission: &Admission) -> u64 {
    let body: Value = serde_json::from_slice(admission.body.as_ref().unwrap()).unwrap();
    let most = body.get("max_tokens").or(body.get("max_completion_tokens"));
    most.unwrap().as_u64().unwrap()
}

#[tokio::test]
async fn an_answer_is_charged_what_it_used_and_the_rest_of_the_hold_goes_back() {
    let shop = Shop::open();
    let sale = models();
    let (whole, stream) = (chat(20, false), chat(20, true));
    let bought = shop.buy(&sale, &whole).await;
    assert_eq!(bought.paid, DEPOSIT);
    let mut charged = 0;
    let cases: [(&Request, _, &[&str], _, _); 7] = [
        (&whole, JSON, &[ANSWER], Complete, Some(USED)),
        (&whole, JSON, &[ANSWER], CutByClient, Some(0)),
        (&whole, JSON, &[ANSWER], CutByUpstream, Some(0)),
        (&stream, EVENTS, &[TEXT, USAGE], Complete, Some(USED)),
        (&stream, EVENTS, &[], CutByClient, Some(0)),
        (&stream, EVENTS, &[TEXT, USAGE], CutByClient, Some(USED)),
        // What was seen, by its bytes.
        (&stream, EVENTS, &[TEXT], CutByUpstream, None),
    ];
    for (index, (request, fields, pieces, ending, cost)) in cases.into_iter().enumerate() {
        let mut settlement = shop.serve(&sale, &request.with(&bought)).await;
        let held = shop.books(&bought).await;
        assert_eq!(held.charged, charged, "case {index}");
        assert!(held.held > 200, "case {index}: {held:?}");
        answer(&mut settlement, fields, pieces, ending);
        let drawn = settlement.charged().get();
        match cost {
            Some(cost) => assert_eq!(drawn, cost, "case {index}"),
            None => assert!((1..held.held).contains(&drawn), "case {index}: {drawn}"),
        }
        charged += drawn;
        let settled = Books {
            charged,
            held: 0,
            left: DEPOSIT - charged,
        };
        assert_eq!(shop.books(&bought).await, settled, "case {index}");
    }
    let charges = shop.charges(&bought).await;
    let models = charges.iter().map(|charge| charge.basis.model.as_deref());
    assert!(models.into_iter().all(|model| model == Some("small")));
}

#[tokio::test]
async fn a_balance_that_is_too_small_makes_the_answer_shorter_instead_of_refusing() {
    let shop = Shop::open();
    let sale = models();
    let bought = shop.buy(&sale, &chat(20, false)).await;
    let long = chat(10_000, false).with(&bought);
    let first = shop.admission(&sale, &long).await;
    let books = shop.books(&bought).await;
    assert!(books.held <= DEPOSIT && books.left < 10, "{books:?}");
    let most = most_of(&first);
    assert!((16..10_000).contains(&most), "{most}");
    // What the other call holds is not there for this one, and comes back with its end.
    let outcome = shop.outcome(&sale, &long).await;
    assert_eq!(outcome, Outcome::Owed(Owed::Exhausted));
    answer(&mut forwarded(first), JSON, &[ANSWER], Complete);
    let second = shop.admission(&sale, &long).await;
    assert!(most_of(&second) < most);
    answer(&mut forwarded(second), JSON, &[ANSWER], Complete);
    let books = Books {
        charged: 2 * USED,
        held: 0,
        left: DEPOSIT - 2 * USED,
    };
    assert_eq!(shop.books(&bought).await, books);
}

#[tokio::test]
async fn what_a_holder_left_of_a_balance_makes_the_answer_shorter_too() {
    let shop = Shop::open();
    let sale = models();
    let request = chat(400, false);
    let bought = shop.buy(&sale, &request).await;
    let narrow = request.paid_by(bought.narrowed("amount_msat=1000"));
    let admission = shop.admission(&sale, &narrow).await;
    let books = shop.books(&bought).await;
    assert!(books.held <= 1_000, "{books:?}");
    assert!(most_of(&admission) < 100);
    answer(&mut forwarded(admission), JSON, &[ANSWER], Complete);
    let books = shop.books(&bought).await;
    assert_eq!((books.charged, books.held), (USED, 0));
    // Not enough for an answer worth having.
    let less = request.paid_by(bought.narrowed("amount_msat=200"));
    let outcome = shop.outcome(&sale, &less).await;
    assert_eq!(outcome, Outcome::Owed(Owed::Exhausted));
}

#[tokio::test]
async fn a_key_that_has_too_little_gets_a_shorter_answer_or_is_told_that_it_is_used_up() {
    let shop = Shop::open();
    let (sale, key) = (models(), shop.open_key().await);
    let request = chat(10_000, false).with_key(&key);
    shop.top_up(key.hash(), 100).await;
    let refused = shop.refusal(&sale, &request).await;
    assert!(matches!(refused, Error::Key(KeyFault::UsedUp)));
    shop.top_up(key.hash(), 900).await;
    let admission = shop.admission(&sale, &request).await;
    assert!((16..100).contains(&most_of(&admission)));
    answer(&mut forwarded(admission), JSON, &[ANSWER], Complete);
    let books = Books {
        charged: USED,
        held: 0,
        left: 1_000 - USED,
    };
    assert_eq!(shop.key_books(key.hash()).await, books);
}

#[tokio::test]
async fn a_child_gets_an_answer_as_short_as_its_own_limit_leaves() {
    let shop = Shop::open();
    let (sale, parent) = (models(), shop.open_key().await);
    shop.top_up(parent.hash(), 1_000_000).await;
    // Its first use finds the payment.
    drop(
        shop.admission(&sale, &chat(20, false).with_key(&parent))
            .await,
    );
    let child = |total, per_day| {
        let limits = KeyLimits {
            total,
            per_day,
            ..KeyLimits::default()
        };
        shop.open_child(parent.hash(), limits)
    };
    for limits in [(Some(msat(900)), None), (None, Some(msat(900)))] {
        let key = child(limits.0, limits.1).await;
        let request = chat(10_000, false).with_key(&key);
        let admission = shop.admission(&sale, &request).await;
        assert!((16..100).contains(&most_of(&admission)));
    }
    let poor = child(None, Some(msat(100))).await;
    let refused = shop
        .refusal(&sale, &chat(10_000, false).with_key(&poor))
        .await;
    let never = KeyFault::DayLimit { resets_at: None };
    assert!(
        matches!(refused, Error::Key(fault) if fault == never),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_stranger_is_asked_for_no_less_than_the_call_may_cost() {
    let shop = Shop::open();
    let (sale, request) = (models(), chat(10_000, false));
    let bought = shop.buy(&sale, &request).await;
    assert!(bought.paid > 100_000);
    let admission = shop.admission(&sale, &request.with(&bought)).await;
    assert_eq!(most_of(&admission), 10_000);
}

#[tokio::test]
async fn the_list_of_models_is_free_and_what_is_not_listed_is_not_sold() {
    let shop = Shop::open();
    let sale = models();
    let list = shop.outcome(&sale, &Request::get("/v1/models")).await;
    assert_eq!(list, Outcome::Free);
    let unsold = |refused: Error| match refused {
        Error::Price(PriceError::Unsold(unsold)) => unsold,
        other => panic!("{other}"),
    };
    let files = shop.refusal(&sale, &Request::get("/v1/files")).await;
    assert!(matches!(unsold(files), Unsold::Endpoint));
    let large = r#"{"model":"large","max_tokens":20,"messages":[]}"#;
    let large = shop.refusal(&sale, &Request::post(CHAT, large)).await;
    assert!(matches!(unsold(large), Unsold::Model(_)));
    let garbled = shop.refusal(&sale, &Request::post(CHAT, "{")).await;
    assert!(matches!(unsold(garbled), Unsold::Request(_)));
    assert_eq!(shop.node.invoices_made(), 0);
}

#[tokio::test]
async fn what_is_not_sold_by_its_head_is_refused_before_its_body_is_read() {
    let (shop, sale) = (Shop::open(), models());
    let mut request = chat(20, false);
    request.headers = [("openai-beta", "assistants=v2")]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .into_iter()
        .collect();
    let nobody = shop.payer(&sale, &request).await.unwrap();
    let ask = shop.ask(&sale, &request);
    let refused = shop.paywall.reads(&nobody, &ask).unwrap_err();
    let is_unsold = matches!(
        refused,
        Error::Price(PriceError::Unsold(Unsold::Beta { .. }))
    );
    assert!(is_unsold, "{refused}");
}
