//! The body of an answer of gRPC, gRPC-Web or Connect, read for how the call ended.
//!
//! A frame is a flag, a length in four bytes, and so many bytes. gRPC-Web says in the body what gRPC
//! says in trailers: one frame, whose flag has its highest bit set, has lines of trailers in it. That of
//! Connect's streams has the second lowest set, and JSON in it. As text the whole of gRPC-Web is base64, each
//! part of it perhaps encoded by itself, so that padding may stand in the middle. Nothing but the
//! frame that ends the call is kept.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use serde_json::{Map, Value};

use super::{ContentType, STATUS_HEADER, begins_with};

/// The most of what ends a call that is read, in bytes: as much as servers take of headers.
pub const MAX_END_BLOCK: usize = 16 * 1024;

/// A flag and a length.
const HEAD: usize = 5;
/// What is in the frame is compressed, as the answer's header says.
const COMPRESSED: u8 = 0x01;

/// How an answer puts messages into its body, and where it says how the call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// gRPC's: the end is told in trailers.
    Native,
    /// gRPC-Web's: in a frame of trailers.
    Web,
    /// The same in base64.
    WebText,
    /// That of Connect's streams: in a frame of JSON.
    Connect,
}

impl Framing {
    /// That of a message with these headers; none where it has no frames.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        if let Some(kind) = ContentType::of(headers) {
            return Some(match (kind.is_web(), kind.is_text()) {
                (false, _) => Self::Native,
                (true, false) => Self::Web,
                (true, true) => Self::WebText,
            });
        }
        let value = headers.get(CONTENT_TYPE)?.as_bytes();
        begins_with(value, b"application/connect+").then_some(Self::Connect)
    }

    /// Whether the body tells how the call ended.
    #[must_use]
    pub const fn ends_in_body(self) -> bool {
        !matches!(self, Self::Native)
    }

    /// The bit of a flag by which a frame ends the call.
    const fn end_flag(self) -> u8 {
        match self {
            Self::Native => 0,
            Self::Web | Self::WebText => 0x80,
            Self::Connect => 0x02,
        }
    }

    /// The status of gRPC that the end of a call tells, if it tells one.
    #[must_use]
    pub fn status_in(self, block: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Connect => connect_status_in(block),
            Self::Native | Self::Web | Self::WebText => status_in(block),
        }
    }
}

/// The names that Connect has for gRPC's statuses.
const CONNECT_CODES: [(&str, &[u8]); 16] = [
    ("canceled", b"1"),
    ("unknown", b"2"),
    ("invalid_argument", b"3"),
    ("deadline_exceeded", b"4"),
    ("not_found", b"5"),
    ("already_exists", b"6"),
    ("permission_denied", b"7"),
    ("resource_exhausted", b"8"),
    ("failed_precondition", b"9"),
    ("aborted", b"10"),
    ("out_of_range", b"11"),
    ("unimplemented", b"12"),
    ("internal", b"13"),
    ("unavailable", b"14"),
    ("data_loss", b"15"),
    ("unauthenticated", b"16"),
];

/// Reads a body piece by piece, however it is cut.
#[derive(Debug)]
pub struct FramedBody {
    framing: Framing,
    text: Option<Text>,
    frames: Frames,
}

/// What a body says of how its call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndBlock {
    /// Lines of trailers or JSON, as far as they fit into [`MAX_END_BLOCK`].
    pub block: Vec<u8>,
    /// It is compressed, as the answer's header says.
    pub is_compressed: bool,
}

impl FramedBody {
    /// A reader for the body of an answer with frames of this kind.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            text: (framing == Framing::WebText).then(Text::default),
            frames: Frames::of(framing),
        }
    }

    /// The kind of its frames.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Reads what came next.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.text {
            Some(text) => text.decode(piece, &mut self.frames),
            None => self.frames.push(piece),
        }
    }

    /// What told the end of the call last, once it is whole, and once only.
    pub const fn take_end(&mut self) -> Option<EndBlock> {
        self.frames.end.take()
    }

    /// Whether bytes of a message have come.
    #[must_use]
    pub const fn has_message(&self) -> bool {
        self.frames.has_message
    }

    /// Whether all that came is frames, as far as their flags tell: a body that only goes by the name of
    /// this kind tells nothing of how a call ended.
    #[must_use]
    pub const fn is_framed(&self) -> bool {
        self.frames.is_framed
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
    end_flag: u8,
    at: At,
    /// What ends the call, as it comes.
    block: Vec<u8>,
    end: Option<EndBlock>,
    has_message: bool,
    is_framed: bool,
}

