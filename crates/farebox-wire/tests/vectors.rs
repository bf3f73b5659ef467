//! The shared vectors of `spec/vectors`, which other languages read too.

#![expect(
    clippy::unwrap_used,
    reason = "a vector that cannot be read is a failed test"
)]

use farebox_core::{KeyEpoch, PaymentHash};
use farebox_wire::challenge::{InvoiceText, L402Challenge, LegacyLsat};
use farebox_wire::credential::{CredentialError, PaymentHeaders, read_credentials};
use farebox_wire::identifier::TokenIdentifier;
use farebox_wire::macaroon::{Macaroon, RootKey};
use farebox_wire::{grpc, problem};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

const MACAROONS: &str = include_str!("../../../spec/vectors/macaroons.json");
const CREDENTIALS: &str = include_str!("../../../spec/vectors/credentials.json");
const CHALLENGE: &str = include_str!("../../../spec/vectors/challenge.json");

#[derive(Deserialize)]
struct Macaroons {
    payment_hash: String,
    vectors: Vec<MacaroonVector>,
}

#[derive(Deserialize)]
struct MacaroonVector {
    name: String,
    root_key: String,
    identifier: String,
    location: String,
    caveats: Vec<String>,
    signature: String,
    binary: String,
    base64: String,
}

#[derive(Deserialize)]
struct Credentials {
    vectors: Vec<CredentialVector>,
}

#[derive(Deserialize)]
struct CredentialVector {
    name: String,
    headers: Vec<(String, String)>,
    presented: Option<String>,
    error: Option<String>,
    macaroon: Option<String>,
    payment_hash: Option<String>,
    preimage: Option<String>,
}

fn macaroons() -> Macaroons {
    serde_json::from_str(MACAROONS).unwrap()
}

fn root_key(vector: &MacaroonVector) -> RootKey {
    RootKey::from_bytes(hex::decode(&vector.root_key).unwrap().try_into().unwrap())
}

#[test]
fn macaroons_are_issued_byte_for_byte_as_by_pymacaroons() {
    for vector in macaroons().vectors {
        let identifier = hex::decode(&vector.identifier).unwrap();
        let key = root_key(&vector);
        let issued = Macaroon::issue(&key, &vector.location, &identifier, &vector.caveats);
        assert_eq!(
            hex::encode(issued.to_bytes()),
            vector.binary,
            "{}",
            vector.name
        );
        assert_eq!(issued.to_base64(), vector.base64, "{}", vector.name);
        assert!(
            vector.binary.ends_with(&vector.signature),
            "{}",
            vector.name
        );
    }
}

#[test]
fn macaroons_of_pymacaroons_are_read_and_verified() {
    for vector in macaroons().vectors {
        let macaroon = Macaroon::parse(&hex::decode(&vector.binary).unwrap()).unwrap();
        assert_eq!(
            hex::encode(macaroon.identifier()),
            vector.identifier,
            "{}",
            vector.name
        );
        assert_eq!(
            macaroon.location(),
            vector.location.as_bytes(),
            "{}",
            vector.name
        );
        assert!(
            macaroon
                .caveats()
                .eq(vector.caveats.iter().map(String::as_bytes))
        );
        assert!(macaroon.verify(&root_key(&vector)), "{}", vector.name);
        assert!(
            !macaroon.verify(&RootKey::from_bytes([0; 32])),
            "{}",
            vector.name
        );
    }
}

#[test]
fn the_first_vector_is_the_one_that_three_implementations_agree_on() {
    let first = &macaroons().vectors[0];
    assert_eq!(
        first.signature,
        "30a3dfc7f8805173fe9610aa6305720636729e2373efb142aa08214f02bbc5d7"
    );
    assert_eq!(first.binary.len(), 2 * 157);
}

#[test]
fn a_signature_without_the_key_derivation_does_not_verify() {
    let first = &macaroons().vectors[0];
    let underived = "7d015b920f626ce1e6570b5d4ea6b2365c9943553cd646e0a909076dde353d20";
    let binary = first.binary.replace(&first.signature, underived);
    let macaroon = Macaroon::parse(&hex::decode(binary).unwrap()).unwrap();
    assert!(!macaroon.verify(&root_key(first)));
}

