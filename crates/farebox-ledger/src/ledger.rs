//! The front: what the rest of Farebox asks of its ledger.

mod keys;
mod payouts;
mod swaps;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{
    AccountId, Clock, HoldId, KeyEpoch, Kind, Msat, PaymentHash, ProcessEpoch, UnixMillis,
};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::engine::Engine;
use crate::lock::{LockError, ProcessLock};
use crate::operation::{Command, Desk, HeldMove, HeldStep, OpenHeld, Operation, Revoke};
use crate::passes::Passes;
use crate::queue::Queue;
use crate::sqlite::{self, SqliteStore};
use crate::stats::Counters;
use crate::store::{OpenReader, Reader, Store, StoreError};
use crate::writer::{self, Writer};
use crate::{
    AccountView, Admitted, ChargePage, ChargeQuery, ChargeView, HeldCall, HeldLimits, HeldSummary,
    HoldRequest, LedgerError, LedgerStats, OpenError, Pruned, TransferView, TrialBalance,
};

/// Readers that may have the database open at once.
const MAX_READERS: usize = 4;
/// The most rows one listing gives.
pub(crate) const MAX_PAGE: u32 = 1_000;

/// Where the ledger lives and how much it takes on.
#[derive(Clone)]
pub struct OpenOptions {
    /// The database file; it and its lock file are created where missing.
    pub path: PathBuf,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// How long closed accounts and settled retries are kept after their last use.
    pub retention: Duration,
    /// The most holds open at once; each is a request in flight.
    pub max_open_holds: usize,
    /// The most requests waiting for the writer.
    pub max_queued: usize,
    /// The most commands in one transaction.
    pub max_batch: usize,
    /// The most passes answered from memory.
    pub max_passes: NonZeroUsize,
    /// The most accounts kept in memory between transactions.
    pub max_cached_accounts: NonZeroUsize,
}

impl OpenOptions {
    /// Options for the database at `path`, with the default limits and 90 days of retention.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        const MANY: NonZeroUsize = NonZeroUsize::new(65_536).expect("is not zero");
        Self {
            path: path.into(),
            clock,
            retention: Duration::from_secs(90 * 24 * 60 * 60),
            max_open_holds: 100_000,
            max_queued: 16_384,
            max_batch: 512,
            max_passes: MANY,
            max_cached_accounts: MANY,
        }
    }
}

/// What was done about holds that earlier runs of the process left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The number of this run.
    pub epoch: ProcessEpoch,
    /// Holds released: nothing was recorded to charge.
    pub voided: u64,
    /// Holds charged for what was recorded.
    pub settled: u64,
    /// What the latter were charged in all.
    pub charged: Msat,
}

/// A cloneable handle on the open ledger. What it cannot do it answers with a [`LedgerError`]. When the
/// last clone is dropped the writer finishes what is queued and ends; [`close`](Self::close) waits for
/// that.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    passes: Arc<Passes>,
    counters: Arc<Counters>,
    readers: Arc<dyn OpenReader>,
    reading: Semaphore,
    epoch: ProcessEpoch,
    /// Its sender is dropped when the writer has ended and the lock is free.
    ended: watch::Receiver<()>,
}

/// Opens the ledger: takes the lock, migrates the schema, counts the process epoch up and recovers
/// the holds that dead processes left open. Blocks; call it at start.
///
/// # Errors
/// [`OpenError`].
pub fn open(options: &OpenOptions) -> Result<(Ledger, Recovery), OpenError> {
    let path = resolved(&options.path)?;
    let now = options.clock.now();
    let lock = ProcessLock::take(&path, now).map_err(|error| refused(error, &path))?;
    let store = SqliteStore::open(&path)?;
    Ledger::start(Box::new(store), options, Some(lock))
}

/// What the database itself finds wrong with the file of a ledger that no process has open, in its own
/// words: nothing in one that is sound. Nothing is written or recovered.
///
/// # Errors
/// [`OpenError`].
pub fn examine(options: &OpenOptions) -> Result<Vec<String>, OpenError> {
    let path = resolved(&options.path)?;
    let lock = ProcessLock::take(&path, options.clock.now());
    let _lock = lock.map_err(|error| refused(error, &path))?;
    Ok(sqlite::examine(&path)?)
}

/// The one name of the database, so that no other spelling of it takes another lock.
fn resolved(path: &Path) -> Result<PathBuf, OpenError> {
    let full = std::path::absolute(path).and_then(|full| match (full.parent(), full.file_name()) {
        (Some(folder), Some(name)) if !full.exists() => Ok(folder.canonicalize()?.join(name)),
        _ => full.canonicalize(),
    });
    full.map_err(|source| OpenError::Lock {
        path: path.to_owned(),
        source,
    })
}

fn refused(error: LockError, path: &Path) -> OpenError {
    match error {
        LockError::Held(owner) => OpenError::InUse { owner },
        LockError::Io(source) => OpenError::Lock {
            path: path.to_owned(),
            source,
        },
    }
}

