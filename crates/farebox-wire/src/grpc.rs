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
