//! A store in memory, for tests: it serves any number of engines at once, as a database would.
//!
//! Rows are locked by name, in the order of their names, from the load to the end of the commit; and
//! every commit waits a moment first, so that whoever can come between does.

mod reader;
mod stock;
mod tables;
mod trial;

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use farebox_core::{AccountId, Clock, HoldId, ProcessEpoch, UnixMillis};
use farebox_ledger::seam::{Changes, Closed, Name, OpenHold, PruneStep, Rows, Safe, Totals};
use farebox_ledger::{
    Ledger, OpenError, OpenOptions, OpenReader, Reader, Recovery, Store, StoreError,
};

use crate::Place;
use tables::Tables;

/// The longest that a commit waits for others to come between, in microseconds.
const LONGEST_DELAY_US: u64 = 400;

/// Where ledgers are kept in memory. Clones are the same place.
#[derive(Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
    is_in_haste: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    unlocked: Condvar,
}

#[derive(Default)]
struct State {
    tables: Tables,
    /// Names of rows that somebody works on.
    locked: BTreeSet<Name>,
    /// Makes delays.
    random: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// A place whose commits wait for nobody: for stores that are used by one engine at a time.
    #[must_use]
    pub fn in_haste() -> Self {
        Self {
            shared: Arc::default(),
            is_in_haste: true,
        }
    }

    fn store(&self) -> MemoryStore {
        let epoch = self.shared.lock().tables.open_epoch();
        MemoryStore {
            place: self.clone(),
            epoch,
            mine: BTreeSet::new(),
        }
    }

    fn wait_a_moment(&self) {
        if self.is_in_haste {
            return;
        }
        let mut state = self.shared.lock();
        let mixed = state.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.random = mixed;
        drop(state);
        let delay = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
        thread::sleep(Duration::from_micros(delay % LONGEST_DELAY_US));
    }
}

impl Place for Memory {
    fn open(
        &self,
        clock: Arc<dyn Clock>,
        max_open_holds: usize,
    ) -> Result<(Ledger, Recovery), OpenError> {
        let retention = Duration::from_secs(30 * 24 * 60 * 60);
        let options = OpenOptions {
            retention,
            max_open_holds,
            ..OpenOptions::new("memory", clock)
        };
        Ledger::over(Box::new(self.store()), &options)
    }
}

struct MemoryStore {
    place: Memory,
    epoch: ProcessEpoch,
    /// What this store has locked.
    mine: BTreeSet<Name>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.place.shared.lock()
    }

    /// Locks every row of these names, one after the other in their order.
    fn take(&mut self, names: &BTreeSet<Name>) -> MutexGuard<'_, State> {
        let mut state = self.place.shared.lock();
        for name in names {
            let others = |state: &mut State| state.locked.contains(name);
            let waited = self.place.shared.unlocked.wait_while(state, others);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            state.locked.insert(name.clone());
            self.mine.insert(name.clone());
        }
        state
    }
}

/// The rows behind names: whose child a key is never changes, so it is read without a lock.
fn rows_of(names: &[Name], tables: &Tables) -> BTreeSet<Name> {
    const GATE: Name = Name::PayoutGate(AccountId::from_bytes([0; 32]), UnixMillis::new(0));
    let mut rows = BTreeSet::new();
    for name in names {
        match name {
            Name::Account(id) | Name::Use(id, _) => drop(rows.insert(Name::Account(*id))),
            Name::Asker(id, _) => {
                rows.insert(Name::Account(*id));
                rows.extend(tables.parent(id).map(Name::Account));
            }
            Name::PayoutGate(..) => drop(rows.insert(GATE)),
            other => drop(rows.insert(other.clone())),
        }
    }
    rows
}

impl Store for MemoryStore {
    fn epoch(&self) -> ProcessEpoch {
        self.epoch
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn fill(&mut self, rows: &mut Rows) -> Result<Totals, StoreError> {
        let state = self.lock();
        state.tables.fill_house(self.epoch, rows);
        Ok(state.tables.totals(self.epoch))
    }

    fn abandoned(&mut self, limit: usize) -> Result<Vec<(HoldId, OpenHold)>, StoreError> {
        Ok(self.lock().tables.abandoned(limit))
    }

    fn load(&mut self, names: &[Name], rows: &mut Rows) -> Result<(), StoreError> {
        let wanted = rows_of(names, &self.lock().tables);
        let state = self.take(&wanted);
        state.tables.load(names, rows);
        Ok(())
    }

    fn commit(&mut self, rows: &mut Rows, changes: &Changes, _: Safe) -> Result<(), StoreError> {
        self.place.wait_a_moment();
        let epoch = self.epoch;
        self.lock().tables.write(rows, changes, epoch);
        self.release();
        Ok(())
    }

    fn release(&mut self) {
        let mine = std::mem::take(&mut self.mine);
        self.lock().locked.retain(|name| !mine.contains(name));
        self.place.shared.unlocked.notify_all();
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn find_closed(&mut self, step: PruneStep) -> Result<Closed, StoreError> {
        let mut state = self.lock();
        let retries = state.tables.forget(step);
        Ok(Closed {
            retries,
            is_last: true,
            ..state.tables.find_closed(step)
        })
    }

    fn readers(&self) -> Box<dyn OpenReader> {
        Box::new(OpenMemory {
            place: self.place.clone(),
            epoch: self.epoch,
        })
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A run that ends, however it does, is closed: what it left open may be recovered.
impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.release();
        let epoch = self.epoch;
        self.lock().tables.close_epoch(epoch);
    }
}

struct OpenMemory {
    place: Memory,
    epoch: ProcessEpoch,
}

impl OpenReader for OpenMemory {
    fn open(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(reader::MemoryReader::new(
            Arc::clone(&self.place.shared),
            self.epoch,
        )))
    }
}
