//! The one thread that writes: takes all that waits as one batch, commits it, hands out its holds,
//! waits for the disk, and only then gives every other answer.
//!
//! A hold on an account that is on the disk already need not wait for the disk. Committed, it outlives
//! the process. Should the power fail before the disk has it, it is lost; found, it would be released,
//! because the first byte of its answer, which alone can make recovery charge it, is always written
//! later. The outcome is the same. Everything else is committed together with its sync, or not at all.
//!
//! When the store fails, requests are refused and the endings of holds are kept and tried again, so
//! that nothing served goes uncharged and nothing unserved is charged. A failure that cannot heal
//! ends in recovery at the next start.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use farebox_core::{AccountId, Clock, HoldId, Msat, UnixMillis};
use tokio::sync::{oneshot, watch};

use crate::book::Moment;
use crate::engine::{Broken, Engine, Told};
use crate::lock::ProcessLock;
use crate::operation::{
    Answer, CloseAccount, Command, Desk, ForgetPast, ForgetUnpaid, Operation, Progress, RemoveKey,
};
use crate::queue::{Batch, Queue};
use crate::stats::Counters;
use crate::store::{PruneStep, Safe, StoreError};
use crate::{LedgerError, OpenOptions, Pruned, crash_point};

/// The name of the thread, for people who look at the CPU time of threads.
const THREAD_NAME: &str = "farebox-ledger";
/// How often the writer looks for closed accounts by itself.
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long the writer waits before it tries a store that failed again.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// How long the endings of holds, which nobody waits for, may be committed and not on the disk.
const SYNC_WITHIN: Duration = Duration::from_millis(2);

type PruneReply = oneshot::Sender<Result<Pruned, LedgerError>>;

/// Everything the thread owns.
pub(crate) struct Writer {
    engine: Engine,
    queue: Arc<Queue>,
    desk: Desk,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    retention: Duration,
    max_batch: usize,
    health: Health,
    /// Endings of holds that a failed transaction did not write: at most one for each.
    backlog: Vec<Command>,
    /// Progress that it did not write.
    stalled: HashMap<HoldId, Msat>,
    /// Since when something is committed that the disk may not have.
    unsynced: Option<Instant>,
    /// When a store that failed is tried again.
    next_retry: Instant,
    round: Option<Round>,
    next_round: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Sound,
    /// The store may work again.
    Waiting,
    /// The store is not to be trusted until the next start.
    Lost,
}

/// A round of pruning that is under way.
struct Round {
    is_new: bool,
    before: UnixMillis,
    pruned: Pruned,
    replies: Vec<PruneReply>,
}

/// Starts the thread. It lets go of `lock` after the store is closed, and of `alive` last.
pub(crate) fn spawn(
    mut writer: Writer,
    lock: Option<ProcessLock>,
    alive: watch::Sender<()>,
) -> io::Result<()> {
    let thread = thread::Builder::new().name(THREAD_NAME.to_owned());
    let run = move || {
        writer.run();
        let queue = Arc::clone(&writer.queue);
        drop(writer);
        queue.abandon();
        drop(lock);
        drop(alive);
    };
    thread.spawn(run).map(drop)
}

impl Writer {
    pub(crate) fn new(
        engine: Engine,
        queue: Arc<Queue>,
        desk: Desk,
        counters: Arc<Counters>,
        options: &OpenOptions,
    ) -> Self {
        Self {
            engine,
            queue,
            desk,
            counters,
            clock: Arc::clone(&options.clock),
            retention: options.retention,
            max_batch: options.max_batch.max(1),
            health: Health::Sound,
            backlog: Vec::new(),
            stalled: HashMap::new(),
            unsynced: None,
            next_retry: Instant::now(),
            round: None,
            next_round: Instant::now() + PRUNE_EVERY,
        }
    }

    fn run(&mut self) {
        let mut batch = Batch::default();
        loop {
            self.queue.take(&mut batch, self.max_batch, self.patience());
            let closing = batch.closing;
            self.write(&mut batch);
            self.sync_if_due(batch.is_last_word());
            self.tell_flushed(&mut batch.flushes);
            self.prune_step();
            self.begin_round(&mut batch.prunes);
            if closing {
                break;
            }
        }
        self.finish();
    }

