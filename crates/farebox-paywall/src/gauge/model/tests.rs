use std::collections::BTreeMap;

use farebox_meter::{Currency, Decimal, Unit};
use serde_json::{Value, json};

use super::*;
use crate::gauge::Unsaid;

const AT_MOST: u64 = 1_000_000;

/// A chat of which 25 tokens were sent, at 100 msat for a token read and 1000 for one written.
fn meter() -> ModelUsage {
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
    ModelUsage {
        endpoint: Endpoint::ChatCompletions,
        biller: Biller {
            price: price.into(),
            exchange: Exchange::fixed(Currency::Msat).unwrap(),
            billing: Billing::default(),
            at_most: Msat::new(AT_MOST).unwrap(),
            estimated_input: 25,
            known: Usage::of_request(),
        },
        model: "small".into(),
        asks_for_stream: true,
        strip_usage: false,
        thinks: false,
        counting: None,
        stream: None,
    }
}

fn known(reckoning: &Reckoning) -> Tally {
    match reckoning {
        Reckoning::Known(tally) => *tally,
        Reckoning::ToCount(_) => panic!("there is nobody to count"),
    }
}

fn used(answer: &Value) -> (u64, End) {
    let (meter, body) = (meter(), answer.to_string());
    let answer = answer::Whole::read(meter.endpoint, body.as_bytes());
    let tally = known(&meter.reckon_whole(&answer));
    (tally.used.get(), tally.end)
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
    assert_eq!(used(&answer), (1000 * 100 + 5 * 1000, End::Complete));
}

#[test]
fn an_error_under_a_good_status_costs_nothing() {
    let error = json!({ "error": { "message": "the provider is overloaded" } });
    assert_eq!(used(&error), (0, End::ErrorAfterStart));
}

#[test]
fn an_answer_with_neither_content_nor_a_usage_is_a_void() {
    let voided = |endpoint, asked: Usage, body: &str| {
        let mut meter = meter();
        meter.endpoint = endpoint;
        meter.biller.known = asked;
        meter.biller.billing.usage_missing = Unsaid::Hold;
        let answer = answer::Whole::read(endpoint, body.as_bytes());
        let tally = known(&meter.reckon_whole(&answer));
        bill("small".into(), tally).used.is_none()
    };
    let request = Usage::of_request();
    for body in ["", "{}", r#"{"choices":[{"message":{"content":""}}]}"#] {
        assert!(voided(Endpoint::ChatCompletions, request, body), "{body}");
    }
    let told = r#"{"choices":[],"usage":{"prompt_tokens":25,"completion_tokens":0}}"#;
    assert!(!voided(Endpoint::ChatCompletions, request, told));
    assert!(voided(Endpoint::Embeddings, request, ""));
    assert!(!voided(
        Endpoint::Embeddings,
        request,
        r#"{"data":[{"embedding":[1]}]}"#
    ));
    let characters = request.with(Unit::Input, 300);
    let error = r#"{"error":{"message":"no such voice"}}"#;
    for body in ["", error] {
        assert!(voided(Endpoint::Speech, characters, body), "{body}");
    }
    assert!(!voided(Endpoint::Speech, characters, "sound"));
    let pictures = request.with(Unit::Input, 4);
    let empty = r#"{"data":[],"usage":{"input_tokens":25,"output_tokens":0}}"#;
    for body in ["", r#"{"status":"queued"}"#, empty, error] {
        assert!(voided(Endpoint::Images, pictures, body), "{body}");
    }
}

#[test]
fn a_report_of_responses_that_is_too_long_to_be_looked_into_costs_the_hold() {
    let long = format!("data: {{\"x\":\"{}\"}}\n\n", "x".repeat(5 << 20));
    let report = "data: {\"type\":\"response.completed\",\"response\":{\"usage\":\
                  {\"input_tokens\":10,\"output_tokens\":2}}}\n\n";
    let tally = |events: &[&str], ending| {
        let mut meter = meter();
        meter.endpoint = Endpoint::Responses;
        meter.biller.billing.usage_missing = Unsaid::Nothing;
        meter.begin_stream();
        for event in events {
            meter.frame(Bytes::copy_from_slice(event.as_bytes()));
        }
        let tally = known(&meter.reckon_stream(ending));
        (tally.used.get(), tally.end)
    };
    let whole = tally(&[&long], Ending::Complete);
    assert_eq!(whole, (AT_MOST, End::UsageMissing));
    let left = tally(&[&long], Ending::CutByClient);
    assert_eq!(left, (AT_MOST, End::CutByClient));
    assert_eq!(tally(&[&long], Ending::CutByUpstream).0, 0);
    let told = tally(&[&long, report], Ending::Complete);
    assert_eq!(told, (10 * 100 + 2 * 1000, End::Complete));
}

