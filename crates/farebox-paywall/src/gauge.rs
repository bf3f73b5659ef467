//! Gauges: what finds out the charge of one answer, where that is not the whole hold.
//!
//! A gauge sees the request leave, the answer's head, its body and its trailers, and makes the
//! [`Bill`](bill::Bill) when the answer has ended, whichever way. There is one for each that can tell
//! what was used: the usage of a [`model`], the upstream's [`report`], what is [`measured`] here, the
//! seller's [webhook](crate::webhook).
//!
//! Never here: an HTTP body, a connection, a route.

pub mod bill;
pub mod finding;
pub mod measured;
pub mod model;
pub mod report;
pub mod tariff;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use farebox_core::Msat;
use http::{HeaderMap, StatusCode};

use finding::Billed;
pub use measured::Of;

/// How an answer ended, for the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Completely delivered.
    Complete,
    /// The upstream failed or cut it short.
    CutByUpstream,
    /// The client left before the end.
    CutByClient,
}

/// The seller's choices where an answer does not end well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Billing {
    /// A complete answer that does not tell its usage.
    pub usage_missing: Unsaid,
    /// An answer that the upstream broke off, or that failed after it had begun.
    pub broken_off: Unsaid,
    /// What becomes of the upstream's answer when its client leaves.
    pub on_disconnect: OnDisconnect,
}

/// What is charged where nobody says what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsaid {
    /// What was seen.
    #[default]
    Observed,
    /// Nothing.
    Nothing,
    /// All that was held.
    Hold,
}

/// What becomes of the upstream's answer when its client leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The upstream is told by closing the connection; what was seen is charged.
    #[default]
    Cancel,
    /// The rest of a model's answer is read, for a minute, where the model may have thought out of
    /// sight; else as [`OnDisconnect::Cancel`].
    ForThoughts,
    /// The rest is read, for a time, because the upstream charges for it anyway and tells the usage
    /// at its end.
    Drain(Duration),
}

impl OnDisconnect {
    /// How long the rest is read, where it is whatever was used.
    pub const fn drains(self) -> Option<Duration> {
        match self {
            Self::Cancel | Self::ForThoughts => None,
            Self::Drain(limit) => Some(limit),
        }
    }
}

/// How a gauge wants an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As the upstream sends it: its content is not read. What it costs may be known from its head.
    AsSent {
        /// The cost, where it will not change any more.
        cost: Option<Msat>,
    },
    /// In the clear, piece by piece as it passes.
    Stream,
    /// In the clear and to its end, before any of it leaves.
    Whole,
}

/// What became of an answer that was read to its end.
pub struct Whole {
    /// What it came to.
    pub billed: Billed,
    /// The answer with its cost in it, where it has a place for that.
    pub document: Option<Vec<u8>>,
}

impl From<Billed> for Whole {
    fn from(billed: Billed) -> Self {
        let document = None;
        Self { billed, document }
    }
}

/// Finds out what one answer is charged.
pub trait Gauge: Send + Sync {
    /// The request leaves now, with these header fields; they may be changed, so that the answer
    /// can be read. Gives where the bytes of its body are to be counted, if they are.
    fn request(&mut self, headers: &mut HeaderMap) -> Option<Arc<AtomicU64>>;

    /// Whether an answer with this status can be what was asked for. One that `is_elsewhere` says where
    /// that is still to be fetched on the upstream's own origin, or that it is there.
    fn sells(&self, _status: StatusCode, _is_elsewhere: bool) -> bool {
        true
    }

    /// The head of an answer that will be charged.
    fn head(&mut self, status: StatusCode, headers: &mut HeaderMap) -> Form;

    /// A piece of the body has come. Gives what passes on, which may be empty for now.
    fn frame(&mut self, data: Bytes) -> Bytes {
        data
    }

    /// The body is over. Gives what was held back of it.
    fn rest(&mut self) -> Bytes {
        Bytes::new()
    }

    /// The trailers have come.
    fn trailers(&mut self, _trailers: &HeaderMap) {}

    /// How much was used so far, as far as that is known: what recovery would charge.
    fn progress(&self) -> Option<Msat>;

    /// How long the upstream is listened to after the client left, if at all.
    fn drains(&self) -> Option<Duration> {
        None
    }

    /// Whether an answer is sold although it cannot be read; its cost is then missing.
    fn sells_unread(&self) -> bool {
        true
    }

    /// Whether leaving early can cost more than what was seen. Then an answer that this process cuts
    /// off itself counts as cut by the upstream.
    fn leaving_costs(&self) -> bool {
        true
    }

    /// The answer has ended so.
    fn bill(self: Box<Self>, ending: Ending) -> Billed;

    /// The answer has come to its end, and nothing of it has left. `held` is the most that is
    /// charged for it.
    fn whole(self: Box<Self>, _body: &[u8], _held: Msat) -> Whole {
        self.bill(Ending::Complete).into()
    }
}
