//! Named behaviours of credentials beyond the shared vectors (`tests/vectors.rs`).

use farebox_core::{KeyEpoch, Kind, PaymentHash, Terms};
use http::HeaderName;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::caveat::{Capabilities, print_block, print_terms};

fn key() -> RootKey {
    RootKey::from_bytes([1; 32])
}

fn preimage() -> Preimage {
    Preimage::from_bytes([5; 32])
}

fn terms() -> Terms {
    let caveats = [
        "amount_msat=2000",
        "kind=calls",
        "count=5",
        "route=weather",
        "methods=any",
        "terms=00000001",
        "valid_for=60",
        "claim_by=100",
    ];
    read_caveats(caveats).unwrap().terms
}

fn token(caveats: &[String]) -> Macaroon {
    let identifier = TokenIdentifier::new(preimage().payment_hash(), KeyEpoch(1), [9; 28]);
    Macaroon::issue(&key(), "farebox", &identifier.to_bytes(), caveats)
}

fn authorization(lines: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(AUTHORIZATION, HeaderValue::from_bytes(line).unwrap());
    }
    headers
}

fn presented(macaroon: &Macaroon, preimage: &Preimage) -> L402Credential {
    let line = format!(
        "L402 {}:{}",
        macaroon.to_base64(),
        hex::encode(preimage.reveal())
    );
    match read_credentials(&authorization(&[line.as_bytes()])) {
        Ok(PaymentHeaders::L402(credential)) => *credential,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_paid_credential_grants_the_terms_that_were_sold() {
    let granted = presented(&token(&print_terms(&terms())), &preimage())
        .verify(&key())
        .unwrap();
    assert_eq!(granted.terms, terms());
    assert_eq!(granted.terms.kind, Kind::Calls(5));
}

#[test]
fn a_preimage_of_another_payment_proves_nothing() {
    let credential = presented(
        &token(&print_terms(&terms())),
        &Preimage::from_bytes([6; 32]),
    );
    assert_eq!(credential.verify(&key()), Err(VerifyError::WrongPreimage));
}

#[test]
fn a_token_that_we_did_not_sign_proves_nothing() {
    let credential = presented(&token(&print_terms(&terms())), &preimage());
    let other = RootKey::from_bytes([2; 32]);
    assert_eq!(credential.verify(&other), Err(VerifyError::WrongSignature));
}

#[test]
fn a_payment_for_one_token_does_not_open_another_with_that_hash_swapped_in() {
    let mut forged = token(&print_terms(&terms())).to_bytes();
    let cheap = Preimage::from_bytes([8; 32]);
    let hash_at = forged
        .windows(32)
        .position(|at| at == preimage().payment_hash().as_bytes());
    let hash_at = hash_at.unwrap();
    forged[hash_at..hash_at + 32].copy_from_slice(cheap.payment_hash().as_bytes());
    let credential = presented(&Macaroon::parse(&forged).unwrap(), &cheap);
    assert_eq!(credential.verify(&key()), Err(VerifyError::WrongSignature));
}

#[test]
fn a_token_attenuated_by_its_holder_grants_less() {
    let mut macaroon = token(&print_terms(&terms()));
    macaroon.attenuate("count=2");
    let granted = presented(&macaroon, &preimage()).verify(&key()).unwrap();
    assert_eq!(granted.holder.allowance.calls, Some(2));
    macaroon.attenuate("count=3");
    let widened = presented(&macaroon, &preimage()).verify(&key());
    assert_eq!(widened, Err(CaveatError::Widened { word: "count" }.into()));
}

#[test]
fn a_token_is_as_issued_until_a_holder_appends_to_it() {
    let sold = Capabilities::new(["read", "write"]).unwrap();
    for block in [print_terms(&terms()), print_block(&terms(), Some(&sold))] {
        let mut macaroon = token(&block);
        let as_issued =
            |macaroon: &Macaroon| presented(macaroon, &preimage()).is_as_issued(&terms());
        assert!(as_issued(&macaroon));
        macaroon.attenuate(format!("preimage={}", hex::encode(preimage().reveal())));
        assert!(as_issued(&macaroon));
        macaroon.attenuate("weather_capabilities=read,write");
        assert!(!as_issued(&macaroon));
    }
}

#[test]
fn a_signed_token_with_foreign_caveats_grants_nothing() {
    let foreign = ["services=weather:0".to_owned()];
    let refused = presented(&token(&foreign), &preimage()).verify(&key());
    assert_eq!(
        refused,
        Err(CaveatError::Missing {
            word: "amount_msat"
        }
        .into())
    );
}

#[test]
fn an_identifier_of_another_length_or_version_is_malformed() {
    let hash = hex::encode(preimage().reveal());
    for identifier in [&[0; 32][..], &[0; 65], &[0; 67], &[1; 66]] {
        let macaroon = Macaroon::issue(&key(), "", identifier, [""; 0]);
        let line = format!("L402 {}:{hash}", macaroon.to_base64());
        let error = read_credentials(&authorization(&[line.as_bytes()])).unwrap_err();
        assert!(
            matches!(error, CredentialError::Malformed(Malformed::Identifier(_))),
            "{error}"
        );
    }
}

#[test]
fn preimages_inside_a_token_have_to_agree_and_to_be_hex() {
    let carrying = |values: &[&str]| {
        let caveats: Vec<String> = values
            .iter()
            .map(|value| format!("preimage={value}"))
            .collect();
        let line = format!("L402 {}", token(&caveats).to_base64());
        read_credentials(&authorization(&[line.as_bytes()]))
    };
    let (one, two) = ("01".repeat(32), "02".repeat(32));
    assert!(matches!(
        carrying(&[&one, &one]),
        Ok(PaymentHeaders::L402(_))
    ));
    assert_eq!(
        carrying(&[&one, &two]),
        Err(CredentialError::DifferentPreimages)
    );
    let error = carrying(&["01"]).unwrap_err();
    assert!(
        matches!(error, CredentialError::Malformed(Malformed::Carried(_))),
        "{error}"
    );
}

#[test]
fn length_is_limited_before_anything_is_decoded() {
    let line = |length: usize| [&b"L402 "[..], &vec![b'!'; length - 5]].concat();
    let read = |length| read_credentials(&authorization(&[&line(length)])).unwrap_err();
    assert_eq!(
        read(MAX_AUTHORIZATION_LENGTH),
        Malformed::Base64(BadBase64).into()
    );
    let limit = MAX_AUTHORIZATION_LENGTH;
    assert_eq!(read(limit + 1), CredentialError::TooLong { limit });
}

#[test]
fn the_longest_macaroon_in_metadata_is_within_its_limit() {
    let read = |length| {
        let mut headers = HeaderMap::new();
        headers.insert(
            "macaroon",
            HeaderValue::from_bytes(&vec![b'0'; length]).unwrap(),
        );
        read_credentials(&headers).unwrap_err()
    };
    let limit = MAX_METADATA_LENGTH;
    assert_eq!(
        read(limit),
        Malformed::Macaroon(MacaroonError::Version).into()
    );
    assert_eq!(read(limit + 2), CredentialError::TooLong { limit });
}

#[test]
fn characters_beyond_printable_ascii_are_refused_under_any_scheme() {
    for line in [
        &b"Bearer a\tb"[..],
        b"Bearer a\x80b",
        b"\tL402 a:b",
        b"B\xc3\xa4rer a",
    ] {
        let read = read_credentials(&authorization(&[line]));
        assert_eq!(read, Err(Malformed::Characters.into()), "{line:?}");
    }
}

#[test]
fn a_line_that_begins_with_a_space_has_no_scheme() {
    assert_eq!(
        read_credentials(&authorization(&[b" L402 a:b"])),
        Err(Malformed::Form.into())
    );
}

#[test]
fn an_empty_line_is_refused_wherever_it_stands() {
    let empty = Err(Malformed::EmptyAuthorization.into());
    for lines in [[&b""[..], b"Bearer a"], [b"Bearer a", b""], [b" ", b""]] {
        assert_eq!(read_credentials(&authorization(&lines)), empty);
    }
}

#[test]
fn a_third_line_is_looked_at_too() {
    let lines: [&[u8]; 3] = [b"Bearer a", b"Bearer a", b"Bearer b"];
    assert_eq!(
        read_credentials(&authorization(&lines)),
        Err(CredentialError::Ambiguous)
    );
}

#[test]
fn nothing_presented_shows_in_debug_or_errors() {
    let credential = presented(&token(&print_terms(&terms())), &preimage());
    let shown = format!("{credential:?}");
    assert!(
        !shown.contains("0505") && !shown.contains("5, 5"),
        "{shown}"
    );
    for line in [
        "L402 s3cret:s3cret",
        "L402 s3cret",
        "L402 s3cret:",
        "L402 a,s3cret:aa",
    ] {
        let error = read_credentials(&authorization(&[line.as_bytes()])).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}

#[test]
fn payment_headers_are_lower_case_header_names() {
    for name in PAYMENT_HEADERS {
        assert_eq!(
            HeaderName::from_bytes(name.as_bytes()).unwrap().as_str(),
            name
        );
    }
}

fn header_line() -> impl Strategy<Value = Vec<u8>> {
    let good = format!(
        "{}:{}",
        token(&print_terms(&terms())).to_base64(),
        "05".repeat(32)
    );
    let near = (any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(at, byte)| {
        let mut line = format!("L402 {good}").into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        line
    });
    let loose = "(L402|lsat|Bearer|) {0,3}[A-Za-z0-9+/=_:,-]{0,80}".prop_map(String::into_bytes);
    prop_oneof![near, loose, vec(any::<u8>(), 0..60)]
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(secret: [u8; 32], random: [u8; 28], epoch: u32) {
        let preimage = Preimage::from_bytes(secret);
        let identifier = TokenIdentifier::new(preimage.payment_hash(), KeyEpoch(epoch), random);
        let macaroon = Macaroon::issue(&key(), "", &identifier.to_bytes(), print_terms(&terms()));
        let credential = presented(&macaroon, &preimage);
        prop_assert_eq!(&credential, &L402Credential { macaroon, identifier, preimage });
        prop_assert!(credential.verify(&key()).is_ok());
    }

    #[test]
    fn no_headers_make_it_panic_or_verify_without_payment(
        lines in vec(header_line(), 0..4),
        metadata in vec("[0-9a-f]{0,200}", 0..2),
    ) {
        let mut headers = HeaderMap::new();
        for line in lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
            headers.append(AUTHORIZATION, line);
        }
        for hex in metadata {
            headers.append("macaroon", hex.parse().unwrap());
        }
        if let Ok(PaymentHeaders::L402(credential)) = read_credentials(&headers)
            && credential.verify(&key()).is_ok()
        {
            prop_assert_eq!(credential.identifier.payment_hash, preimage().payment_hash());
            prop_assert_eq!(credential.preimage, preimage());
        }
    }
}

#[test]
fn hashes_are_compared_not_taken_on_trust() {
    let identifier = TokenIdentifier::new(PaymentHash::from_bytes([0; 32]), KeyEpoch(1), [9; 28]);
    let own = print_terms(&terms());
    let macaroon = Macaroon::issue(&key(), "", &identifier.to_bytes(), own);
    let verified = presented(&macaroon, &Preimage::from_bytes([0; 32])).verify(&key());
    assert_eq!(verified, Err(VerifyError::WrongPreimage));
}
