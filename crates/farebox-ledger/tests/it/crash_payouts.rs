//! The process is killed at each point of a payout and of a held call's end, and nothing is paid
//! twice, charged twice, or forgotten.

use farebox_core::{KeyEpoch, Kind, Msat, PaymentHash, PayoutId, RequestDigest, UnixMillis};
use farebox_ledger::{
    Admitted, AskedBy, HELD_CRASH_POINTS, HeldCall, HeldLimits, HeldState, Ledger,
    PAYOUT_CRASH_POINTS, PayoutAnswer, PayoutEnd, PayoutLimits, PayoutRequest, PayoutState,
};

use crate::child;
use crate::place::{SqlitePlace, request};

const FEE: PayoutEnd = PayoutEnd::Paid { fee: Msat::ZERO };

/// A refund of the whole token 1, which was sold for 21 msat and never used.
fn refund() -> PayoutRequest {
    let token = request(1, 1);
    PayoutRequest {
        id: PayoutId::from_bytes([4; 16]),
        account: token.account,
        funding: token.funding,
        asked_by: AskedBy::Holder,
        destination_hash: PaymentHash::from_bytes([7; 32]),
        bolt11: "lnbcrt20".to_owned(),
        amount: Msat::new(20).unwrap(),
        max_fee: Msat::new(1).unwrap(),
        backend: "alice".to_owned(),
        limits: PayoutLimits {
            least: Msat::ZERO,
            daily_total: Msat::MAX,
            account_part: std::num::NonZeroU64::MIN,
            max_open: 1,
            per_account_per_day: 1,
        },
        now: token.now,
    }
}

fn held_call() -> HeldCall {
    let token = request(1, 1);
    let funding = token.funding.unwrap();
    let mut terms = funding.terms;
    terms.kind = Kind::Single;
    HeldCall {
        payment_hash: PaymentHash::from_bytes(*token.account.as_bytes()),
        token_id: [1; 32],
        key_epoch: KeyEpoch(1),
        terms,
        digest: RequestDigest::from_bytes([0; 32]),
        request: b"GET /".to_vec(),
        backend: "alice".to_owned(),
        state: HeldState::Offered,
        created_at: token.now,
        expires_at: token.now,
        answer: None,
    }
}

const fn now() -> UnixMillis {
    UnixMillis::new(1_800_000_000_000)
}

/// Not a test by itself: without the environment of a child it has nothing to do.
#[tokio::test]
async fn the_story_of_a_refund_in_a_child() {
    let Some(ledger) = child::ledger() else {
        return;
    };
    let answer = ledger.begin_payout(refund()).await.unwrap();
    assert!(matches!(answer, PayoutAnswer::Begun(_)));
    farebox_ledger::crash_point("test-sent");
    ledger.finish_payout(refund().id, FEE, now()).await.unwrap();
    ledger.close().await;
}

/// Not a test by itself either.
#[tokio::test]
async fn the_story_of_a_held_call_in_a_child() {
    let Some(ledger) = child::ledger() else {
        return;
    };
    let limits = HeldLimits {
        max_calls: 1,
        max_bytes: 100,
    };
    let call = held_call();
    let hash = call.payment_hash;
    assert!(ledger.open_held_call(call, limits).await.unwrap());
    assert!(ledger.held_run(hash).await.unwrap());
    assert!(ledger.held_answered(hash, b"sunny".to_vec()).await.unwrap());
    let received = Msat::new(25).unwrap();
    assert!(ledger.held_settled(hash, received, now()).await.unwrap());
    ledger.close().await;
}

async fn check(ledger: &Ledger, point: &str, lightning: i64) {
    let trial = ledger.trial_balance().await.unwrap();
    assert!(trial.is_sound(), "at {point}: {trial:?}");
    let house = trial.house.iter().find(|(name, _)| name == "lightning");
    let found = house.map_or(0, |(_, balance)| *balance);
    assert_eq!(found, lightning, "at {point}");
}

#[tokio::test]
async fn wherever_a_refund_dies_it_is_paid_once() {
    let story = "crash_payouts::the_story_of_a_refund_in_a_child";
    for point in PAYOUT_CRASH_POINTS.into_iter().chain(["test-sent"]) {
        let place = SqlitePlace::new();
        child::die_at(point, story, &place, false);
        let (ledger, recovery) = place.reopen();
        assert_eq!((recovery.voided, recovery.settled), (0, 0), "at {point}");
        let open = ledger.open_payouts().await.unwrap();
        let known = ledger.payout(refund().id).await.unwrap();
        let state = known.as_ref().map(|payout| payout.state);
        match point {
            // Nothing was sent, since nothing was answered.
            "payout-before-commit" => {
                assert_eq!((state, open.len()), (None, 0));
                check(&ledger, point, 0).await;
                let begun = ledger.begin_payout(refund()).await.unwrap();
                assert!(matches!(begun, PayoutAnswer::Begun(_)));
            }
            "payout-end-after-commit" => {
                assert_eq!((state, open.len()), (Some(PayoutState::Paid), 0));
            }
            _ => {
                assert_eq!(
                    (state, open.len()),
                    (Some(PayoutState::Open), 1),
                    "at {point}"
                );
                assert_eq!(open[0].bolt11, "lnbcrt20");
                check(&ledger, point, -21).await;
                let again = ledger.begin_payout(refund()).await.unwrap();
                assert!(matches!(again, PayoutAnswer::Exists(_)), "at {point}");
                let held = ledger.hold(request(1, 1)).await.unwrap();
                assert!(matches!(held, Admitted::Reserved), "at {point}");
            }
        }
        ledger.finish_payout(refund().id, FEE, now()).await.unwrap();
        check(&ledger, point, -1).await;
        let used = ledger.hold(request(1, 2)).await.unwrap();
        assert!(matches!(used, Admitted::Exhausted), "at {point}");
    }
}

#[tokio::test]
async fn wherever_a_held_call_dies_its_answer_is_charged_once() {
    let story = "crash_payouts::the_story_of_a_held_call_in_a_child";
    for point in HELD_CRASH_POINTS {
        let place = SqlitePlace::new();
        child::die_at(point, story, &place, false);
        let (ledger, _) = place.reopen();
        let hash = held_call().payment_hash;
        let call = ledger.held_call(hash).await.unwrap().unwrap();
        assert_eq!(
            call.answer.as_deref(),
            Some(b"sunny".as_slice()),
            "at {point}"
        );
        let settles = call.state == HeldState::Answered;
        assert_eq!(settles, point == "held-end-before-commit");
        let received = Msat::new(25).unwrap();
        let settled = ledger.held_settled(hash, received, now()).await.unwrap();
        assert_eq!(settled, settles, "at {point}");
        check(&ledger, point, -25).await;
        let account = ledger.account(hash.account()).await.unwrap().unwrap();
        assert_eq!(
            (account.calls_used, account.balance.get()),
            (1, 4),
            "at {point}"
        );
    }
}
