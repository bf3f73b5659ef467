//! Named behaviours of problem documents.

use std::collections::HashSet;

use farebox_core::{RequestId, UnixMillis};
use serde_json::json;

use super::*;

fn read(problem: &Problem) -> Value {
    serde_json::from_slice(&problem.to_json()).unwrap()
}

#[test]
fn a_402_reads_like_this() {
    let id = RequestId::new(UnixMillis::from_secs(1), [7; 10]);
    let problem = Problem::new(ProblemKind::PAYMENT_REQUIRED)
        .with_detail("one request to weather costs 2000 msat")
        .with("price_msat", 2000)
        .with("request_id", id.to_string());
    let expected = json!({
        "type": "https://farebox.dev/problems/payment-required",
        "title": "This request has to be paid for",
        "status": 402,
        "detail": "one request to weather costs 2000 msat",
        "price_msat": 2000,
        "request_id": id.to_string(),
    });
    assert_eq!(read(&problem), expected);
}

#[test]
fn a_credential_is_refused_in_words_and_nothing_presented_needs_none() {
    let spoken = |reason| {
        Problem::new(ProblemKind::CREDENTIAL_EXPIRED)
            .with("reason", reason)
            .spoken_reason()
    };
    assert_eq!(spoken("used_up").as_deref(), Some("quota exhausted"));
    assert_eq!(spoken("wrong_route").as_deref(), Some("wrong route"));
    assert_eq!(spoken("expired").as_deref(), Some("expired"));
    assert_eq!(spoken("no_credential"), None);
    assert_eq!(
        Problem::new(ProblemKind::RATE_LIMITED).spoken_reason(),
        None
    );
}

#[test]
fn the_standard_members_come_first_and_absent_ones_are_left_out() {
    let json = Problem::new(ProblemKind::RATE_LIMITED)
        .with("reason", "per_token")
        .to_json();
    let expected = concat!(
        r#"{"type":"https://farebox.dev/problems/rate-limited","title":"Too many requests","#,
        r#""status":429,"reason":"per_token"}"#
    );
    assert_eq!(String::from_utf8(json).unwrap(), expected);
}

#[test]
fn a_payment_method_may_ask_for_another_status() {
    let problem =
        Problem::new(ProblemKind::CREDENTIAL_INVALID).with_status(StatusCode::PAYMENT_REQUIRED);
    assert_eq!(problem.status(), 402);
    assert_eq!(read(&problem)["status"], 402);
    assert_eq!(problem.kind().code, "credential-invalid");
}

#[test]
fn waits_are_in_whole_seconds_rounded_up() {
    let waiting = |wait| read(&Problem::new(ProblemKind::RATE_LIMITED).with_retry_after(wait));
    assert_eq!(waiting(Duration::from_millis(1))["retry_after"], 1);
    assert_eq!(waiting(Duration::from_secs(2))["retry_after"], 2);
}

#[test]
fn an_extension_neither_repeats_nor_replaces_a_standard_member() {
    let problem = Problem::new(ProblemKind::FORBIDDEN)
        .with("status", 200)
        .with("type", "about:blank")
        .with("reason", "one")
        .with("reason", "two");
    let text = String::from_utf8(problem.to_json()).unwrap();
    assert_eq!(read(&problem)["status"], 403);
    assert_eq!(read(&problem)["reason"], "two");
    assert_eq!(
        text.matches("\"reason\"").count() + text.matches("\"status\"").count(),
        2
    );
}

#[test]
fn text_from_elsewhere_stays_inside_its_string() {
    let text = "\"},\r\n{\"price_msat\":0,\u{0}";
    let problem = Problem::new(ProblemKind::BAD_REQUEST).with_detail(text);
    assert_eq!(read(&problem)["detail"], text);
    assert!(!problem.to_json().iter().any(u8::is_ascii_control));
}

#[test]
fn codes_are_kebab_case_unique_and_have_an_error_status() {
    let mut seen = HashSet::new();
    for kind in ProblemKind::ALL {
        assert!(seen.insert(kind.code), "{} twice", kind.code);
        assert!(
            kind.code
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        );
        assert!(
            (400..600).contains(&kind.status.as_u16()) && !kind.title.is_empty(),
            "{}",
            kind.code
        );
    }
}
