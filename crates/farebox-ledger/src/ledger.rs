//! The front: what the rest of Farebox asks of its ledger.

mod charges;
mod held;
mod keys;
mod payouts;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{AccountId, Clock, Kind, Msat, ProcessEpoch};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::lock::{LockError, ProcessLock};
use crate::passes::Passes;
use crate::queue::{Queue, Reply};
use crate::sqlite::SqliteStore;
use crate::stats::Counters;
use crate::store::{Command, OpenReader, Reader, Store, StoreError};
use crate::writer::{self, Writer};
use crate::{
    AccountView, Admitted, HoldRequest, LedgerStats, Owner, PayoutState, Pruned, TransferView,
    TrialBalance,
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

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the ledger is in use by {owner}")]
    InUse {
        /// Who.
        owner: Owner,
    },
    /// The lock file or its folder cannot be used.
    #[error("the ledger's lock at {path} cannot be taken")]
    Lock {
        /// The database.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A newer version of Farebox wrote it.
    #[error(
        "the ledger has schema version {found}; this version of Farebox knows up to {known}: use the newer one"
    )]
    Newer {
        /// The version of the database.
        found: u32,
        /// The last version known here.
        known: u32,
    },
    /// The file is a database of something else.
    #[error("the database is not a Farebox ledger")]
    Foreign,
    /// The database cannot be opened, migrated or recovered.
    #[error("the ledger's database cannot be opened")]
    Store(#[from] StoreError),
    /// The writer's thread did not start.
    #[error("the ledger's writer cannot be started")]
    Writer(#[source] std::io::Error),
}

/// Why the ledger did not do what was asked. In each case nothing was held or charged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// It was closed.
    #[error("the ledger is closed")]
    Closed,
    /// Too many requests wait for the writer: the limit is `max_queued`.
    #[error("the ledger has too many requests waiting")]
    Overloaded,
    /// Too many holds are open: the limit is `max_open_holds`.
    #[error("the ledger has too many open holds")]
    TooManyHolds,
    /// The store failed before, and nothing more is sold until it works again.
    #[error("the ledger refuses new holds because its store failed")]
    Refusing,
    /// The store failed on this request.
    #[error("the ledger's store failed")]
    Store(#[source] Arc<StoreError>),
    /// A hold with this id was made before.
    #[error("a hold with this id exists")]
    HoldExists,
    /// [`Cost::Call`](crate::Cost::Call) was asked of a balance, which has no price of its own.
    #[error("a balance needs an amount to hold")]
    CallOnBalance,
    /// All money there is would be exceeded.
    #[error("the ledger cannot hold more money than exists")]
    TooMuchMoney,
    /// A payout with this id exists, for another invoice.
    #[error("a payout with this id exists")]
    PayoutExists,
    /// No payout has this id.
    #[error("no payout has this id")]
    NoPayout,
    /// The payout has another end. What the node says now contradicts what it said before.
    #[error("the payout has ended otherwise before: it is {}", state.as_str())]
    PayoutEnded {
        /// Its end.
        state: PayoutState,
    },
    /// The payment of a held call is known: it has a held call, or was claimed.
    #[error("this payment is known already")]
    HeldCallExists,
    /// Only a single call can be held.
    #[error("only a single call can be held")]
    NotHoldable,
    /// A deposit of nothing.
    #[error("a deposit needs an amount")]
    NoDeposit,
    /// An invoice, a name or an answer is longer than what is kept.
    #[error("a text is too long for the ledger")]
    TooLarge,
}

/// A cloneable handle on the open ledger. When the last clone is dropped the writer finishes what
/// is queued and ends; [`close`](Self::close) waits for that.
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
    let mut store = SqliteStore::open(&path, options)?;
    let recovery = store.recover(now)?;
    let ledger = Ledger::start(Box::new(store), options, Some(lock))?;
    Ok((ledger, recovery))
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
    /// Starts the writer over a store that is open and recovered.
    pub(crate) fn start(
        store: Box<dyn Store>,
        options: &OpenOptions,
        lock: Option<ProcessLock>,
    ) -> Result<Self, OpenError> {
        let counters = Arc::new(Counters::default());
        let clock = Arc::clone(&options.clock);
        let queue = Arc::new(Queue::new(clock, Arc::clone(&counters), options.max_queued));
        let passes = Arc::new(Passes::new(options.max_passes));
        let (alive, ended) = watch::channel(());
        let inner = Inner {
            queue: Arc::clone(&queue),
            passes: Arc::clone(&passes),
            counters: Arc::clone(&counters),
            readers: Arc::from(store.readers()),
            reading: Semaphore::new(MAX_READERS),
            epoch: store.epoch(),
            ended,
        };
        let ledger = Self {
            inner: Arc::new(inner),
        };
        let writer = Writer::new(store, queue, passes, counters, options);
        writer::spawn(writer, lock, alive).map_err(OpenError::Writer)?;
        Ok(ledger)
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
        let (reply, answer) = oneshot::channel();
        self.inner
            .queue
            .request(Command::Hold(Box::new(request)), Reply::Hold(reply))?;
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
        let command = Command::Revoke { account, at };
        let (reply, answer) = oneshot::channel();
        self.inner.queue.request(command, Reply::Revoke(reply))?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
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
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn account(&self, account: AccountId) -> Result<Option<AccountView>, LedgerError> {
        self.read(move |reader| reader.account(account)).await
    }

    /// Up to `limit` (at most 1,000) accounts in the order of their first claim, from above the
    /// cursor `after`; 0 starts.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn accounts(&self, after: u64, limit: u32) -> Result<Vec<AccountView>, LedgerError> {
        self.read(move |reader| reader.accounts(after, limit.min(MAX_PAGE)))
            .await
    }

    /// Up to `limit` (at most 1,000) transfers of one account, the latest first, from below the
    /// transfer `before`.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn transfers(
        &self,
        account: AccountId,
        before: Option<[u8; 16]>,
        limit: u32,
    ) -> Result<Vec<TransferView>, LedgerError> {
        self.read(move |reader| reader.transfers(account, before, limit.min(MAX_PAGE)))
            .await
    }

    /// Adds up everything. The time grows with the number of transfers.
    ///
    /// # Errors
    /// [`LedgerError`].
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
