use super::PathParameters::{Allowed, Refused};
use super::*;
use proptest::prelude::*;

fn canonical(raw: &str) -> Result<String, PathError> {
    CanonicalPath::parse(raw, Refused).map(|path| path.as_str().to_owned())
}

fn check(raw: &str, expected: &str) {
    assert_eq!(canonical(raw).as_deref(), Ok(expected), "{raw}");
}

fn refuse(raw: &str, expected: PathError) {
    assert_eq!(canonical(raw), Err(expected), "{raw}");
}

#[test]
fn a_canonical_path_is_borrowed() {
    for raw in [
        "/",
        "/v1",
        "/v1/",
        "/v1/models/gpt-4.1:x@y",
        "/a.b/...",
        "/a%20b",
        "/%C3%A4",
    ] {
        let path = CanonicalPath::parse(raw, Refused).unwrap();
        assert_eq!(path.as_str(), raw);
        assert!(matches!(path.0, Cow::Borrowed(_)), "{raw}");
    }
}

#[test]
fn dot_segments_are_resolved_however_they_are_written() {
    check("/free/../paid", "/paid");
    check("/free/%2e%2e/paid", "/paid");
    check("/free/.%2E/paid", "/paid");
    check("/free/./paid", "/free/paid");
    check("/%2e/paid", "/paid");
    check("/a/b/..", "/a/");
    check("/a/.", "/a/");
    check("/..", "/");
    check("/../../paid", "/paid");
    check("/a/../../paid", "/paid");
}

#[test]
fn slashes_in_a_row_stay_as_they_were_bought() {
    for path in [
        "//paid",
        "/a///b//",
        "/https://example.org/a//b",
        "/MEIw//8Aab==",
    ] {
        check(path, path);
        let path = CanonicalPath::parse(path, Refused).unwrap();
        assert!(matches!(path.0, Cow::Borrowed(_)));
    }
    check("/free//../paid", "/free/paid");
    check("/free/..//paid", "//paid");
    check("/..//paid", "//paid");
    check("/a//./b", "/a//b");
}

#[test]
fn unreserved_characters_are_decoded_once_and_other_escapes_made_upper_case() {
    check("/%70aid", "/paid");
    check("/%7Euser/%2d%5f", "/~user/-_");
    check("/a%c3%a4%3a", "/a%C3%A4%3A");
}

#[test]
fn bytes_that_belong_in_escapes_are_escaped() {
    check("/ä", "/%C3%A4");
    check("/{a}|\"", "/%7Ba%7D%7C%22");
}

#[test]
fn separators_in_disguise_are_refused() {
    refuse("/free%2fpaid", PathError::EncodedSeparator);
    refuse("/free/..%2Fpaid", PathError::EncodedSeparator);
    refuse("/free/..%5cpaid", PathError::EncodedSeparator);
    refuse("/free\\..\\paid", PathError::Backslash);
    refuse("/%c0%af", PathError::Overlong);
    refuse("/%c0%ae%c0%ae/paid", PathError::Overlong);
    refuse("/%e0%80%af", PathError::Overlong);
    refuse("/%f0%80%80%af", PathError::Overlong);
}

#[test]
fn three_and_four_byte_characters_pass() {
    check(
        "/%e2%82%ac/%f0%9f%8d%8e/%e0%a4%85",
        "/%E2%82%AC/%F0%9F%8D%8E/%E0%A4%85",
    );
}

#[test]
fn what_is_encoded_twice_is_refused() {
    for raw in [
        "/%252e%252e/paid",
        "/%252f",
        "/%255c",
        "/%2500",
        "/%25252e",
        "/p%2561id",
    ] {
        refuse(raw, PathError::EncodedTwice);
    }
    refuse("/%25%32%65", PathError::EncodedTwice);
    check("/100%25", "/100%25");
    check("/100%25-off", "/100%25-off");
}

#[test]
fn control_characters_are_refused_plain_and_encoded() {
    for raw in [
        "/a\0", "/a\r\n", "/a\x7f", "/a b", "/%00", "/%0d%0a", "/%7f", "/a?b", "/a#b",
    ] {
        refuse(raw, PathError::ForbiddenCharacter);
    }
}

#[test]
fn escapes_have_two_hex_digits() {
    for raw in ["/%", "/%4", "/%zz", "/%4g", "/%e0%", "/%%41"] {
        refuse(raw, PathError::MalformedEscape);
    }
}

#[test]
fn parameters_are_refused_unless_let_through() {
    refuse("/a;b=c", PathError::Parameter);
    refuse("/a%3bb", PathError::Parameter);
    let allowed = |raw| CanonicalPath::parse(raw, Allowed).map(|path| path.as_str().to_owned());
    assert_eq!(allowed("/a;b=c/d"), Ok("/a;b=c/d".to_owned()));
    assert_eq!(allowed("/a%3bb"), Ok("/a%3Bb".to_owned()));
    for raw in [
        "/free/..;x/paid",
        "/free/.;/paid",
        "/%2e%2e;/a",
        "/..%3bx/a",
        "/a/;/b",
        "/;x",
    ] {
        assert_eq!(allowed(raw), Err(PathError::Parameter), "{raw}");
    }
}

#[test]
fn targets_without_a_path_are_refused() {
    refuse("*", PathError::Asterisk);
    refuse("", PathError::Relative);
    refuse("paid", PathError::Relative);
    refuse("http://host/paid", PathError::Relative);
}

#[test]
fn a_path_that_is_or_becomes_too_long_is_refused() {
    check(
        &format!("/{}", "a".repeat(MAX_PATH_BYTES - 1)),
        &format!("/{}", "a".repeat(8191)),
    );
    refuse(
        &format!("/{}", "a".repeat(MAX_PATH_BYTES)),
        PathError::TooLong,
    );
    refuse(
        &format!("/{}", "{".repeat(MAX_PATH_BYTES / 2)),
        PathError::TooLong,
    );
}

/// Paths out of the pieces that path tricks are made of.
fn tricky() -> impl Strategy<Value = String> {
    let pieces = vec![
        "/", "//", ".", "..", "%2e", "%2E", "a", "free", "%61", "%25", "%32", "2e", "%3b", ";",
        "%", "%c3%a4", "ä", "{", "%20", "~", "%7e", "b=c", "%c0", "%e0", "%80", "\\",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..12)
        .prop_map(|parts| format!("/{}", parts.concat()))
}

fn assert_canonical(raw: &str, parameters: PathParameters) -> Result<(), TestCaseError> {
    let Ok(path) = CanonicalPath::parse(raw, parameters) else {
        return Ok(());
    };
    let text = path.as_str();
    let again = CanonicalPath::parse(text, parameters);
    prop_assert_eq!(again.as_ref().map(CanonicalPath::as_str), Ok(text));
    prop_assert!(again.is_ok_and(|again| matches!(again.0, Cow::Borrowed(_))));
    prop_assert!(text.starts_with('/') && text.is_ascii());
    prop_assert!(!text.split('/').any(is_dots));
    prop_assert!(
        text.parse::<http::Uri>()
            .is_ok_and(|uri| uri.path() == text)
    );
    Ok(())
}

proptest! {
    #[test]
    fn a_canonical_path_is_a_fixed_point(raw in tricky()) {
        assert_canonical(&raw, Refused)?;
        assert_canonical(&raw, Allowed)?;
    }

    #[test]
    fn no_text_makes_the_parser_panic(raw in "/?\\PC*") {
        assert_canonical(&raw, Refused)?;
    }
}
