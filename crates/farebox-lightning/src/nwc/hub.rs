//! What all relays' connections share: the requests that wait, what the wallet can do, and who
//! listens for settlements. Every event from a relay is judged here, and only the wallet's own ones
//! change anything.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use farebox_core::{Clock, UnixMillis};
use lru::LruCache;
use nostr::{Event, EventId};
use tokio::sync::{broadcast, watch};

use super::info::Info;
use super::memory::Memory;
use super::reply::{self, Direction, Reply, Transaction};
use super::seal::{INFO, NOTIFICATION, RESPONSE, Seal, answered};
use super::waiting::{Match, Waiting};
use crate::{AnswerFault, Settlement};

/// How many settlements a listener may be behind; what it misses it can still look up.
const MAX_BEHIND: usize = 256;

/// How many notifications are remembered, since each relay brings each one.
const MAX_NOTIFIED: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");

/// The notification of an incoming payment.
pub(super) const PAYMENT_RECEIVED: &str = "payment_received";

/// What an event turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One that we wait for, or its repetition by another relay.
    Welcome,
    /// One that we did not ask for.
    Stray,
    /// One that the wallet did not make.
    Forged,
}

pub(super) struct Hub {
    pub(super) seal: Seal,
    pub(super) waiting: Waiting,
    pub(super) memory: Memory,
    clock: Arc<dyn Clock>,
    info: watch::Sender<Option<Arc<Info>>>,
    settlements: broadcast::Sender<Settlement>,
    notified: Mutex<LruCache<EventId, ()>>,
}

impl Hub {
    pub(super) fn new(seal: Seal, clock: Arc<dyn Clock>) -> Self {
        Self {
            seal,
            waiting: Waiting::default(),
            memory: Memory::default(),
            clock,
            info: watch::Sender::new(None),
            settlements: broadcast::Sender::new(MAX_BEHIND),
            notified: Mutex::new(LruCache::new(MAX_NOTIFIED)),
        }
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// The newest info event of the wallet, where a relay has shown one.
    pub(super) fn info(&self) -> Option<Arc<Info>> {
        self.info.borrow().clone()
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Settlement> {
        self.settlements.subscribe()
    }

    /// Judges an event that a relay sent. The cheap questions come first: a signature is verified
    /// only of what would matter.
    pub(super) fn hear(&self, via: usize, event: &Event) -> Verdict {
        if event.pubkey != self.seal.wallet() {
            return Verdict::Forged;
        }
        match event.kind {
            kind if kind == RESPONSE => self.hear_response(via, event),
            kind if kind == NOTIFICATION => self.hear_notification(event),
            kind if kind == INFO => self.hear_info(event),
            _ => Verdict::Stray,
        }
    }

    fn hear_response(&self, via: usize, event: &Event) -> Verdict {
        match self.waiting.whose(answered(event)) {
            Match::Over => Verdict::Welcome,
            Match::Nobody => Verdict::Stray,
            Match::Wanted(..) if !self.seal.is_the_wallets(event) => Verdict::Forged,
            Match::Wanted(id, method) => {
                let late = self.waiting.answer(id, via, self.read(event, method));
                // A late answer proves that the payment was made, or nothing.
                if let Some((hash, Ok(Reply::Done(result)))) = late
                    && let Ok(state) = reply::paid(result, &hash)
                {
                    self.memory.note_proven(hash, state);
                }
                Verdict::Welcome
            }
        }
    }

    fn read(&self, event: &Event, method: &str) -> Result<Reply, AnswerFault> {
        let unreadable = |_| AnswerFault::Missing("content that we can decrypt");
        let text = self.seal.open(event).map_err(unreadable)?;
        reply::read(&text, method)
    }

    fn hear_info(&self, event: &Event) -> Verdict {
        let known = self.info();
        if known.is_some_and(|known| known.at >= event.created_at) {
            return Verdict::Welcome;
        }
        if !self.seal.is_the_wallets(event) {
            return Verdict::Forged;
        }
        let heard = Arc::new(Info::read(event));
        self.info.send_if_modified(|info| {
            let newer = info.as_ref().is_none_or(|info| info.at < heard.at);
            if newer {
                *info = Some(heard);
            }
            newer
        });
        Verdict::Welcome
    }

    fn hear_notification(&self, event: &Event) -> Verdict {
        if self.was_notified(&event.id) {
            return Verdict::Welcome;
        }
        if !self.seal.is_the_wallets(event) {
            return Verdict::Forged;
        }
        self.note_notified(event.id);
        if self.seal.is_for_us(event)
            && let Ok(text) = self.seal.open(event)
            && let Some(settlement) = settlement(&text)
        {
            // Nobody needs to listen.
            drop(self.settlements.send(settlement));
        }
        Verdict::Welcome
    }

    fn was_notified(&self, id: &EventId) -> bool {
        let notified = self.notified.lock().unwrap_or_else(PoisonError::into_inner);
        notified.contains(id)
    }

    fn note_notified(&self, id: EventId) {
        let mut notified = self.notified.lock().unwrap_or_else(PoisonError::into_inner);
        notified.put(id, ());
    }
}

/// The settlement that a notification tells of, if it does.
fn settlement(text: &str) -> Option<Settlement> {
    let (kind, about) = reply::read_notification(text).ok()?;
    let transaction: Transaction = reply::fields(about).ok()?;
    let hash = transaction.hash().ok()?;
    let settled = kind == PAYMENT_RECEIVED
        && transaction.direction() != Direction::Outgoing
        && !transaction.says_unsettled();
    settled.then_some(Settlement {
        payment_hash: hash,
        asked: None,
        received: transaction.amount(),
        cursor: None,
    })
}
