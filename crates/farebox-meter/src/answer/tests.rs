use serde_json::{Value, json};

use super::*;
use crate::endpoint::Endpoint;

fn with_cost(body: &[u8], cost: Msat) -> Option<Vec<u8>> {
    Whole::read(Endpoint::ChatCompletions, body).with_cost(cost)
}

/// The classes of a usage object, as `unit count` pairs.
fn read(endpoint: Endpoint, usage: &Value) -> Option<Vec<(Unit, u64)>> {
    let body = json!({ "usage": usage }).to_string();
    Whole::read(endpoint, body.as_bytes()).usage().map(|usage| {
        usage
            .iter()
            .filter(|(unit, _)| *unit != Unit::Request)
            .collect()
    })
}

#[test]
fn openais_prompt_includes_what_came_from_the_cache() {
    let usage = json!({
        "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "prompt_tokens_details": { "cached_tokens": 60, "audio_tokens": 10 },
        "completion_tokens_details": { "reasoning_tokens": 20, "audio_tokens": 5 }
    });
    let expected = vec![
        (Unit::Input, 30),
        (Unit::CachedInput, 60),
        (Unit::Output, 25),
        (Unit::Reasoning, 20),
        (Unit::AudioInput, 10),
        (Unit::AudioOutput, 5),
    ];
    assert_eq!(read(Endpoint::ChatCompletions, &usage), Some(expected));
}

#[test]
fn anthropics_input_excludes_the_cache() {
    let usage = json!({
        "input_tokens": 10, "output_tokens": 7,
        "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 200
    });
    let expected = vec![
        (Unit::Input, 10),
        (Unit::CachedInput, 1000),
        (Unit::CacheWrite, 200),
        (Unit::Output, 7),
    ];
    assert_eq!(read(Endpoint::Messages, &usage), Some(expected));
}

#[test]
fn responses_have_their_own_words() {
    let usage = json!({
        "input_tokens": 40, "output_tokens": 30, "total_tokens": 70,
        "input_tokens_details": { "cached_tokens": 15 },
        "output_tokens_details": { "reasoning_tokens": 12 }
    });
    let expected = vec![
        (Unit::Input, 25),
        (Unit::CachedInput, 15),
        (Unit::Output, 18),
        (Unit::Reasoning, 12),
    ];
    assert_eq!(read(Endpoint::Responses, &usage), Some(expected));
}

#[test]
fn thoughts_outside_of_the_completion_are_counted_by_the_total() {
    let gemini = json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45 });
    let expected = vec![(Unit::Input, 10), (Unit::Output, 5), (Unit::Reasoning, 30)];
    assert_eq!(
        read(Endpoint::ChatCompletions, &gemini),
        Some(expected.clone())
    );
    let xai = json!({
        "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45,
        "completion_tokens_details": { "reasoning_tokens": 30 }
    });
    assert_eq!(read(Endpoint::ChatCompletions, &xai), Some(expected));
}

#[test]
fn embeddings_read_and_write_nothing() {
    let usage = json!({ "prompt_tokens": 8, "total_tokens": 8 });
    let expected = vec![(Unit::Input, 8)];
    assert_eq!(read(Endpoint::Embeddings, &usage), Some(expected));
}

#[test]
fn what_cannot_be_true_counts_as_not_said() {
    for usage in [
        json!(null),
        json!({}),
        json!([1]),
        json!({ "prompt_tokens": 0, "completion_tokens": 0 }),
        json!({ "prompt_tokens": -1, "completion_tokens": 5 }),
        json!({ "prompt_tokens": 1.5, "completion_tokens": 5 }),
        json!({ "prompt_tokens": 1_u64 << 40, "completion_tokens": 5 }),
    ] {
        assert_eq!(read(Endpoint::ChatCompletions, &usage), None, "{usage}");
    }
    assert_eq!(
        Whole::read(Endpoint::ChatCompletions, b"<html>").usage(),
        None
    );
}

