//! The requests that wait for an answer. An answer is matched by the id of the request event and
//! counts once, whichever relay brings it first. A payment's request is remembered after its caller
//! has gone, so that an answer that comes late is still heard. Everything here is bounded.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farebox_core::PaymentHash;
use lru::LruCache;
use nostr::EventId;
use tokio::sync::oneshot;

use super::reply::Reply;
use crate::AnswerFault;

/// How many payments are remembered after their callers stopped waiting.
const MAX_LATE: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");

/// How many requests that are over are remembered, to tell a repeated answer from a strange one.
const MAX_OVER: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");

/// To which relays a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// To each, again after a reconnection: doing it twice does no harm.
    Everywhere,
    /// To this one, once.
    Only(usize),
}

/// A request to wait for.
pub(super) struct Expected {
    pub(super) id: EventId,
    pub(super) method: &'static str,
    pub(super) frame: Arc<str>,
    pub(super) spread: Spread,
    /// What is paid, where it is a payment.
    pub(super) payment: Option<PaymentHash>,
}

/// What became of a request.
pub(super) enum Outcome {
    /// The wallet answered, by this relay.
    Heard {
        via: usize,
        reply: Result<Reply, AnswerFault>,
    },
    /// Every relay that it was given to says that it does not take it.
    Rejected { reason: String },
}

/// Whose answer an event is.
pub(super) enum Match {
    /// That of this request to this method, perhaps of a payment that nobody waits for any more.
    Wanted(EventId, &'static str),
    /// A repeated one.
    Over,
    /// Nobody's.
    Nobody,
}

#[derive(Default)]
pub(super) struct Waiting {
    table: Mutex<Table>,
}

struct Table {
    open: HashMap<EventId, Entry>,
    late: LruCache<EventId, Late>,
    over: LruCache<EventId, ()>,
}

/// A payment that nobody waits for any more.
struct Late {
    method: &'static str,
    hash: PaymentHash,
}

struct Entry {
    expected: Expected,
    answer: oneshot::Sender<Outcome>,
    /// Relays by bit: those that it was given to, and those that refused it.
    given: u8,
    rejected: u8,
    written: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            late: LruCache::new(MAX_LATE),
            over: LruCache::new(MAX_OVER),
        }
    }
}

impl Waiting {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait. Dropping the ticket ends it.
    pub(super) fn expect(&self, expected: Expected) -> (Ticket<'_>, oneshot::Receiver<Outcome>) {
        let (answer, heard) = oneshot::channel();
        let id = expected.id;
        let entry = Entry {
            expected,
            answer,
            given: 0,
            rejected: 0,
            written: false,
        };
        self.table().open.insert(id, entry);
        (Ticket { waiting: self, id }, heard)
    }

    /// Notes that a relay is given the request, if it is meant to have it.
    pub(super) fn give(&self, id: &EventId, relay: usize) -> bool {
        let mut table = self.table();
        let Some(entry) = table.open.get_mut(id) else {
            return false;
        };
        let meant = match entry.expected.spread {
            Spread::Everywhere => true,
            Spread::Only(only) => only == relay,
        };
        if meant {
            entry.given |= bit(relay);
        }
        meant
    }

    /// The requests that a relay which has just come up is given.
    pub(super) fn repeatable(&self) -> Vec<EventId> {
        let table = self.table();
        let everywhere = table
            .open
            .iter()
            .filter(|(_, entry)| entry.expected.spread == Spread::Everywhere);
        everywhere.map(|(id, _)| *id).collect()
    }

    /// What to write, if the request is still waited for; from here on it may have reached the
    /// wallet.
    pub(super) fn begin_writing(&self, id: &EventId) -> Option<Arc<str>> {
        let mut table = self.table();
        let entry = table.open.get_mut(id)?;
        entry.written = true;
        Some(Arc::clone(&entry.expected.frame))
    }

    /// Whose answer it is that names these requests.
    pub(super) fn whose(&self, ids: impl Iterator<Item = EventId>) -> Match {
        let table = self.table();
        let mut repeated = Match::Nobody;
        for id in ids {
            if let Some(entry) = table.open.get(&id) {
                return Match::Wanted(id, entry.expected.method);
            }
            if let Some(late) = table.late.peek(&id) {
                return Match::Wanted(id, late.method);
            }
            if table.over.contains(&id) {
                repeated = Match::Over;
            }
        }
        repeated
    }

    /// Hands an answer over. The first one counts. That of a payment which nobody waits for any
    /// more comes back, with what it pays.
    pub(super) fn answer(
        &self,
        id: EventId,
        via: usize,
        reply: Result<Reply, AnswerFault>,
    ) -> Option<(PaymentHash, Result<Reply, AnswerFault>)> {
        let mut table = self.table();
        if let Some(entry) = table.open.remove(&id) {
            table.over.put(id, ());
            // Under the lock, so that whoever finds the entry gone finds the answer as well.
            drop(entry.answer.send(Outcome::Heard { via, reply }));
            return None;
        }
        let late = table.late.pop(&id)?;
        table.over.put(id, ());
        Some((late.hash, reply))
    }

    /// A relay says that it does not take a request. It is over when all say so.
    pub(super) fn reject(&self, id: EventId, relay: usize, reason: &str) {
        let mut table = self.table();
        let Some(entry) = table.open.get_mut(&id) else {
            return;
        };
        entry.rejected |= bit(relay) & entry.given;
        let by_all = entry.given != 0 && entry.rejected == entry.given;
        if by_all && let Some(entry) = table.end(id) {
            let reason = reason.to_owned();
            drop(entry.answer.send(Outcome::Rejected { reason }));
        }
    }
}

impl Table {
    /// Forgets a request. That of a payment is kept for a late answer, if it may have been sent.
    fn end(&mut self, id: EventId) -> Option<Entry> {
        let entry = self.open.remove(&id)?;
        match entry.expected.payment {
            Some(hash) if entry.written => {
                let method = entry.expected.method;
                self.late.put(id, Late { method, hash });
            }
            _ => {
                self.over.put(id, ());
            }
        }
        Some(entry)
    }
}

/// Relays are few: the connection URI's limit is eight.
fn bit(relay: usize) -> u8 {
    u32::try_from(relay)
        .ok()
        .and_then(|relay| 1u8.checked_shl(relay))
        .unwrap_or(0)
}

/// Keeps a request waited for.
pub(super) struct Ticket<'a> {
    waiting: &'a Waiting,
    id: EventId,
}

impl Ticket<'_> {
    /// Stops waiting. Says whether the request may have reached the wallet; if not, it never will.
    /// An answer that came in this very moment is there by now.
    pub(super) fn withdraw(self) -> bool {
        let ended = self.waiting.table().end(self.id);
        // Without an entry the answer has come meanwhile, so the request was sent.
        ended.is_none_or(|entry| entry.written)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.waiting.table().end(self.id);
    }
}

#[cfg(test)]
mod tests;
