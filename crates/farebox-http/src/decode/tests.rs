use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::header::HeaderName;

use super::*;
use crate::body_budget::ByteBudget;

const ALL: [Encoding; 4] = [
    Encoding::Gzip,
    Encoding::Deflate,
    Encoding::Brotli,
    Encoding::Zstd,
];

/// A compressor that flushes after each piece: the compressed form of each, and the end.
fn compressed(encoding: Encoding, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    match encoding {
        Encoding::Gzip => with(
            GzEncoder::new(Vec::new(), Compression::default()),
            GzEncoder::get_mut,
            |it| it.finish().unwrap(),
            pieces,
        ),
        Encoding::Deflate => with(
            ZlibEncoder::new(Vec::new(), Compression::default()),
            ZlibEncoder::get_mut,
            |it| it.finish().unwrap(),
            pieces,
        ),
        Encoding::Brotli => with(
            brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20),
            brotli::CompressorWriter::get_mut,
            brotli::CompressorWriter::into_inner,
            pieces,
        ),
        Encoding::Zstd => zstd(pieces),
    }
}

fn with<W: Write>(
    mut writer: W,
    out: impl Fn(&mut W) -> &mut Vec<u8>,
    finish: impl FnOnce(W) -> Vec<u8>,
    pieces: &[&[u8]],
) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for piece in pieces {
        writer.write_all(piece).unwrap();
        writer.flush().unwrap();
        parts.push(std::mem::take(out(&mut writer)));
    }
    parts.push(finish(writer));
    parts
}

fn zstd(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    use zstd_safe::zstd_sys::ZSTD_EndDirective;
    let mut context = zstd_safe::CCtx::create();
    let mut step = |piece: &[u8], end| {
        let mut out = vec![0; 1024 + 2 * piece.len()];
        let mut to = zstd_safe::OutBuffer::around(&mut out[..]);
        let mut from = zstd_safe::InBuffer::around(piece);
        let left = context.compress_stream2(&mut to, &mut from, end).unwrap();
        assert_eq!(left, 0);
        let length = to.pos();
        out.truncate(length);
        out
    };
    let flush = ZSTD_EndDirective::ZSTD_e_flush;
    let mut parts: Vec<_> = pieces.iter().map(|piece| step(piece, flush)).collect();
    parts.push(step(b"", ZSTD_EndDirective::ZSTD_e_end));
    parts
}

fn read(encoding: Encoding, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> (Vec<u8>, bool) {
    let mut decoder = Decoder::new(encoding);
    let mut whole = Vec::new();
    for piece in pieces {
        whole.extend(decoder.push(piece.as_ref()).unwrap());
    }
    let is_complete = decoder.is_complete();
    (whole, is_complete)
}

const EVENTS: [&[u8]; 4] = [
    b"data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n",
    b"data: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\n\n",
    b": ping\n\n",
    b"data: [DONE]\n\n",
];

#[test]
fn what_the_compressor_flushed_is_read_at_once() {
    for encoding in ALL {
        let mut decoder = Decoder::new(encoding);
        let parts = compressed(encoding, &EVENTS);
        for (part, event) in parts.iter().zip(EVENTS) {
            assert_eq!(decoder.push(part).unwrap(), event, "{encoding:?}");
        }
        assert_eq!(decoder.push(parts.last().unwrap()).unwrap(), b"");
        assert!(decoder.is_complete(), "{encoding:?}");
    }
}

#[test]
fn the_same_is_read_wherever_it_is_split_and_no_part_of_it_is_complete() {
    for encoding in ALL {
        let stream = compressed(encoding, &EVENTS).concat();
        for at in 0..stream.len() {
            let (first, second) = stream.split_at(at);
            assert_eq!(
                read(encoding, [first, second]),
                (EVENTS.concat(), true),
                "{encoding:?} split at {at}"
            );
            let (_, is_complete) = read(encoding, [first]);
            assert_eq!(is_complete, at == 0, "{encoding:?} cut at {at}");
        }
        assert_eq!(read(encoding, stream.chunks(1)), (EVENTS.concat(), true));
    }
}

#[test]
fn deflate_is_read_with_its_frame_and_without() {
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
    bare.write_all(EVENTS[0]).unwrap();
    let bare = bare.finish().unwrap();
    assert_eq!(
        read(Encoding::Deflate, bare.chunks(1)),
        (EVENTS[0].to_vec(), true)
    );
}

#[test]
fn members_and_frames_one_after_another_are_one_message() {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let one = compressed(encoding, &EVENTS[..1]).concat();
        let two = compressed(encoding, &EVENTS[1..]).concat();
        assert_eq!(
            read(encoding, [[one, two].concat()]),
            (EVENTS.concat(), true)
        );
    }
}