#[test]
fn one_odd_detail_does_not_discard_the_report() {
    let prompt = [
        ("prompt_tokens", json!(10)),
        ("completion_tokens", json!(5)),
    ];
    for (name, odd) in [
        ("prompt_tokens_details", json!({ "cached_tokens": -1 })),
        ("prompt_tokens_details", json!({ "cached_tokens": 0.5 })),
        ("prompt_tokens_details", json!({ "cached_tokens": {} })),
        (
            "prompt_tokens_details",
            json!({ "cached_tokens": u64::MAX }),
        ),
        ("prompt_tokens_details", json!("none")),
        ("completion_tokens_details", json!([])),
        ("cache_creation", json!(3)),
        ("total_tokens", json!("many")),
        ("output_tokens", json!(null)),
        ("cost", json!({ "deep": [{ "deeper": 1e300 }] })),
    ] {
        let mut usage: serde_json::Map<_, _> = prompt
            .iter()
            .map(|(name, count)| ((*name).to_owned(), count.clone()))
            .collect();
        usage.insert(name.to_owned(), odd);
        let usage = Value::Object(usage);
        let expected = vec![(Unit::Input, 10), (Unit::Output, 5)];
        assert_eq!(
            read(Endpoint::ChatCompletions, &usage),
            Some(expected),
            "{usage}"
        );
    }
}

#[test]
fn a_report_of_one_side_tells_that_side() {
    let body = json!({ "usage": { "prompt_tokens": 0, "completion_tokens": 500 } }).to_string();
    let whole = Whole::read(Endpoint::ChatCompletions, body.as_bytes());
    assert_eq!(whole.usage(), None);
    assert_eq!(whole.told().all_output(), 500);
}

#[test]
fn pictures_are_counted_as_delivered() {
    let body = json!({ "data": [{ "url": "a" }, { "url": "b" }] }).to_string();
    let usage = Whole::read(Endpoint::Images, body.as_bytes())
        .usage()
        .unwrap();
    assert_eq!(usage.get(Unit::Image), 2);
    let body = json!({
        "data": [{ "b64_json": "" }],
        "usage": { "input_tokens": 50, "output_tokens": 4000,
                   "input_tokens_details": { "text_tokens": 10, "image_tokens": 40 } }
    });
    let usage = Whole::read(Endpoint::Images, body.to_string().as_bytes())
        .usage()
        .unwrap();
    let counts = [
        Unit::Input,
        Unit::ImageInput,
        Unit::ImageOutput,
        Unit::Image,
    ];
    assert_eq!(counts.map(|unit| usage.get(unit)), [10, 40, 4000, 1]);
    assert_eq!(Whole::read(Endpoint::Images, b"{}").usage(), None);
}

