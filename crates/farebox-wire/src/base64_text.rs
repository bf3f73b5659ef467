//! The base64 flavours that macaroons travel in. Text of the client's is checked here and nowhere
//! copied but into the one vector that becomes the macaroon.

use base64::Engine as _;
use base64::engine::general_purpose::{
    GeneralPurpose, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD,
};

/// Text that is not one of the four base64 flavours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the macaroon is neither standard nor URL-safe base64, or mixes them")]
pub struct BadBase64;

/// Padded standard base64, the one flavour that every known client reads.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes standard or URL-safe base64, padded fully or not at all. The caller bounds the length.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, BadBase64> {
    flavour(text).decode(text).map_err(|_| BadBase64)
}

/// The only flavour `text` can be. Each engine refuses the other alphabet, so a mixture fails.
fn flavour(text: &[u8]) -> &'static GeneralPurpose {
    let url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    match (url_safe, text.ends_with(b"=")) {
        (false, true) => &STANDARD,
        (false, false) => &STANDARD_NO_PAD,
        (true, true) => &URL_SAFE,
        (true, false) => &URL_SAFE_NO_PAD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_flavours_of_the_same_bytes_are_read() {
        let bytes = [0xfb, 0xff, 0xbf, 0x01];
        for text in ["+/+/AQ==", "+/+/AQ", "-_-_AQ==", "-_-_AQ"] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn mixtures_part_padding_and_stray_characters_are_refused() {
        for text in [
            "+_+/AQ==",
            "-/-_AQ",
            "+/+/AQ=",
            "+/+/AQ===",
            "+/ +/AQ",
            "+/+/AQ\n",
            "=",
            "A",
        ] {
            assert_eq!(decode(text.as_bytes()), Err(BadBase64), "{text:?}");
        }
    }

    #[test]
    fn two_texts_of_the_same_bytes_differ_in_flavour_only() {
        assert_eq!(
            decode(b"AR=="),
            Err(BadBase64),
            "bits after the last byte must be zero"
        );
    }
}
