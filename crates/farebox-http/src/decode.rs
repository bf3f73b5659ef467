//! Answers that come compressed although they were asked for plain: what is charged by what it uses
//! has to be read. Only gzip is, which every server that compresses without being asked can send.
//!
//! A [`Decoder`] is pushed pieces as they come and gives at once all that can be read of them, so a
//! stream whose compressor flushes after each event stays one. It never gives more than a fixed
//! multiple of what it got: a small answer that unpacks without end is cut. Several encodings on top
//! of each other, and all others, are refused before the first byte.

mod body;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue};
use tokio::sync::Semaphore;

use crate::body_budget::{BudgetExhausted, Lease};
pub use body::{DecodedBody, InflowError};

/// How many bytes one compressed byte may become, on the average of all that came.
pub const MAX_RATIO: usize = 200;
/// What is unpacked whatever the ratio, in bytes: a short answer may be all zeros.
pub const RATIO_FREE: usize = 1024 * 1024;
/// How much compressed input is unpacked in one go, in bytes.
const PIECE: usize = 8 * 1024;
/// A longer whole answer, in compressed bytes, is not unpacked on a data thread.
const MAX_INLINE: usize = 8 * 1024;
/// Whole answers that are unpacked at once, in all threads together.
const MAX_UNPACKERS: usize = 2;

static UNPACKERS: Semaphore = Semaphore::const_new(MAX_UNPACKERS);

/// Why an answer cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// An encoding that is not known here.
    #[error("the encoding {0:?} is not known")]
    Unknown(String),
    /// One on top of another.
    #[error("more than one encoding")]
    Several,
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum DecodeFault {
    /// Not what its header says, or damaged.
    #[error("the compressed answer is damaged")]
    Damaged(#[source] io::Error),
    /// It ends before its compressor ended it.
    #[error("the compressed answer is not complete")]
    Truncated,
    /// It becomes too long.
    #[error("the compressed answer unpacks to too much")]
    TooLong,
    /// There is no memory for it at the moment.
    #[error(transparent)]
    NoRoom(#[from] BudgetExhausted),
    /// The thread that unpacks has died.
    #[error("the compressed answer could not be unpacked")]
    Lost,
}

/// Reads one compressed answer piece by piece: gzip members one after another (RFC 1952), each with
/// its checksum.
pub struct Decoder {
    /// In a box: it is large, and most answers have none.
    gzip: Box<MultiGzDecoder<Sink>>,
    taken: usize,
    given: usize,
}

/// Where what is read goes, and how much it still may be.
#[derive(Default)]
struct Sink {
    out: Vec<u8>,
    room: usize,
    is_full: bool,
}

/// Says of a message that it is plain from here on: what its headers told of its compressed form is
/// gone, and its entity tag stands for the same content in another form.
pub fn forget_encoding(headers: &mut HeaderMap) {
    for name in [CONTENT_ENCODING, CONTENT_LENGTH, ACCEPT_RANGES] {
        headers.remove(name);
    }
    for name in ["content-md5", "content-digest", "digest"] {
        headers.remove(name);
    }
    let Some(tag) = headers.remove(ETAG) else {
        return;
    };
    if tag.as_bytes().starts_with(b"W/") {
        headers.insert(ETAG, tag);
    } else if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        headers.insert(ETAG, weak);
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            gzip: Box::new(MultiGzDecoder::new(Sink::default())),
            taken: 0,
            given: 0,
        }
    }
}

impl Decoder {
    /// A decoder for the message with these headers; `None` where it is plain.
    ///
    /// # Errors
    /// [`Undecodable`].
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Undecodable> {
        const LONGEST_NAME: usize = 40;
        let lines = headers.get_all(CONTENT_ENCODING).iter();
        let texts = lines.map(|line| line.to_str().unwrap_or("?"));
        let names = texts.flat_map(|text| text.split(',')).map(str::trim);
        let mut names = names.filter(|name| !name.is_empty() && !is(name, "identity"));
        let Some(name) = names.next() else {
            return Ok(None);
        };
        if names.next().is_some() {
            return Err(Undecodable::Several);
        }
        if is(name, "gzip") || is(name, "x-gzip") {
            Ok(Some(Self::default()))
        } else {
            let name = name.chars().take(LONGEST_NAME).collect();
            Err(Undecodable::Unknown(name))
        }
    }

    /// All that can be read after this piece. A long piece is better pushed in parts, since what it
    /// becomes is in memory at once.
    ///
    /// # Errors
    /// [`DecodeFault`]; nothing can be read after it.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>, DecodeFault> {
        self.taken = self.taken.saturating_add(piece.len());
        let most = self.taken.saturating_mul(MAX_RATIO).max(RATIO_FREE);
        self.gzip.get_mut().room = most.saturating_sub(self.given);
        // What is read waits in the decoder until it is flushed.
        let read = self.gzip.write_all(piece).and_then(|()| self.gzip.flush());
        let sink = self.gzip.get_mut();
        if sink.is_full {
            return Err(DecodeFault::TooLong);
        }
        read.map_err(DecodeFault::Damaged)?;
        let out = std::mem::take(&mut sink.out);
        self.given = self.given.saturating_add(out.len());
        Ok(out)
    }

    /// Whether what came is all of it, by its own account: to be asked when nothing more will come.
    /// A message of no bytes is empty.
    pub fn is_complete(&mut self) -> bool {
        self.taken == 0 || self.gzip.try_finish().is_ok()
    }

    /// Reads a whole message of at most `limit` bytes, and grows `lease` with it. A long one is
    /// unpacked on another thread.
    ///
    /// # Errors
    /// [`DecodeFault`].
    pub async fn whole(
        self,
        message: Bytes,
        limit: usize,
        lease: Lease,
    ) -> Result<(Vec<u8>, Lease), DecodeFault> {
        if message.len() <= MAX_INLINE {
            return self.unpack(&message, limit, lease);
        }
        let Ok(turn) = UNPACKERS.acquire().await else {
            return Err(DecodeFault::Lost);
        };
        let unpacking = tokio::task::spawn_blocking(move || {
            // Kept to the end of the work, which goes on when nobody waits for it any more.
            let _turn = turn;
            self.unpack(&message, limit, lease)
        });
        unpacking.await.unwrap_or(Err(DecodeFault::Lost))
    }

    fn unpack(
        mut self,
        message: &[u8],
        limit: usize,
        mut lease: Lease,
    ) -> Result<(Vec<u8>, Lease), DecodeFault> {
        let mut whole = Vec::new();
        for piece in message.chunks(PIECE) {
            let read = self.push(piece)?;
            if whole.len() + read.len() > limit {
                return Err(DecodeFault::TooLong);
            }
            lease.grow(read.len())?;
            whole.extend_from_slice(&read);
        }
        if self.is_complete() {
            Ok((whole, lease))
        } else {
            Err(DecodeFault::Truncated)
        }
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.room {
            self.is_full = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.room -= bytes.len();
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
}
