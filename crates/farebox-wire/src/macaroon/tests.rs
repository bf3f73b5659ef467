//! Named behaviours of macaroons. Agreement with other implementations is in `tests/vectors.rs`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const CAVEATS: [&str; 3] = ["amount_msat=2000", "kind=balance", ""];

fn key() -> RootKey {
    RootKey::from_bytes([1; 32])
}

fn sample() -> Macaroon {
    Macaroon::issue(&key(), "farebox", b"identifier", CAVEATS)
}

fn unsigned(fields: &[u8]) -> Vec<u8> {
    [fields, &[6, 32], &[0; 32]].concat()
}

#[test]
fn parts_come_back_as_they_were_issued() {
    let macaroon = sample();
    assert_eq!(macaroon.location(), b"farebox");
    assert_eq!(macaroon.identifier(), b"identifier");
    assert!(
        macaroon
            .caveats()
            .eq(CAVEATS.iter().map(|caveat| caveat.as_bytes()))
    );
    assert_eq!(Macaroon::parse(&macaroon.to_bytes()), Ok(macaroon));
}

#[test]
fn only_the_key_that_signed_verifies() {
    assert!(sample().verify(&key()));
    assert!(!sample().verify(&RootKey::from_bytes([2; 32])));
}

#[test]
fn a_holder_attenuates_without_the_key_and_the_issuer_agrees() {
    let mut attenuated = sample();
    attenuated.attenuate("count=1");
    let issued = Macaroon::issue(
        &key(),
        "farebox",
        b"identifier",
        CAVEATS.iter().chain(&["count=1"]),
    );
    assert_eq!(attenuated, issued);
    assert!(attenuated.verify(&key()));
}

#[test]
fn a_caveat_cannot_be_taken_off_again() {
    let mut attenuated = sample();
    attenuated.attenuate("count=1");
    let mut stripped = sample().to_bytes();
    let signature_at = stripped.len() - 32;
    stripped.truncate(signature_at);
    stripped.extend(&attenuated.to_bytes()[attenuated.to_bytes().len() - 32..]);
    assert!(!Macaroon::parse(&stripped).unwrap().verify(&key()));
}

