//! What happens when the store fails: nothing is sold, and nothing that was sold is forgotten.

use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farebox_core::{
    Allowance, Binding, Clock, HoldId, KeyEpoch, Kind, MethodClass, Msat, PaymentHash, PayoutId,
    ProcessEpoch, RouteName, Terms, TermsEpoch, UnixMillis,
};

use tokio::sync::oneshot;

use super::{Health, Writer};
use crate::book::Book;
use crate::engine::Engine;
use crate::money::Verdict;
use crate::name::Name;
use crate::operation::{BeginPayout, Command, Desk, Operation};
use crate::passes::Passes;
use crate::queue::{Batch, Queue};
use crate::rows::OpenHold;
use crate::sqlite::SqliteStore;
use crate::stats::Counters;
use crate::store::{Closed, OpenReader, PruneStep, Safe, Store, StoreError, Totals};
use crate::working::{Changes, Rows};
use crate::{
    Admitted, AskedBy, ClaimPolicy, Cost, Funding, Hold, HoldRequest, Ledger, LedgerError,
    OpenOptions, PayoutAnswer, PayoutEnd, PayoutLimits, PayoutRequest, PayoutState, Rail,
};

const WORKS: u8 = 0;
const IS_FULL: u8 = 1;
const IS_BROKEN: u8 = 2;
/// What is written does not reach the disk.
const IS_UNSYNCED: u8 = 3;
/// The disk takes its time, until it works again.
const IS_SLOW: u8 = 4;
const A_MOMENT: Duration = Duration::from_millis(20);

struct Noon;

impl Clock for Noon {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(1_800_000_000_000)
    }
}

/// A year after it.
struct Later;

impl Clock for Later {
    fn now(&self) -> UnixMillis {
        Noon.now().plus(Duration::from_secs(365 * 24 * 60 * 60))
    }
}

/// A store on a disk that can be made to fail.
struct Flaky {
    store: SqliteStore,
    disk: Arc<AtomicU8>,
    syncs: Arc<AtomicU64>,
}

impl Flaky {
    fn reach_the_disk(&self) -> Result<(), StoreError> {
        while self.disk.load(Ordering::SeqCst) == IS_SLOW {
            std::thread::sleep(A_MOMENT);
        }
        match self.disk.load(Ordering::SeqCst) {
            IS_UNSYNCED => Err(StoreError::Failed("unsynced".into())),
            _ => Ok(()),
        }
    }
}

impl Store for Flaky {
    fn epoch(&self) -> ProcessEpoch {
        self.store.epoch()
    }

    fn is_exclusive(&self) -> bool {
        self.store.is_exclusive()
    }

    fn fill(&mut self, rows: &mut Rows) -> Result<Totals, StoreError> {
        self.store.fill(rows)
    }

    fn abandoned(&mut self, limit: usize) -> Result<Vec<(HoldId, OpenHold)>, StoreError> {
        self.store.abandoned(limit)
    }

    fn load(&mut self, names: &[Name], rows: &mut Rows) -> Result<(), StoreError> {
        self.store.load(names, rows)
    }

    fn commit(&mut self, rows: &mut Rows, changes: &Changes, safe: Safe) -> Result<(), StoreError> {
        match self.disk.load(Ordering::SeqCst) {
            IS_FULL => return Err(StoreError::Unavailable("full".into())),
            IS_BROKEN => return Err(StoreError::Failed("broken".into())),
            _ if safe == Safe::FromPowerLoss => self.reach_the_disk()?,
            _ => {}
        }
        self.store.commit(rows, changes, safe)
    }

    fn release(&mut self) {
        self.store.release();
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.reach_the_disk()?;
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.store.sync()
    }

    fn find_closed(&mut self, step: PruneStep) -> Result<Closed, StoreError> {
        self.store.find_closed(step)
    }

    fn readers(&self) -> Box<dyn OpenReader> {
        self.store.readers()
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.store.checkpoint()
    }
}

