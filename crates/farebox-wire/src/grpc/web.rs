//! The body of a gRPC-Web answer, read for the trailers at its end.
//!
//! gRPC-Web says in the body what gRPC says in trailers: a frame is a flag, a length in four bytes,
//! and so many bytes; one whose flag has its highest bit set has lines of trailers in it. As text
//! the whole is base64, each part of it perhaps encoded by itself, so that padding may stand in the
//! middle. Nothing but the trailers is kept.

use http::HeaderMap;

use super::{ContentType, STATUS_HEADER};

/// The most of one block of trailers that is read, in bytes: as much as servers take of headers.
pub const MAX_TRAILERS: usize = 16 * 1024;

/// A flag and a length.
const HEAD: usize = 5;
/// The frame has trailers.
const TRAILERS: u8 = 0x80;
/// What is in the frame is compressed, as `grpc-encoding` says.
const COMPRESSED: u8 = 0x01;

/// Reads a body piece by piece, however it is cut.
#[derive(Debug)]
pub struct WebBody {
    text: Option<Text>,
    frames: Frames,
}

/// The trailers of a gRPC-Web answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebTrailers {
    /// The lines, as far as they fit into [`MAX_TRAILERS`].
    pub block: Vec<u8>,
    /// They are compressed, as the answer's `grpc-encoding` says.
    pub is_compressed: bool,
}

impl WebBody {
    /// A reader for the body of an answer with these headers; none where it is not gRPC-Web.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = ContentType::of(headers)?;
        kind.is_web().then(|| Self {
            text: kind.is_text().then(Text::default),
            frames: Frames::default(),
        })
    }

    /// Reads what came next.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.text {
            Some(text) => text.decode(piece, &mut self.frames),
            None => self.frames.push(piece),
        }
    }

    /// The last trailers that came whole, once.
    pub const fn take_trailers(&mut self) -> Option<WebTrailers> {
        self.frames.trailers.take()
    }

    /// Whether bytes of a message have come.
    #[must_use]
    pub const fn has_message(&self) -> bool {
        self.frames.has_message
    }

    /// Whether a frame has begun whose end is still to come.
    #[must_use]
    pub const fn is_amid_frame(&self) -> bool {
        match self.frames.at {
            At::Head { filled, .. } => filled > 0,
            At::Inside { .. } => true,
        }
    }
}

/// Where the next byte belongs.
#[derive(Debug)]
enum At {
    Head { bytes: [u8; HEAD], filled: usize },
    Inside { flag: u8, left: usize },
}

impl At {
    const START: Self = Self::Head {
        bytes: [0; HEAD],
        filled: 0,
    };
}

#[derive(Debug)]
struct Frames {
    at: At,
    /// The trailers that are coming.
    block: Vec<u8>,
    trailers: Option<WebTrailers>,
    has_message: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            at: At::START,
            block: Vec::new(),
            trailers: None,
            has_message: false,
        }
    }
}

impl Frames {
    fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            match &mut self.at {
                At::Head { bytes, filled } => {
                    let (now, later) = split(piece, HEAD - *filled);
                    bytes[*filled..*filled + now.len()].copy_from_slice(now);
                    *filled += now.len();
                    piece = later;
                    if *filled == HEAD {
                        let [flag, length @ ..] = *bytes;
                        let left = u32::from_be_bytes(length) as usize;
                        self.at = At::Inside { flag, left };
                        self.has_message |= flag & TRAILERS == 0;
                        self.end_if_over();
                    }
                }
                At::Inside { flag, left } => {
                    let (now, later) = split(piece, *left);
                    *left -= now.len();
                    piece = later;
                    if *flag & TRAILERS != 0 {
                        let room = MAX_TRAILERS - self.block.len();
                        self.block.extend_from_slice(split(now, room).0);
                    }
                    self.end_if_over();
                }
            }
        }
    }

    fn end_if_over(&mut self) {
        let At::Inside { flag, left: 0 } = self.at else {
            return;
        };
        self.at = At::START;
        if flag & TRAILERS != 0 {
            self.trailers = Some(WebTrailers {
                block: std::mem::take(&mut self.block),
                is_compressed: flag & COMPRESSED != 0,
            });
        }
    }
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at(at.min(bytes.len()))
}

/// Base64 on its way, four digits at a time.
#[derive(Debug, Default)]
struct Text {
    bits: u32,
    digits: u8,
}

impl Text {
    fn decode(&mut self, piece: &[u8], frames: &mut Frames) {
        for &byte in piece {
            match sextet(byte) {
                Some(sextet) => {
                    self.bits = self.bits << 6 | u32::from(sextet);
                    self.digits += 1;
                    if self.digits == 4 {
                        self.flush(frames);
                    }
                }
                // What was encoded by itself ends here.
                None if byte == b'=' => self.flush(frames),
                None => {}
            }
        }
    }