#[test]
fn no_redirect_of_a_model_is_sold() {
    for status in [204, 304, 302, 307] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(meter().sells(status, false), status.is_success());
    }
}

#[test]
fn an_error_beside_an_answer_costs_what_was_seen() {
    let answer = json!({
        "choices": [{ "message": { "content": "abcdefgh" } }],
        "error": { "message": "cut" }
    });
    assert_eq!(used(&answer), (25 * 100 + 2 * 1000, End::ErrorAfterStart));
}

#[test]
fn an_answer_that_tells_no_usage_costs_what_was_seen() {
    let answer = json!({ "choices": [{ "message": { "content": "abcdefgh" } }], "error": null });
    assert_eq!(used(&answer), (25 * 100 + 2 * 1000, End::UsageMissing));
}

#[test]
fn an_upstream_that_fails_before_its_first_word_is_not_paid_for_the_prompt() {
    let start =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":1}}\n\n";
    let error = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    let mut meter = meter();
    meter.begin_stream();
    meter.frame(Bytes::from_static(start.as_bytes()));
    meter.frame(Bytes::from_static(error.as_bytes()));
    let bill = known(&meter.reckon_stream(Ending::Complete));
    assert_eq!((bill.used, bill.end), (Msat::ZERO, End::ErrorAfterStart));
}

const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hello world\"}}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":40}}\n\n";

fn streaming(mut meter: ModelUsage, events: &[&str]) -> ModelUsage {
    meter.begin_stream();
    for event in events {
        meter.frame(Bytes::copy_from_slice(event.as_bytes()));
    }
    meter
}

#[test]
fn an_upstream_is_listened_to_without_its_client_only_while_it_is_about_to_tell_the_usage() {
    assert_eq!(streaming(meter(), &[TEXT]).drains(), None);
    assert_eq!(streaming(meter(), &[TEXT, STOP]).drains(), Some(USAGE_SOON));
    assert_eq!(streaming(meter(), &[TEXT, STOP, USAGE]).drains(), None);
    let mut patient = meter();
    let minute = Duration::from_secs(60);
    patient.biller.billing.on_disconnect = OnDisconnect::Drain(minute);
    assert_eq!(streaming(patient, &[TEXT]).drains(), Some(minute));
}

#[test]
fn text_after_the_last_report_is_charged_and_no_complete_end() {
    let billed = |events: &[&str], ending, unsaid| {
        let mut meter = meter();
        meter.biller.billing.usage_missing = unsaid;
        let tally = known(&streaming(meter, events).reckon_stream(ending));
        let bill = bill("small".into(), tally);
        (bill.used.map(Msat::get), bill.end, bill.complaint)
    };
    let told = 25 * 100 + 40 * 1000;
    let exact = billed(&[TEXT, USAGE, STOP], Ending::Complete, Unsaid::Observed);
    assert_eq!(exact, (Some(told), End::Complete, None));
    // "hello world" is three tokens by its bytes. What was told stays told, whatever the seller chose
    // for answers that tell nothing.
    for unsaid in [Unsaid::Observed, Unsaid::Nothing, Unsaid::Hold] {
        let after = billed(&[TEXT, USAGE, TEXT, STOP], Ending::Complete, unsaid);
        assert_eq!(after, (Some(told + 3000), End::UsageMissing, Some(UNTOLD)));
    }
    let left = billed(&[TEXT, USAGE, TEXT], Ending::CutByClient, Unsaid::Observed);
    assert_eq!(left, (Some(told + 3000), End::CutByClient, None));
}

/// A meter whose tokens somebody can count.
fn counting() -> ModelUsage {
    let mut meter = meter();
    meter.counting = Some(Counting {
        counter: Arc::default(),
        vocabulary: Vocabulary::O200k,
        prompt: None,
    });
    meter
}

