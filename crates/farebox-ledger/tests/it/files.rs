//! What can be wrong with the file: too new, another program's, in use under another name.

use std::sync::Arc;

use farebox_core::{KeyHash, Msat, PaymentHash, UnixMillis};
use farebox_ledger::{
    ChargeBasis, Deposit, HoldRequest, KeyLimits, Ledger, LedgerError, Measured, OpenChild,
    OpenError, OpenKey, OpenOptions, examine,
};
use farebox_ledger_contract::ManualClock;
use rusqlite::Connection;

use crate::place::{SqlitePlace, hold, open_at, request};

#[tokio::test]
async fn another_schema_is_refused_and_left_alone() {
    let place = SqlitePlace::new();
    let (ledger, _) = place.reopen();
    ledger.close().await;
    let edit = Connection::open(place.path()).unwrap();
    edit.pragma_update(None, "user_version", 77).unwrap();
    let Err(error) = open_at(&place.path()) else {
        panic!("another schema was opened")
    };
    assert!(matches!(
        error,
        OpenError::Version {
            found: 77,
            known: 6
        }
    ));
    assert!(error.to_string().contains("version 77"));
    let epoch: i64 = edit
        .query_row("SELECT epoch FROM process", [], |row| row.get(0))
        .unwrap();
    assert_eq!(epoch, 1);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let place = SqlitePlace::new();
    let other = Connection::open(place.path()).unwrap();
    other
        .execute_batch("CREATE TABLE songs (title TEXT)")
        .unwrap();
    assert!(matches!(open_at(&place.path()), Err(OpenError::Foreign)));
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let place = SqlitePlace::new();
    std::fs::write(
        place.path(),
        "Dear diary, today I sold a call. ".repeat(100),
    )
    .unwrap();
    assert!(matches!(open_at(&place.path()), Err(OpenError::Foreign)));
}

#[test]
fn a_missing_folder_is_an_error_that_names_the_path() {
    let path = SqlitePlace::new().path().join("nowhere").join("ledger.db");
    let Err(error) = open_at(&path) else {
        panic!("opened in a missing folder")
    };
    assert!(error.to_string().contains("nowhere"));
}

#[tokio::test]
async fn another_spelling_of_the_path_takes_no_second_lock() {
    let place = SqlitePlace::new();
    let (_ledger, _) = place.reopen();
    let link = place.path().with_file_name("link.db");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    for path in [link, place.path().with_file_name(".").join("ledger.db")] {
        assert!(
            matches!(open_at(&path), Err(OpenError::InUse { .. })),
            "{}",
            path.display()
        );
    }
}

#[tokio::test]
async fn dropping_the_ledger_without_closing_it_loses_nothing() {
    let place = SqlitePlace::new();
    let (ledger, _) = place.reopen();
    hold(&ledger, request(1, 1)).await.settle();
    let mut other = ledger.clone();
    drop(ledger);
    hold(&other, request(1, 2)).await.settle();
    other.flush().await.unwrap();
    other.close().await;
    other = place.reopen().0;
    let account = other.account(request(1, 1).account).await.unwrap().unwrap();
    assert_eq!((account.calls_used, account.balance.get()), (2, 0));
}

#[tokio::test]
async fn a_tampered_balance_shows_in_the_trial_balance() {
    let place = SqlitePlace::new();
    let (ledger, _) = place.reopen();
    hold(&ledger, request(1, 1)).await.settle();
    ledger.close().await;
    let edit = Connection::open(place.path()).unwrap();
    edit.execute(
        "UPDATE accounts SET balance = balance + 5 WHERE calls_used = 1",
        [],
    )
    .unwrap();
    let (ledger, _) = place.reopen();
    let trial = ledger.trial_balance().await.unwrap();
    assert!(!trial.is_sound());
    assert_eq!((trial.sum, trial.unproven), (5, 1));
}

#[tokio::test]
async fn a_row_of_another_form_fails_alone_and_is_found_in_the_file() {
    let place = SqlitePlace::new();
    let (ledger, _) = place.reopen();
    hold(&ledger, request(1, 1)).await.settle();
    hold(&ledger, request(2, 1)).await.settle();
    ledger.close().await;
    let examined = || {
        examine(&OpenOptions::new(
            place.path(),
            Arc::new(ManualClock::default()),
        ))
    };
    assert_eq!(examined().unwrap(), [""; 0]);
    let broken = request(1, 2).account;
    let edit = Connection::open(place.path()).unwrap();
    let sql = "UPDATE claims SET request = x'0102' WHERE name = ?1";
    assert_eq!(edit.execute(sql, [broken.as_bytes()]).unwrap(), 1);
    let (ledger, _) = place.reopen();
    let Err(LedgerError::Store(error)) = ledger.hold(request(1, 2)).await else {
        panic!("a broken account is held on")
    };
    assert!(error.is_of_a_row(), "{error:?}");
    let cause = std::error::Error::source(&*error).unwrap().to_string();
    assert!(cause.contains("index"), "{cause}");
    // The others go on, and are listed.
    hold(&ledger, request(2, 2)).await.settle();
    ledger.flush().await.unwrap();
    let listed = ledger.accounts(0, 10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|account| account.account).collect();
    assert_eq!(listed, [request(2, 2).account]);
    assert!(ledger.trial_balance().await.unwrap().is_sound());
    ledger.close().await;
}

