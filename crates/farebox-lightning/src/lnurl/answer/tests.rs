use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn honest() -> Value {
    json!({
        "tag": "payRequest",
        "callback": "https://provider.example/cb?k=1",
        "minSendable": 1000,
        "maxSendable": 5_000_000,
        "metadata": "[[\"text/plain\",\"pay me\"],[\"text/identifier\",\"me@provider.example\"]]",
        "commentAllowed": 80,
    })
}

fn with(field: &str, value: Value) -> Result<PayParameters, AnswerError> {
    let mut json = honest();
    json[field] = value;
    parse_pay_parameters(json.to_string().as_bytes())
}

fn fault<T: std::fmt::Debug>(answer: Result<T, AnswerError>) -> AnswerFault {
    match answer {
        Err(AnswerError::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_honest_answer_is_read() {
    let read = parse_pay_parameters(honest().to_string().as_bytes()).unwrap();
    assert_eq!(read.callback, "https://provider.example/cb?k=1");
    assert_eq!(
        (read.limits.min.get(), read.limits.max.get()),
        (1000, 5_000_000)
    );
    assert_eq!(read.comment_allowed, 80);
    let metadata = honest()["metadata"].as_str().unwrap().to_owned();
    assert_eq!(
        read.metadata_hash,
        <[u8; 32]>::from(Sha256::digest(metadata))
    );
}

#[test]
fn another_tag_is_refused() {
    assert_eq!(
        fault(with("tag", json!("withdrawRequest"))),
        AnswerFault::Tag
    );
    assert_eq!(fault(with("tag", Value::Null)), AnswerFault::Tag);
}

#[test]
fn a_field_that_is_not_there_is_named() {
    for field in ["callback", "metadata", "minSendable", "maxSendable"] {
        assert_eq!(fault(with(field, Value::Null)), AnswerFault::Missing(field));
    }
    assert_eq!(
        fault(parse_invoice_answer(b"{}")),
        AnswerFault::Missing("pr")
    );
    assert_eq!(
        fault(parse_verify_answer(b"{}")),
        AnswerFault::Missing("settled")
    );
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    assert_eq!(fault(with("minSendable", json!(0))), AnswerFault::Limits);
    assert_eq!(
        fault(with("minSendable", json!(5_000_001))),
        AnswerFault::Limits
    );
    assert_eq!(
        fault(with("minSendable", json!(u64::MAX))),
        AnswerFault::Limits
    );
    assert_eq!(
        with("maxSendable", json!(u64::MAX)).unwrap().limits.max,
        AmountLimits::ANY.max
    );
    assert!(with("minSendable", json!(5_000_000)).is_ok());
}

#[test]
fn a_limit_is_a_whole_number_however_it_is_written() {
    for written in [json!(1000), json!(1000.0), json!("1000")] {
        let read = with("minSendable", written).unwrap();
        assert_eq!(read.limits.min.get(), 1000);
    }
    for bad in [json!(-1), json!(0.5), json!("1,000")] {
        assert!(matches!(
            fault(with("minSendable", bad)),
            AnswerFault::Json { .. }
        ));
    }
}

#[test]
fn metadata_has_exactly_one_plain_text() {
    for bad in [
        "",
        "{}",
        "[]",
        "[\"text/plain\",\"x\"]",
        "[[\"text/plain\"]]",
        "[[\"text/plain\",1]]",
        "[[\"text/plain\",\"a\"],[\"text/plain\",\"b\"]]",
    ] {
        assert_eq!(
            fault(with("metadata", json!(bad))),
            AnswerFault::Metadata,
            "{bad}"
        );
    }
    let foreign = "[[\"text/plain\",\"a\"],[\"later\",{\"any\":[1]},null]]";
    assert!(with("metadata", json!(foreign)).is_ok());
}

#[test]
fn a_callback_that_is_no_absolute_url_is_refused() {
    for bad in [
        "",
        "/cb",
        "provider.example",
        "https://",
        "https:///cb",
        "https://h/ x",
    ] {
        assert_eq!(
            fault(with("callback", json!(bad))),
            AnswerFault::Url,
            "{bad}"
        );
    }
    let long = format!("https://h/{}", "a".repeat(MAX_CALLBACK));
    assert_eq!(fault(with("callback", json!(long))), AnswerFault::Url);
}

#[test]
fn a_comment_length_of_another_type_allows_none() {
    for odd in [json!(true), json!("x"), json!(-1), json!(1.5), Value::Null] {
        assert_eq!(with("commentAllowed", odd).unwrap().comment_allowed, 0);
    }
}

#[test]
fn a_refusal_is_repeated_short_and_printable() {
    let reason = format!("no\r\n\u{1b}[31m\u{202e}{}", "x".repeat(500));
    let body = json!({ "status": "error", "reason": reason }).to_string();
    let Err(AnswerError::Refused(shown)) = parse_invoice_answer(body.as_bytes()) else {
        panic!()
    };
    assert!(shown.starts_with("no   [31m x"), "{shown}");
    assert_eq!(shown.chars().count(), 200);
}

#[test]
fn a_refusal_without_a_reason_is_one_too() {
    let refused = parse_pay_parameters(br#"{"status":"ERROR"}"#);
    assert_eq!(
        refused,
        Err(AnswerError::Refused("no reason given".to_owned()))
    );
}

#[test]
fn a_verify_url_that_cannot_be_called_is_left_out() {
    let long = format!("https://h/{}", "a".repeat(MAX_VERIFY));
    for odd in [json!(7), json!("/v"), json!(long), Value::Null] {
        let body = json!({ "pr": "lnbc1", "verify": odd }).to_string();
        assert_eq!(parse_invoice_answer(body.as_bytes()).unwrap().verify, None);
    }
}

#[test]
fn what_stands_beside_the_word_settled_decides_nothing_and_is_not_kept() {
    let odd = [
        json!("5ec2e7"),
        json!(5_432_101),
        json!("0".repeat(64)),
        json!([]),
        json!(""),
    ];
    for odd in odd {
        for settled in [true, false] {
            let body = json!({ "settled": settled, "preimage": odd, "pr": odd, "status": odd });
            let read = parse_verify_answer(body.to_string().as_bytes()).unwrap();
            let invoice_hash = None;
            assert_eq!(
                read,
                VerifyAnswer {
                    settled,
                    invoice_hash
                },
                "{odd}"
            );
        }
    }
    let body = json!({ "settled": "perhaps", "preimage": 5_432_101 }).to_string();
    let error = parse_verify_answer(body.as_bytes()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("5432101"));
}

#[test]
fn a_status_is_judged_before_the_body() {
    let answer = |status: u16, is_web_page, body: &str| Answer {
        host: "provider".into(),
        status: StatusCode::from_u16(status).unwrap(),
        is_web_page,
        retry_after: None,
        body: body.to_owned().into(),
    };
    let judged = |answer: &Answer| judge(answer, parse_invoice_answer);
    let (good, refusal) = (r#"{"pr":"lnbc1"}"#, r#"{"status":"ERROR","reason":"gone"}"#);
    assert!(judged(&answer(200, false, good)).is_ok());
    assert!(judged(&answer(200, true, good)).is_ok());
    assert_eq!(
        fault(judged(&answer(200, true, "<html>"))),
        AnswerFault::WebPage
    );
    assert_eq!(
        fault(judged(&answer(404, false, good))),
        AnswerFault::Status(404)
    );
    assert_eq!(
        judged(&answer(404, false, refusal)),
        Err(AnswerError::Refused("gone".into()))
    );
    for status in [429, 500, 503] {
        assert_eq!(
            judged(&answer(status, false, refusal)),
            Err(AnswerError::Unavailable(status))
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_pay_parameters(&body);
        let _ = parse_invoice_answer(&body);
        let _ = parse_verify_answer(&body);
    }
}