fn options(folder: &Path) -> OpenOptions {
    OpenOptions::new(folder.join("ledger.db"), Arc::new(Noon))
}

fn flaky(folder: &Path) -> (Ledger, Arc<AtomicU8>) {
    let (ledger, disk, _) = flaky_counted(folder);
    (ledger, disk)
}

/// The same, with how often the log was synced apart from commits.
fn flaky_counted(folder: &Path) -> (Ledger, Arc<AtomicU8>, Arc<AtomicU64>) {
    let options = options(folder);
    let store = SqliteStore::open(&options.path).unwrap();
    let disk = Arc::new(AtomicU8::new(WORKS));
    let store = Flaky {
        store,
        disk: Arc::clone(&disk),
        syncs: Arc::default(),
    };
    let syncs = Arc::clone(&store.syncs);
    let (ledger, _) = Ledger::over(Box::new(store), &options).unwrap();
    (ledger, disk, syncs)
}

fn request(number: u8) -> HoldRequest {
    let now = Noon.now();
    let terms = Terms {
        amount: Msat::new(30).unwrap(),
        kind: Kind::Calls(3),
        route: RouteName::parse("weather").unwrap(),
        methods: MethodClass::Any,
        binding: Binding::Route,
        epoch: TermsEpoch(1),
        valid_for: std::time::Duration::from_secs(60),
        claim_by: now,
    };
    let hash = PaymentHash::from_bytes([1; 32]);
    HoldRequest {
        hold: HoldId::new(now, [number; 10]),
        account: hash.account(),
        route: terms.route.clone(),
        model: None,
        funding: Some(Funding {
            rail: Rail::Lightning,
            amount: terms.amount,
            terms,
            key_epoch: KeyEpoch(1),
            claims: ClaimPolicy::Open,
        }),
        swapped: None,
        allowance: Allowance::default(),
        cost: Cost::Call,
        once: None,
        max_voids: 10,
        now,
        basis: None,
    }
}

async fn hold(ledger: &Ledger, number: u8) -> Hold {
    match ledger.hold(request(number)).await.unwrap() {
        Admitted::Held(hold) => hold,
        other => panic!("expected a hold, not {other:?}"),
    }
}

async fn used(ledger: &Ledger) -> u32 {
    ledger
        .account(request(1).account)
        .await
        .unwrap()
        .unwrap()
        .calls_used
}

#[tokio::test]
async fn a_failed_commit_is_an_error_and_stops_the_selling() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    disk.store(IS_BROKEN, Ordering::SeqCst);
    assert!(matches!(
        ledger.hold(request(1)).await,
        Err(LedgerError::Store(_))
    ));
    assert!(ledger.stats().refusing);
    disk.store(WORKS, Ordering::SeqCst);
    assert!(matches!(
        ledger.hold(request(2)).await,
        Err(LedgerError::Refusing)
    ));
    assert!(matches!(
        ledger.revoke(request(2).account).await,
        Err(LedgerError::Refusing)
    ));
    assert!(matches!(ledger.flush().await, Err(LedgerError::Refusing)));
    assert_eq!(ledger.account(request(1).account).await.unwrap(), None);
}

#[tokio::test]
async fn a_disk_that_does_not_take_what_was_written_stops_the_selling() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    hold(&ledger, 1).await.settle();
    disk.store(IS_UNSYNCED, Ordering::SeqCst);
    let _held = hold(&ledger, 2).await;
    let next = ledger.hold(request(3)).await;
    assert!(matches!(next, Err(LedgerError::Refusing)), "{next:?}");
    disk.store(WORKS, Ordering::SeqCst);
    let last = ledger.hold(request(4)).await;
    assert!(matches!(last, Err(LedgerError::Refusing)), "{last:?}");
    assert!(ledger.flush().await.is_err());
}

#[tokio::test]
async fn endings_that_the_disk_does_not_take_stop_the_selling_too() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    let held = hold(&ledger, 1).await;
    ledger.flush().await.unwrap();
    disk.store(IS_UNSYNCED, Ordering::SeqCst);
    held.settle();
    assert!(ledger.flush().await.is_err());
    assert!(ledger.stats().refusing);
}

