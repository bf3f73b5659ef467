//! How a gRPC call ended, by what its answer says.

use farebox_http::decode::Decoder;
use farebox_paywall::gauge::Ending;
use farebox_wire::grpc::{ContentType, STATUS_HEADER, WebBody, status_in};
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderName};

const CANCELLED: &[u8] = b"1";
const DEADLINE_EXCEEDED: &[u8] = b"4";
const OK: &[u8] = b"0";
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// What has to be known of a gRPC request to judge how its call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrpcCall {
    /// Whether the client said by when the call has to end.
    pub(crate) has_deadline: bool,
}

/// The answer to a gRPC call, on its way.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    call: GrpcCall,
    /// Reads the body where the trailers stand in it.
    web: Option<Box<Web>>,
}

#[derive(Debug)]
struct Web {
    body: WebBody,
    /// Compressed trailers can be read.
    is_gzip: bool,
    failure: Option<Failure>,
}

/// A call that failed by the trailers in its answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No message came before: as if the headers had said so.
    Refused,
    /// Messages came.
    Ended(Ending),
}

impl GrpcCall {
    /// What is to be watched of an answer of this kind with these headers; none where it is not gRPC.
    pub(crate) fn answered_by(
        self,
        kind: Option<ContentType>,
        headers: &HeaderMap,
    ) -> Option<GrpcAnswer> {
        kind?;
        let is_plain = !headers.contains_key(CONTENT_ENCODING);
        let web = WebBody::of(headers).filter(|_| is_plain).map(|body| {
            Box::new(Web {
                body,
                is_gzip: headers.get(ENCODING).is_some_and(|name| name == "gzip"),
                failure: None,
            })
        });
        Some(GrpcAnswer { call: self, web })
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
        let Some(web) = &mut self.web else { return };
        web.body.push(piece);
        let Some(trailers) = web.body.take_trailers() else {
            return;
        };
        let block = match trailers.is_compressed {
            true if web.is_gzip => Decoder::default().push(&trailers.block),
            // Nobody can tell what they say.
            true => return,
            false => Ok(trailers.block),
        };
        let block = block.unwrap_or_default();
        let has_message = web.body.has_message();
        let ending = self.call.ending_after_messages(status_in(&block));
        web.failure = (ending != Ending::Complete).then_some(match has_message {
            true => Failure::Ended(ending),
            false => Failure::Refused,
        });
    }

    /// The failure that the body has told of, once.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.web.as_mut()?.failure.take()
    }

    /// How the call ended by its real trailers.
    pub(super) fn ending_by(&self, trailers: &HeaderMap, has_messages: bool) -> Ending {
        let status = status(trailers);
        if has_messages {
            self.call.ending_after_messages(status)
        } else {
            self.call.ending_by(status)
        }
    }

    /// Whether the body stops amid a frame.
    pub(super) fn is_cut(&self) -> bool {
        self.web
            .as_ref()
            .is_some_and(|web| web.body.is_amid_frame())
    }
}

/// Whether the headers of a trailers-only answer of gRPC tell of a failed call.
pub(crate) fn has_failed(kind: Option<ContentType>, headers: &HeaderMap) -> bool {
    kind.is_some() && status(headers).is_some_and(|status| status != OK)
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
        has_deadline: false,
    };

    #[test]
    fn a_deadline_of_the_clients_own_makes_no_call_free() {
        let ending = |status: &'static str, has_deadline| {
            GrpcCall { has_deadline }.ending_by(Some(status.as_bytes()))
        };
        assert_eq!(ending("0", true), Ending::Complete);
        assert_eq!(ending("4", true), Ending::CutByClient);
        assert_eq!(ending("4", false), Ending::CutByUpstream);
        assert_eq!(ending("1", false), Ending::CutByClient);
        assert_eq!(ending("13", true), Ending::CutByUpstream);
    }

    /// What is heard in a body of gRPC-Web.
    fn heard(body: &[u8], encoding: Option<&'static str>) -> (Option<Failure>, bool) {
        let kind = HeaderValue::from_static("application/grpc-web+proto");
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        if let Some(encoding) = encoding {
            headers.insert(ENCODING, HeaderValue::from_static(encoding));
        }
        let mut answer = CALL
            .answered_by(ContentType::of(&headers), &headers)
            .unwrap();
        answer.hear(body);
        (answer.take_failure(), answer.is_cut())
    }

    #[test]
    fn a_body_of_grpc_web_tells_how_its_call_ended() {
        let message = b"\0\0\0\0\x02hi";
        let trailers = |status: &str| {
            let line = format!("grpc-status:{status}\r\n");
            let length = u8::try_from(line.len()).unwrap();
            [&[0x80, 0, 0, 0, length], line.as_bytes()].concat()
        };
        let after = |status| [&message[..], &trailers(status)].concat();
        for (body, failure) in [
            (trailers("0"), None),
            (trailers("7"), Some(Failure::Refused)),
            (trailers("1"), Some(Failure::Refused)),
            (after("0"), None),
            (after("13"), Some(Failure::Ended(Ending::CutByUpstream))),
            (after("1"), Some(Failure::Ended(Ending::CutByClient))),
            (after("3"), Some(Failure::Ended(Ending::CutByClient))),
            (trailers("3"), Some(Failure::Refused)),
            (message.to_vec(), None),
        ] {
            assert_eq!(heard(&body, None), (failure, false));
        }
        assert_eq!(heard(&message[..6], None), (None, true));
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
        assert_eq!(heard(&body, Some("br")).0, None);
        assert_eq!(heard(&body, None).0, None);
    }
}