#[test]
fn damage_is_seen() {
    for encoding in ALL {
        let mut decoder = Decoder::new(encoding);
        let pushed = decoder.push(&[0xff; 5000]);
        assert!(
            matches!(pushed, Err(DecodeFault::Damaged(_))),
            "{encoding:?}"
        );
    }
    let mut gzip = compressed(Encoding::Gzip, &EVENTS).concat();
    let checksum = gzip.len() - 6;
    gzip[checksum] ^= 1;
    let mut decoder = Decoder::new(Encoding::Gzip);
    let is_read = decoder.push(&gzip).is_ok() && decoder.is_complete();
    assert!(!is_read);
}

#[test]
fn a_small_message_that_unpacks_to_much_is_cut() {
    let zeros = vec![0; 32 * RATIO_FREE];
    for encoding in ALL {
        let bomb = compressed(encoding, &[&zeros]).concat();
        assert!(bomb.len() * MAX_RATIO < zeros.len(), "{encoding:?}");
        let mut decoder = Decoder::new(encoding);
        let mut most = 0;
        let fault = bomb.chunks(PIECE).find_map(|piece| {
            let pushed = decoder.push(piece);
            most += pushed.as_ref().map_or(0, Vec::len);
            pushed.err()
        });
        assert!(matches!(fault, Some(DecodeFault::TooLong)), "{encoding:?}");
        assert!(most <= (bomb.len() * MAX_RATIO).max(RATIO_FREE));
    }
}

#[test]
fn a_zstd_message_may_not_ask_for_a_large_window() {
    // A frame header that asks for 2 GiB, and an empty last block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    let pushed = Decoder::new(Encoding::Zstd).push(&frame);
    assert!(matches!(pushed, Err(DecodeFault::Damaged(_))));
}

#[tokio::test]
async fn a_whole_message_is_read_up_to_its_limit_and_its_memory_is_accounted_for() {
    // Not so regular that the ratio would refuse it.
    let words = (0..60_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string());
    let text = words.collect::<Vec<_>>().join(" ").into_bytes();
    for encoding in ALL {
        let message: Bytes = compressed(encoding, &[&text]).concat().into();
        assert!(message.len() > MAX_INLINE);
        let budget = ByteBudget::new(text.len());
        let whole = Decoder::new(encoding).whole(message.clone(), text.len(), budget.lease());
        let (whole, lease) = whole.await.unwrap();
        assert!(whole == text, "{encoding:?}");
        assert_eq!((lease.bytes(), budget.in_use()), (text.len(), text.len()));
        drop(lease);
        let longer = Decoder::new(encoding).whole(message.clone(), text.len() - 1, budget.lease());
        assert!(matches!(longer.await, Err(DecodeFault::TooLong)));
        let poor = ByteBudget::new(text.len() - 1);
        let denied = Decoder::new(encoding).whole(message.clone(), text.len(), poor.lease());
        assert!(matches!(denied.await, Err(DecodeFault::NoRoom(_))));
        let cut = message.slice(..message.len() - 1);
        let cut = Decoder::new(encoding).whole(cut, text.len(), budget.lease());
        assert!(matches!(cut.await, Err(DecodeFault::Truncated)));
        assert_eq!((budget.in_use(), poor.in_use()), (0, 0));
    }
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    fields.collect()
}

#[test]
fn one_known_encoding_is_taken_and_everything_else_refused() {
    let encoding = |value| Encoding::of(&headers(&[("content-encoding", value)]));
    assert_eq!(Encoding::of(&HeaderMap::new()), Ok(None));
    for plain in ["", "identity", "Identity, "] {
        assert_eq!(encoding(plain), Ok(None), "{plain:?}");
    }
    for (name, known) in [
        ("gzip", Encoding::Gzip),
        ("X-GZIP", Encoding::Gzip),
        ("identity, br", Encoding::Brotli),
        ("zstd", Encoding::Zstd),
        (" deflate ", Encoding::Deflate),
    ] {
        assert_eq!(encoding(name), Ok(Some(known)), "{name}");
    }
    assert_eq!(encoding("gzip, gzip"), Err(Undecodable::Several));
    let unknown = Undecodable::Unknown("compress".to_owned());
    assert_eq!(encoding("compress"), Err(unknown));
    let mut twice = headers(&[("content-encoding", "gzip")]);
    twice.append(CONTENT_ENCODING, HeaderValue::from_static("br"));
    assert_eq!(Encoding::of(&twice), Err(Undecodable::Several));
}

#[test]
fn headers_about_the_compressed_form_do_not_pass() {
    let mut seen = headers(&[
        ("content-encoding", "gzip"),
        ("content-length", "5"),
        ("etag", "\"a\""),
        ("digest", "x"),
        ("x-other", "1"),
    ]);
    forget_encoding(&mut seen);
    assert_eq!(seen, headers(&[("etag", "W/\"a\""), ("x-other", "1")]));
}
