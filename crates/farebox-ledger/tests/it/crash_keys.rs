//! The process is killed at each point of a deposit on a prepaid key and of a call that its child
//! makes, and nothing is credited twice, charged twice, or charged to the wrong route.

use farebox_core::{
    Allowance, HoldId, KeyHash, Msat, PaymentHash, RequestDigest, RouteName, UnixMillis,
};
use farebox_ledger::{
    Admitted, CRASH_POINTS, Cost, Deposit, Deposited, HoldRequest, KEY_CRASH_POINTS, KeyLimits,
    KeyView, Ledger, Noted, Once, OpenChild, OpenKey, Opened, PendingDeposit, Recovery, TopUpBy,
};

use crate::child;
use crate::place::SqlitePlace;

const STORY: &str = "crash_keys::the_story_of_a_key_in_a_child";

const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);
const HOLD: u64 = 40;
const USED: u64 = 30;
const RECORDED: u64 = 20;

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

fn parent() -> KeyHash {
    KeyHash::of_secret(b"parent")
}

fn child() -> KeyHash {
    KeyHash::of_secret(b"child")
}

fn paid() -> Deposit {
    Deposit {
        payment_hash: PaymentHash::from_bytes([9; 32]),
        amount: msat(100),
        at: NOW,
    }
}

fn opening() -> OpenKey {
    OpenKey {
        key: parent(),
        public_id: "parent".to_owned(),
        created_at: NOW,
        note: None,
    }
}

fn call(number: u8) -> HoldRequest {
    HoldRequest {
        hold: HoldId::new(NOW, [number; 10]),
        account: child().account(),
        funding: None,
        swapped: None,
        allowance: Allowance::default(),
        route: RouteName::parse("images").unwrap(),
        model: None,
        cost: Cost::Amount(msat(HOLD)),
        once: Some(Once {
            key: [1; 32],
            digest: RequestDigest::from_bytes([1; 32]),
        }),
        max_voids: 10,
        now: NOW,
        basis: None,
    }
}

/// Not a test by itself: without the environment of a child it has nothing to do.
#[tokio::test]
async fn the_story_of_a_key_in_a_child() {
    let Some(ledger) = child::ledger() else {
        return;
    };
    open_and_invoice(&ledger).await;
    ledger.deposit(parent(), paid()).await.unwrap();
    open_child(&ledger).await;
    let Admitted::Held(hold) = ledger.hold(call(1)).await.unwrap() else {
        panic!("nothing was held")
    };
    if child::sends() {
        hold.progress(msat(RECORDED));
        ledger.flush().await.unwrap();
    }
    farebox_ledger::crash_point("test-in-flight");
    hold.settle_part(msat(USED));
    ledger.close().await;
}

async fn open_and_invoice(ledger: &Ledger) {
    ledger.open_key(opening()).await.unwrap();
    let pending = PendingDeposit {
        payment_hash: paid().payment_hash,
        key: parent(),
        amount: paid().amount,
        expires_at: NOW,
    };
    let noted = ledger.pending_deposit(pending, TopUpBy::Holder).await;
    assert_eq!(noted.unwrap(), Noted::Noted);
}

async fn open_child(ledger: &Ledger) {
    let child = OpenChild {
        parent: parent(),
        child: child(),
        public_id: "child".to_owned(),
        limits: KeyLimits {
            total: Some(msat(60)),
            per_day: Some(msat(50)),
            ..KeyLimits::default()
        },
        created_at: NOW,
        note: None,
    };
    let opened = ledger.open_child(child).await.unwrap();
    assert!(matches!(opened, Opened::Opened(_) | Opened::Exists(_)));
}

/// Runs the story in a child that dies at `point`, and opens what it left.
async fn after_death(point: &str, sends: bool) -> (Ledger, Recovery, SqlitePlace) {
    let place = SqlitePlace::new();
    child::die_at(point, STORY, &place, sends);
    let (ledger, recovery) = place.reopen();
    let trial = ledger.trial_balance().await.unwrap();
    assert!(trial.is_sound(), "at {point}: {trial:?}");
    assert_eq!(trial.open_holds, 0, "at {point}");
    (ledger, recovery, place)
}

async fn view(ledger: &Ledger, key: KeyHash) -> KeyView {
    ledger.key(key).await.unwrap().unwrap()
}

async fn revenue(ledger: &Ledger) -> Vec<(String, i64)> {
    let mut house = ledger.trial_balance().await.unwrap().house;
    house.retain(|(name, _)| name.starts_with("revenue:"));
    house
}

#[tokio::test]
async fn a_deposit_is_credited_once_wherever_it_dies() {
    for point in KEY_CRASH_POINTS {
        let (ledger, _, _place) = after_death(point, false).await;
        let waiting = ledger.pending_deposits().await.unwrap();
        let written = point == "deposit-after-commit";
        assert_eq!(waiting.is_empty(), written, "at {point}");
        // Whoever looks after the invoices that wait tries again.
        match ledger.deposit(parent(), paid()).await.unwrap() {
            Deposited::Credited(_) => assert!(!written, "at {point}"),
            Deposited::Already(_) => assert!(written, "at {point}"),
            other => panic!("at {point}: {other:?}"),
        }
        let parent = view(&ledger, parent()).await;
        assert_eq!((parent.balance, parent.deposited), (msat(100), msat(100)));
        assert!(ledger.pending_deposits().await.unwrap().is_empty());
        assert!(ledger.trial_balance().await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn a_call_of_a_child_is_charged_once_wherever_it_dies() {
    for point in CRASH_POINTS.into_iter().chain(["test-in-flight"]) {
        let (ledger, _, _place) = after_death(point, false).await;
        open_child(&ledger).await;
        let charged = view(&ledger, child()).await.spent;
        match ledger.hold(call(2)).await.unwrap() {
            Admitted::Held(hold) => {
                assert_eq!(charged, Msat::ZERO, "at {point}");
                hold.settle_part(msat(USED));
            }
            Admitted::Finished(receipt) => {
                assert_eq!(point, "settle-after-commit");
                assert_eq!((receipt.charged, charged), (msat(USED), msat(USED)));
            }
            other => panic!("at {point}: {other:?}"),
        }
        ledger.flush().await.unwrap();
        check_charged(&ledger, USED).await;
    }
}

#[tokio::test]
async fn what_was_sent_before_the_death_is_charged_to_its_route_and_counted() {
    for point in ["test-in-flight", "settle-before-commit"] {
        let (ledger, recovery, _place) = after_death(point, true).await;
        assert_eq!((recovery.settled, recovery.voided), (1, 0), "at {point}");
        assert_eq!(recovery.charged, msat(RECORDED), "at {point}");
        check_charged(&ledger, RECORDED).await;
    }
}

async fn check_charged(ledger: &Ledger, charged: u64) {
    let (parent, child) = (view(ledger, parent()).await, view(ledger, child()).await);
    assert_eq!(parent.balance, msat(100 - charged));
    for key in [&parent, &child] {
        assert_eq!((key.spent, key.held), (msat(charged), Msat::ZERO));
        assert_eq!(key.spent_today, msat(charged));
    }
    let charged = i64::try_from(charged).unwrap();
    assert_eq!(
        revenue(ledger).await,
        [("revenue:images".to_owned(), charged)]
    );
    assert!(ledger.trial_balance().await.unwrap().is_sound());
}