#[test]
fn identifiers_of_the_vectors_name_the_payment_and_the_key_epoch() {
    let macaroons = macaroons();
    let hash = PaymentHash::from_hex(&macaroons.payment_hash).unwrap();
    let identifier = hex::decode(&macaroons.vectors[2].identifier).unwrap();
    let identifier = TokenIdentifier::parse(&identifier).unwrap();
    assert_eq!(identifier.payment_hash, hash);
    assert_eq!(identifier.key_epoch(), KeyEpoch(7));
}

#[test]
fn credentials_are_read_as_the_vectors_say() {
    let credentials: Credentials = serde_json::from_str(CREDENTIALS).unwrap();
    for vector in credentials.vectors {
        let found = read_credentials(&headers(&vector.headers));
        match (&vector.presented, &vector.error) {
            (Some(word), None) => check_presented(&vector, word, found),
            (None, Some(code)) => {
                let error = found.expect_err(&vector.name);
                assert_eq!(error_code(error), code, "{}: {error}", vector.name);
            }
            _ => panic!("{}: say what was presented or why not", vector.name),
        }
    }
}

fn headers(lines: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn check_presented(
    vector: &CredentialVector,
    word: &str,
    found: Result<PaymentHeaders, CredentialError>,
) {
    match found.unwrap_or_else(|error| panic!("{}: {error}", vector.name)) {
        PaymentHeaders::Nothing => assert_eq!(word, "nothing", "{}", vector.name),
        PaymentHeaders::Other => assert_eq!(word, "other", "{}", vector.name),
        PaymentHeaders::L402(credential) => {
            assert_eq!(word, "l402", "{}", vector.name);
            let hash = credential.identifier.payment_hash.to_string();
            assert_eq!(Some(hash), vector.payment_hash, "{}", vector.name);
            let preimage = hex::encode(credential.preimage.reveal());
            assert_eq!(Some(preimage), vector.preimage, "{}", vector.name);
            let macaroon = credential.macaroon.to_base64();
            assert_eq!(Some(macaroon), vector.macaroon, "{}", vector.name);
        }
    }
}

fn error_code(error: CredentialError) -> &'static str {
    match error {
        CredentialError::Ambiguous => "ambiguous",
        CredentialError::TooLong { .. } => "too_long",
        CredentialError::SeveralMacaroons => "several_macaroons",
        CredentialError::MissingPreimage => "missing_preimage",
        CredentialError::DifferentPreimages => "different_preimages",
        CredentialError::Malformed(_) => "malformed",
    }
}

#[test]
fn the_challenge_is_printed_as_the_vector_says() {
    let vector: Value = serde_json::from_str(CHALLENGE).unwrap();
    let text = |name: &str| vector[name].as_str().unwrap();
    let bytes = macaroons()
        .vectors
        .into_iter()
        .find(|one| one.base64 == text("macaroon"));
    let macaroon = Macaroon::parse(&hex::decode(bytes.unwrap().binary).unwrap()).unwrap();
    let invoice = InvoiceText::parse(text("invoice")).unwrap();
    let challenge = L402Challenge::new(&macaroon, invoice);
    assert_eq!(challenge.l402(), text("l402"));
    assert_eq!(challenge.lsat(), text("lsat"));
    assert_eq!(vector["http"]["content-type"], problem::CONTENT_TYPE);
    let mut trailers = grpc::refusal(grpc::ContentType::Native, grpc::UNPAID, grpc::MESSAGE);
    challenge.append_to(&mut trailers, LegacyLsat::Omit);
    check_headers(&trailers, &vector["grpc"]);
}

fn check_headers(headers: &HeaderMap, expected: &Value) {
    let expected = expected.as_object().unwrap();
    let named = expected.iter().filter(|(name, _)| *name != "status");
    for (name, value) in named {
        assert_eq!(headers[name.as_str()], value.as_str().unwrap(), "{name}");
    }
    assert_eq!(
        headers.keys_len(),
        expected.len(),
        "the status out, the challenge in"
    );
}