#[tokio::test]
async fn whoever_waits_for_anything_but_a_hold_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    disk.store(IS_UNSYNCED, Ordering::SeqCst);
    let revoked = ledger.revoke(request(1).account).await;
    assert!(matches!(revoked, Err(LedgerError::Store(_))), "{revoked:?}");
    assert!(ledger.stats().refusing);
}

#[tokio::test]
async fn a_hold_does_not_wait_for_the_disk_and_a_flush_does() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    hold(&ledger, 1).await.settle();
    disk.store(IS_SLOW, Ordering::SeqCst);
    hold(&ledger, 2).await.settle();
    let flushed = tokio::time::timeout(A_MOMENT, ledger.flush()).await;
    assert!(flushed.is_err(), "the disk has not answered");
    disk.store(WORKS, Ordering::SeqCst);
    ledger.flush().await.unwrap();
    assert_eq!(used(&ledger).await, 2);
}

/// A claim is not released like the hold it came with: its time runs, and its window ends.
#[tokio::test]
async fn the_first_use_of_a_payment_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    disk.store(IS_SLOW, Ordering::SeqCst);
    let first = ledger.hold(request(1));
    let second = ledger.hold(request(2));
    tokio::pin!(first, second);
    let either = async {
        tokio::select! {
            answer = &mut first => answer,
            answer = &mut second => answer,
        }
    };
    assert!(tokio::time::timeout(A_MOMENT, either).await.is_err());
    disk.store(WORKS, Ordering::SeqCst);
    assert!(matches!(first.await, Ok(Admitted::Held(_))));
    assert!(matches!(second.await, Ok(Admitted::Held(_))));
}

#[test]
fn a_batch_that_writes_nothing_is_no_sync_of_what_was_written_before() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let mut store = SqliteStore::open(&options.path).unwrap();
    store.break_log();
    let mut engine = Engine::new(Box::new(store), &options).unwrap();
    engine.apply(&mut [], Safe::FromDeath).unwrap();
    engine.store().sync().unwrap();
    let (admit, _) = Command::ask(request(1));
    engine.apply(&mut [admit], Safe::FromDeath).unwrap();
    let nothing = engine.apply(&mut [], Safe::FromPowerLoss);
    let error = nothing.unwrap_err().error;
    assert!(matches!(error, StoreError::Failed(_)), "{error}");
}

#[tokio::test]
async fn endings_reach_the_disk_though_what_came_after_them_found_it_full() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk, syncs) = flaky_counted(folder.path());
    let held = hold(&ledger, 1).await;
    ledger.flush().await.unwrap();
    let before = syncs.load(Ordering::SeqCst);
    held.settle();
    let story = async {
        while used(&ledger).await == 0 {
            tokio::task::yield_now().await;
        }
        disk.store(IS_FULL, Ordering::SeqCst);
        assert!(ledger.hold(request(2)).await.is_err());
        while syncs.load(Ordering::SeqCst) == before {
            tokio::time::sleep(A_MOMENT).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), story).await;
    told.expect("the endings reach the disk");
}

/// A checkpoint looks at no checksums, and what could not be synced may have changed since.
#[test]
fn a_log_that_could_not_be_synced_is_left_to_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let mut store = SqliteStore::open(&options.path).unwrap();
    store.break_log();
    let mut engine = Engine::new(Box::new(store), &options).unwrap();
    let (admit, _) = Command::ask(request(1));
    engine.apply(&mut [admit], Safe::FromDeath).unwrap();
    assert!(matches!(engine.store().sync(), Err(StoreError::Failed(_))));
    drop(engine);
    let log = folder.path().join("ledger.db-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    let store = SqliteStore::open(&options.path).unwrap();
    let engine = Engine::new(Box::new(store), &options).unwrap();
    assert_eq!(engine.open_holds(), 1);
}