    /// How long the writer may sleep when nothing is in line.
    fn patience(&self) -> Duration {
        if self.round.is_some() {
            Duration::ZERO
        } else if let Some(since) = self.unsynced {
            SYNC_WITHIN.saturating_sub(since.elapsed())
        } else if self.health == Health::Waiting {
            RETRY_EVERY
        } else {
            self.next_round.saturating_duration_since(Instant::now())
        }
    }

    /// Syncs what nobody waits for, now or when it has waited long enough for others.
    fn sync_if_due(&mut self, now: bool) {
        let Some(since) = self.unsynced else {
            return;
        };
        if (now || since.elapsed() >= SYNC_WITHIN)
            && let Err(error) = self.sync()
        {
            self.suffer(&error);
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.unsynced = None;
        self.engine.store().sync()
    }

    /// Writes one batch as one transaction, then answers.
    fn write(&mut self, batch: &mut Batch) {
        if self.health != Health::Sound {
            self.turn_away(batch, &LedgerError::Refusing);
            if batch.is_last_word() || self.next_retry <= Instant::now() {
                self.retry();
            }
        } else if !batch.commands.is_empty() {
            let (safe, started) = (batch.safe(), Instant::now());
            match self.commit(&mut batch.commands, safe) {
                Ok(told) => self.finish_batch(batch, told, (safe, started)),
                Err(Broken { told, error }) => {
                    let rest = batch.commands.split_off(told.len());
                    if !told.is_empty() {
                        self.finish_batch(batch, told, (Safe::FromPowerLoss, started));
                    }
                    batch.commands.extend(rest);
                    self.fail(batch, error);
                }
            }
        }
        batch.commands.clear();
    }

    /// Answers those who wait for a batch that is committed.
    fn finish_batch(&mut self, batch: &mut Batch, told: Vec<Told>, (safe, at): (Safe, Instant)) {
        self.count_money(&told);
        let commands = batch.commands.len();
        if safe == Safe::FromPowerLoss {
            // Commands that all failed were no commit, and so no sync of what was before them.
            if told.iter().any(Result::is_ok) {
                self.unsynced = None;
            }
        } else {
            self.unsynced.get_or_insert(at);
            let is_awaited = batch.is_awaited();
            self.hand_out(&mut batch.commands, &told);
            let is_hold =
                |told: &Told| matches!(told, Ok(notes) if notes.moment == Some(Moment::Hold));
            if told.iter().any(is_hold) {
                crash_point("hold-before-sync");
            }
            if is_awaited && let Err(error) = self.sync() {
                return self.fail(batch, error);
            }
        }
        // Whoever gets an answer finds it counted.
        self.counters.committed(commands, at.elapsed());
        self.answer(&mut batch.commands, told);
    }

    fn commit(&mut self, commands: &mut [Command], safe: Safe) -> Result<Vec<Told>, Broken> {
        let told = self.engine.apply(commands, safe);
        let open = u64::try_from(self.engine.open_holds()).unwrap_or(u64::MAX);
        self.counters.open_holds.store(open, Ordering::Relaxed);
        told
    }

    fn count_money(&self, told: &[Told]) {
        for notes in told.iter().flatten() {
            self.counters.lost(notes.lost);
            if let Some((rail, amount)) = notes.credited {
                self.counters.claimed(rail, amount);
            }
        }
    }

    fn answer(&self, commands: &mut Vec<Command>, told: Vec<Told>) {
        for (command, told) in commands.drain(..).zip(told) {
            match (command, told) {
                (Command::Asked(asked), Ok(_)) => asked.answer(&self.desk),
                (Command::Resolve(resolve), Ok(notes)) => resolve.tell(notes.charged),
                (Command::Asked(asked), Err(error)) => asked.fail(LedgerError::Store(error)),
                (ending, Err(error)) => {
                    let error: &dyn std::error::Error = &*error;
                    tracing::error!(error, ?ending, "left to recovery at the next start");
                }
                (_, Ok(_)) => {}
            }
        }
    }

    /// Hands out the holds of a batch, but for those on accounts as new as they are: a claim is no
    /// hold, and is not released.
    fn hand_out(&self, commands: &mut [Command], told: &[Told]) {
        for (command, told) in commands.iter_mut().zip(told) {
            if matches!(told, Ok(notes) if notes.is_early)
                && let Command::Asked(asked) = std::mem::replace(command, Command::Done)
            {
                asked.answer(&self.desk);
            }
        }
    }

    /// Keeps the endings of a batch that could not be written, and tells the others.
    fn fail(&mut self, batch: &mut Batch, error: StoreError) {
        self.suffer(&error);
        let error = LedgerError::Store(Arc::new(error));
        self.turn_away(batch, &error);
    }

    /// Keeps the endings of a batch, and tells the others that nothing was done.
    fn turn_away(&mut self, batch: &mut Batch, error: &LedgerError) {
        for command in batch.commands.drain(..) {
            match command {
                Command::Asked(asked) => asked.fail(error.clone()),
                ending => self.keep(ending),
            }
        }
    }

    fn suffer(&mut self, error: &StoreError) {
        self.health = match error {
            StoreError::Unavailable(_) => {
                self.next_retry = Instant::now() + RETRY_EVERY;
                Health::Waiting
            }
            _ => Health::Lost,
        };
        self.counters.refusing.store(true, Ordering::Relaxed);
        tracing::error!(
            error = error as &dyn std::error::Error,
            "the ledger refuses new holds"
        );
    }

    /// Keeps a command that nobody waits for until the store works again.
    fn keep(&mut self, command: Command) {
        match command {
            Command::Progress(Progress { hold, used }) => {
                let noted = self.stalled.entry(hold).or_insert(used);
                *noted = (*noted).max(used);
            }
            Command::Resolve(resolve) => {
                self.stalled.remove(&resolve.hold);
                self.backlog.push(Command::Resolve(resolve));
            }
            // Nobody's money: settlements are read again from the older cursor.
            Command::Cursor(..) | Command::Asked(_) | Command::Done => {}
        }
    }

    /// Tries to write what a failed store left unwritten.
    fn retry(&mut self) {
        if self.health == Health::Lost {
            return;
        }
        let progress = self
            .stalled
            .drain()
            .map(|(hold, used)| Command::Progress(Progress { hold, used }));
        let mut kept: Vec<_> = progress.chain(self.backlog.drain(..)).collect();
        match self.commit(&mut kept, Safe::FromPowerLoss) {
            Ok(told) => {
                self.unsynced = None;
                self.count_money(&told);
                self.answer(&mut kept, told);
                self.health = Health::Sound;
                self.counters.refusing.store(false, Ordering::Relaxed);
                tracing::info!("the ledger's store works again");
            }
            Err(Broken { told, error }) => {
                let rest = kept.split_off(told.len());
                self.count_money(&told);
                self.answer(&mut kept, told);
                rest.into_iter().for_each(|command| self.keep(command));
                self.suffer(&error);
            }
        }
    }

    /// Tells those who wait for all that was in line before them.
    fn tell_flushed(&self, waiting: &mut Vec<oneshot::Sender<Result<(), LedgerError>>>) {
        for reply in waiting.drain(..) {
            let sound = self.health == Health::Sound;
            let _ = reply.send(if sound {
                Ok(())
            } else {
                Err(LedgerError::Refusing)
            });
        }
    }

    fn begin_round(&mut self, asked: &mut Vec<PruneReply>) {
        let due = self.next_round <= Instant::now();
        if self.round.is_some() || (!due && asked.is_empty()) {
            return;
        }
        self.next_round = Instant::now() + PRUNE_EVERY;
        let before = UnixMillis::new(millis_before(self.clock.now(), self.retention));
        let replies = std::mem::take(asked);
        self.round = Some(Round {
            is_new: true,
            before,
            pruned: Pruned::default(),
            replies,
        });
    }

    /// One step of pruning, short enough to come between two batches.
    fn prune_step(&mut self) {
        let Some(mut round) = self.round.take() else {
            return;
        };
        if self.health != Health::Sound {
            return round.answer(&Err(LedgerError::Refusing));
        }
        let step = PruneStep {
            is_first: round.is_new,
            before: round.before,
            now: self.clock.now(),
        };
        match self.prune(step) {
            Ok((pruned, is_last)) => {
                self.unsynced.get_or_insert_with(Instant::now);
                round.pruned.add(pruned);
                round.is_new = false;
                if is_last {
                    round.finish();
                } else {
                    self.round = Some(round);
                }
            }
            Err(error) => {
                if error.is_of_a_row() {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "a round of pruning came to a broken row, and ends");
                } else {
                    self.suffer(&error);
                }
                round.answer(&Err(LedgerError::Store(Arc::new(error))));
            }
        }
    }

