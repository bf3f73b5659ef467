//! Bytes as what a Lightning Address's provider answers: an error, or values within their bounds.

#![no_main]

use farebox_core::Msat;
use farebox_lightning::lnurl::Address;
use farebox_lightning::lnurl::answer::{
    AnswerError, parse_invoice_answer, parse_pay_parameters, parse_verify_answer,
};
use farebox_lightning::parse_invoice;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match parse_pay_parameters(data) {
        Ok(parameters) => {
            let limits = parameters.limits;
            assert!(!limits.min.is_zero() && limits.min <= limits.max && limits.max <= Msat::MAX);
            assert!(
                parameters
                    .callback
                    .host()
                    .is_some_and(|host| !host.is_empty())
            );
        }
        Err(error) => is_printable(&error),
    }
    match parse_invoice_answer(data) {
        Ok(answer) => read_invoice(&answer.bolt11),
        Err(error) => is_printable(&error),
    }
    if let Err(error) = parse_verify_answer(data) {
        is_printable(&error);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        read_invoice(text);
        read_address(text);
    }
});

fn read_invoice(bolt11: &str) {
    if let Ok(invoice) = parse_invoice(bolt11) {
        assert!(!invoice.amount.is_zero() && invoice.amount <= Msat::MAX);
        assert!(invoice.expires_at >= invoice.created_at);
    }
}

fn read_address(text: &str) {
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

fn is_printable(error: &AnswerError) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains(char::is_control));
}
