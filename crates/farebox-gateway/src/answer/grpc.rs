//! How a call of gRPC, gRPC-Web or Connect ended, by what its answer says.

use farebox_http::decode::Decoder;
use farebox_paywall::gauge::Ending;
use farebox_wire::grpc::{FramedBody, Framing, STATUS_HEADER};
use http::Method;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderName};

const CANCELLED: &[u8] = b"1";
const DEADLINE_EXCEEDED: &[u8] = b"4";
const OK: &[u8] = b"0";

/// What has to be known of a request to judge how its call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrpcCall {
    /// How its body is framed; none where it is no call of that kind.
    pub(crate) framing: Option<Framing>,
    /// Whether the client said by when the call has to end.
    has_deadline: bool,
}

/// The answer to a gRPC call, on its way.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    call: GrpcCall,
    /// Something said how the call ended, or may have: what is compressed in another way than is read
    /// here says what nobody can tell.
    is_end_told: bool,
    /// Reads the body, where that is not compressed as a whole.
    read: Option<Box<Reading>>,
}

#[derive(Debug)]
struct Reading {
    body: FramedBody,
    /// A compressed end can be read.
    is_gzip: bool,
    failure: Option<Failure>,
}

/// A call that failed by what its answer's body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No message came before: as if the headers had said so.
    Refused,
    /// Messages came.
    Ended(Ending),
}

impl GrpcCall {
    /// What a request with these headers asks. Every call is a POST.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        const DEADLINES: [HeaderName; 2] = [
            HeaderName::from_static("grpc-timeout"),
            HeaderName::from_static("connect-timeout-ms"),
        ];
        let framing = Framing::of(headers).filter(|_| *method == Method::POST);
        Self {
            framing,
            has_deadline: framing.is_some()
                && DEADLINES.iter().any(|name| headers.contains_key(name)),
        }
    }

    /// What is to be watched of an answer of this kind with these headers; none where it is not gRPC.
    pub(crate) fn answered_by(
        self,
        framing: Option<Framing>,
        headers: &HeaderMap,
    ) -> Option<GrpcAnswer> {
        let framing = framing?;
        let encoding = match framing {
            Framing::Connect => "connect-content-encoding",
            Framing::Native | Framing::Web | Framing::WebText => "grpc-encoding",
        };
        let is_plain = !headers.contains_key(CONTENT_ENCODING);
        let read = is_plain.then(|| {
            Box::new(Reading {
                body: FramedBody::new(framing),
                is_gzip: headers.get(encoding).is_some_and(|name| name == "gzip"),
                failure: None,
            })
        });
        Some(GrpcAnswer {
            call: self,
            is_end_told: status(headers).is_some(),
            read,
        })
    }

    /// A client that cancels, or lets a deadline of its own pass, has left: messages that it got
    /// before are not free.
    pub(super) fn ending_by(self, status: Option<&[u8]>) -> Ending {
        match status {
            Some(CANCELLED) => Ending::CutByClient,
            Some(DEADLINE_EXCEEDED) if self.has_deadline => Ending::CutByClient,
            Some(OK) | None => Ending::Complete,
            Some(_) => Ending::CutByUpstream,
        }
    }

    /// The same after messages that were worth something: where the status says that what was asked is
    /// wrong, that makes none of them free.
    fn ending_after_messages(self, status: Option<&[u8]>) -> Ending {
        const INVALID_ARGUMENT: &[u8] = b"3";
        const NOT_FOUND: &[u8] = b"5";
        const ALREADY_EXISTS: &[u8] = b"6";
        const FAILED_PRECONDITION: &[u8] = b"9";
        const ABORTED: &[u8] = b"10";
        const OUT_OF_RANGE: &[u8] = b"11";
        match status {
            Some(
                INVALID_ARGUMENT | NOT_FOUND | ALREADY_EXISTS | FAILED_PRECONDITION | ABORTED
                | OUT_OF_RANGE,
            ) => Ending::CutByClient,
            status => self.ending_by(status),
        }
    }
}

impl GrpcAnswer {
    /// Looks at a piece of the body as the upstream sent it.
    pub(super) fn hear(&mut self, piece: &[u8]) {
        let Some(read) = &mut self.read else { return };
        read.body.push(piece);
        let Some(end) = read.body.take_end() else {
            return;
        };
        let framing = read.body.framing();
        let block = match end.is_compressed {
            true if read.is_gzip => Decoder::default().push(&end.block),
            true => {
                self.is_end_told = true;
                return;
            }
            false => Ok(end.block),
        };
        let block = block.unwrap_or_default();
        let has_message = read.body.has_message();
        let status = framing.status_in(&block);
        // An end of Connect is one, whatever it says.
        self.is_end_told |= status.is_some() || framing == Framing::Connect;
        let ending = self.call.ending_after_messages(status);
        read.failure = (ending != Ending::Complete).then_some(match has_message {
            true => Failure::Ended(ending),
            false => Failure::Refused,
        });
    }

