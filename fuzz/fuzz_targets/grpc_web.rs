//! A body of gRPC-Web, binary or text, or of Connect: it says the same whole and in pieces of any size.

#![no_main]

use farebox_wire::grpc::{EndBlock, FramedBody, Framing, MAX_END_BLOCK};
use libfuzzer_sys::fuzz_target;

const KINDS: [Framing; 3] = [Framing::Web, Framing::WebText, Framing::Connect];

fuzz_target!(|data: &[u8]| {
    let [kind, size, body @ ..] = data else {
        return;
    };
    let framing = KINDS[usize::from(kind % 3)];
    let whole = read(framing, [body].into_iter());
    let pieces = body.chunks(usize::from(*size).max(1));
    assert_eq!(read(framing, pieces), whole);
    if let Some(end) = whole.0 {
        assert!(end.block.len() <= MAX_END_BLOCK);
        let _ = framing.status_in(&end.block);
    }
});

fn read<'a>(
    framing: Framing,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Option<EndBlock>, bool, bool) {
    let mut body = FramedBody::new(framing);
    pieces.for_each(|piece| body.push(piece));
    let end = body.take_end();
    (end, body.has_message(), body.is_amid_frame())
}
