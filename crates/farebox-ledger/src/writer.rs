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

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use farebox_core::{AccountId, Clock, HoldId, Kind, Msat, Terms, UnixMillis};
use tokio::sync::{oneshot, watch};

use crate::hold::Hold;
use crate::lock::ProcessLock;
use crate::passes::Passes;
use crate::queue::{Batch, Queue, Reply};
use crate::stats::Counters;
use crate::store::{Command, Granted, Outcome, PruneStep, Safe, Store, StoreError};
use crate::{Admitted, LedgerError, OpenOptions, Pruned, crash_point};

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
    store: Box<dyn Store>,
    queue: Arc<Queue>,
    passes: Arc<Passes>,
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
    cursor: u64,
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
        store: Box<dyn Store>,
        queue: Arc<Queue>,
        passes: Arc<Passes>,
        counters: Arc<Counters>,
        options: &OpenOptions,
    ) -> Self {
        Self {
            store,
            queue,
            passes,
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
        self.store.sync()
    }

    /// Writes one batch as one transaction, then answers.
    fn write(&mut self, batch: &mut Batch) {
        if self.health != Health::Sound {
            self.refuse(batch);
            if batch.is_last_word() || self.next_retry <= Instant::now() {
                self.retry();
            }
        } else if !batch.commands.is_empty() {
            let (safe, started) = (batch.safe(), Instant::now());
            match self.commit(&batch.commands, safe) {
                Ok(outcomes) => self.finish_batch(batch, outcomes, (safe, started)),
                Err(error) => self.fail(batch, error),
            }
        }
        batch.commands.clear();
        batch.replies.clear();
    }

    /// Answers those who wait for a batch that is committed.
    fn finish_batch(
        &mut self,
        batch: &mut Batch,
        outcomes: Vec<Outcome>,
        (safe, at): (Safe, Instant),
    ) {
        self.count_money(&outcomes);
        let commands = batch.commands.len();
        if safe == Safe::FromPowerLoss {
            self.unsynced = None;
        } else {
            self.unsynced.get_or_insert(at);
            let is_awaited = batch.is_awaited();
            self.hand_out(batch, &outcomes);
            if outcomes.iter().any(is_held) {
                crash_point("hold-before-sync");
            }
            if is_awaited && let Err(error) = self.sync() {
                return self.fail(batch, error);
            }
        }
        self.answer(batch, outcomes);
        self.counters.committed(commands, at.elapsed());
    }

    fn commit(&mut self, commands: &[Command], safe: Safe) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = self.store.apply(commands, safe)?;
        let open = u64::try_from(self.store.open_holds()).unwrap_or(u64::MAX);
        self.counters.open_holds.store(open, Ordering::Relaxed);
        if outcomes
            .iter()
            .any(|outcome| matches!(outcome, Outcome::Resolved { .. }))
        {
            crash_point("settle-after-commit");
        }
        if outcomes.iter().any(is_held) {
            crash_point("hold-after-commit");
        }
        if outcomes.iter().any(Outcome::is_payout_begun) {
            crash_point("payout-after-commit");
        }
        if outcomes.iter().any(Outcome::is_payout_ended) {
            crash_point("payout-end-after-commit");
        }
        if outcomes.iter().any(Outcome::is_held_settled) {
            crash_point("held-end-after-commit");
        }
        if outcomes.iter().any(Outcome::is_deposit) {
            crash_point("deposit-after-commit");
        }
        Ok(outcomes)
    }

    fn count_money(&self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            match outcome {
                Outcome::Resolved { loss } => self.counters.lost(*loss),
                Outcome::Admitted {
                    claimed: Some(amount),
                    ..
                }
                | Outcome::Payout {
                    claimed: Some(amount),
                    ..
                }
                | Outcome::Held {
                    claimed: Some(amount),
                    ..
                }
                | Outcome::Key {
                    deposited: Some(amount),
                    ..
                } => self.counters.claimed(*amount),
                Outcome::PayoutEnded { loss, .. } => self.counters.lost(*loss),
                Outcome::Admitted { .. }
                | Outcome::Revoked(_)
                | Outcome::Noted
                | Outcome::Payout { .. }
                | Outcome::Received(_)
                | Outcome::Held { .. }
                | Outcome::Key { .. } => {}
            }
        }
    }

    fn answer(&self, batch: &mut Batch, outcomes: Vec<Outcome>) {
        let commands = batch.commands.drain(..).zip(batch.replies.drain(..));
        for ((command, reply), outcome) in commands.zip(outcomes) {
            // Whoever stopped waiting drops the answer, and with it the hold, which voids it.
            match (command, reply, outcome) {
                (Command::Hold(request), Reply::Hold(to), Outcome::Admitted { answer, .. }) => {
                    if let Ok(Admitted::Pass { expires_at }) = answer
                        && let Some(funding) = request.funding
                    {
                        self.remember_pass(request.account, funding.terms, expires_at);
                    }
                    let _ = to.send(answer.map(|answer| self.with_hold(answer)));
                }
                (Command::Revoke { account, .. }, Reply::Revoke(to), Outcome::Revoked(known)) => {
                    self.passes.forget(&account);
                    let _ = to.send(Ok(known));
                }
                (_, Reply::Payout(to), Outcome::Payout { answer, .. }) => {
                    let _ = to.send(*answer);
                }
                (_, Reply::PayoutEnd(to), Outcome::PayoutEnded { answer, .. }) => {
                    let _ = to.send(*answer);
                }
                (_, Reply::Received(to), Outcome::Received(answer)) => {
                    let _ = to.send(answer);
                }
                (_, Reply::Held(to), Outcome::Held { answer, .. }) => {
                    let _ = to.send(answer);
                }
                (_, Reply::Key(to), Outcome::Key { answer, .. }) => {
                    let _ = to.send(answer);
                }
                _ => {}
            }
        }
    }

    fn remember_pass(&self, account: AccountId, terms: Terms, expires_at: UnixMillis) {
        if let Kind::Pass(_) = terms.kind {
            self.passes.remember(account, terms, expires_at);
        }
    }

    /// Hands out the holds of a batch, but for those on accounts as new as they are: a claim is no
    /// hold, and is not released.
    fn hand_out(&self, batch: &mut Batch, outcomes: &[Outcome]) {
        let commands = batch.commands.iter().zip(outcomes);
        let claimed: HashSet<_> = commands.clone().filter_map(claimed).collect();
        for ((command, outcome), reply) in commands.zip(&mut batch.replies) {
            let Outcome::Admitted {
                answer: Ok(Admitted::Held(granted)),
                ..
            } = outcome
            else {
                continue;
            };
            if let Command::Hold(request) = command
                && claimed.contains(&request.account)
            {
                continue;
            }
            if let Reply::Hold(to) = std::mem::replace(reply, Reply::Nobody) {
                let _ = to.send(Ok(self.with_hold(Admitted::Held(*granted))));
            }
        }
    }

    fn with_hold(&self, answer: Admitted<Granted>) -> Admitted {
        answer.map_held(|granted| Hold::new(granted, Arc::clone(&self.queue)))
    }

    /// Keeps the endings of a batch that could not be written, and tells the others.
    fn fail(&mut self, batch: &mut Batch, error: StoreError) {
        self.suffer(&error);
        let error = LedgerError::Store(Arc::new(error));
        let commands = batch.commands.drain(..).zip(batch.replies.drain(..));
        for (command, reply) in commands {
            match reply {
                Reply::Nobody => self.keep(command),
                waiting => waiting.fail(error.clone()),
            }
        }
    }

    fn suffer(&mut self, error: &StoreError) {
        self.health = match error {
            StoreError::Unavailable(_) => {
                self.next_retry = Instant::now() + RETRY_EVERY;
                Health::Waiting
            }
            StoreError::Failed(_) | StoreError::Corrupt(_) => Health::Lost,
        };
        self.counters.refusing.store(true, Ordering::Relaxed);
        tracing::error!(
            error = error as &dyn std::error::Error,
            "the ledger refuses new holds"
        );
    }

    /// Refuses requests that were in line when the store failed.
    fn refuse(&mut self, batch: &mut Batch) {
        let commands = batch.commands.drain(..).zip(batch.replies.drain(..));
        for (command, reply) in commands {
            match reply {
                Reply::Nobody => self.keep(command),
                waiting => waiting.fail(LedgerError::Refusing),
            }
        }
    }

    /// Keeps a command that nobody waits for until the store works again.
    fn keep(&mut self, command: Command) {
        match command {
            Command::Progress { hold, used } => {
                let noted = self.stalled.entry(hold).or_insert(used);
                *noted = (*noted).max(used);
            }
            Command::Resolve { hold, .. } => {
                self.stalled.remove(&hold);
                self.backlog.push(command);
            }
            // Nobody's money: settlements are read again from the older cursor.
            Command::Cursor(_) => {}
            Command::Hold(_)
            | Command::Revoke { .. }
            | Command::BeginPayout(_)
            | Command::FinishPayout { .. }
            | Command::Received(_)
            | Command::Held(_)
            | Command::Key(_) => {}
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
            .map(|(hold, used)| Command::Progress { hold, used });
        let kept: Vec<_> = progress.chain(self.backlog.drain(..)).collect();
        match self.commit(&kept, Safe::FromPowerLoss) {
            Ok(outcomes) => {
                self.unsynced = None;
                self.count_money(&outcomes);
                self.health = Health::Sound;
                self.counters.refusing.store(false, Ordering::Relaxed);
                tracing::info!("the ledger's store works again");
            }
            Err(error) => {
                kept.into_iter().for_each(|command| self.keep(command));
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
            cursor: 0,
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
            cursor: round.cursor,
            before: round.before,
            now: self.clock.now(),
        };
        match self.store.prune(step) {
            Ok((pruned, next)) => {
                self.unsynced.get_or_insert_with(Instant::now);
                round.pruned.add(pruned);
                match next {
                    Some(cursor) => self.round = Some(Round { cursor, ..round }),
                    None => round.finish(),
                }
            }
            Err(error) => {
                self.suffer(&error);
                round.answer(&Err(LedgerError::Store(Arc::new(error))));
            }
        }
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
        if let Err(error) = self.store.checkpoint() {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                "the ledger's last checkpoint failed; its data is in the log"
            );
        }
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

/// The payment that was seen for the first time, if this is that.
fn claimed((command, outcome): (&Command, &Outcome)) -> Option<AccountId> {
    match (command, outcome) {
        (
            Command::Hold(request),
            Outcome::Admitted {
                claimed: Some(_), ..
            },
        ) => Some(request.account),
        _ => None,
    }
}

fn is_held(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Admitted {
            answer: Ok(Admitted::Held(_)),
            ..
        }
    )
}

#[cfg(test)]
mod tests;