#[tokio::test]
async fn a_ledger_that_is_open_is_not_examined() {
    let place = SqlitePlace::new();
    let (_ledger, _) = place.reopen();
    let clock = Arc::new(ManualClock::default());
    let examined = examine(&OpenOptions::new(place.path(), clock));
    assert!(matches!(examined, Err(OpenError::InUse { .. })));
}

/// A ledger as the first version that later ones must read wrote it: an account with a settled call
/// and an open one of which 7 msat are recorded as used, and a key with a deposit and a child.
const FIRST_FORM: &[u8] = include_bytes!("first_form.ledger");

#[tokio::test]
async fn a_ledger_of_the_first_form_is_read() {
    let place = SqlitePlace::new();
    std::fs::write(place.path(), FIRST_FORM).unwrap();
    let (ledger, recovery) = place.reopen();
    assert_eq!((recovery.settled, recovery.charged.get()), (1, 7));
    let account = ledger
        .account(request(1, 1).account)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((account.calls_used, account.balance.get()), (2, 3));
    let keys = ledger.keys(0, 10).await.unwrap();
    assert_eq!((keys.len(), keys[0].balance.get()), (2, 50));
    assert_eq!(keys[1].parent, Some(keys[0].key));
    assert_eq!(ledger.settlement_cursor("alice").await.unwrap(), Some(9));
    assert!(ledger.trial_balance().await.unwrap().is_sound());
}

/// Writes that ledger anew, when there is to be another first form:
/// `cargo test -p farebox-ledger --test it -- --ignored the_first_form_is_written`.
#[tokio::test]
#[ignore = "writes a file of the repository"]
async fn the_first_form_is_written() {
    let place = SqlitePlace::new();
    let (ledger, _) = place.reopen();
    hold(&ledger, request(1, 1)).await.settle();
    let open = hold(&ledger, request(1, 2)).await;
    open.progress(Msat::new(7).unwrap());
    write_keys(&ledger).await;
    ledger.note_settlement_cursor("alice", 9);
    ledger.flush().await.unwrap();
    ledger.close().await;
    drop(open);
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/first_form.ledger");
    std::fs::copy(place.path(), kept).unwrap();
}

async fn write_keys(ledger: &Ledger) {
    let at = UnixMillis::new(1_800_000_000_000);
    let (key, child) = (KeyHash::of_secret(b"parent"), KeyHash::of_secret(b"child"));
    let open = OpenKey {
        key,
        public_id: "parent".to_owned(),
        created_at: at,
        note: Some("first".to_owned()),
    };
    ledger.open_key(open).await.unwrap();
    let deposit = Deposit {
        payment_hash: PaymentHash::from_bytes([8; 32]),
        amount: Msat::new(50).unwrap(),
        at,
    };
    ledger.deposit(key, deposit).await.unwrap();
    let open = OpenChild {
        parent: key,
        child,
        public_id: "child".to_owned(),
        limits: KeyLimits::default(),
        created_at: at,
        note: None,
    };
    ledger.open_child(open).await.unwrap();
}

fn count(place: &SqlitePlace, table: &str) -> u64 {
    let look = Connection::open(place.path()).unwrap();
    let sql = format!("SELECT count(*) FROM {table}");
    look.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// How many open holds know what their price was found by.
fn bases(place: &SqlitePlace) -> u64 {
    count(place, "holds WHERE basis IS NOT NULL")
}

#[tokio::test]
async fn the_charge_of_a_fixed_price_writes_no_row_of_details() {
    let place = SqlitePlace::new();
    let (ledger, _) = place.reopen();
    let open = hold(&ledger, request(1, 1)).await;
    assert_eq!(bases(&place), 0);
    open.settle();
    ledger.flush().await.unwrap();
    assert_eq!(count(&place, "charges"), 0);
    let told = HoldRequest {
        basis: Some(Box::new(ChargeBasis {
            rate: None,
            model: Some("m".to_owned()),
        })),
        ..request(1, 2)
    };
    let open = hold(&ledger, told).await;
    assert_eq!(bases(&place), 1);
    open.settle();
    ledger.flush().await.unwrap();
    assert_eq!((count(&place, "holds"), count(&place, "charges")), (0, 1));
}

#[tokio::test]
async fn details_that_contradict_their_transfer_show_in_the_trial_balance() {
    let place = SqlitePlace::new();
    let (ledger, _) = place.reopen();
    let hold = hold(&ledger, request(1, 1)).await;
    hold.settle_part_with(
        Msat::new(7).unwrap(),
        Measured {
            terminal: "complete",
            usage: Vec::new(),
            quantity: None,
        },
    );
    ledger.flush().await.unwrap();
    assert!(ledger.trial_balance().await.unwrap().is_sound());
    let edit = Connection::open(place.path()).unwrap();
    edit.execute("UPDATE charges SET charged = 6", []).unwrap();
    assert_eq!(ledger.trial_balance().await.unwrap().unproven, 1);
}
