//! Named behaviours of challenges, and the recognisers of clients that cannot run here.

use proptest::prelude::*;

use super::*;
use crate::macaroon::RootKey;

const INVOICE: &str = "lnbc20u1pfarebox";

fn challenge() -> L402Challenge {
    let macaroon = Macaroon::issue(&RootKey::from_bytes([1; 32]), "farebox", b"i", ["a=b"]);
    L402Challenge::new(&macaroon, InvoiceText::parse(INVOICE).unwrap())
}

fn lines(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .map(|line| line.to_str().unwrap())
        .collect()
}

fn headers(legacy: LegacyLsat) -> HeaderMap {
    let mut headers = HeaderMap::new();
    challenge().append_to(&mut headers, legacy);
    headers
}

/// What Aperture's client takes from one line: a scheme, one space, `macaroon` and `invoice` in
/// this order with a comma and one space between.
fn aperture(line: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = line.split_once(' ')?;
    let (macaroon, rest) = rest.strip_prefix("macaroon=\"")?.split_once('"')?;
    let (invoice, _) = rest.strip_prefix(", invoice=\"")?.split_once('"')?;
    matches!(scheme, "L402" | "LSAT").then_some((macaroon, invoice))
}

#[test]
fn aperture_and_lnget_find_macaroon_and_invoice_in_the_first_line() {
    for legacy in [LegacyLsat::Omit, LegacyLsat::Lead] {
        let headers = headers(legacy);
        let (macaroon, invoice) = aperture(lines(&headers)[0]).unwrap();
        assert_eq!(invoice, INVOICE);
        assert_eq!(
            macaroon.len() % 4,
            0,
            "padded, as Aperture's decoder insists"
        );
        assert!(crate::base64_text::decode(macaroon.as_bytes()).is_ok());
    }
}

#[test]
fn the_draft_names_follow_the_names_in_use() {
    let value = challenge().l402();
    let names: Vec<&str> = value
        .to_str()
        .unwrap()
        .trim_start_matches("L402 ")
        .split(", ")
        .filter_map(|parameter| parameter.split_once("=\"").map(|(name, _)| name))
        .collect();
    assert_eq!(names, ["macaroon", "invoice", "version", "token"]);
}

#[test]
fn the_legacy_line_leads_and_only_if_asked_for() {
    let [omitted, led] = [LegacyLsat::Omit, LegacyLsat::Lead].map(headers);
    assert_eq!(lines(&omitted), [challenge().l402().to_str().unwrap()]);
    let both = [challenge().lsat(), challenge().l402()];
    assert_eq!(
        lines(&led),
        both.each_ref().map(|line| line.to_str().unwrap())
    );
    assert!(lines(&led)[0].starts_with("LSAT macaroon=\""));
}

#[test]
fn text_that_could_leave_its_quotes_is_no_invoice() {
    for text in [
        "lnbc1\"",
        "lnbc1\\",
        "lnbc1,x=1",
        "lnbc1 x",
        "lnbc1\r\nSet-Cookie: a=b",
        "lnbc1\0",
        "lnbc1é",
        "",
        "l",
        "bc1qxyz",
        "lightning:lnbc1",
        "é",
    ] {
        assert_eq!(InvoiceText::parse(text), Err(InvoiceTextError), "{text:?}");
    }
    assert!(InvoiceText::parse("LNBC20U1PFAREBOX").is_ok());
}

#[test]
fn the_length_of_an_invoice_is_bounded() {
    let of_length = |n: usize| InvoiceText::parse(format!("ln{}", "q".repeat(n - 2)));
    assert!(of_length(MAX_INVOICE_LENGTH).is_ok());
    assert_eq!(of_length(MAX_INVOICE_LENGTH + 1), Err(InvoiceTextError));
}

#[test]
fn debug_keeps_the_macaroon_to_itself() {
    assert!(!format!("{:?}", challenge()).contains(&challenge().macaroon));
}

proptest! {
    #[test]
    fn whatever_a_node_and_an_operator_say_a_line_has_eight_quotes(
        invoice in "(ln)?[ -~]{0,40}",
        location in ".{0,20}",
        caveat in ".{0,40}",
    ) {
        let macaroon = Macaroon::issue(&RootKey::from_bytes([1; 32]), &location, b"i", [caveat]);
        if let Ok(invoice) = InvoiceText::parse(invoice) {
            let value = L402Challenge::new(&macaroon, invoice.clone()).l402();
            let text = value.to_str().unwrap();
            prop_assert_eq!(text.matches('"').count(), 8);
            prop_assert_eq!(aperture(text), Some((&*macaroon.to_base64(), invoice.as_str())));
        }
    }
}
