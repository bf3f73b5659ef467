//! What can be wrong with the file: too new, another program's, in use under another name.

use farebox_ledger::OpenError;
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
            known: 2
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
    let account = other
        .account(request(1, 1).payment_hash)
        .await
        .unwrap()
        .unwrap();
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
