//! The process is killed at each point of a request that is charged by what it uses: the charge and
//! what it was made of are there together or not at all.

use farebox_core::{Kind, Msat};
use farebox_ledger::{
    CRASH_POINTS, ChargeBasis, ChargeView, Cost, HoldRequest, Measured, RECOVERED, RateUsed,
};

use crate::child;
use crate::place::{SqlitePlace, hold, request};

const STORY: &str = "crash_charges::the_story_of_a_measured_request_in_a_child";

fn basis() -> ChargeBasis {
    ChargeBasis {
        rate: Some(RateUsed {
            currency: "usd".to_owned(),
            bitcoin_price: "64123.5".to_owned(),
            age_ms: Some(1_500),
        }),
        model: Some("gpt-small".to_owned()),
    }
}

fn call() -> HoldRequest {
    let mut call = request(1, 1);
    call.funding.as_mut().unwrap().terms.kind = Kind::Balance;
    call.cost = Cost::Amount(Msat::new(20).unwrap());
    call.basis = Some(Box::new(basis()));
    call
}

/// Not a test by itself: without the environment of a child it has nothing to do.
#[tokio::test]
async fn the_story_of_a_measured_request_in_a_child() {
    let Some(ledger) = child::ledger() else {
        return;
    };
    let hold = hold(&ledger, call()).await;
    if child::sends() {
        hold.progress(Msat::new(8).unwrap());
        ledger.flush().await.unwrap();
    }
    farebox_ledger::crash_point("test-in-flight");
    let measured = Measured {
        terminal: "complete",
        usage: vec![("input", 3), ("output", 4)],
        quantity: None,
    };
    hold.settle_part_with(Msat::new(15).unwrap(), measured);
    ledger.close().await;
}

/// Runs the story in a child that dies at `point`, and looks for the charge.
async fn after_death(point: &str, sends: bool) -> Option<ChargeView> {
    let place = SqlitePlace::new();
    child::die_at(point, STORY, &place, sends);
    let (ledger, _) = place.reopen();
    let trial = ledger.trial_balance().await.unwrap();
    assert!(trial.is_sound(), "at {point}: {trial:?}");
    let found = ledger.charge(call().hold).await.unwrap();
    let earned = trial
        .house
        .iter()
        .find(|(name, _)| name == "revenue:weather");
    let earned = earned.map_or(0, |(_, balance)| balance.unsigned_abs());
    let told = found.as_ref().map_or(0, |charge| charge.charged.get());
    assert_eq!(told, earned, "at {point}");
    found
}

#[tokio::test]
async fn a_charge_and_its_details_are_written_together() {
    for point in CRASH_POINTS {
        let found = after_death(point, false).await;
        assert_eq!(
            found.is_some(),
            point == "settle-after-commit",
            "at {point}"
        );
        if let Some(charge) = found {
            assert_eq!((charge.charged.get(), charge.held.unwrap().get()), (15, 20));
            assert_eq!(charge.basis, basis());
            assert_eq!(charge.terminal.as_deref(), Some("complete"));
            assert_eq!(charge.usage.len(), 2);
        }
    }
}

#[tokio::test]
async fn what_recovery_charges_has_the_rate_of_the_hold() {
    for point in ["test-in-flight", "settle-before-commit"] {
        let charge = after_death(point, true).await.unwrap();
        assert_eq!((charge.charged.get(), charge.used.get()), (8, 8));
        assert_eq!(charge.basis, basis(), "at {point}");
        assert_eq!(charge.terminal.as_deref(), Some(RECOVERED), "at {point}");
    }
}
