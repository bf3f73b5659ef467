//! The bytes of a version 2 macaroon: a version, then fields of tag, varint length and data, with
//! empty tags that end the header and each caveat.

use std::ops::Range;

use super::{MAX_CAVEATS, MAX_LENGTH, Macaroon};

const VERSION: u8 = 2;
const END: u8 = 0;
const LOCATION: u8 = 1;
const IDENTIFIER: u8 = 2;
const VERIFICATION_ID: u8 = 4;
const SIGNATURE: u8 = 6;
const SIGNATURE_LENGTH: usize = 32;
/// Room for a token of ours with a few caveats of a holder, so that issuing allocates once.
const USUAL_LENGTH: usize = 512;
/// End of caveats, then tag, length and data of the signature.
const TAIL_LENGTH: usize = 3 + SIGNATURE_LENGTH;

/// Why bytes are not a macaroon that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacaroonError {
    /// More than [`MAX_LENGTH`] bytes.
    #[error("the macaroon is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// More than [`MAX_CAVEATS`] caveats.
    #[error("the macaroon has more than {MAX_CAVEATS} caveats")]
    TooManyCaveats,
    /// The bytes end inside a field or before the signature.
    #[error("the macaroon is cut off")]
    Truncated,
    /// Not the version 2 binary format; version 1 packets begin with a digit.
    #[error("the macaroon is not in the version 2 binary format")]
    Version,
    /// A field is unknown, repeated, or not in its place.
    #[error("the macaroon has a field out of place")]
    UnexpectedField,
    /// A length takes more bytes than it needs, or more than any length here can need.
    #[error("the macaroon has a length that is not written in its shortest form")]
    Varint,
    /// A first-party caveat with a location.
    #[error("the macaroon has a caveat with a location")]
    CaveatLocation,
    /// A caveat that somebody else would have to discharge: L402 has no way to send a discharge.
    #[error("the macaroon has a third-party caveat")]
    ThirdPartyCaveat,
    /// The signature is not 32 bytes long.
    #[error("the macaroon's signature is not {SIGNATURE_LENGTH} bytes long")]
    SignatureLength,
    /// Something follows the signature.
    #[error("the macaroon has bytes after its signature")]
    TrailingBytes,
}

pub(super) fn parse(bytes: Vec<u8>) -> Result<Macaroon, MacaroonError> {
    if bytes.len() > MAX_LENGTH {
        return Err(MacaroonError::TooLong);
    }
    let mut reader = Reader {
        bytes: &bytes,
        at: 0,
    };
    let (location, identifier) = reader.header()?;
    let caveats_at = reader.at;
    reader.caveats()?;
    let signature = reader.signature()?;
    Ok(Macaroon {
        bytes,
        location,
        identifier,
        caveats_at,
        signature,
    })
}

/// A macaroon without caveats.
pub(super) fn begin(location: &[u8], identifier: &[u8], signature: [u8; 32]) -> Macaroon {
    let mut bytes = Vec::with_capacity(USUAL_LENGTH);
    bytes.push(VERSION);
    let mut location_at = 0..0;
    if !location.is_empty() {
        location_at = push_field(&mut bytes, LOCATION, location);
    }
    let identifier = push_field(&mut bytes, IDENTIFIER, identifier);
    bytes.push(END);
    let caveats_at = bytes.len();
    push_tail(&mut bytes, &signature);
    Macaroon {
        bytes,
        location: location_at,
        identifier,
        caveats_at,
        signature,
    }
}

impl Macaroon {
    /// Puts one more caveat before the signature and replaces that.
    pub(super) fn append(&mut self, caveat: &[u8], signature: [u8; 32]) {
        self.bytes
            .truncate(self.bytes.len().saturating_sub(TAIL_LENGTH));
        push_field(&mut self.bytes, IDENTIFIER, caveat);
        self.bytes.push(END);
        push_tail(&mut self.bytes, &signature);
        self.signature = signature;
    }
}

