//! The engine: footprints, one load, decisions over rows, changes, one commit.
//!
//! Nothing here knows a database or a queue. A batch is one transaction; a command that a broken row
//! makes fail does not spoil its batch.

use std::num::NonZeroUsize;
use std::sync::Arc;

use farebox_core::{Msat, ProcessEpoch, UnixMillis};

use crate::book::{Book, Counts, Notes};
use crate::crash_point;
use crate::hold::{Ended, Resolution, Rest};
use crate::name::Name;
use crate::operation::{Command, Resolve};
use crate::rows::OpenHold;
use crate::store::{Safe, Store, StoreError, Totals};
use crate::working::{Changes, Rows};
use crate::{Measured, OpenOptions, Recovery, VoidReason};

/// Holds that recovery ends in one transaction.
const RECOVERED_AT_ONCE: usize = 512;

/// What became of one command of a batch that was written.
pub(crate) type Told = Result<Notes, Arc<StoreError>>;

/// A store that failed with the rest of a batch.
#[derive(Debug)]
pub(crate) struct Broken {
    /// What became of the commands before it. They were written, and are as safe as power loss
    /// demands: only a batch that was cut is written in part.
    pub(crate) told: Vec<Told>,
    pub(crate) error: StoreError,
}

impl From<Broken> for StoreError {
    fn from(broken: Broken) -> Self {
        broken.error
    }
}

pub(crate) struct Engine {
    store: Box<dyn Store>,
    rows: Rows,
    changes: Changes,
    counts: Counts,
    max_entries: NonZeroUsize,
    /// What the batch names, and where the names of each command end.
    names: Vec<Name>,
    ends: Vec<usize>,
    missing: Vec<Name>,
    /// What the store says no longer holds: it is filled before the next batch.
    is_stale: bool,
}

impl Engine {
    /// An engine over a store that is open.
    ///
    /// # Errors
    /// [`StoreError`] where its rows cannot be read.
    pub(crate) fn new(store: Box<dyn Store>, options: &OpenOptions) -> Result<Self, StoreError> {
        let counts = Counts {
            epoch: store.epoch(),
            max_open_holds: options.max_open_holds,
            open_holds: 0,
            calls: 0,
            call_bytes: 0,
            pending: 0,
            sequence: 0,
        };
        let mut engine = Self {
            store,
            rows: Rows::new(),
            changes: Changes::default(),
            counts,
            max_entries: options.max_cached_accounts,
            names: Vec::new(),
            ends: Vec::new(),
            missing: Vec::new(),
            is_stale: true,
        };
        engine.fill()?;
        Ok(engine)
    }

    pub(crate) fn store(&mut self) -> &mut dyn Store {
        self.store.as_mut()
    }

    pub(crate) const fn epoch(&self) -> ProcessEpoch {
        self.counts.epoch
    }

    pub(crate) const fn open_holds(&self) -> usize {
        self.counts.open_holds
    }

    /// Ends the holds that closed runs left open: settles what they recorded as used, voids where
    /// nothing was recorded. Repeating it finds nothing.
    ///
    /// # Errors
    /// [`StoreError`]; what was ended before it stays ended.
    pub(crate) fn recover(&mut self, now: UnixMillis) -> Result<Recovery, StoreError> {
        let mut recovery = Recovery {
            epoch: self.epoch(),
            voided: 0,
            settled: 0,
            charged: Msat::ZERO,
        };
        loop {
            let abandoned = self.store.abandoned(RECOVERED_AT_ONCE)?;
            if abandoned.is_empty() {
                return Ok(recovery);
            }
            let count = |hold: &OpenHold| match hold.progress {
                None => recovery.voided += 1,
                Some(used) => {
                    recovery.settled += 1;
                    let charged = recovery.charged.checked_add(used.min(hold.amount));
                    recovery.charged = charged.unwrap_or(Msat::MAX);
                }
            };
            abandoned.iter().map(|(_, hold)| hold).for_each(count);
            let ends = abandoned
                .into_iter()
                .map(|(id, hold)| recovered(id, &hold, now));
            let mut ends: Vec<_> = ends.map(Command::Resolve).collect();
            for told in self.apply(&mut ends, Safe::FromPowerLoss)? {
                if let Err(error) = told {
                    return Err(Arc::into_inner(error).unwrap_or(StoreError::Corrupt("a hold")));
                }
            }
        }
    }

