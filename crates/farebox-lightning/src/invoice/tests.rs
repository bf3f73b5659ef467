use proptest::prelude::*;

use super::*;

/// BOLT 11's own example: "Please send $3 for a cup of coffee", 2500 µBTC, 60 seconds.
const COFFEE: &str = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";

/// BOLT 11's example of a donation: no amount.
const DONATION: &str = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";

#[test]
fn every_field_a_payment_depends_on_is_read() {
    let invoice = parse_invoice(COFFEE).unwrap();
    assert_eq!(
        invoice.payment_hash.to_string(),
        "0001020304050607080900010203040506070809000102030405060708090102"
    );
    assert_eq!(invoice.amount.get(), 250_000_000);
    assert_eq!(invoice.created_at, UnixMillis::from_secs(1_496_314_658));
    assert_eq!(invoice.expires_at, UnixMillis::from_secs(1_496_314_718));
    assert_eq!(invoice.network, Network::Mainnet);
    assert_eq!(
        invoice.description,
        Description::Text("1 cup coffee".into())
    );
}

#[test]
fn upper_case_is_the_same_invoice() {
    assert_eq!(parse_invoice(&COFFEE.to_uppercase()), parse_invoice(COFFEE));
}

#[test]
fn an_invoice_without_an_amount_is_refused() {
    assert_eq!(parse_invoice(DONATION), Err(InvoiceFault::Amountless));
}

#[test]
fn one_changed_character_is_noticed() {
    let altered = COFFEE.replacen("2500u", "2501u", 1);
    assert!(matches!(
        parse_invoice(&altered),
        Err(InvoiceFault::Malformed(_))
    ));
}

#[test]
fn what_is_too_long_is_not_even_decoded() {
    let long = format!("lnbc1{}", "q".repeat(MAX_INVOICE_LENGTH));
    assert_eq!(
        parse_invoice(&long),
        Err(InvoiceFault::TooLong {
            limit: MAX_INVOICE_LENGTH
        })
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,300}") {
        let _ = parse_invoice(&text);
    }

    #[test]
    fn no_mutilated_invoice_is_accepted(at in 0..COFFEE.len(), byte in 33_u8..127) {
        let mut text = COFFEE.as_bytes().to_vec();
        prop_assume!(!text[at].eq_ignore_ascii_case(&byte));
        text[at] = byte;
        prop_assert!(parse_invoice(std::str::from_utf8(&text).unwrap()).is_err());
    }

    #[test]
    fn no_truncated_invoice_is_accepted(end in 0..COFFEE.len()) {
        prop_assert!(parse_invoice(&COFFEE[..end]).is_err());
    }
}