fn push_tail(bytes: &mut Vec<u8>, signature: &[u8; SIGNATURE_LENGTH]) {
    bytes.push(END);
    push_field(bytes, SIGNATURE, signature);
}

fn push_field(bytes: &mut Vec<u8>, tag: u8, data: &[u8]) -> Range<usize> {
    bytes.push(tag);
    push_varint(bytes, data.len());
    let start = bytes.len();
    bytes.extend_from_slice(data);
    start..bytes.len()
}

fn push_varint(bytes: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Location, if any, and identifier.
    fn header(&mut self) -> Result<(Range<usize>, Range<usize>), MacaroonError> {
        if self.byte()? != VERSION {
            return Err(MacaroonError::Version);
        }
        let mut tag = self.byte()?;
        let mut location = 0..0;
        if tag == LOCATION {
            location = self.data()?;
            tag = self.byte()?;
        }
        if tag != IDENTIFIER {
            return Err(MacaroonError::UnexpectedField);
        }
        let identifier = self.data()?;
        match self.byte()? {
            END => Ok((location, identifier)),
            _ => Err(MacaroonError::UnexpectedField),
        }
    }

    /// All caveats and the mark after the last.
    fn caveats(&mut self) -> Result<(), MacaroonError> {
        for _ in 0..=MAX_CAVEATS {
            if self.caveat()?.is_none() {
                return Ok(());
            }
        }
        Err(MacaroonError::TooManyCaveats)
    }

    /// The next caveat; nothing at the mark after the last.
    fn caveat(&mut self) -> Result<Option<Range<usize>>, MacaroonError> {
        match self.byte()? {
            END => return Ok(None),
            IDENTIFIER => {}
            LOCATION => return Err(MacaroonError::CaveatLocation),
            _ => return Err(MacaroonError::UnexpectedField),
        }
        let condition = self.data()?;
        match self.byte()? {
            END => Ok(Some(condition)),
            VERIFICATION_ID => Err(MacaroonError::ThirdPartyCaveat),
            _ => Err(MacaroonError::UnexpectedField),
        }
    }

    fn signature(&mut self) -> Result<[u8; SIGNATURE_LENGTH], MacaroonError> {
        if self.byte()? != SIGNATURE {
            return Err(MacaroonError::UnexpectedField);
        }
        let range = self.data()?;
        let data = self.bytes.get(range).ok_or(MacaroonError::Truncated)?;
        let signature = data
            .try_into()
            .map_err(|_| MacaroonError::SignatureLength)?;
        if self.at < self.bytes.len() {
            return Err(MacaroonError::TrailingBytes);
        }
        Ok(signature)
    }

    fn byte(&mut self) -> Result<u8, MacaroonError> {
        let byte = *self.bytes.get(self.at).ok_or(MacaroonError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn data(&mut self) -> Result<Range<usize>, MacaroonError> {
        let length = self.varint()?;
        let start = self.at;
        let end = start + length;
        if end > self.bytes.len() {
            return Err(MacaroonError::Truncated);
        }
        self.at = end;
        Ok(start..end)
    }

    /// An unsigned LEB128 number. Two bytes hold any length up to [`MAX_LENGTH`].
    fn varint(&mut self) -> Result<usize, MacaroonError> {
        const { assert!(MAX_LENGTH < 1 << 14) };
        let low = self.byte()?;
        if low < 0x80 {
            return Ok(usize::from(low));
        }
        match self.byte()? {
            0 | 0x80.. => Err(MacaroonError::Varint),
            high => Ok(usize::from(low & 0x7f) | usize::from(high) << 7),
        }
    }
}

/// The caveats of one [`Macaroon`], in order.
#[derive(Clone)]
pub struct Caveats<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Caveats<'a> {
    pub(super) const fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }
}

impl<'a> Iterator for Caveats<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut reader = Reader {
            bytes: self.bytes,
            at: self.at,
        };
        let condition = reader.caveat().ok().flatten()?;
        self.at = reader.at;
        self.bytes.get(condition)
    }
}
