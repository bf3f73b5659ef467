//! The line in front of the writer: one lock, two kinds of callers.
//!
//! Requests (admit, revoke, prune) come in only while there is room. Endings of holds always come
//! in: there is at most one for each open hold, and progress is kept once per hold, so the line is
//! bounded by the number of open holds, which is limited itself.
//!
//! Somebody waits for a request, nobody for an ending. So a request wakes the writer at once, while
//! endings wait a moment for company: a commit of its own for each would double the commits. How far
//! a stream has come waits longer: the next word of it makes the last one old.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farebox_core::{Clock, HoldId, Msat, UnixMillis};
use tokio::sync::oneshot;

use crate::hold::{EndHold, Ended, Granted};
use crate::operation::{Command, Progress, Resolve};
use crate::stats::Counters;
use crate::store::Safe;
use crate::{LedgerError, Pruned};

/// What the writer found in the line.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) commands: Vec<Command>,
    /// Who waits for a whole round of pruning.
    pub(crate) prunes: Vec<oneshot::Sender<Result<Pruned, LedgerError>>>,
    /// Who waits for everything that was in line before.
    pub(crate) flushes: Vec<oneshot::Sender<Result<(), LedgerError>>>,
    /// No request will come any more.
    pub(crate) closing: bool,
}

impl Batch {
    /// Whether anybody waits for one of its commands.
    pub(crate) fn is_awaited(&self) -> bool {
        self.commands.iter().any(Command::is_awaited)
    }

    /// How safe it has to be once it is committed: as its most demanding command.
    pub(crate) fn safe(&self) -> Safe {
        let mut all = self.commands.iter().map(Command::safe);
        if all.all(|safe| safe == Safe::FromDeath) {
            Safe::FromDeath
        } else {
            Safe::FromPowerLoss
        }
    }

    /// Whether everything before it has to be on the disk now.
    pub(crate) const fn is_last_word(&self) -> bool {
        !self.flushes.is_empty() || self.closing
    }
}

/// How long endings of holds wait for a request to be committed with.
const COMPANY: Duration = Duration::from_micros(300);
/// So many endings are company enough.
const COMPANY_ENOUGH: usize = 256;
/// How long further progress waits for anything else to be committed with.
const PROGRESS_COMPANY: Duration = Duration::from_millis(100);
/// How long cursors wait for anything else to be committed with.
const CURSOR_COMPANY: Duration = Duration::from_secs(1);
/// Backends whose cursors wait at once; there are never so many.
const MAX_CURSORS: usize = 256;

pub(crate) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    max_queued: usize,
}

#[derive(Default)]
struct State {
    commands: Vec<Command>,
    progress: HashMap<HoldId, Msat>,
    /// Some of it is the first of its hold, and decides whether anything is charged after a crash.
    has_first_progress: bool,
    /// How far the settlements of each backend were read.
    cursors: BTreeMap<String, u64>,
    prunes: Vec<oneshot::Sender<Result<Pruned, LedgerError>>>,
    flushes: Vec<oneshot::Sender<Result<(), LedgerError>>>,
    requests: usize,
    closing: bool,
    writer_gone: bool,
    writer: WriterWaits,
}

/// What the writer is waiting for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum WriterWaits {
    /// It is busy, and will look by itself.
    #[default]
    No,
    /// Anything.
    ForWork,
    /// More than what can wait for company of its own accord.
    ForHaste,
    /// A request to commit together with the endings in line.
    ForCompany,
}

impl Queue {
    pub(crate) fn new(clock: Arc<dyn Clock>, counters: Arc<Counters>, max_queued: usize) -> Self {
        let state = Mutex::new(State::default());
        Self {
            state,
            ready: Condvar::new(),
            clock,
            counters,
            max_queued,
        }
    }

    /// Puts a request in line.
    pub(crate) fn request(&self, command: Command) -> Result<(), LedgerError> {
        let mut state = self.lock();
        if state.closing {
            return Err(LedgerError::Closed);
        }
        if self.counters.refusing.load(Ordering::Relaxed) {
            return Err(LedgerError::Refusing);
        }
        if state.requests >= self.max_queued {
            return Err(LedgerError::Overloaded);
        }
        state.requests += 1;
        state.commands.push(command);
        self.wake(state);
        Ok(())
    }

    /// The present instant.
    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Asks for a whole round of pruning.
    pub(crate) fn prune(
        &self,
        reply: oneshot::Sender<Result<Pruned, LedgerError>>,
    ) -> Result<(), LedgerError> {
        let mut state = self.lock();
        if state.closing {
            return Err(LedgerError::Closed);
        }
        if state.prunes.len() >= self.max_queued {
            return Err(LedgerError::Overloaded);
        }
        state.prunes.push(reply);
        self.wake(state);
        Ok(())
    }

    /// Asks to be told when everything in line is durable.
    pub(crate) fn flush(
        &self,
        reply: oneshot::Sender<Result<(), LedgerError>>,
    ) -> Result<(), LedgerError> {
        let mut state = self.lock();
        if state.closing {
            return Err(LedgerError::Closed);
        }
        if state.flushes.len() >= self.max_queued {
            return Err(LedgerError::Overloaded);
        }
        state.flushes.push(reply);
        self.wake(state);
        Ok(())
    }

