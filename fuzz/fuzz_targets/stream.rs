//! Bytes as a provider's stream: whatever they are and however they are cut, what passes on is what
//! came, and what was seen is the same.

#![no_main]

use farebox_meter::{Endpoint, Observed, StreamMeter, answer};
use libfuzzer_sys::fuzz_target;

const ENDPOINTS: [Endpoint; 4] = [
    Endpoint::ChatCompletions,
    Endpoint::Completions,
    Endpoint::Responses,
    Endpoint::Messages,
];

fuzz_target!(|data: &[u8]| {
    let [choice, size, stream @ ..] = data else {
        return;
    };
    let endpoint = ENDPOINTS[usize::from(*choice) % ENDPOINTS.len()];
    let (whole, seen) = play(endpoint, false, stream, stream.len().max(1));
    assert_eq!(whole, stream, "something else passed on");
    for strip in [false, true] {
        let one = play(endpoint, strip, stream, stream.len().max(1));
        let cut = play(endpoint, strip, stream, usize::from(*size).max(1));
        assert!(one == cut, "the pieces made a difference");
        assert_eq!(one.1, seen);
        assert!(one.0.len() <= stream.len());
    }
    if let Some(usage) = seen.usage() {
        assert!(usage.all_input() > 0);
    }
    let answer = answer::Whole::read(endpoint, stream);
    let _ = (answer.usage(), answer.content_bytes());
});

fn play(endpoint: Endpoint, strip: bool, stream: &[u8], size: usize) -> (Vec<u8>, Observed) {
    let mut meter = StreamMeter::new(endpoint, strip, Box::new(|_| None));
    let mut out = Vec::new();
    for piece in stream.chunks(size) {
        out.extend_from_slice(&meter.pass(piece));
    }
    meter.finish(&mut out);
    (out, *meter.observed())
}
