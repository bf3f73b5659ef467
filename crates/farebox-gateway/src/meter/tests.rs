use std::collections::BTreeMap;

use farebox_meter::{Currency, Decimal, Exchange, ModelPrice, Unit};
use serde_json::{Value, json};

use super::*;

const AT_MOST: u64 = 1_000_000;

/// A chat of which 25 tokens were sent, at 100 msat for a token read and 1000 for one written.
fn meter() -> Meter {
    let decimal = |text: &str| text.parse::<Decimal>().unwrap();
    let rows = [(Unit::Input, "100"), (Unit::Output, "1000")];
    let price = ModelPrice {
        currency: Currency::Msat,
        rows: rows.map(|(unit, text)| (unit, decimal(text))).into(),
        images: BTreeMap::new(),
        context_tokens: None,
        max_output_tokens: None,
        is_free: false,
    };
    Meter {
        endpoint: Endpoint::ChatCompletions,
        biller: Biller {
            tariff: Tariff {
                price,
                exchange: Exchange::fixed(Currency::Msat).unwrap(),
            },
            billing: Billing::default(),
            at_most: Msat::new(AT_MOST).unwrap(),
            estimated_input: 25,
            known: Usage::of_request(),
        },
        model: "small".to_owned(),
        strip_usage: false,
        counting: None,
        stream: None,
        told_at: Instant::now(),
    }
}

fn known(reckoning: Reckoning) -> Bill {
    match reckoning {
        Reckoning::Known(bill) => bill,
        Reckoning::ToCount(_) => panic!("there is nobody to count"),
    }
}

fn used(answer: &Value) -> (u64, Terminal) {
    let (meter, body) = (meter(), answer.to_string());
    let bill = known(meter.bill_whole(&meter.read(body.as_bytes())));
    (bill.used.get(), bill.terminal)
}

#[test]
fn what_has_no_price_of_its_own_is_not_free() {
    let answer = json!({
        "choices": [{ "message": { "content": "a film about a dog" } }],
        "usage": {
            "prompt_tokens": 1000,
            "prompt_tokens_details": { "audio_tokens": 400 },
            "completion_tokens": 5
        }
    });
    assert_eq!(used(&answer), (1000 * 100 + 5 * 1000, Terminal::Complete));
}

#[test]
fn an_error_under_a_good_status_costs_nothing() {
    let error = json!({ "error": { "message": "the provider is overloaded" } });
    assert_eq!(used(&error), (0, Terminal::ErrorAfterStart));
}

#[test]
fn an_error_beside_an_answer_costs_what_was_seen() {
    let answer = json!({
        "choices": [{ "message": { "content": "12345678" } }],
        "error": { "message": "cut" }
    });
    assert_eq!(
        used(&answer),
        (25 * 100 + 2 * 1000, Terminal::ErrorAfterStart)
    );
}

#[test]
fn an_answer_that_tells_no_usage_costs_what_was_seen() {
    let answer = json!({ "choices": [{ "message": { "content": "12345678" } }], "error": null });
    assert_eq!(used(&answer), (25 * 100 + 2 * 1000, Terminal::UsageMissing));
}

#[test]
fn an_upstream_that_fails_before_its_first_word_is_not_paid_for_the_prompt() {
    let start =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":1}}\n\n";
    let error = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    let mut meter = meter();
    meter.begin_stream();
    meter.pass(&Bytes::from_static(start.as_bytes()));
    meter.pass(&Bytes::from_static(error.as_bytes()));
    let bill = known(meter.bill_stream(Ending::Complete));
    assert_eq!(
        (bill.used, bill.terminal),
        (Msat::ZERO, Terminal::ErrorAfterStart)
    );
}
