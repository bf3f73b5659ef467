//! The two binary formats inside of an LND macaroon, as far as they are needed: the macaroon's own
//! packets (version 2) and protobuf messages. Bounded by the input, and nothing here panics.

/// The fields of a macaroon, without its signature.
pub(super) struct Packet<'a> {
    pub(super) identifier: &'a [u8],
    pub(super) conditions: Vec<&'a [u8]>,
}

const VERSION: u8 = 2;
const END: u64 = 0;
const LOCATION: u64 = 1;
const IDENTIFIER: u64 = 2;

impl<'a> Packet<'a> {
    /// Both binary versions count: what cannot be read here the node may still know.
    pub(super) fn looks_like_one(binary: &'a [u8]) -> bool {
        let version_1 = || binary.get(4..12) == Some(b"location".as_slice());
        Self::read(binary).is_some() || version_1()
    }

    /// `version, [location], identifier, END, {[location], condition, [key], END}, END, signature`.
    pub(super) fn read(binary: &'a [u8]) -> Option<Self> {
        let (version, rest) = binary.split_first()?;
        if *version != VERSION {
            return None;
        }
        let mut input = Input(rest);
        let identifier = section(&mut input)??;
        let mut conditions = Vec::new();
        while let Some(condition) = section(&mut input)? {
            conditions.push(condition);
        }
        Some(Self {
            identifier,
            conditions,
        })
    }
}

/// The identifier of one section; `Some(None)` where the section is empty, which ends the list.
fn section<'a>(input: &mut Input<'a>) -> Option<Option<&'a [u8]>> {
    let mut identifier = None;
    loop {
        match input.varint()? {
            END => return Some(identifier),
            LOCATION => {
                input.bytes()?;
            }
            IDENTIFIER => identifier = Some(input.bytes()?),
            _ => {
                input.bytes()?;
            }
        }
    }
}

/// The length-delimited fields of a protobuf message; others are passed over.
pub(super) struct Fields<'a>(Input<'a>);

impl<'a> Fields<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self(Input(message))
    }

    /// `Some(None)` at the end, `None` where the message is broken.
    pub(super) fn next(&mut self) -> Option<Option<(u64, &'a [u8])>> {
        while !self.0.0.is_empty() {
            let tag = self.0.varint()?;
            match tag & 7 {
                0 => {
                    self.0.varint()?;
                }
                1 => {
                    self.0.take(8)?;
                }
                2 => return Some(Some((tag >> 3, self.0.bytes()?))),
                5 => {
                    self.0.take(4)?;
                }
                _ => return None,
            }
        }
        Some(None)
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    /// Seven bits a byte, the lowest first.
    fn varint(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}
