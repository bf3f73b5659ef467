//! Answers of our own as gRPC clients read them: HTTP 200, no body, everything in the headers.
//!
//! Of an unpaid call Aperture's interceptor looks for exactly one code, one message and an L402 or
//! LSAT challenge; every other refusal has the code of its meaning.

use std::fmt::Write as _;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

/// The header that carries a [`Code`].
pub const STATUS_HEADER: &str = "grpc-status";
/// The code of an unpaid call, with [`MESSAGE`] and a challenge. gRPC has none of its own for that;
/// 402 is outside their range.
pub const UNPAID: Code = Code::Internal;
/// The header that carries a message, percent-encoded.
pub const MESSAGE_HEADER: &str = "grpc-message";
/// The message by which clients tell this error from a real internal one.
pub const MESSAGE: &str = "payment required";
/// The content type of a trailers-only answer.
pub const CONTENT_TYPE_GRPC: &str = "application/grpc";

farebox_core::words! {
    /// How a gRPC call ended, as far as a gateway says so itself: the number in [`STATUS_HEADER`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Code {
        /// The client asked for something that cannot be.
        InvalidArgument = "3",
        /// It took too long.
        DeadlineExceeded = "4",
        /// There is no such thing.
        NotFound = "5",
        /// Whoever asks may not have it.
        PermissionDenied = "7",
        /// A limit, or what was paid for, is used up.
        ResourceExhausted = "8",
        /// It cannot be done before something else is.
        FailedPrecondition = "9",
        /// It got in the way of another call.
        Aborted = "10",
        /// Nobody does this here.
        Unimplemented = "12",
        /// Something broke.
        Internal = "13",
        /// Nobody can do it at the moment.
        Unavailable = "14",
        /// The credential proves nothing.
        Unauthenticated = "16",
    }
}

/// Whether a request with these headers expects gRPC answers.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    content_type
        .get(..CONTENT_TYPE_GRPC.len())
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(CONTENT_TYPE_GRPC.as_bytes()))
}

/// The headers of a trailers-only answer; its HTTP status is 200 and it has no body.
#[must_use]
pub fn refusal(code: Code, message: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_GRPC));
    headers.insert(STATUS_HEADER, HeaderValue::from_static(code.as_str()));
    headers.insert(MESSAGE_HEADER, encoded(message));
    headers
}

/// Percent-encodes whatever gRPC does not let stand in a message.
fn encoded(message: &str) -> HeaderValue {
    let mut text = String::with_capacity(message.len());
    for &byte in message.as_bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    HeaderValue::try_from(text).expect("printable ASCII may stand in a header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::{InvoiceText, L402Challenge, LegacyLsat};
    use crate::macaroon::{Macaroon, RootKey};
    use http::header::WWW_AUTHENTICATE;

    fn with_content_type(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))])
    }

    #[test]
    fn grpc_is_known_by_its_content_type_in_any_spelling() {
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC; a=b",
        ] {
            assert!(is_grpc(&with_content_type(value)), "{value}");
        }
        for value in [
            "application/json",
            "application/grp",
            "text/plain; application/grpc",
        ] {
            assert!(!is_grpc(&with_content_type(value)), "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn a_refusal_has_a_code_and_a_message_that_may_stand_in_a_header() {
        let headers = refusal(Code::NotFound, "100 % \"caf\u{e9}\"\n");
        assert_eq!(headers[STATUS_HEADER], "5");
        assert_eq!(headers[MESSAGE_HEADER], "100 %25 \"caf%C3%A9\"%0A");
    }

    #[test]
    fn the_interceptor_finds_its_code_its_message_and_the_challenge() {
        let macaroon = Macaroon::issue(&RootKey::from_bytes([1; 32]), "", b"i", [""; 0]);
        let challenge = L402Challenge::new(&macaroon, InvoiceText::parse("lnbc1").unwrap());
        let mut headers = refusal(UNPAID, MESSAGE);
        challenge.append_to(&mut headers, LegacyLsat::Lead);
        assert_eq!(headers[STATUS_HEADER], "13");
        assert_eq!(headers[MESSAGE_HEADER], "payment required");
        assert_eq!(headers[CONTENT_TYPE], "application/grpc");
        let lines: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!(lines, [challenge.lsat(), challenge.l402()]);
    }
}