    /// Notes how far a backend's settlements were read.
    pub(crate) fn note_cursor(&self, name: &str, cursor: u64) {
        let mut state = self.lock();
        if let Some(noted) = state.cursors.get_mut(name) {
            *noted = cursor;
            return;
        }
        if !state.writer_gone && state.cursors.len() < MAX_CURSORS {
            state.cursors.insert(name.to_owned(), cursor);
            self.wake(state);
        }
    }

    /// Lets no further request in and wakes the writer to finish.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.wake(state);
    }

    /// Whether requests are still let in.
    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Moves up to `limit` commands into `batch`, waiting up to `patience` for the first.
    pub(crate) fn take(&self, batch: &mut Batch, limit: usize, patience: Duration) {
        let mut state = self.lock();
        if !state.has_work() {
            state = self.wait(state, WriterWaits::ForWork, patience, State::has_work);
        }
        if state.has_work() && !state.has_more_than_cursors() {
            let (patience, more) = (patience.min(CURSOR_COMPANY), State::has_more_than_cursors);
            state = self.wait(state, WriterWaits::ForWork, patience, more);
        }
        if state.has_more_than_cursors() && !state.has_haste() {
            let patience = patience.min(PROGRESS_COMPANY);
            state = self.wait(state, WriterWaits::ForHaste, patience, State::has_haste);
        }
        if state.has_haste() && !state.is_urgent() {
            let patience = patience.min(COMPANY);
            state = self.wait(state, WriterWaits::ForCompany, patience, State::is_urgent);
        }
        state.move_into(batch, limit);
        let depth = u64::try_from(state.commands.len()).unwrap_or(u64::MAX);
        self.counters.queue_depth.store(depth, Ordering::Relaxed);
    }

    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        what: WriterWaits,
        patience: Duration,
        enough: fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        state.writer = what;
        let waited = self
            .ready
            .wait_timeout_while(state, patience, |state| !enough(state));
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.writer = WriterWaits::No;
        state
    }

    /// Takes what is left when the writer leaves, so that whoever waits is told.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.writer_gone = true;
        let left = std::mem::take(&mut *state);
        state.closing = true;
        state.writer_gone = true;
        drop(state);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        let wakes = match state.writer {
            WriterWaits::No => false,
            WriterWaits::ForWork => true,
            WriterWaits::ForHaste => state.has_haste(),
            WriterWaits::ForCompany => state.is_urgent(),
        };
        drop(state);
        if wakes {
            self.ready.notify_one();
        }
    }
}

impl EndHold for Queue {
    /// Comes in even while closing: what was served must be charged.
    fn resolve(&self, hold: &Granted, ended: Ended) {
        let (id, facts) = (hold.hold, hold.facts);
        let at = self.clock.now();
        let mut state = self.lock();
        if state.writer_gone {
            tracing::warn!(hold.id = %id, "hold ended after the ledger closed; the next start recovers it");
            return;
        }
        state.progress.remove(&id);
        state.commands.push(Command::Resolve(Resolve {
            hold: id,
            facts,
            ended,
            max_voids: hold.max_voids,
            at,
        }));
        self.wake(state);
    }

    fn progress(&self, hold: HoldId, used: Msat, is_first: bool) {
        let mut state = self.lock();
        let noted = state.progress.entry(hold).or_insert(used);
        *noted = (*noted).max(used);
        state.has_first_progress |= is_first;
        self.wake(state);
    }
}

impl State {
    fn has_work(&self) -> bool {
        !self.cursors.is_empty() || self.has_more_than_cursors()
    }

    fn has_more_than_cursors(&self) -> bool {
        !self.progress.is_empty() || self.has_haste()
    }

    /// Whether there is more than cursors and further progress.
    fn has_haste(&self) -> bool {
        !self.commands.is_empty()
            || self.has_first_progress
            || !self.prunes.is_empty()
            || !self.flushes.is_empty()
            || self.closing
    }

    /// Whether somebody waits, or enough is in line.
    fn is_urgent(&self) -> bool {
        self.requests > 0
            || !self.prunes.is_empty()
            || !self.flushes.is_empty()
            || self.closing
            || self.commands.len() >= COMPANY_ENOUGH
    }

    /// So many of the first commands that at most one of them takes the gate of payouts.
    fn one_gate(&self, limit: usize) -> usize {
        let first = self.commands.iter().take(limit);
        let mut gates = first
            .enumerate()
            .filter(|(_, command)| command.takes_gate());
        gates.nth(1).map_or(limit, |(second, _)| second)
    }

    fn move_into(&mut self, batch: &mut Batch, limit: usize) {
        let count = self.one_gate(self.commands.len().min(limit));
        batch.commands.extend(self.commands.drain(..count));
        let answered = batch.commands.iter().filter(|c| c.is_awaited()).count();
        self.requests = self.requests.saturating_sub(answered);
        self.has_first_progress = false;
        for (hold, used) in self.progress.drain() {
            let progress = Progress { hold, used };
            batch.commands.push(Command::Progress(progress));
        }
        while let Some((name, cursor)) = self.cursors.pop_first() {
            batch.commands.push(Command::Cursor(name, cursor));
        }
        batch.prunes.append(&mut self.prunes);
        if self.commands.is_empty() {
            batch.flushes.append(&mut self.flushes);
        }
        batch.closing = self.closing && self.commands.is_empty();
    }
}

#[cfg(test)]
mod tests;