    /// Passes on the whole bytes of the digits that have come.
    fn flush(&mut self, frames: &mut Frames) {
        let whole = usize::from(self.digits) * 6 / 8;
        let bits = self.bits << (24 - 6 * u32::from(self.digits));
        frames.push(&bits.to_be_bytes()[1..][..whole]);
        *self = Self::default();
    }
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// The status that a block of trailers tells, if it tells one.
#[must_use]
pub fn status_in(block: &[u8]) -> Option<&[u8]> {
    let mut lines = block.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let is_status = name
            .trim_ascii()
            .eq_ignore_ascii_case(STATUS_HEADER.as_bytes());
        is_status.then(|| value[1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::*;

    const FAILED: &[u8] = b"\x80\0\0\0\x0fgrpc-status:13\n";
    const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

    fn body(content_type: &'static str) -> WebBody {
        let value = HeaderValue::from_static(content_type);
        WebBody::of(&HeaderMap::from_iter([(CONTENT_TYPE, value)])).unwrap()
    }

    /// What is found in a body that comes in these pieces.
    fn found<'a>(
        mut body: WebBody,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Option<WebTrailers>, bool, bool) {
        pieces.into_iter().for_each(|piece| body.push(piece));
        let trailers = body.take_trailers();
        (trailers, body.has_message(), body.is_amid_frame())
    }

    fn trailers(block: &[u8]) -> Option<WebTrailers> {
        let (block, is_compressed) = (block.to_vec(), false);
        Some(WebTrailers {
            block,
            is_compressed,
        })
    }

    #[test]
    fn only_the_types_of_grpc_web_are_read() {
        for other in ["application/grpc", "application/grpc+proto", "text/plain"] {
            let value = HeaderValue::from_static(other);
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
            assert!(WebBody::of(&headers).is_none(), "{other}");
        }
        assert!(WebBody::of(&HeaderMap::new()).is_none());
    }

    #[test]
    fn trailers_are_found_wherever_the_body_is_split() {
        let bytes = [MESSAGE, FAILED].concat();
        let expected = (trailers(b"grpc-status:13\n"), true, false);
        for at in 0..=bytes.len() {
            let (one, other) = bytes.split_at(at);
            let found = found(body("application/grpc-web+proto"), [one, other]);
            assert_eq!(found, expected, "split at {at}");
        }
        for size in 1..bytes.len() {
            let found = found(body("application/grpc-web"), bytes.chunks(size));
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn text_says_the_same_encoded_at_once_and_in_parts_and_wherever_it_is_split() {
        let expected = (trailers(b"grpc-status:13\n"), true, false);
        let at_once = STANDARD.encode([MESSAGE, FAILED].concat());
        let in_parts = STANDARD.encode(MESSAGE) + &STANDARD.encode(FAILED);
        let in_lines = format!("{}\r\n{}\n", &at_once[..7], &at_once[7..]);
        assert!(in_parts.trim_end_matches('=').contains('='));
        for text in [at_once, in_parts, in_lines] {
            for size in 1..=text.len() {
                let pieces = text.as_bytes().chunks(size);
                let found = found(body("application/grpc-web-text+proto"), pieces);
                assert_eq!(found, expected, "{text} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_body_that_ends_amid_a_frame_is_told_from_one_that_ends_behind_it() {
        for (bytes, is_amid) in [
            (&b""[..], false),
            (b"\0\0", true),
            (b"\0\0\0\0\x05hel", true),
            (b"\0\0\0\0\0", false),
            (MESSAGE, false),
        ] {
            let (trailers, _, amid) = found(body("application/grpc-web"), [bytes]);
            assert_eq!((trailers, amid), (None, is_amid), "{bytes:?}");
        }
    }

    #[test]
    fn trailers_alone_are_no_message_and_compressed_ones_are_told() {
        let (found, has_message, _) =
            found(body("application/grpc-web"), [&b"\x81\0\0\0\x01x"[..]]);
        let found = found.unwrap();
        assert!(found.is_compressed && !has_message);
        assert_eq!(found.block, b"x");
    }

    #[test]
    fn endless_trailers_are_kept_up_to_their_limit() {
        let length = u32::try_from(2 * MAX_TRAILERS).unwrap().to_be_bytes();
        let head = [&[0x80], &length[..]].concat();
        let line = vec![b'a'; MAX_TRAILERS];
        let (found, ..) = found(body("application/grpc-web"), [&head[..], &line, &line]);
        assert_eq!(found.unwrap().block.len(), MAX_TRAILERS);
    }

    #[test]
    fn a_status_is_read_in_any_spelling_of_its_line() {
        for (block, status) in [
            (&b"grpc-status:7\r\ngrpc-message:denied\r\n"[..], Some("7")),
            (b"grpc-message: x\r\nGrpc-Status: 0\r\n", Some("0")),
            (b"grpc-status:5", Some("5")),
            (b"grpc-message:grpc-status:9\r\n", None),
            (b"", None),
        ] {
            let told = status_in(block).map(|status| str::from_utf8(status).unwrap());
            assert_eq!(told, status);
        }
    }
}
