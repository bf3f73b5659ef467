//! Any bytes as a token identifier: refused, or written back alike.

#![no_main]

use farebox_wire::identifier::TokenIdentifier;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(identifier) = TokenIdentifier::parse(data) {
        assert_eq!(identifier.to_bytes(), data);
        assert_eq!(identifier.key_epoch().0.to_be_bytes(), data[34..38]);
    }
});
