use std::time::Duration;

use crate::keyring::{ImportedSecret, Rotation};
use farebox_core::{
    Binding, Kind, MethodClass, Msat, PaymentHash, RequestDigest, RouteName, Terms, TermsEpoch,
};
use farebox_wire::caveat::print_terms;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

const EXPIRES_AT: u64 = 1_800_000_000;

fn keyring(name: &str) -> Keyring {
    let secret = ImportedSecret::parse(&hex::encode(Sha256::digest(name))).unwrap();
    Keyring::in_memory(&secret, UnixMillis::from_secs(1))
}

fn ours() -> Keyring {
    keyring("ours")
}

fn macaroon(keyring: &Keyring) -> Macaroon {
    let epoch = keyring.signing_epoch();
    let identifier = TokenIdentifier::new(PaymentHash::from_bytes([7; 32]), epoch, [9; 28]);
    let identifier = identifier.to_bytes();
    let (root_key, _) = keyring.root_key(epoch, &identifier).unwrap();
    let terms = Terms {
        amount: Msat::new(2_000).unwrap(),
        kind: Kind::Single,
        route: RouteName::parse("paid").unwrap(),
        methods: MethodClass::Read,
        binding: Binding::Request(RequestDigest::from_bytes([3; 32])),
        epoch: TermsEpoch(1),
        valid_for: Duration::from_secs(3600),
        claim_by: UnixMillis::from_secs(EXPIRES_AT).plus(CLAIM_GRACE),
    };
    Macaroon::issue(&root_key, "lsat", &identifier, print_terms(&terms))
}

fn invoice(text: &str) -> Note {
    Note::Invoice(InvoiceText::parse(text).unwrap())
}

#[test]
fn what_was_written_is_read_back_with_the_token_and_the_expiry() {
    let keyring = ours();
    let macaroon = macaroon(&keyring);
    for note in [Note::Bare, Note::Paid, invoice("lnbc20n1abc")] {
        let text = write(&keyring, &macaroon, &note).unwrap();
        let claim = Claim::read(&text, &keyring).unwrap();
        assert_eq!(claim.note, note);
        assert_eq!(claim.macaroon, macaroon);
        assert_eq!(claim.token.payment_hash, PaymentHash::from_bytes([7; 32]));
        assert_eq!(claim.expires_at(), UnixMillis::from_secs(EXPIRES_AT));
    }
}

#[test]
fn a_claim_stands_in_a_cookie_and_a_header_as_it_is() {
    let keyring = ours();
    let text = write(&keyring, &macaroon(&keyring), &invoice("lnbc20n1abc")).unwrap();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    assert!(text.bytes().all(is_plain), "{text}");
}

#[test]
fn the_seal_covers_the_note() {
    let keyring = ours();
    let macaroon = macaroon(&keyring);
    let bare = write(&keyring, &macaroon, &Note::Bare).unwrap();
    for note in [".paid.", ".lnbc1."] {
        let other = bare.replacen("..", note, 1);
        assert!(Claim::read(&other, &keyring).is_err(), "{note}");
    }
}

#[test]
fn a_claim_of_another_server_is_none() {
    let (ours, theirs) = (ours(), keyring("theirs"));
    let text = write(&theirs, &macaroon(&theirs), &Note::Paid).unwrap();
    assert!(Claim::read(&text, &ours).is_err());
    // Sealed by us, but the macaroon is not ours.
    let text = write(&ours, &macaroon(&theirs), &Note::Paid).unwrap();
    assert!(Claim::read(&text, &ours).is_err());
}

#[test]
fn a_claim_outlives_a_rotation_of_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let now = UnixMillis::from_secs(1);
    let keyring = Keyring::open(&folder.path().join("keys"), None, now).unwrap();
    let text = write(&keyring, &macaroon(&keyring), &Note::Bare).unwrap();
    keyring.rotate(Rotation::Routine, now).unwrap();
    assert!(Claim::read(&text, &keyring).is_ok());
}

#[test]
fn a_claim_under_a_key_that_leaked_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let now = UnixMillis::from_secs(1);
    let keyring = Keyring::open(&folder.path().join("keys"), None, now).unwrap();
    let text = write(&keyring, &macaroon(&keyring), &Note::Paid).unwrap();
    keyring.rotate(Rotation::Emergency, now).unwrap();
    assert!(matches!(
        Claim::read(&text, &keyring),
        Err(PresentedError::UnknownKey)
    ));
}

#[test]
fn a_claim_too_long_for_a_cookie_is_not_read() {
    let text = "a".repeat(MAX_LENGTH + 1);
    assert!(Claim::read(&text, &ours()).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~]{0,200}") {
        prop_assert!(Claim::read(&text, &ours()).is_err());
    }

    #[test]
    fn no_single_change_makes_a_claim_say_anything_else(
        at: prop::sample::Index,
        by in 33u8..127,
    ) {
        let keyring = ours();
        let good = write(&keyring, &macaroon(&keyring), &invoice("lnbc20n1abc")).unwrap();
        let said = Claim::read(&good, &keyring).unwrap();
        let mut bytes = good.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = by;
        // The macaroon's location is a hint that nothing signs, and hex may be in capitals.
        if let Ok(claim) = Claim::read(&String::from_utf8(bytes).unwrap(), &keyring) {
            prop_assert_eq!(&claim.note, &said.note);
            prop_assert_eq!(claim.token.payment_hash, said.token.payment_hash);
            prop_assert_eq!(&claim.token.granted, &said.token.granted);
        }
    }
}
