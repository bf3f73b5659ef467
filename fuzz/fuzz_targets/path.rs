//! Text as the path of a request: refused, or brought into a form that stays as it is, stands in a
//! request target unchanged, and holds nothing that climbs.

#![no_main]

// The file alone: the crate around it would bring a TLS stack and a database to be instrumented.
#[path = "../../crates/farebox-http/src/path.rs"]
#[expect(dead_code, reason = "farebox-http uses more of it")]
mod path;

use libfuzzer_sys::fuzz_target;
use path::{CanonicalPath, PathParameters};

fuzz_target!(|raw: &str| {
    for parameters in [PathParameters::Refused, PathParameters::Allowed] {
        if let Ok(canonical) = CanonicalPath::parse(raw, parameters) {
            check(canonical.as_str(), parameters);
        }
    }
});

fn check(text: &str, parameters: PathParameters) {
    let again = CanonicalPath::parse(text, parameters).expect("a canonical path is a path");
    assert_eq!(again.as_str(), text);
    assert!(text.starts_with('/') && text.is_ascii());
    assert!(!text.contains('\\') && !text.bytes().any(|byte| byte <= b' '));
    assert!(text.split('/').all(|segment| segment != "." && segment != ".."));
    for hidden in ["%2F", "%5C", "%00", "%2E"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    let target: http::Uri = text.parse().expect("a canonical path is a request target");
    assert_eq!(target.path(), text);
}
