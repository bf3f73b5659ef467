//! Any bytes as a macaroon: refused, or written back alike, and never verified under our key.

#![no_main]

use farebox_wire::macaroon::{Macaroon, RootKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut macaroon) = Macaroon::parse(data) else {
        return;
    };
    let key = RootKey::from_bytes([0x5a; 32]);
    assert_eq!(macaroon.to_bytes(), data);
    assert!(!macaroon.verify(&key));
    issue_alike(&macaroon, &key);
    let before = macaroon.caveats().count();
    macaroon.attenuate("valid_until=1");
    assert_eq!(macaroon.caveats().count(), before + 1);
    assert_eq!(macaroon.caveats().last(), Some(&b"valid_until=1"[..]));
});

/// Whatever could be read can be issued, read and verified with the same contents.
fn issue_alike(macaroon: &Macaroon, key: &RootKey) {
    let issued = Macaroon::issue(key, "", macaroon.identifier(), macaroon.caveats());
    let read = Macaroon::parse(&issued.to_bytes()).expect("no longer than what was read");
    assert!(read.verify(key));
    assert_eq!(read.identifier(), macaroon.identifier());
    assert!(read.caveats().eq(macaroon.caveats()));
}