impl Ledger {
    /// Opens a ledger over a store of another kind: recovers what closed runs left open, and starts
    /// the writer.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn over(
        store: Box<dyn Store>,
        options: &OpenOptions,
    ) -> Result<(Self, Recovery), OpenError> {
        Self::start(store, options, None)
    }

    pub(crate) fn start(
        store: Box<dyn Store>,
        options: &OpenOptions,
        lock: Option<ProcessLock>,
    ) -> Result<(Self, Recovery), OpenError> {
        let counters = Arc::new(Counters::default());
        let clock = Arc::clone(&options.clock);
        let queue = Arc::new(Queue::new(clock, Arc::clone(&counters), options.max_queued));
        let passes = Arc::new(Passes::new(options.max_passes));
        let (alive, ended) = watch::channel(());
        let readers = Arc::from(store.readers());
        let mut engine = Engine::new(store, options)?;
        let recovery = engine.recover(options.clock.now())?;
        let inner = Inner {
            queue: Arc::clone(&queue),
            passes: Arc::clone(&passes),
            counters: Arc::clone(&counters),
            readers,
            reading: Semaphore::new(MAX_READERS),
            epoch: engine.epoch(),
            ended,
        };
        let ledger = Self {
            inner: Arc::new(inner),
        };
        let holds: Arc<Queue> = Arc::clone(&queue);
        let desk = Desk { holds, passes };
        let writer = Writer::new(engine, queue, desk, counters, options);
        writer::spawn(writer, lock, alive).map_err(OpenError::Writer)?;
        Ok((ledger, recovery))
    }

    /// Puts an operation in line and waits for its answer.
    async fn ask<O: Operation + 'static>(&self, operation: O) -> Result<O::Answer, LedgerError> {
        let (command, answer) = Command::ask(operation);
        self.inner.queue.request(command)?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Credits the account (if it was never seen and its funding is told) and holds what the request
    /// costs: on a payment's account within what was sold, on a key's own or its parent's money
    /// within the limits of both. What was spent and what is held count against limits in the
    /// transaction that holds.
    ///
    /// Atomic: claim and hold are one transaction. A hold on an account that was claimed before
    /// is handed out when it is committed and outlives the process; any other answer waits until it
    /// outlives a loss of power. A retry with the same [`Once`](crate::Once) is never charged again.
    /// If the caller stops waiting, the hold is voided. Only an account without funding is answered
    /// with [`Admitted::Key`], and never with [`Admitted::Pass`], [`Admitted::Unclaimed`] and
    /// [`Admitted::TermsMismatch`].
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was held.
    pub async fn hold(&self, mut request: HoldRequest) -> Result<Admitted, LedgerError> {
        if let Some(Kind::Pass(_)) = request.terms().map(|terms| terms.kind)
            && let Some(known) = self.inner.passes.find(&request)
        {
            return Ok(known);
        }
        request.fit()?;
        let (command, answer) = Command::ask_hold(request);
        self.inner.queue.request(command)?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Stops the account of a payment from being spent; what is on it stays. Open holds may still be
    /// settled. Answers whether the account is known; where it is not, the revocation waits for
    /// its first claim.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was revoked.
    pub async fn revoke(&self, account: AccountId) -> Result<bool, LedgerError> {
        let at = self.inner.queue.now();
        self.ask(Revoke { account, at }).await
    }

    /// Returns when everything that was queued before is durable: the endings of holds, which
    /// nobody else waits for.
    ///
    /// # Errors
    /// [`LedgerError`]; the store failed, and recovery at the next start finishes the rest.
    pub async fn flush(&self) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.inner.queue.flush(reply)?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Prunes closed accounts and settled retries older than the retention time, in small steps
    /// between other work. The writer does the same by itself once an hour.
    ///
    /// # Errors
    /// [`LedgerError`]; what was pruned before it stays pruned.
    pub async fn prune(&self) -> Result<Pruned, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.inner.queue.prune(reply)?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// The account of a payment, if it was claimed and not yet pruned.
    pub async fn account(&self, account: AccountId) -> Result<Option<AccountView>, LedgerError> {
        self.read(move |reader| reader.account(account)).await
    }

    /// Up to `limit` (at most 1,000) accounts in the order of their first claim, from above the
    /// cursor `after`; 0 starts.
    pub async fn accounts(&self, after: u64, limit: u32) -> Result<Vec<AccountView>, LedgerError> {
        self.read(move |reader| reader.accounts(after, limit.min(MAX_PAGE)))
            .await
    }

    /// Up to `limit` (at most 1,000) transfers of one account, the latest first, from below the
    /// transfer `before`.
    pub async fn transfers(
        &self,
        account: AccountId,
        before: Option<[u8; 16]>,
        limit: u32,
    ) -> Result<Vec<TransferView>, LedgerError> {
        self.read(move |reader| reader.transfers(account, before, limit.min(MAX_PAGE)))
            .await
    }

    /// The newest epoch of the signing keys that a claimed token was signed in, and when the last such
    /// token was claimed; none where no account of a token is left.
    pub async fn newest_claim(&self) -> Result<Option<(KeyEpoch, UnixMillis)>, LedgerError> {
        self.read(|reader| reader.newest_claim()).await
    }

    /// One charge, by the hold that ended with it; or a measured request that was not charged. None
    /// where nothing was charged, is not yet, or the account was pruned since.
    pub async fn charge(&self, hold: HoldId) -> Result<Option<ChargeView>, LedgerError> {
        self.read(move |reader| reader.charge(hold)).await
    }

    /// Up to `limit` (at most 1,000) charges, the latest admitted first.
    pub async fn charges(&self, query: ChargeQuery, limit: u32) -> Result<ChargePage, LedgerError> {
        self.read(move |reader| reader.charges(&query, limit.min(MAX_PAGE)))
            .await
    }

    /// Keeps a request whose payment is to be held; `call.state` and `call.answer` are taken as
    /// [`Offered`](crate::HeldState::Offered) and none. Answers whether there was room.
    ///
    /// # Errors
    /// [`LedgerError::HeldCallExists`] where this payment is known, [`LedgerError::NotHoldable`]
    /// where the terms are not of a single call; nothing was kept.
    pub async fn open_held_call(
        &self,
        mut call: HeldCall,
        limits: HeldLimits,
    ) -> Result<bool, LedgerError> {
        call.check()?;
        call.answer = None;
        let request = Arc::from(std::mem::take(&mut call.request));
        let open = OpenHeld {
            call,
            request,
            limits,
        };
        self.ask(open).await
    }

    /// The held call of this payment, with its request and its answer.
    pub async fn held_call(&self, hash: PaymentHash) -> Result<Option<HeldCall>, LedgerError> {
        self.read(move |reader| reader.held_call(hash)).await
    }

    /// Every held call that was neither settled nor canceled, expired ones included: of this run and
    /// of closed ones.
    pub async fn held_calls(&self) -> Result<Vec<HeldSummary>, LedgerError> {
        self.read(|reader| reader.held_calls()).await
    }

    /// Offered → Running. Whoever gets `true` runs the call, and nobody else ever does.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_run(&self, hash: PaymentHash) -> Result<bool, LedgerError> {
        self.held_step(hash, HeldStep::Run).await
    }

    /// Running → Answered, with the answer. From here on the payment may be settled.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_answered(
        &self,
        hash: PaymentHash,
        answer: Vec<u8>,
    ) -> Result<bool, LedgerError> {
        if answer.len() > crate::MAX_HELD_ANSWER {
            return Err(LedgerError::TooLarge);
        }
        self.held_step(hash, HeldStep::Answer(answer.into())).await
    }

    /// Answered → Settled: claims the payment and charges it, so that the token buys nothing more
    /// and its use is answered with the receipt.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_settled(
        &self,
        payment: PaymentHash,
        received: Msat,
        at: UnixMillis,
    ) -> Result<bool, LedgerError> {
        let step = HeldStep::Settle(received);
        self.ask(HeldMove { payment, step, at }).await
    }

    /// Offered, Running or Answered → Canceled. A canceled call that was answered is a loss.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    pub async fn held_canceled(&self, hash: PaymentHash) -> Result<bool, LedgerError> {
        self.held_step(hash, HeldStep::Cancel).await
    }

    async fn held_step(&self, payment: PaymentHash, step: HeldStep) -> Result<bool, LedgerError> {
        let at = self.inner.queue.now();
        self.ask(HeldMove { payment, step, at }).await
    }

    /// Adds up everything. The time grows with the number of transfers.
    pub async fn trial_balance(&self) -> Result<TrialBalance, LedgerError> {
        self.read(|reader| reader.trial_balance()).await
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> LedgerStats {
        self.inner.counters.snapshot()
    }

    /// The number of this run of the process.
    #[must_use]
    pub fn epoch(&self) -> ProcessEpoch {
        self.inner.epoch
    }

    /// Lets nothing more in, writes what is queued, and returns when the database is closed and its
    /// lock free. Holds still open are recovered by the next start.
    pub async fn close(self) {
        self.inner.queue.close();
        let mut ended = self.inner.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    async fn read<T, F>(&self, job: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = self
            .inner
            .reading
            .acquire()
            .await
            .map_err(|_| LedgerError::Closed)?;
        if self.inner.queue.is_closing() {
            return Err(LedgerError::Closed);
        }
        let readers = Arc::clone(&self.inner.readers);
        let read = tokio::task::spawn_blocking(move || job(readers.open()?.as_mut()));
        let answer = read.await.map_err(|_| LedgerError::Closed)?;
        drop(permit);
        answer.map_err(|error| LedgerError::Store(Arc::new(error)))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}