#[test]
fn a_macaroon_cut_at_any_byte_is_refused() {
    let bytes = sample().to_bytes();
    for end in 0..bytes.len() {
        assert!(Macaroon::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn any_bit_flipped_outside_the_location_hint_is_caught() {
    let macaroon = sample();
    let bytes = macaroon.to_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let verified = Macaroon::parse(&flipped).is_ok_and(|flipped| flipped.verify(&key()));
            assert_eq!(
                verified,
                macaroon.location.contains(&at),
                "bit {bit} of byte {at}"
            );
        }
    }
}

#[test]
fn bytes_after_the_signature_are_refused() {
    let mut bytes = sample().to_bytes();
    bytes.push(0);
    assert_eq!(Macaroon::parse(&bytes), Err(MacaroonError::TrailingBytes));
}

#[test]
fn fields_that_are_missing_repeated_or_out_of_order_are_refused() {
    let unexpected: [&[u8]; 7] = [
        &[2, 0, 0],                                        // no identifier
        &[2, 2, 1, b'i', 2, 1, b'i', 0, 0],                // identifier twice
        &[2, 1, 1, b'l', 1, 1, b'l', 2, 1, b'i', 0, 0],    // location twice
        &[2, 2, 1, b'i', 1, 1, b'l', 0, 0],                // location after identifier
        &[2, 2, 1, b'i', 4, 1, b'v', 0, 0],                // verification id in the header
        &[2, 2, 1, b'i', 0, 2, 1, b'c', 2, 1, b'c', 0, 0], // condition twice
        &[2, 2, 1, b'i', 0, 6, 1, b's', 0], // signature before the end of the caveats
    ];
    for fields in unexpected {
        let parsed = Macaroon::parse(&unsigned(fields));
        assert_eq!(parsed, Err(MacaroonError::UnexpectedField), "{fields:?}");
    }
    assert!(Macaroon::parse(&unsigned(&[2, 2, 1, b'i', 0, 0])).is_ok());
}

#[test]
fn versions_other_than_two_are_refused() {
    for version in [0, 1, 3, b'0', b'{'] {
        let parsed = Macaroon::parse(&unsigned(&[version, 2, 1, b'i', 0, 0]));
        assert_eq!(parsed, Err(MacaroonError::Version));
    }
}

#[test]
fn third_party_caveats_and_caveat_locations_are_refused() {
    let third_party = unsigned(&[2, 2, 1, b'i', 0, 2, 1, b'c', 4, 1, b'v', 0, 0]);
    assert_eq!(
        Macaroon::parse(&third_party),
        Err(MacaroonError::ThirdPartyCaveat)
    );
    let located = unsigned(&[2, 2, 1, b'i', 0, 1, 1, b'l', 2, 1, b'c', 0, 0]);
    assert_eq!(
        Macaroon::parse(&located),
        Err(MacaroonError::CaveatLocation)
    );
}

#[test]
fn lengths_have_one_spelling() {
    for length in [&[0x81, 0x00][..], &[0x81, 0x80, 0x00], &[0xff; 10]] {
        let fields = [&[2, 2], length, &[b'i', 0, 0]].concat();
        assert_eq!(
            Macaroon::parse(&unsigned(&fields)),
            Err(MacaroonError::Varint)
        );
    }
}

#[test]
fn a_length_beyond_the_end_is_a_cut() {
    let parsed = Macaroon::parse(&unsigned(&[2, 2, 0xff, 0x7f, b'i', 0, 0]));
    assert_eq!(parsed, Err(MacaroonError::Truncated));
}

#[test]
fn a_signature_of_another_length_is_refused() {
    for length in [0, 31, 33] {
        let fields = [2, 2, 1, b'i', 0, 0, 6, length];
        let bytes = [&fields[..], &vec![0; usize::from(length)]].concat();
        assert_eq!(Macaroon::parse(&bytes), Err(MacaroonError::SignatureLength));
    }
}

#[test]
fn size_and_number_of_caveats_are_bounded() {
    let with_caveats = |n| Macaroon::issue(&key(), "", b"i", std::iter::repeat_n("a=b", n));
    assert!(Macaroon::parse(&with_caveats(MAX_CAVEATS).to_bytes()).is_ok());
    let parsed = Macaroon::parse(&with_caveats(MAX_CAVEATS + 1).to_bytes());
    assert_eq!(parsed, Err(MacaroonError::TooManyCaveats));
    let empty = Macaroon::issue(&key(), "", b"", [""; 0]).to_bytes().len();
    let of_length = |n| Macaroon::issue(&key(), "", &vec![b'i'; n - empty - 1], [""; 0]).to_bytes();
    assert_eq!(of_length(MAX_LENGTH).len(), MAX_LENGTH);
    assert!(Macaroon::parse(&of_length(MAX_LENGTH)).is_ok());
    assert_eq!(
        Macaroon::parse(&of_length(MAX_LENGTH + 1)),
        Err(MacaroonError::TooLong)
    );
}

#[test]
fn the_longest_macaroon_fits_the_longest_base64() {
    assert_eq!(
        crate::base64_text::encode(&[0; MAX_LENGTH]).len(),
        MAX_BASE64_LENGTH
    );
}

#[test]
fn debug_shows_no_secret() {
    assert_eq!(
        format!("{:?} {:?}", sample(), key()),
        "Macaroon(…) RootKey(…)"
    );
}

#[test]
fn a_derived_key_depends_on_secret_epoch_and_identifier() {
    use farebox_core::{KeyEpoch, Secret};
    let signature = |secret, epoch, identifier: &[u8]| {
        RootKey::derive(&Secret::new([secret; 32]), KeyEpoch(epoch), identifier).sign(b"i")
    };
    let one = signature(1, 1, b"a");
    assert_eq!(one, signature(1, 1, b"a"));
    assert!(
        ![
            signature(2, 1, b"a"),
            signature(1, 2, b"a"),
            signature(1, 1, b"b")
        ]
        .contains(&one)
    );
}

proptest! {
    #[test]
    fn what_is_issued_is_read_back_and_verifies(
        root: [u8; 32],
        location in ".{0,40}",
        identifier in vec(any::<u8>(), 0..300),
        caveats in vec(vec(any::<u8>(), 0..200), 0..12),
    ) {
        let key = RootKey::from_bytes(root);
        let issued = Macaroon::issue(&key, &location, &identifier, &caveats);
        let parsed = Macaroon::parse(&issued.to_bytes()).unwrap();
        prop_assert_eq!(&parsed, &issued);
        prop_assert_eq!(parsed.location(), location.as_bytes());
        prop_assert_eq!(parsed.identifier(), &identifier[..]);
        prop_assert!(parsed.caveats().eq(caveats.iter().map(Vec::as_slice)));
        prop_assert!(parsed.verify(&key));
    }

    #[test]
    fn what_is_read_is_written_alike(bytes in near_macaroons()) {
        if let Ok(macaroon) = Macaroon::parse(&bytes) {
            let mut rebuilt = format::begin(macaroon.location(), macaroon.identifier(), macaroon.signature);
            macaroon.caveats().for_each(|caveat| rebuilt.append(caveat, macaroon.signature));
            if !macaroon.location().is_empty() || bytes[1] != 1 {
                prop_assert_eq!(rebuilt.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Macaroon::parse(&bytes);
    }
}

/// A good macaroon with some bytes changed.
fn near_macaroons() -> impl Strategy<Value = Vec<u8>> {
    vec((any::<prop::sample::Index>(), any::<u8>()), 0..4).prop_map(|changes| {
        let mut bytes = sample().to_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}