    /// Applies a batch in one transaction, and returns when it is as safe as was asked. Commands
    /// that a broken row makes fail are told so, each alone.
    ///
    /// # Errors
    /// [`Broken`]: the store itself failed; the transaction of the first command that was told
    /// nothing was not applied, nor what came after it.
    pub(crate) fn apply(
        &mut self,
        commands: &mut [Command],
        safe: Safe,
    ) -> Result<Vec<Told>, Broken> {
        let mut told = Vec::with_capacity(commands.len());
        match self.apply_into(commands, safe, &mut told) {
            Ok(()) => Ok(told),
            Err(error) => Err(Broken { told, error }),
        }
    }

    fn apply_into(
        &mut self,
        commands: &mut [Command],
        safe: Safe,
        told: &mut Vec<Told>,
    ) -> Result<(), StoreError> {
        let before = told.len();
        let Err(error) = self.attempt(commands, safe, told) else {
            return Ok(());
        };
        told.truncate(before);
        if !error.is_of_a_row() {
            return Err(error);
        }
        match commands.len() {
            0 => Err(error),
            1 => {
                told.push(Err(Arc::new(error)));
                Ok(())
            }
            count => {
                // A hold in the second half may be handed out at once, also on an account that the
                // first half made.
                let (safe, (first, second)) =
                    (Safe::FromPowerLoss, commands.split_at_mut(count / 2));
                self.apply_into(first, safe, told)?;
                self.apply_into(second, safe, told)
            }
        }
    }

    /// One transaction. When anything fails, store and counts are as before, and the working set is
    /// filled anew.
    fn attempt(
        &mut self,
        commands: &mut [Command],
        safe: Safe,
        told: &mut Vec<Told>,
    ) -> Result<(), StoreError> {
        self.fill()?;
        let counts = self.counts;
        let result = self.transact(commands, safe, told);
        if result.is_err() {
            self.store.release();
            self.counts = Counts {
                sequence: self.counts.sequence,
                ..counts
            };
            self.is_stale = true;
        }
        self.changes.clear();
        result
    }

    fn transact(
        &mut self,
        commands: &mut [Command],
        safe: Safe,
        told: &mut Vec<Told>,
    ) -> Result<(), StoreError> {
        self.load(commands)?;
        let mut start = 0;
        for (command, end) in commands.iter_mut().zip(&self.ends) {
            let named = self.names.get(start..*end).unwrap_or_default();
            let (rows, changes) = (&mut self.rows, &mut self.changes);
            let mut book = Book::new(rows, changes, &mut self.counts, named);
            command.decide(&mut book)?;
            told.push(Ok(book.notes));
            start = *end;
        }
        pass(told, |moment| moment.before());
        self.store.commit(&mut self.rows, &self.changes, safe)?;
        pass(told, |moment| moment.after());
        self.rows.settle(&self.changes);
        if self.store.is_exclusive() {
            self.rows.evict(self.max_entries, self.names.len());
        } else {
            self.rows.forget();
        }
        Ok(())
    }

    /// Loads what the batch names and the working set lacks, in one go.
    fn load(&mut self, commands: &[Command]) -> Result<(), StoreError> {
        self.names.clear();
        self.ends.clear();
        self.missing.clear();
        for command in commands {
            command.footprint(&mut self.names);
            self.ends.push(self.names.len());
        }
        let lacks = self.names.iter().filter(|name| self.rows.lacks(name));
        self.missing.extend(lacks.cloned());
        if self.missing.is_empty() {
            return Ok(());
        }
        self.store.load(&self.missing, &mut self.rows)
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        if self.is_stale {
            self.rows.clear();
            let Totals {
                open_holds,
                calls,
                call_bytes,
                pending,
            } = self.store.fill(&mut self.rows)?;
            self.counts = Counts {
                open_holds,
                calls,
                call_bytes,
                pending,
                ..self.counts
            };
            self.is_stale = false;
        }
        Ok(())
    }
}

/// The end of a hold by the rule of recovery: what was recorded as used is charged, the rest is
/// released.
fn recovered(hold: farebox_core::HoldId, open: &OpenHold, at: UnixMillis) -> Resolve {
    let reason = VoidReason::Recovered;
    let rest = Rest::Stays;
    let how = open
        .progress
        .map_or(Resolution::Void { reason }, |used| Resolution::Settle {
            used,
            rest,
        });
    let measured = open.progress.map(|_| Box::new(Measured::recovered()));
    Resolve {
        hold,
        facts: open.facts,
        ended: Ended::of(how, measured),
        max_voids: 0,
        at,
    }
}

/// Lets a test kill the process where something of a kind is about to be, or was just, committed.
fn pass(told: &[Told], name: impl Fn(crate::book::Moment) -> &'static str) {
    if cfg!(feature = "crash-points") {
        let moments = told.iter().filter_map(|told| told.as_ref().ok()?.moment);
        moments.map(name).for_each(crash_point);
    }
}

#[cfg(test)]
mod tests;
