//! The challenge as gRPC clients recognise it: HTTP 200, no body, everything in the headers.
//!
//! Aperture's interceptor looks for exactly this code, this message and an L402 or LSAT challenge.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use crate::challenge::{Challenge, LegacyLsat};

/// The header that carries [`STATUS`].
pub const STATUS_HEADER: &str = "grpc-status";
/// gRPC's INTERNAL. There is no gRPC code for an unpaid request; 402 is outside their range.
pub const STATUS: &str = "13";
/// The header that carries [`MESSAGE`].
pub const MESSAGE_HEADER: &str = "grpc-message";
/// The message by which clients tell this error from a real internal one.
pub const MESSAGE: &str = "payment required";
/// The content type of a trailers-only answer.
pub const CONTENT_TYPE_GRPC: &str = "application/grpc";

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

/// The headers of a trailers-only challenge; its HTTP status is 200 and it has no body.
#[must_use]
pub fn trailers_only(challenge: &Challenge, legacy: LegacyLsat) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    challenge.append_to(&mut headers, legacy);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_GRPC));
    headers.insert(STATUS_HEADER, HeaderValue::from_static(STATUS));
    headers.insert(MESSAGE_HEADER, HeaderValue::from_static(MESSAGE));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::InvoiceText;
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
    fn the_interceptor_finds_its_code_its_message_and_the_challenge() {
        let macaroon = Macaroon::issue(&RootKey::from_bytes([1; 32]), "", b"i", [""; 0]);
        let challenge = Challenge::new(&macaroon, InvoiceText::parse("lnbc1").unwrap());
        let headers = trailers_only(&challenge, LegacyLsat::Lead);
        assert_eq!(headers[STATUS_HEADER], "13");
        assert_eq!(headers[MESSAGE_HEADER], "payment required");
        assert_eq!(headers[CONTENT_TYPE], "application/grpc");
        let lines: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!(lines, [challenge.lsat(), challenge.l402()]);
    }
}
