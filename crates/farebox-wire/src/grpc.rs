//! Answers of our own as gRPC clients read them: HTTP 200, no body, everything in the headers.
//!
//! Of an unpaid call Aperture's interceptor looks for exactly one code, one message and an L402 or
//! LSAT challenge; every other refusal has the code of its meaning.

mod framed;

use std::fmt::Write as _;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

pub use framed::{EndBlock, FramedBody, Framing, MAX_END_BLOCK};

/// The header that carries a [`Code`].
pub const STATUS_HEADER: &str = "grpc-status";
/// The code of an unpaid call, with [`MESSAGE`] and a challenge. gRPC has none of its own for that;
/// 402 is outside their range.
pub const UNPAID: Code = Code::Internal;
/// The header that carries a message, percent-encoded.
pub const MESSAGE_HEADER: &str = "grpc-message";
/// The message by which clients tell this error from a real internal one.
pub const MESSAGE: &str = "payment required";

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

farebox_core::words! {
    /// Which gRPC is spoken, as the content types of our own answers have it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ContentType {
        /// With real trailers.
        Native = "application/grpc",
        /// gRPC-Web, for browsers.
        Web = "application/grpc-web",
        /// The same, as most clients write it.
        WebProto = "application/grpc-web+proto",
        /// gRPC-Web in base64.
        WebText = "application/grpc-web-text",
        /// The same, as most clients write it.
        WebTextProto = "application/grpc-web-text+proto",
    }
}

impl ContentType {
    /// What a message with these headers speaks; none where that is not gRPC.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.as_bytes();
        if !begins(value, Self::Native) {
            return None;
        }
        let end = value.iter().position(|byte| *byte == b';');
        let value = value[..end.unwrap_or(value.len())].trim_ascii();
        let mut known = Self::ALL.into_iter();
        let exact = known.find(|kind| value.eq_ignore_ascii_case(kind.as_str().as_bytes()));
        // Of another encoding of messages the family counts.
        let family = || {
            let families = [Self::WebText, Self::Web];
            families.into_iter().find(|kind| begins(value, *kind))
        };
        Some(exact.or_else(family).unwrap_or(Self::Native))
    }

    /// Whether trailers stand in the body.
    #[must_use]
    pub const fn is_web(self) -> bool {
        !matches!(self, Self::Native)
    }

    /// Whether the body is base64.
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Self::WebText | Self::WebTextProto)
    }
}

fn begins(value: &[u8], kind: ContentType) -> bool {
    begins_with(value, kind.as_str().as_bytes())
}

fn begins_with(value: &[u8], name: &[u8]) -> bool {
    let start = value.get(..name.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// The headers of a trailers-only answer in the client's own form of gRPC; its HTTP status is 200
/// and it has no body.
#[must_use]
pub fn refusal(kind: ContentType, code: Code, message: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind.as_str()));
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
        for (value, kind) in [
            ("application/grpc", ContentType::Native),
            ("application/grpc+proto", ContentType::Native),
            ("Application/GRPC; a=b", ContentType::Native),
            ("application/grpc-web", ContentType::Web),
            ("application/grpc-web+thrift", ContentType::Web),
            ("application/grpc-web+proto ; a=b", ContentType::WebProto),
            ("application/gRPC-Web-Text", ContentType::WebText),
            ("application/grpc-web-text+json", ContentType::WebText),
            ("application/grpc-web-text+proto", ContentType::WebTextProto),
        ] {
            let read = ContentType::of(&with_content_type(value));
            assert_eq!(read, Some(kind), "{value}");
        }
        for value in [
            "application/json",
            "application/grp",
            "text/plain; application/grpc",
        ] {
            assert_eq!(ContentType::of(&with_content_type(value)), None, "{value}");
        }
        assert_eq!(ContentType::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_refusal_has_a_code_and_a_message_that_may_stand_in_a_header() {
        let headers = refusal(ContentType::Native, Code::NotFound, "100 % \"caf\u{e9}\"\n");
        assert_eq!(headers[STATUS_HEADER], "5");
        assert_eq!(headers[MESSAGE_HEADER], "100 %25 \"caf%C3%A9\"%0A");
    }

    #[test]
    fn the_interceptor_finds_its_code_its_message_and_the_challenge() {
        let macaroon = Macaroon::issue(&RootKey::from_bytes([1; 32]), "", b"i", [""; 0]);
        let challenge = L402Challenge::new(&macaroon, InvoiceText::parse("lnbc1").unwrap());
        let mut headers = refusal(ContentType::WebProto, UNPAID, MESSAGE);
        challenge.append_to(&mut headers, LegacyLsat::Lead);
        assert_eq!(headers[STATUS_HEADER], "13");
        assert_eq!(headers[MESSAGE_HEADER], "payment required");
        assert_eq!(headers[CONTENT_TYPE], "application/grpc-web+proto");
        let lines: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!(lines, [challenge.lsat(), challenge.l402()]);
    }
}
