use proptest::prelude::*;

use super::*;

fn refusal(text: &str) -> Code {
    match read(text, "pay_invoice") {
        Ok(Reply::Refused(code, _)) => code,
        _ => panic!("no refusal: {text}"),
    }
}

#[test]
fn an_error_is_one_even_beside_a_result_and_whatever_it_names() {
    for text in [
        r#"{"result_type":"pay_invoice","error":{"code":"PAYMENT_FAILED","message":"x"}}"#,
        r#"{"error":{"code":"PAYMENT_FAILED"},"result":{"preimage":"aa"}}"#,
        r#"{"result_type":"error","error":{"code":"PAYMENT_FAILED","message":"x"},"result":null}"#,
    ] {
        assert_eq!(refusal(text), Code::PaymentFailed);
    }
    assert_eq!(refusal(r#"{"error":{}}"#), Code::Other);
    assert_eq!(
        refusal(r#"{"error":{"code":"payment_failed"}}"#),
        Code::Other
    );
}

#[test]
fn only_codes_that_nip_47_describes_so_are_before_the_start() {
    for (code, before) in [
        ("RATE_LIMITED", true),
        ("NOT_IMPLEMENTED", true),
        ("INSUFFICIENT_BALANCE", true),
        ("QUOTA_EXCEEDED", true),
        ("RESTRICTED", true),
        ("UNAUTHORIZED", true),
        ("UNSUPPORTED_ENCRYPTION", true),
        ("PAYMENT_FAILED", false),
        ("NOT_FOUND", false),
        ("INTERNAL", false),
        ("OTHER", false),
        ("BAD_REQUEST", false),
    ] {
        assert_eq!(Code::read(code).is_before_the_start(), before, "{code}");
    }
}

#[test]
fn a_refusal_without_words_is_one_too() {
    for message in ["null", "7", "{}"] {
        let text = format!(r#"{{"error":{{"code":"NOT_FOUND","message":{message}}}}}"#);
        assert_eq!(refusal(&text), Code::NotFound, "{message}");
    }
}

#[test]
fn a_member_of_another_type_is_called_that() {
    let read: Result<Balance, _> = fields(serde_json::json!({ "balance": {} }));
    assert_eq!(read.err(), Some(AnswerFault::Shape));
}

#[test]
fn the_result_of_another_method_is_none() {
    let text = r#"{"result_type":"make_invoice","result":{"preimage":"aa"}}"#;
    assert!(read(text, "pay_invoice").is_err());
    assert!(matches!(read(text, "make_invoice"), Ok(Reply::Done(_))));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = read(&text, "pay_invoice");
        let _ = read_notification(&text);
    }
}
