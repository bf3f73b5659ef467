//! What happens when the store fails: nothing is sold, and nothing that was sold is forgotten.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use farebox_core::{
    Allowance, Binding, Clock, HoldId, KeyEpoch, Kind, MethodClass, Msat, PaymentHash, PayoutId,
    ProcessEpoch, RouteName, Terms, TermsEpoch, UnixMillis,
};

use crate::sqlite::SqliteStore;
use crate::store::{Command, OpenReader, Outcome, PruneStep, Safe, Store, StoreError};
use crate::{
    Admitted, AskedBy, ClaimPolicy, Cost, Funding, Hold, HoldRequest, Ledger, LedgerError,
    OpenOptions, PayoutAnswer, PayoutEnd, PayoutLimits, PayoutRequest, PayoutState, Pruned, Rail,
    Recovery,
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

    fn recover(&mut self, now: UnixMillis) -> Result<Recovery, StoreError> {
        self.store.recover(now)
    }

    fn apply(&mut self, batch: &[Command], safe: Safe) -> Result<Vec<Outcome>, StoreError> {
        match self.disk.load(Ordering::SeqCst) {
            IS_FULL => return Err(StoreError::Unavailable("full".into())),
            IS_BROKEN => return Err(StoreError::Failed("broken".into())),
            _ if safe == Safe::FromPowerLoss => self.reach_the_disk()?,
            _ => {}
        }
        self.store.apply(batch, safe)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.reach_the_disk()?;
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.store.sync()
    }

    fn open_holds(&self) -> usize {
        self.store.open_holds()
    }

    fn prune(&mut self, step: PruneStep) -> Result<(Pruned, Option<u64>), StoreError> {
        self.store.prune(step)
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
    let store = SqliteStore::open(&options.path, &options).unwrap();
    let disk = Arc::new(AtomicU8::new(WORKS));
    let store = Flaky {
        store,
        disk: Arc::clone(&disk),
        syncs: Arc::default(),
    };
    let syncs = Arc::clone(&store.syncs);
    let ledger = Ledger::start(Box::new(store), &options, None).unwrap();
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
            id: hash,
            amount: terms.amount,
            terms,
            key_epoch: KeyEpoch(1),
            claims: ClaimPolicy::Open,
        }),
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
    let mut store = SqliteStore::open(&options.path, &options).unwrap();
    store.break_log();
    store.apply(&[], Safe::FromDeath).unwrap();
    store.sync().unwrap();
    let admit = Command::Hold(Box::new(request(1)));
    store.apply(&[admit], Safe::FromDeath).unwrap();
    let nothing = store.apply(&[], Safe::FromPowerLoss);
    assert!(matches!(nothing, Err(StoreError::Failed(_))), "{nothing:?}");
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
    let mut store = SqliteStore::open(&options.path, &options).unwrap();
    store.break_log();
    let admit = Command::Hold(Box::new(request(1)));
    store.apply(&[admit], Safe::FromDeath).unwrap();
    assert!(matches!(store.sync(), Err(StoreError::Failed(_))));
    drop(store);
    let log = folder.path().join("ledger.db-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    let store = SqliteStore::open(&options.path, &options).unwrap();
    assert_eq!(store.open_holds(), 1);
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

#[test]
fn a_full_database_rolls_back_and_can_be_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let mut store = SqliteStore::open(&options.path, &options).unwrap();
    let admit = |number: u8, hash: u8| {
        Command::Hold(Box::new(HoldRequest {
            account: PaymentHash::from_bytes([hash; 32]).account(),
            ..request(number)
        }))
    };
    store.apply(&[admit(1, 1)], Safe::FromDeath).unwrap();
    store.limit_pages(true);
    let batch: Vec<_> = (2..250).map(|number| admit(number, number)).collect();
    let full = store.apply(&batch, Safe::FromPowerLoss).unwrap_err();
    assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
    assert_eq!(store.open_holds(), 1);
    store.limit_pages(false);
    store.apply(&batch, Safe::FromPowerLoss).unwrap();
    assert_eq!(store.open_holds(), 249);
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
    let options = options(folder.path());
    let mut store = SqliteStore::open(&options.path, &options).unwrap();
    store
        .apply(&[Command::Hold(Box::new(request(1)))], Safe::FromDeath)
        .unwrap();
    store.limit_pages(true);
    let mut large = refund();
    large.bolt11 = "l".repeat(crate::MAX_PAYOUT_INVOICE);
    let batch: Vec<_> = (0..64)
        .map(|number| {
            let mut request = large.clone();
            request.account = PaymentHash::from_bytes([number + 1; 32]).account();
            request.id = PayoutId::from_bytes([number; 16]);
            request.destination_hash = PaymentHash::from_bytes([number; 32]);
            request.amount = Msat::new(10).unwrap();
            request.limits.max_open = u32::MAX;
            Command::BeginPayout(Box::new(request))
        })
        .collect();
    let full = store.apply(&batch, Safe::FromPowerLoss).unwrap_err();
    assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
    store.limit_pages(false);
    let outcomes = store.apply(&batch, Safe::FromPowerLoss).unwrap();
    assert!(
        outcomes.iter().all(Outcome::is_payout_begun),
        "{outcomes:?}"
    );
}