impl Frames {
    const fn of(framing: Framing) -> Self {
        Self {
            end_flag: framing.end_flag(),
            at: At::START,
            block: Vec::new(),
            end: None,
            has_message: false,
            is_framed: true,
        }
    }

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
                        self.has_message |= flag & self.end_flag == 0;
                        self.is_framed &= flag & !(self.end_flag | COMPRESSED) == 0;
                        self.end_if_over();
                    }
                }
                At::Inside { flag, left } => {
                    let (now, later) = split(piece, *left);
                    *left -= now.len();
                    piece = later;
                    if *flag & self.end_flag != 0 {
                        let room = MAX_END_BLOCK - self.block.len();
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
        if flag & self.end_flag != 0 {
            self.end = Some(EndBlock {
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
fn status_in(block: &[u8]) -> Option<&[u8]> {
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

/// The same of the JSON that ends a stream of Connect; none where it cannot be read.
fn connect_status_in(block: &[u8]) -> Option<&'static [u8]> {
    const OK: &[u8] = b"0";
    const UNKNOWN: &[u8] = b"2";
    let end: Map<String, Value> = serde_json::from_slice(block).ok()?;
    let Some(error) = end.get("error").filter(|error| !error.is_null()) else {
        return Some(OK);
    };
    let known = CONNECT_CODES
        .iter()
        .find(|(name, _)| error["code"] == *name);
    Some(known.map_or(UNKNOWN, |(_, status)| status))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderValue;

    use super::*;

    const FAILED: &[u8] = b"\x80\0\0\0\x0fgrpc-status:13\n";
    const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

    fn framing(content_type: &'static str) -> Option<Framing> {
        let value = HeaderValue::from_static(content_type);
        Framing::of(&HeaderMap::from_iter([(CONTENT_TYPE, value)]))
    }

    fn body(content_type: &'static str) -> FramedBody {
        FramedBody::new(framing(content_type).unwrap())
    }

    /// What is found in a body that comes in these pieces.
    fn found<'a>(
        mut body: FramedBody,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Option<EndBlock>, bool, bool) {
        pieces.into_iter().for_each(|piece| body.push(piece));
        let trailers = body.take_end();
        (trailers, body.has_message(), body.is_amid_frame())
    }

    fn trailers(block: &[u8]) -> Option<EndBlock> {
        let (block, is_compressed) = (block.to_vec(), false);
        Some(EndBlock {
            block,
            is_compressed,
        })
    }

    #[test]
    fn a_framing_is_known_by_its_content_type() {
        for (name, expected) in [
            ("application/grpc", Some(Framing::Native)),
            ("application/grpc+proto", Some(Framing::Native)),
            ("application/grpc-web+proto", Some(Framing::Web)),
            ("application/grpc-web-text", Some(Framing::WebText)),
            ("Application/Connect+JSON; a=b", Some(Framing::Connect)),
            ("application/connect+proto", Some(Framing::Connect)),
            ("application/connect", None),
            ("application/json", None),
        ] {
            assert_eq!(framing(name), expected, "{name}");
        }
        assert_eq!(Framing::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_stream_of_connect_ends_with_a_frame_of_json_wherever_it_is_split() {
        let json = br#"{"error":{"code":"internal"}}"#;
        let length = u8::try_from(json.len()).unwrap();
        let bytes = [MESSAGE, &[2, 0, 0, 0, length], json].concat();
        for at in 0..=bytes.len() {
            let (one, other) = bytes.split_at(at);
            let found = found(body("application/connect+proto"), [one, other]);
            assert_eq!(found, (trailers(json), true, false), "split at {at}");
        }
    }

    #[test]
    fn the_end_of_a_stream_of_connect_tells_a_status_of_grpc() {
        for (json, status) in [
            ("{}", Some("0")),
            (r#"{"metadata":{"error":["x"]}}"#, Some("0")),
            (r#"{"error":null}"#, Some("0")),
            (r#"{"error":{"code":"canceled"}}"#, Some("1")),
            (
                r#"{"error":{"code":"invalid_argument","message":"m"}}"#,
                Some("3"),
            ),
            (r#"{"error":{"code":"unauthenticated"}}"#, Some("16")),
            (r#"{"error":{"code":"odd"}}"#, Some("2")),
            (r#"{"error":{}}"#, Some("2")),
            (r#"{"error":"broken"}"#, Some("2")),
            ("[]", None),
            (r#"{"error":"#, None),
            ("", None),
        ] {
            let told = Framing::Connect.status_in(json.as_bytes());
            let told = told.map(|status| str::from_utf8(status).unwrap());
            assert_eq!(told, status, "{json}");
        }
    }

    #[test]
    fn what_only_goes_by_the_name_of_frames_is_told_from_them() {
        for (kind, bytes, is_framed) in [
            ("application/grpc", MESSAGE, true),
            ("application/grpc", b"", true),
            ("application/grpc", b"\x01\0\0\0\0", true),
            ("application/grpc", b"\x80\0\0\0\0", false),
            ("application/grpc", b"plain text", false),
            ("application/grpc-web", FAILED, true),
            ("application/grpc-web", b"\x02\0\0\0\0", false),
            ("application/connect+json", b"\x03\0\0\0\0", true),
            ("application/connect+json", b"{\"a\":1}", false),
        ] {
            let mut body = body(kind);
            body.push(bytes);
            assert_eq!(body.is_framed(), is_framed, "{kind}: {bytes:?}");
        }
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
        let length = u32::try_from(2 * MAX_END_BLOCK).unwrap().to_be_bytes();
        let head = [&[0x80], &length[..]].concat();
        let line = vec![b'a'; MAX_END_BLOCK];
        let (found, ..) = found(body("application/grpc-web"), [&head[..], &line, &line]);
        assert_eq!(found.unwrap().block.len(), MAX_END_BLOCK);
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
