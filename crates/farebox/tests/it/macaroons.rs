//! pymacaroons as the oracle: it verifies what we issue, and we verify what it issues.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox_core::{KeyEpoch, PaymentHash};
use farebox_wire::identifier::TokenIdentifier;
use farebox_wire::macaroon::{Macaroon, RootKey};
use serde_json::json;

use crate::parts;

const KEY: [u8; 32] = [7; 32];
const CAVEATS: [&str; 3] = ["amount_msat=2000", "kind=single", "route=weather"];

fn identifier() -> [u8; 66] {
    TokenIdentifier::new(PaymentHash::from_bytes([1; 32]), KeyEpoch(3), [9; 28]).to_bytes()
}

#[test]
fn pymacaroons_verifies_a_macaroon_that_we_issued_and_refuses_it_under_another_key() {
    let issued = Macaroon::issue(&RootKey::from_bytes(KEY), "farebox", &identifier(), CAVEATS);
    for (key, verified) in [(KEY, true), ([8; 32], false)] {
        let Some(mut oracle) = parts::python("macaroons.py") else {
            return;
        };
        let question =
            json!({ "do": "verify", "root_key": hex::encode(key), "macaroon": issued.to_base64() });
        let told = parts::answer(&mut oracle, &question);
        assert_eq!(told["verified"], verified, "{told}");
        assert_eq!(told["location"], "farebox");
        assert_eq!(told["identifier"], hex::encode(identifier()));
        assert_eq!(told["caveats"], json!(CAVEATS));
    }
}

#[test]
fn we_verify_a_macaroon_that_pymacaroons_issued_and_refuse_it_under_another_key() {
    let Some(mut oracle) = parts::python("macaroons.py") else {
        return;
    };
    let question = json!({
        "do": "issue",
        "root_key": hex::encode(KEY),
        "location": "farebox",
        "identifier": hex::encode(identifier()),
        "caveats": CAVEATS,
    });
    let told = parts::answer(&mut oracle, &question);
    let ours = Macaroon::issue(&RootKey::from_bytes(KEY), "farebox", &identifier(), CAVEATS);
    assert_eq!(told["macaroon"], ours.to_base64());
    let bytes = STANDARD.decode(told["macaroon"].as_str().unwrap()).unwrap();
    let theirs = Macaroon::parse(&bytes).unwrap();
    assert!(theirs.verify(&RootKey::from_bytes(KEY)));
    assert!(!theirs.verify(&RootKey::from_bytes([8; 32])));
}