#[test]
fn the_cost_stands_in_the_usage_and_the_rest_as_it_was() {
    let body = br#"{"id": "x","usage":{"prompt_tokens":1,"cost":0.5},"n":1.50}"#;
    let priced = with_cost(body, Msat::new(12_345).unwrap()).unwrap();
    let expected = r#"{"id": "x","usage":{"prompt_tokens":1,"cost":12.345,"upstream_cost":0.5,"cost_unit":"sat","cost_msat":12345},"n":1.50}"#;
    assert_eq!(String::from_utf8(priced).unwrap(), expected);
    let bare = with_cost(br#"{"data":[]}"#, Msat::new(7).unwrap()).unwrap();
    let bare: Value = serde_json::from_slice(&bare).unwrap();
    assert_eq!(bare["usage"]["cost_msat"], 7);
    assert_eq!(with_cost(b"[1]", Msat::ZERO), None);
}

#[test]
fn the_cost_finds_its_place_wherever_the_usage_is() {
    let cost = Msat::new(1).unwrap();
    let told = r#"{"cost":0.001,"cost_unit":"sat","cost_msat":1}"#;
    for (body, expected) in [
        ("{}", format!("{{\"usage\":{told}}}")),
        (" { } \n", format!(" {{ \"usage\":{told}}} \n")),
        (
            r#"{"a":{"usage":1} }"#,
            format!(r#"{{"a":{{"usage":1}} ,"usage":{told}}}"#),
        ),
        (
            r#"{"usage": null,"a":"}"}"#,
            format!(r#"{{"usage": {told},"a":"}}"}}"#),
        ),
        (r#"{"usage":{ } }"#, format!(r#"{{"usage":{told} }}"#)),
    ] {
        let priced = with_cost(body.as_bytes(), cost).unwrap();
        assert_eq!(String::from_utf8(priced).unwrap(), expected, "{body}");
    }
}

#[test]
fn an_answer_that_names_its_usage_twice_tells_none_and_its_cost_stands_in_the_first() {
    let body = br#"{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2},"error":{}}"#;
    let whole = Whole::read(Endpoint::ChatCompletions, body);
    assert_eq!(whole.usage(), None);
    assert!(whole.is_error());
    let priced = whole.with_cost(Msat::new(7).unwrap()).unwrap();
    let expected = r#"{"usage":{"prompt_tokens":1,"cost":0.007,"#;
    assert!(priced.starts_with(expected.as_bytes()));
}

#[test]
fn what_an_answer_says_is_counted_without_its_frame() {
    let body = json!({
        "id": "chatcmpl-1", "model": "m",
        "choices": [{ "message": { "role": "assistant", "content": "12345" },
                      "finish_reason": "stop" }]
    });
    assert_eq!(content_bytes(body.to_string().as_bytes()), 5);
    assert_eq!(content_bytes(b"no json"), 7);
}

#[test]
fn what_an_answer_says_in_members_that_nobody_knows_is_counted() {
    for (said, answer) in [
        (
            5,
            json!({ "choices": [{ "message": { "tool_calls": [
            { "type": "custom", "id": "c", "custom": { "name": "r", "input": "abcd" } }] } }] }),
        ),
        (
            3,
            json!({ "candidates": [{ "content": { "parts": [{ "text": "abc" }] } }] }),
        ),
        (
            7,
            json!({ "content": [{ "type": "tool_use", "id": "t", "name": "n",
            "input": { "id": "abc", "n": 1 } }] }),
        ),
        (
            3,
            json!({ "choices": [{ "message": { "reasoning": "abc", "reasoning_content": "abc",
            "reasoning_details": [{ "type": "reasoning.text", "text": "abc" }] } }] }),
        ),
        (0, json!({ "object": "error", "message": "overloaded" })),
    ] {
        assert_eq!(
            content_bytes(answer.to_string().as_bytes()),
            said,
            "{answer}"
        );
    }
}

#[test]
fn sound_and_pictures_count_by_what_their_tokens_cost_and_text_by_all_its_bytes() {
    let sound = "QUJD".repeat(1000);
    let said = |message: Value| {
        let answer = json!({ "choices": [{ "message": message }] });
        content_bytes(answer.to_string().as_bytes())
    };
    assert_eq!(
        said(json!({ "audio": { "id": "a", "data": sound, "transcript": "hi" } })),
        42
    );
    let url = format!("data:image/png;base64,{sound}");
    assert_eq!(
        said(json!({ "images": [{ "image_url": { "url": url } }] })),
        41
    );
    assert_eq!(said(json!({ "content": url })), 4022);
}

fn content_bytes(body: &[u8]) -> u64 {
    Whole::read(Endpoint::ChatCompletions, body).content_bytes()
}

#[test]
fn a_byte_order_mark_hides_nothing_of_an_answer() {
    let body = "\u{feff}{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}";
    let whole = Whole::read(Endpoint::ChatCompletions, body.as_bytes());
    let usage = whole.usage().unwrap();
    assert_eq!(usage.all_output(), 1);
    assert!(!whole.is_error());
}