    /// Closes what may be closed of some rows, each over its locked row, and says whether that was
    /// the last of the round. A row that is broken is told to the log, and stays.
    fn prune(&mut self, step: PruneStep) -> Result<(Pruned, bool), StoreError> {
        let closed = self.engine.store().find_closed(step)?;
        let mut removals = Removals::default();
        for (payment, key) in closed.unpaid {
            removals.ask(payment.account(), ForgetUnpaid { payment, key });
        }
        let (calls, unclaimed) = closed.stays;
        for name in closed.past {
            let forget = ForgetPast {
                name,
                calls,
                unclaimed,
            };
            removals.ask(name, forget);
        }
        for (key, parent) in closed.keys {
            let before = parent.map_or(step.before, |_| step.children());
            let remove = RemoveKey {
                key,
                parent,
                before,
            };
            removals.ask(key, remove);
        }
        let mut answers = Vec::new();
        for (account, last_transfer, transfers) in closed.accounts {
            let close = CloseAccount {
                account,
                last_transfer,
                now: step.now,
            };
            answers.push((removals.ask(account, close), transfers));
        }
        self.remove(removals)?;
        let mut pruned = Pruned {
            retries: closed.retries,
            ..Pruned::default()
        };
        for (mut answer, transfers) in answers {
            if let Ok(Ok(true)) = answer.try_recv() {
                pruned.accounts += 1;
                pruned.transfers += transfers;
            }
        }
        Ok((pruned, closed.is_last))
    }

