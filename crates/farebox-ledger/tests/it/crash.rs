//! The process is killed at each named point, and the next start puts everything right.
//!
//! The child is this test program again, asked to run one test that tells the story of a request.

use farebox_ledger::{Admitted, CRASH_POINTS, HoldRequest, Ledger, Recovery};

use crate::child;
use crate::place::{SqlitePlace, hold, request};

const STORY: &str = "crash::the_story_of_a_request_in_a_child";

/// Not a test by itself: without the environment of a child it has nothing to do.
#[tokio::test]
async fn the_story_of_a_request_in_a_child() {
    let Some(ledger) = child::ledger() else {
        return;
    };
    let hold = hold(&ledger, request(1, 1)).await;
    if child::sends() {
        hold.first_byte();
        ledger.flush().await.unwrap();
    }
    farebox_ledger::crash_point("test-in-flight");
    hold.settle();
    ledger.close().await;
}

/// What the next start finds.
struct Found {
    recovery: Recovery,
    charged: u64,
    ledger: Ledger,
    _place: SqlitePlace,
}

/// The client's second try of the same request.
fn retry() -> HoldRequest {
    HoldRequest {
        hold: request(1, 2).hold,
        ..request(1, 1)
    }
}

async fn after_death(point: &str, sends: bool) -> Found {
    let place = SqlitePlace::new();
    child::die_at(point, STORY, &place, sends);
    let (ledger, recovery) = place.reopen();
    let trial = ledger.trial_balance().await.unwrap();
    assert!(trial.is_sound(), "at {point}: {trial:?}");
    assert_eq!(trial.open_holds, 0, "at {point}");
    let revenue = trial
        .house
        .iter()
        .find(|(name, _)| name == "revenue:weather");
    let charged = revenue.map_or(0, |(_, balance)| balance.unsigned_abs());
    Found {
        recovery,
        charged,
        ledger,
        _place: place,
    }
}

#[tokio::test]
async fn every_crash_point_leaves_sound_books_and_a_second_try() {
    for point in CRASH_POINTS {
        let found = after_death(point, false).await;
        match found.ledger.hold(retry()).await.unwrap() {
            Admitted::Held(hold) if found.charged == 0 => hold.settle(),
            Admitted::Finished(receipt) => assert_eq!(receipt.charged.get(), found.charged),
            other => panic!("at {point}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_hold_that_was_not_committed_is_gone_with_its_claim() {
    let found = after_death("hold-before-commit", false).await;
    assert_eq!(
        (found.recovery.voided, found.recovery.settled, found.charged),
        (0, 0, 0)
    );
    assert_eq!(
        found.ledger.account(request(1, 1).account).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_hold_without_a_first_byte_is_voided() {
    for point in [
        "hold-after-commit",
        "test-in-flight",
        "settle-before-commit",
    ] {
        let found = after_death(point, false).await;
        assert_eq!(
            (found.recovery.voided, found.recovery.settled),
            (1, 0),
            "at {point}"
        );
        assert_eq!(found.charged, 0, "at {point}");
    }
}

#[tokio::test]
async fn a_hold_with_a_first_byte_is_settled_whole() {
    for point in ["test-in-flight", "settle-before-commit"] {
        let found = after_death(point, true).await;
        assert_eq!(
            (found.recovery.voided, found.recovery.settled),
            (0, 1),
            "at {point}"
        );
        assert_eq!(
            (found.recovery.charged.get(), found.charged),
            (11, 11),
            "at {point}"
        );
    }
}

#[tokio::test]
async fn a_settlement_that_was_committed_needs_no_recovery() {
    let found = after_death("settle-after-commit", false).await;
    assert_eq!(
        (found.recovery.voided, found.recovery.settled, found.charged),
        (0, 0, 11)
    );
    let retry = found.ledger.hold(retry()).await.unwrap();
    assert!(matches!(retry, Admitted::Finished(_)));
}

#[tokio::test]
async fn recovery_happens_once() {
    let place = SqlitePlace::new();
    child::die_at("test-in-flight", STORY, &place, true);
    let (ledger, first) = place.reopen();
    ledger.close().await;
    let (_, second) = place.reopen();
    assert_eq!((first.settled, second.settled, second.voided), (1, 0, 0));
    assert_eq!(second.epoch.0, first.epoch.0 + 1);
}