#[tokio::test]
async fn what_a_full_disk_kept_from_being_written_is_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    let (first, second) = (hold(&ledger, 1).await, hold(&ledger, 2).await);
    disk.store(IS_FULL, Ordering::SeqCst);
    first.settle();
    assert!(matches!(ledger.flush().await, Err(LedgerError::Refusing)));
    assert_eq!(used(&ledger).await, 0);
    disk.store(WORKS, Ordering::SeqCst);
    second.settle();
    ledger.flush().await.unwrap();
    assert_eq!(used(&ledger).await, 2);
    hold(&ledger, 3).await.settle();
    ledger.flush().await.unwrap();
    assert!(ledger.trial_balance().await.unwrap().is_sound());
    assert!(!ledger.stats().refusing);
}

#[tokio::test]
async fn what_a_broken_disk_kept_from_being_written_is_recovered_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    let (charged, released) = (hold(&ledger, 1).await, hold(&ledger, 2).await);
    charged.first_byte();
    ledger.flush().await.unwrap();
    disk.store(IS_BROKEN, Ordering::SeqCst);
    charged.settle();
    released.settle();
    ledger.close().await;
    let (ledger, recovery) = crate::open(&options(folder.path())).unwrap();
    assert_eq!((recovery.settled, recovery.voided), (1, 1));
    assert_eq!(used(&ledger).await, 1);
    assert!(ledger.trial_balance().await.unwrap().is_sound());
}

/// An engine over a database that can be kept from growing.
fn limited(folder: &Path) -> (Engine, rusqlite::Connection) {
    let options = options(folder);
    let store = SqliteStore::open(&options.path).unwrap();
    let other = rusqlite::Connection::open(&options.path).unwrap();
    (Engine::new(Box::new(store), &options).unwrap(), other)
}

#[test]
fn a_database_that_another_program_has_rolls_back_and_can_be_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, other) = limited(folder.path());
    let admit = |number: u8, hash: u8| {
        let account = PaymentHash::from_bytes([hash; 32]).account();
        Command::ask(HoldRequest {
            account,
            ..request(number)
        })
        .0
    };
    engine.apply(&mut [admit(1, 1)], Safe::FromDeath).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut batch: Vec<_> = (2..250).map(|number| admit(number, number)).collect();
    let busy = engine.apply(&mut batch, Safe::FromPowerLoss).unwrap_err();
    assert!(matches!(busy.error, StoreError::Unavailable(_)), "{busy:?}");
    assert_eq!(engine.open_holds(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    engine.apply(&mut batch, Safe::FromPowerLoss).unwrap();
    assert_eq!(engine.open_holds(), 249);
}

fn refund() -> PayoutRequest {
    let token = request(1);
    PayoutRequest {
        id: PayoutId::from_bytes([1; 16]),
        account: token.account,
        funding: token.funding,
        asked_by: AskedBy::Holder,
        destination_hash: PaymentHash::from_bytes([2; 32]),
        bolt11: "lnbcrt20".to_owned(),
        amount: Msat::new(20).unwrap(),
        max_fee: Msat::ZERO,
        backend: "alice".to_owned(),
        limits: PayoutLimits {
            least: Msat::ZERO,
            daily_total: Msat::MAX,
            account_part: std::num::NonZeroU64::MIN,
            max_open: 1,
            per_account_per_day: 1,
        },
        now: Noon.now(),
    }
}

#[tokio::test]
async fn a_payout_that_could_not_be_written_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    disk.store(IS_BROKEN, Ordering::SeqCst);
    let error = ledger.begin_payout(refund()).await;
    assert!(matches!(error, Err(LedgerError::Store(_))), "{error:?}");
    ledger.close().await;
    let (ledger, _) = crate::open(&options(folder.path())).unwrap();
    assert_eq!(ledger.open_payouts().await.unwrap(), []);
    let begun = ledger.begin_payout(refund()).await.unwrap();
    assert!(matches!(begun, PayoutAnswer::Begun(_)), "{begun:?}");
}