    /// The failure that the body has told of, once.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.read.as_mut()?.failure.take()
    }

    /// How the call ended by its real trailers.
    pub(super) fn ending_by(&mut self, trailers: &HeaderMap, has_messages: bool) -> Ending {
        let status = status(trailers);
        self.is_end_told |= status.is_some();
        if has_messages {
            self.call.ending_after_messages(status)
        } else {
            self.call.ending_by(status)
        }
    }

    /// Whether an answer that is over stops amid a frame, or has never said how its call ended: no
    /// client takes that for a success. A body that only goes by the name of frames says nothing of
    /// the kind, nor does one that no call asked for: a client may choose what an answer is called.
    pub(super) fn is_cut(&self) -> bool {
        let Some(read) = self.read.as_ref().filter(|_| self.call.framing.is_some()) else {
            return false;
        };
        read.body.is_framed() && (!self.is_end_told || read.body.is_amid_frame())
    }
}

/// Whether a call has failed by the headers of its answer: they say so, or the answer `is_over` with
/// them and they do not say how it ended.
pub(crate) fn has_failed(
    call: GrpcCall,
    framing: Option<Framing>,
    (headers, is_over): (&HeaderMap, bool),
) -> bool {
    match framing {
        None => false,
        Some(Framing::Connect) => is_over && call.framing.is_some(),
        Some(_) => status(headers).map_or(is_over && call.framing.is_some(), |status| status != OK),
    }
}

