//! What can be wrong with the file: too new, another program's, in use under another name.

use farebox_core::{HoldId, Msat};
use farebox_ledger::{ChargeBasis, HoldRequest, Measured, OpenError};
use rusqlite::Connection;

use crate::place::{SqlitePlace, hold, open_at, request};

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let place = SqlitePlace::new();
    let (ledger, _) = place.reopen();
    ledger.close().await;
    let edit = Connection::open(place.path()).unwrap();
    edit.pragma_update(None, "user_version", 77).unwrap();
    let Err(error) = open_at(&place.path()) else {
        panic!("a newer schema was opened")
    };
    assert!(matches!(
        error,
        OpenError::Newer {
            found: 77,
            known: 4
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

/// A ledger of the first version, with an account, a transfer and an open hold in it.
const VERSION_1: &str = "
    INSERT INTO accounts VALUES (1, 16, 0, 0, x'01'), (2, -16, 0, 0, NULL);
    INSERT INTO house VALUES (2, 'lightning');
    INSERT INTO claims VALUES (1, x'0101010101010101010101010101010101010101010101010101010101010101',
        1, 16, 4, NULL, NULL, 'weather', 3, NULL, 1, x'000000000000000000000000', 0, 0, 0, NULL);
    INSERT INTO transfers VALUES (x'01010101010101010101010101010101', 2, 1, 16, 1, 0, NULL);
    UPDATE accounts SET last_transfer = x'01010101010101010101010101010101' WHERE id = 1;
    INSERT INTO holds VALUES (1, x'02020202020202020202020202020202', 1, 1, 6, 5, NULL, NULL);";

#[tokio::test]
async fn a_ledger_of_the_first_version_is_brought_up_to_date() {
    let place = SqlitePlace::new();
    let old = Connection::open(place.path()).unwrap();
    old.execute_batch(include_str!("../../src/sqlite/migrations/0001_ledger.sql"))
        .unwrap();
    old.execute_batch(VERSION_1).unwrap();
    old.pragma_update(None, "application_id", 0x4661_7265)
        .unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let (ledger, recovery) = place.reopen();
    assert_eq!((recovery.settled, recovery.charged.get()), (1, 5));
    let hash = request(1, 1).account;
    let account = ledger.account(hash).await.unwrap().unwrap();
    assert_eq!((account.balance.get(), account.excess.get()), (11, 0));
    assert!(ledger.trial_balance().await.unwrap().is_sound());
    let left = ledger.refundable(hash).await.unwrap().unwrap();
    assert_eq!(left.available.get(), 11);
}

/// What the second version added to that: an open payout of the same account.
const VERSION_2: &str = "
    INSERT INTO payouts VALUES (1, x'03030303030303030303030303030303',
        x'0101010101010101010101010101010101010101010101010101010101010101',
        x'0404040404040404040404040404040404040404040404040404040404040404',
        'lnbcrt3', 'alice', 3, 1, NULL, 4, 0, 0, 1, 1, 0, NULL);";

#[tokio::test]
async fn a_ledger_of_the_second_version_is_brought_up_to_date() {
    let place = SqlitePlace::new();
    let old = Connection::open(place.path()).unwrap();
    for migration in [
        include_str!("../../src/sqlite/migrations/0001_ledger.sql"),
        include_str!("../../src/sqlite/migrations/0002_payouts.sql"),
    ] {
        old.execute_batch(migration).unwrap();
    }
    // The row of the claim has one column more than in the first version.
    let grown = VERSION_1.replace(
        "0, 0, 0, NULL);\n    INSERT INTO transfers",
        "0, 0, 0, NULL, 0);\n    INSERT INTO transfers",
    );
    old.execute_batch(&grown).unwrap();
    old.execute_batch(VERSION_2).unwrap();
    old.pragma_update(None, "application_id", 0x4661_7265)
        .unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    drop(old);
    let (ledger, recovery) = place.reopen();
    assert_eq!((recovery.settled, recovery.charged.get()), (1, 5));
    let left = ledger.refundable(request(1, 1).account).await.unwrap();
    let left = left.unwrap();
    assert_eq!((left.available.get(), left.held.get()), (7, 4));
    assert!(ledger.keys(0, 10).await.unwrap().is_empty());
    assert!(ledger.trial_balance().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_ledger_of_the_third_version_is_brought_up_to_date() {
    let place = SqlitePlace::new();
    let old = Connection::open(place.path()).unwrap();
    for migration in [
        include_str!("../../src/sqlite/migrations/0001_ledger.sql"),
        include_str!("../../src/sqlite/migrations/0002_payouts.sql"),
        include_str!("../../src/sqlite/migrations/0003_keys.sql"),
    ] {
        old.execute_batch(migration).unwrap();
    }
    // The rows of claim and hold have more columns than in the first version.
    let grown = VERSION_1
        .replace(
            "0, 0, 0, NULL);\n    INSERT INTO transfers",
            "0, 0, 0, NULL, 0);\n    INSERT INTO transfers",
        )
        .replace("6, 5, NULL, NULL);", "6, 5, NULL, NULL, NULL, NULL, NULL);");
    old.execute_batch(&grown).unwrap();
    old.pragma_update(None, "application_id", 0x4661_7265)
        .unwrap();
    old.pragma_update(None, "user_version", 3).unwrap();
    drop(old);
    let (ledger, recovery) = place.reopen();
    assert_eq!((recovery.settled, recovery.charged.get()), (1, 5));
    let charge = ledger.charge(HoldId::from_bytes([2; 16])).await.unwrap();
    let charge = charge.unwrap();
    assert_eq!((charge.charged.get(), charge.held.unwrap().get()), (5, 6));
    assert_eq!(charge.terminal.as_deref(), Some("recovered"));
    assert!(ledger.trial_balance().await.unwrap().is_sound());
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