#[test]
fn only_what_nobody_told_is_counted_and_the_count_is_the_bill() {
    let told = streaming(counting(), &[TEXT, STOP, USAGE]).reckon_stream(Ending::Complete);
    assert_eq!(known(&told).used.get(), 25 * 100 + 40 * 1000);
    let silent = streaming(counting(), &[]).reckon_stream(Ending::CutByUpstream);
    assert_eq!(known(&silent).used, Msat::ZERO);
    let bill = |events: &[&str], counted: Counted| {
        let reckoning = streaming(counting(), events).reckon_stream(Ending::CutByUpstream);
        let Reckoning::ToCount(to_count) = reckoning else {
            panic!("it is known");
        };
        assert_eq!(to_count.uncounted.text, "hello world");
        (
            to_count.by_bytes.used.get(),
            (to_count.again)(counted).used.get(),
        )
    };
    let counted = Counted {
        input: Some(10),
        output: 2,
    };
    let by_bytes = 25 * 100 + 3 * 1000;
    assert_eq!(bill(&[TEXT], counted), (by_bytes, 10 * 100 + 2 * 1000));
    let unprompted = Counted {
        input: None,
        ..counted
    };
    assert_eq!(bill(&[TEXT], unprompted), (by_bytes, 25 * 100 + 2 * 1000));
    let after = 25 * 100 + 42 * 1000;
    assert_eq!(bill(&[USAGE, TEXT], counted), (after + 1000, after));
    let absurd = Counted {
        input: None,
        output: u64::MAX / 2,
    };
    assert_eq!(bill(&[TEXT], absurd), (by_bytes, AT_MOST));
}

#[test]
fn where_the_seller_charges_nothing_or_the_hold_nothing_is_counted() {
    for (unsaid, used) in [(Unsaid::Nothing, 0), (Unsaid::Hold, AT_MOST)] {
        let mut meter = counting();
        meter.biller.billing.broken_off = unsaid;
        let bill = streaming(meter, &[TEXT]).reckon_stream(Ending::CutByUpstream);
        assert_eq!(known(&bill).used.get(), used);
    }
}

#[test]
fn a_stream_of_which_bytes_went_out_is_never_cheaper_than_its_prompt() {
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    let used = |events: &[&str], ending| {
        let tally = known(&streaming(meter(), events).reckon_stream(ending));
        (tally.used.get(), tally.is_excused)
    };
    // Who leaves before the first word is excused, and charged the prompt where it is so no more.
    let ping = ": ping\n\n";
    assert_eq!(used(&[], Ending::CutByClient), (25 * 100, true));
    assert_eq!(used(&[ping], Ending::CutByClient), (25 * 100, true));
    assert_eq!(streaming(meter(), &[ping]).progress(), None);
    for events in [&[ping, role][..], &[role]] {
        assert_eq!(used(events, Ending::CutByClient), (25 * 100, false));
    }
    let complete = used(&[role, STOP, "data: [DONE]\n\n"], Ending::Complete);
    assert_eq!(complete, (25 * 100, false));
    assert_eq!(used(&[role], Ending::CutByUpstream), (0, false));
}

#[test]
fn of_a_report_of_one_side_that_side_counts() {
    let answer = json!({
        "choices": [{ "message": { "content": "abcdefgh" } }],
        "usage": { "prompt_tokens": 0, "completion_tokens": 500 }
    });
    assert_eq!(used(&answer), (25 * 100 + 500 * 1000, End::UsageMissing));
    let answer = json!({
        "choices": [{ "message": { "content": "abcdefgh" } }],
        "usage": { "prompt_tokens": 7, "completion_tokens": 0 }
    });
    assert_eq!(used(&answer), (7 * 100 + 2 * 1000, End::UsageMissing));
}

#[test]
fn where_a_model_may_have_thought_out_of_sight_its_report_is_waited_for() {
    let thinking = |on_disconnect| {
        let mut meter = meter();
        meter.thinks = true;
        meter.biller.billing.on_disconnect = on_disconnect;
        meter
    };
    let waits = |choice, events: &[&str]| streaming(thinking(choice), events).drains();
    assert_eq!(
        waits(OnDisconnect::ForThoughts, &[TEXT]),
        Some(THOUGHTS_SOON)
    );
    assert_eq!(waits(OnDisconnect::ForThoughts, &[]), None);
    assert_eq!(waits(OnDisconnect::ForThoughts, &[TEXT, USAGE]), None);
    assert_eq!(waits(OnDisconnect::Cancel, &[TEXT]), None);
}

#[test]
fn what_was_asked_for_as_a_stream_is_one_under_any_type_unless_its_length_is_known() {
    let form = |asks, fields: &[(&'static str, &'static str)]| {
        let mut meter = meter();
        meter.asks_for_stream = asks;
        let fields = fields.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        meter.head(StatusCode::OK, &mut fields.collect())
    };
    let json = ("content-type", "application/json");
    assert_eq!(form(true, &[json]), Form::Stream);
    assert_eq!(
        form(true, &[("content-type", "text/plain; charset=utf-8")]),
        Form::Stream
    );
    assert_eq!(form(true, &[]), Form::Stream);
    assert_eq!(form(true, &[json, ("content-length", "17")]), Form::Whole);
    assert_eq!(form(false, &[json]), Form::Whole);
    assert_eq!(
        form(false, &[("content-type", "text/event-stream")]),
        Form::Stream
    );
}