#[tokio::test]
async fn a_payout_whose_end_could_not_be_written_stays_open_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, disk) = flaky(folder.path());
    ledger.begin_payout(refund()).await.unwrap();
    disk.store(IS_FULL, Ordering::SeqCst);
    let end = PayoutEnd::Paid { fee: Msat::ZERO };
    let error = ledger.finish_payout(refund().id, end, Noon.now()).await;
    assert!(matches!(error, Err(LedgerError::Store(_))), "{error:?}");
    assert_eq!(ledger.open_payouts().await.unwrap().len(), 1);
    disk.store(WORKS, Ordering::SeqCst);
    while ledger.stats().refusing {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let paid = ledger.finish_payout(refund().id, end, Noon.now()).await;
    assert_eq!(paid.unwrap().state, PayoutState::Paid);
    let trial = ledger.trial_balance().await.unwrap();
    assert!(trial.is_sound() && trial.payers.get() == 10, "{trial:?}");
}

#[test]
fn a_rolled_back_payout_reserves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, other) = limited(folder.path());
    let (hold, _) = Command::ask(request(1));
    engine.apply(&mut [hold], Safe::FromDeath).unwrap();
    let mut refund = refund();
    refund.amount = Msat::new(10).unwrap();
    let (begin, mut answer) = Command::ask(BeginPayout(refund));
    let mut batch = [begin];
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let busy = engine.apply(&mut batch, Safe::FromPowerLoss).unwrap_err();
    assert!(matches!(busy.error, StoreError::Unavailable(_)), "{busy:?}");
    other.execute_batch("ROLLBACK").unwrap();
    let told = engine.apply(&mut batch, Safe::FromPowerLoss).unwrap();
    assert!(told[0].as_ref().unwrap().moment.is_some());
    assert!(answer.try_recv().is_err(), "nobody has answered yet");
}

/// A writer without a thread of its own, over a store on a disk that works.
fn idle(folder: &Path, clock: Arc<dyn Clock>) -> (Writer, Arc<AtomicU64>) {
    let options = OpenOptions::new(folder.join("ledger.db"), clock);
    let store = Flaky {
        store: SqliteStore::open(&options.path).unwrap(),
        disk: Arc::new(AtomicU8::new(WORKS)),
        syncs: Arc::default(),
    };
    let syncs = Arc::clone(&store.syncs);
    let engine = Engine::new(Box::new(store), &options).unwrap();
    let counters = Arc::new(Counters::default());
    let clock = Arc::clone(&options.clock);
    let queue = Arc::new(Queue::new(clock, Arc::clone(&counters), 8));
    let holds: Arc<Queue> = Arc::clone(&queue);
    let passes = Arc::new(Passes::new(options.max_passes));
    let desk = Desk { holds, passes };
    (Writer::new(engine, queue, desk, counters, &options), syncs)
}

/// Looks at a row that it does not name.
struct Nosy;

impl Operation for Nosy {
    type Answer = ();

    fn footprint(&self, _: &mut Vec<Name>) {}

    fn decide(&self, book: &mut Book<'_>) -> Verdict<()> {
        book.entry(&request(1).account)?;
        Ok(Ok(()))
    }
}

/// Commands that all fail alone are no commit: what was committed before them is on no disk yet.
#[test]
fn a_command_that_fails_alone_is_no_sync_of_what_was_written_before() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, syncs) = idle(folder.path(), Arc::new(Noon));
    let cursor = Command::Cursor("alice".to_owned(), 7);
    let (nosy, mut answer) = Command::ask(Nosy);
    for command in [cursor, nosy] {
        let mut batch = Batch::default();
        batch.commands.push(command);
        writer.write(&mut batch);
        assert_eq!(writer.health, Health::Sound);
    }
    let answer = answer.try_recv().unwrap();
    assert!(matches!(answer, Err(LedgerError::Store(_))), "{answer:?}");
    assert_eq!(syncs.load(Ordering::SeqCst), 0);
    writer.sync_if_due(true);
    assert_eq!(syncs.load(Ordering::SeqCst), 1);
}

mod pruning;
