//! Lines as payment headers: an error, or a credential that reads the same when printed again.

#![no_main]

use farebox_wire::credential::{L402Credential, PAYMENT_HEADERS, PaymentHeaders, read_credentials};
use farebox_wire::macaroon::RootKey;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let lines = data.split(|&byte| byte == b'\n');
    let headers: Vec<_> = lines.filter_map(header).collect();
    let mut map = HeaderMap::new();
    for (name, value) in &headers {
        map.append(name, value.clone());
    }
    match read_credentials(&map) {
        Ok(PaymentHeaders::L402(credential)) => check(&credential),
        Ok(PaymentHeaders::Nothing) => {
            assert!(
                headers
                    .iter()
                    .all(|(name, _)| !name.as_str().contains("macaroon"))
            );
            assert!(!map.contains_key(AUTHORIZATION));
        }
        Ok(PaymentHeaders::Other) => assert!(map.contains_key(AUTHORIZATION)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// The first byte chooses the header, the rest is its value.
fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let (&choice, value) = line.split_first()?;
    let name = match choice {
        b'0'..=b'4' => HeaderName::from_static(PAYMENT_HEADERS[usize::from(choice - b'0')]),
        _ => AUTHORIZATION,
    };
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

fn check(credential: &L402Credential) {
    assert!(credential.verify(&RootKey::from_bytes([0x5a; 32])).is_err());
    let preimage = hex::encode(credential.preimage.reveal());
    let line = format!("L402 {}:{preimage}", credential.macaroon.to_base64());
    let Ok(value) = HeaderValue::from_str(&line) else {
        panic!("not a header value: {line}")
    };
    let reread = read_credentials(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
    if line.len() <= farebox_wire::credential::MAX_AUTHORIZATION_LENGTH {
        assert_eq!(reread, Ok(PaymentHeaders::L402(Box::new(credential.clone()))));
    }
}