fn status(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(STATUS_HEADER).map(|status| status.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::*;

    const CALL: GrpcCall = GrpcCall {
        framing: Some(Framing::Native),
        has_deadline: false,
    };
    const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

    #[test]
    fn a_deadline_of_the_clients_own_makes_no_call_free() {
        let ending = |status: &'static str, has_deadline| {
            let call = GrpcCall {
                has_deadline,
                ..CALL
            };
            call.ending_by(Some(status.as_bytes()))
        };
        assert_eq!(ending("0", true), Ending::Complete);
        assert_eq!(ending("4", true), Ending::CutByClient);
        assert_eq!(ending("4", false), Ending::CutByUpstream);
        assert_eq!(ending("1", false), Ending::CutByClient);
        assert_eq!(ending("13", true), Ending::CutByUpstream);
    }

    fn of_type(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    fn answer(call: GrpcCall, headers: &HeaderMap) -> GrpcAnswer {
        call.answered_by(Framing::of(headers), headers).unwrap()
    }

    /// What is heard in a body of gRPC-Web.
    fn heard(body: &[u8], encoding: Option<&'static str>) -> (Option<Failure>, bool) {
        let mut headers = of_type("application/grpc-web+proto");
        if let Some(encoding) = encoding {
            headers.insert("grpc-encoding", HeaderValue::from_static(encoding));
        }
        let mut answer = answer(CALL, &headers);
        answer.hear(body);
        (answer.take_failure(), answer.is_cut())
    }

    #[test]
    fn an_answer_that_never_says_how_its_call_ended_is_cut() {
        let is_cut = |call, kind, body: &[u8], told: Option<&HeaderMap>| {
            let mut answer = answer(call, &of_type(kind));
            answer.hear(body);
            if let Some(trailers) = told {
                answer.ending_by(trailers, true);
            }
            answer.is_cut()
        };
        let ended = HeaderMap::from_iter([(
            HeaderName::from_static(STATUS_HEADER),
            HeaderValue::from_static("0"),
        )]);
        let (connect, end) = ("application/connect+proto", b"\x02\0\0\0\x02{}".as_slice());
        for kind in ["application/grpc", "application/grpc-web", connect] {
            assert!(is_cut(CALL, kind, MESSAGE, None), "{kind}");
            assert!(is_cut(CALL, kind, b"", None), "{kind}");
            // What only goes by the name: its client may have chosen that.
            assert!(!is_cut(CALL, kind, b"plain text", None), "{kind}");
            let unasked = GrpcCall {
                framing: None,
                ..CALL
            };
            assert!(!is_cut(unasked, kind, MESSAGE, None), "{kind}");
        }
        let native = |told: HeaderMap| is_cut(CALL, "application/grpc", MESSAGE, Some(&told));
        assert!(native(HeaderMap::new()));
        assert!(!native(ended.clone()));
        assert!(!is_cut(CALL, connect, &[MESSAGE, end].concat(), None));
        assert!(!is_cut(CALL, connect, b"\x02\0\0\0\x02{[", None));
        let mut headers = of_type("application/grpc");
        headers.extend(ended);
        assert!(!answer(CALL, &headers).is_cut());
    }

    #[test]
    fn a_stream_of_connect_tells_in_its_body_how_it_ended() {
        let failure = |before: &[u8], json: &str| {
            let mut answer = answer(CALL, &of_type("application/connect+json"));
            let length = u8::try_from(json.len()).unwrap();
            answer.hear(&[before, &[2, 0, 0, 0, length], json.as_bytes()].concat());
            answer.take_failure()
        };
        let code = |code: &str| format!("{{\"error\":{{\"code\":\"{code}\"}}}}");
        for (before, json, expected) in [
            (MESSAGE, "{}".to_owned(), None),
            (b"", code("internal"), Some(Failure::Refused)),
            (
                MESSAGE,
                code("internal"),
                Some(Failure::Ended(Ending::CutByUpstream)),
            ),
            (
                MESSAGE,
                code("not_found"),
                Some(Failure::Ended(Ending::CutByClient)),
            ),
            (
                MESSAGE,
                code("canceled"),
                Some(Failure::Ended(Ending::CutByClient)),
            ),
        ] {
            assert_eq!(failure(before, &json), expected, "{json}");
        }
    }

    #[test]
    fn an_answer_that_is_over_with_its_headers_has_failed_unless_they_say_it_went_well() {
        let failed = |call, kind, status: Option<&'static str>, is_over| {
            let mut headers = of_type(kind);
            if let Some(status) = status {
                headers.insert(STATUS_HEADER, HeaderValue::from_static(status));
            }
            has_failed(call, Framing::of(&headers), (&headers, is_over))
        };
        let unasked = GrpcCall {
            framing: None,
            ..CALL
        };
        for kind in ["application/grpc", "application/grpc-web"] {
            assert!(failed(CALL, kind, None, true));
            assert!(!failed(CALL, kind, None, false));
            assert!(!failed(CALL, kind, Some("0"), true));
            assert!(failed(unasked, kind, Some("13"), false));
            assert!(!failed(unasked, kind, None, true));
        }
        assert!(failed(CALL, "application/connect+json", None, true));
        assert!(!failed(CALL, "application/json", None, true));
    }

    #[test]
    fn every_call_is_a_post() {
        let headers = of_type("application/connect+proto");
        let framing = |method| GrpcCall::of(&method, &headers).framing;
        assert_eq!(framing(Method::POST), Some(Framing::Connect));
        assert_eq!(framing(Method::GET), None);
    }

    #[test]
    fn a_body_of_grpc_web_tells_how_its_call_ended() {
        let trailers = |status: &str| {
            let line = format!("grpc-status:{status}\r\n");
            let length = u8::try_from(line.len()).unwrap();
            [&[0x80, 0, 0, 0, length], line.as_bytes()].concat()
        };
        let after = |status| [MESSAGE, &trailers(status)].concat();
        for (body, failure) in [
            (trailers("0"), None),
            (trailers("7"), Some(Failure::Refused)),
            (trailers("1"), Some(Failure::Refused)),
            (after("0"), None),
            (after("13"), Some(Failure::Ended(Ending::CutByUpstream))),
            (after("1"), Some(Failure::Ended(Ending::CutByClient))),
            (after("3"), Some(Failure::Ended(Ending::CutByClient))),
            (trailers("3"), Some(Failure::Refused)),
        ] {
            assert_eq!(heard(&body, None), (failure, false));
        }
        assert_eq!(heard(MESSAGE, None), (None, true));
        assert_eq!(heard(&MESSAGE[..6], None), (None, true));
    }

    #[test]
    fn compressed_trailers_are_read_where_their_encoding_is_gzip() {
        use std::io::Write as _;
        let level = flate2::Compression::default();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
        gzip.write_all(b"grpc-status: 5\r\n").unwrap();
        let block = gzip.finish().unwrap();
        let length = u8::try_from(block.len()).unwrap();
        let body = [&[0x81, 0, 0, 0, length], &block[..]].concat();
        assert_eq!(heard(&body, Some("gzip")).0, Some(Failure::Refused));
        // Nobody can tell what they say, but that they are there.
        assert_eq!(heard(&body, Some("br")), (None, false));
        assert_eq!(heard(&body, None), (None, false));
    }
}
