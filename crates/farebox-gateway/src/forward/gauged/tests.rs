//! Usage is read out of compressed streams just as out of plain ones.

use std::io::Write;

use farebox_http::decode::Decoder;
use farebox_meter::{Endpoint, StreamMeter};
use flate2::Compression;
use flate2::write::GzEncoder;

/// One gzip stream, flushed after each piece.
fn gzip<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    for piece in pieces {
        writer.write_all(piece).unwrap();
        writer.flush().unwrap();
    }
    writer.finish().unwrap()
}

/// The streams of every provider that the meter is tested with.
fn corpus() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../farebox-meter/tests/corpus");
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let streams = paths.filter(|path| path.extension().is_some_and(|kind| kind == "sse"));
    streams.map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn every_providers_stream_is_read_and_counted_the_same_compressed_and_split_anywhere() {
    let streams = corpus();
    assert!(streams.len() > 30);
    let meter = || StreamMeter::new(Endpoint::ChatCompletions, true, Box::new(|_| None));
    for stream in streams {
        let mut plain = meter();
        let mut passed = plain.pass(&stream).into_owned();
        plain.finish(&mut passed);
        let gzip = gzip(stream.split_inclusive(|byte| *byte == b'\n'));
        for at in 0..=gzip.len() {
            let (first, second) = gzip.split_at(at);
            let mut decoder = Decoder::default();
            let (mut meter, mut seen) = (meter(), Vec::new());
            for piece in [first, second] {
                let decoded = decoder.push(piece).unwrap();
                seen.extend_from_slice(&meter.pass(&decoded));
            }
            meter.finish(&mut seen);
            assert!(decoder.is_complete() && seen == passed, "split at {at}");
            assert_eq!(meter.observed(), plain.observed());
        }
    }
}