    fn remove(&mut self, removals: Removals) -> Result<(), StoreError> {
        let Removals {
            names,
            mut commands,
        } = removals;
        if commands.is_empty() {
            return Ok(());
        }
        let told = self.commit(&mut commands, Safe::FromDeath)?;
        for (name, told) in names.iter().zip(&told) {
            if let Err(error) = told {
                let error: &dyn std::error::Error = &**error;
                tracing::error!(error, account = %name, "what was to be pruned is broken; it stays");
            }
        }
        self.answer(&mut commands, told);
        Ok(())
    }

    fn finish(&mut self) {
        if self.health == Health::Waiting {
            self.retry();
        }
        if !self.backlog.is_empty() {
            tracing::error!(
                holds = self.backlog.len(),
                "holds left to recovery at the next start"
            );
        }
        // What is committed may not be what is on a disk that failed; the next start finds out.
        if self.health == Health::Lost {
            return;
        }
        if let Err(error) = self.engine.store().checkpoint() {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                "the ledger's last checkpoint failed; its data is in the log"
            );
        }
    }
}

/// What a step of pruning takes away, each by the name of its row.
#[derive(Default)]
struct Removals {
    names: Vec<AccountId>,
    commands: Vec<Command>,
}

impl Removals {
    fn ask<O: Operation + 'static>(&mut self, name: AccountId, operation: O) -> Answer<O::Answer> {
        let (command, answer) = Command::ask(operation);
        self.names.push(name);
        self.commands.push(command);
        answer
    }
}

impl Round {
    fn finish(self) {
        let pruned = self.pruned;
        self.answer(&Ok(pruned));
    }

    fn answer(self, answer: &Result<Pruned, LedgerError>) {
        for reply in self.replies {
            let _ = reply.send(answer.clone());
        }
    }
}

impl Pruned {
    fn add(&mut self, other: Self) {
        self.accounts += other.accounts;
        self.transfers += other.transfers;
        self.retries += other.retries;
    }
}

fn millis_before(now: UnixMillis, span: Duration) -> u64 {
    now.get()
        .saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
