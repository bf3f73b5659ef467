use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::HeaderName;

use super::*;
use crate::body_budget::ByteBudget;

/// A compressor that flushes after each piece: the compressed form of each, and the end.
fn compressed(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    let mut parts = Vec::new();
    for piece in pieces {
        writer.write_all(piece).unwrap();
        writer.flush().unwrap();
        parts.push(std::mem::take(writer.get_mut()));
    }
    parts.push(writer.finish().unwrap());
    parts
}

fn read(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> (Vec<u8>, bool) {
    let mut decoder = Decoder::default();
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
    let mut decoder = Decoder::default();
    let parts = compressed(&EVENTS);
    for (part, event) in parts.iter().zip(EVENTS) {
        assert_eq!(decoder.push(part).unwrap(), event);
    }
    assert_eq!(decoder.push(parts.last().unwrap()).unwrap(), b"");
    assert!(decoder.is_complete());
}

#[test]
fn the_same_is_read_wherever_it_is_split_and_no_part_of_it_is_complete() {
    let stream = compressed(&EVENTS).concat();
    for at in 0..stream.len() {
        let (first, second) = stream.split_at(at);
        let whole = read([first, second]);
        assert_eq!(whole, (EVENTS.concat(), true), "split at {at}");
        let (_, is_complete) = read([first]);
        assert_eq!(is_complete, at == 0, "cut at {at}");
    }
    assert_eq!(read(stream.chunks(1)), (EVENTS.concat(), true));
}

#[test]
fn members_one_after_another_are_one_message() {
    let one = compressed(&EVENTS[..1]).concat();
    let two = compressed(&EVENTS[1..]).concat();
    assert_eq!(read([[one, two].concat()]), (EVENTS.concat(), true));
}

#[test]
fn damage_is_seen() {
    let pushed = Decoder::default().push(&[0xff; 5000]);
    assert!(matches!(pushed, Err(DecodeFault::Damaged(_))));
    let mut gzip = compressed(&EVENTS).concat();
    let checksum = gzip.len() - 6;
    gzip[checksum] ^= 1;
    let mut decoder = Decoder::default();
    let is_read = decoder.push(&gzip).is_ok() && decoder.is_complete();
    assert!(!is_read);
}

#[test]
fn a_small_message_that_unpacks_to_much_is_cut() {
    let zeros = vec![0; 32 * RATIO_FREE];
    let bomb = compressed(&[&zeros]).concat();
    assert!(bomb.len() * MAX_RATIO < zeros.len());
    let mut decoder = Decoder::default();
    let mut most = 0;
    let fault = bomb.chunks(PIECE).find_map(|piece| {
        let pushed = decoder.push(piece);
        most += pushed.as_ref().map_or(0, Vec::len);
        pushed.err()
    });
    assert!(matches!(fault, Some(DecodeFault::TooLong)));
    assert!(most <= (bomb.len() * MAX_RATIO).max(RATIO_FREE));
}

#[tokio::test]
async fn a_whole_message_is_read_up_to_its_limit_and_its_memory_is_accounted_for() {
    // Not so regular that the ratio would refuse it.
    let words = (0..60_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string());
    let text = words.collect::<Vec<_>>().join(" ").into_bytes();
    let message: Bytes = compressed(&[&text]).concat().into();
    assert!(message.len() > MAX_INLINE);
    let whole = |message: Bytes, limit, budget: &std::sync::Arc<ByteBudget>| {
        Decoder::default().whole(message, limit, budget.lease())
    };
    let budget = ByteBudget::new(text.len());
    let (read, lease) = whole(message.clone(), text.len(), &budget).await.unwrap();
    assert!(read == text);
    assert_eq!((lease.bytes(), budget.in_use()), (text.len(), text.len()));
    drop(lease);
    let longer = whole(message.clone(), text.len() - 1, &budget).await;
    assert!(matches!(longer, Err(DecodeFault::TooLong)));
    let poor = ByteBudget::new(text.len() - 1);
    let denied = whole(message.clone(), text.len(), &poor).await;
    assert!(matches!(denied, Err(DecodeFault::NoRoom(_))));
    let cut = message.slice(..message.len() - 1);
    let cut = whole(cut, text.len(), &budget).await;
    assert!(matches!(cut, Err(DecodeFault::Truncated)));
    assert_eq!((budget.in_use(), poor.in_use()), (0, 0));
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
fn gzip_is_taken_and_every_other_encoding_refused() {
    let of = |value| Decoder::of(&headers(&[("content-encoding", value)]));
    assert!(Decoder::of(&HeaderMap::new()).unwrap().is_none());
    for plain in ["", "identity", "Identity, "] {
        assert!(of(plain).unwrap().is_none(), "{plain:?}");
    }
    for gzip in ["gzip", "X-GZIP", "identity, gzip", " gzip "] {
        assert!(of(gzip).unwrap().is_some(), "{gzip:?}");
    }
    assert_eq!(of("gzip, gzip").err(), Some(Undecodable::Several));
    for other in ["br", "zstd", "deflate", "compress"] {
        let unknown = Undecodable::Unknown(other.to_owned());
        assert_eq!(of(other).err(), Some(unknown));
    }
    let mut twice = headers(&[("content-encoding", "gzip")]);
    twice.append(CONTENT_ENCODING, HeaderValue::from_static("br"));
    assert_eq!(Decoder::of(&twice).err(), Some(Undecodable::Several));
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
