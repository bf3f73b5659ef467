//! A body of gRPC-Web, binary or text: it says the same whole and in pieces of any size.

#![no_main]

use farebox_wire::grpc::{MAX_TRAILERS, WebBody, WebTrailers, status_in};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use libfuzzer_sys::fuzz_target;

const KINDS: [&str; 2] = ["application/grpc-web+proto", "application/grpc-web-text"];

fuzz_target!(|data: &[u8]| {
    let [kind, size, body @ ..] = data else {
        return;
    };
    let kind = HeaderValue::from_static(KINDS[usize::from(kind % 2)]);
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
    let whole = read(&headers, [body].into_iter());
    let pieces = body.chunks(usize::from(*size).max(1));
    assert_eq!(read(&headers, pieces), whole);
    if let Some(trailers) = whole.0 {
        assert!(trailers.block.len() <= MAX_TRAILERS);
        let _ = status_in(&trailers.block);
    }
});

fn read<'a>(
    headers: &HeaderMap,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Option<WebTrailers>, bool, bool) {
    let mut body = WebBody::of(headers).expect("a body of gRPC-Web");
    pieces.for_each(|piece| body.push(piece));
    let trailers = body.take_trailers();
    (trailers, body.has_message(), body.is_amid_frame())
}
