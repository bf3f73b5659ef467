//! What becomes of a swap, whatever its mint says or does.

use farebox_ecash::{Attempt, MintFault, Open, Outcome, Swap, TokenRefusal};
use farebox_testkit::mint::{ALWAYS, Endpoint, Fault, Reply, Twist};
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::purse::Place;

fn done(outcome: Outcome) -> Vec<farebox_ecash::Proof> {
    match outcome {
        Outcome::Done(proofs) => proofs,
        other => panic!("not done: {other:?}"),
    }
}

#[tokio::test]
async fn a_swap_brings_the_value_less_the_fee_and_no_dleq_leaves() {
    for (ppk, brings) in [(0, 12_345), (100, 12_344), (1_000, 12_339)] {
        let place = Place::with_fee(ppk);
        let token = place.theirs.token("msat", 12_345);
        let swap = place.plan(&token).await;
        let proofs = done(place.mint.swap(&swap, Attempt::First).await);
        let sum: u64 = proofs.iter().map(|proof| proof.amount).sum();
        assert_eq!(sum, brings, "at {ppk}");
        assert_eq!(place.theirs.dleqs_received(), 0);
        assert_eq!(place.spend(&proofs), brings);
        place.theirs.assert_sound();
    }
}

#[tokio::test]
async fn a_lost_answer_in_any_form_is_found_again() {
    for reply in [
        Reply::Cut,
        Reply::Broken,
        Reply::Html(200),
        Reply::Html(502),
        Reply::Json(500, json!({"code": 50_000, "detail": "database is locked"})),
        Reply::Json(400, json!({"code": 10_002, "detail": "already signed"})),
        Reply::Json(400, json!({"code": 11_007, "detail": "duplicate"})),
    ] {
        let place = Place::with_fee(100);
        let swap = place.plan(&place.theirs.token("msat", 1_000)).await;
        let fault = Fault::After(reply.clone());
        place.theirs.fault(Endpoint::Swap, fault, 1);
        let proofs = done(place.mint.swap(&swap, Attempt::First).await);
        assert_eq!(place.spend(&proofs), 999, "{reply:?}");
        place.theirs.assert_sound();
    }
}

#[tokio::test]
async fn a_certain_refusal_leaves_the_token_its_holder_s() {
    for code in [
        10_001, 11_005, 11_006, 11_014, 11_015, 12_001, 12_002, 12_003,
    ] {
        let place = Place::with_fee(0);
        let token = place.theirs.token("msat", 1_000);
        let swap = place.plan(&token).await;
        let reply = Reply::Json(400, json!({"code": code, "detail": "no"}));
        place.theirs.fault(Endpoint::Swap, Fault::Instead(reply), 1);
        let refused = place.mint.swap(&swap, Attempt::First).await;
        assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
        assert_eq!(place.theirs.redeem(&token).unwrap(), 1_000);
    }
}

#[tokio::test]
async fn a_refusal_of_a_body_that_was_sent_before_is_not_believed() {
    for code in [10_001, 11_005, 12_002, 12_003] {
        let place = Place::with_fee(0);
        let swap = place.plan(&place.theirs.token("msat", 1_000)).await;
        let lost = Fault::After(Reply::Cut);
        place.theirs.fault(Endpoint::Swap, lost, 1);
        let away = Fault::Instead(Reply::Html(503));
        place.theirs.fault(Endpoint::CheckState, away, 1);
        let open = place.mint.swap(&swap, Attempt::First).await;
        assert!(matches!(open, Outcome::Open(_)), "{open:?}");
        let reply = Reply::Json(400, json!({"code": code, "detail": "no"}));
        place.theirs.fault(Endpoint::Swap, Fault::Instead(reply), 1);
        let proofs = done(place.mint.swap(&swap, Attempt::Again).await);
        assert_eq!(place.spend(&proofs), 1_000, "{code}");
        place.theirs.assert_sound();
    }
}

#[tokio::test]
async fn signatures_count_only_where_what_was_given_for_them_is_spent() {
    let place = Place::with_fee(0);
    let [first, second] = [1_000, 1_000].map(|amount| place.theirs.token("msat", amount));
    let swap = place.plan(&first).await;
    done(place.mint.swap(&swap, Attempt::First).await);
    // Another token for the same outputs, as of a store that was put back.
    let outputs = swap.outputs().to_vec();
    let examined = place.examine(&second).await.unwrap();
    let again = std::sync::Arc::new(Swap::plan(examined.proofs, 0, outputs).unwrap());
    let open = place.mint.swap(&again, Attempt::First).await;
    assert!(matches!(open, Outcome::Open(Open::Unspent)), "{open:?}");
    assert_eq!(place.theirs.redeem(&second).unwrap(), 1_000);
}

#[tokio::test]
async fn a_token_that_was_spent_by_somebody_else_is_spent() {
    let place = Place::with_fee(0);
    let token = place.theirs.token("msat", 1_000);
    let swap = place.plan(&token).await;
    place.theirs.redeem(&token).unwrap();
    let spent = place.mint.swap(&swap, Attempt::First).await;
    assert!(matches!(spent, Outcome::Spent(_)), "{spent:?}");
}

#[tokio::test]
async fn the_same_swap_twice_is_one() {
    let place = Place::with_fee(0);
    let swap = place.plan(&place.theirs.token("msat", 1_000)).await;
    let first = done(place.mint.swap(&swap, Attempt::First).await);
    let again = done(place.mint.swap(&swap, Attempt::Again).await);
    assert_eq!(first.len(), again.len());
    assert_eq!(place.spend(&again), 1_000);
    place.theirs.assert_sound();
}

#[tokio::test]
async fn what_the_mint_never_got_is_open_and_done_by_the_same_body() {
    let place = Place::with_fee(0);
    let token = place.theirs.token("msat", 1_000);
    let swap = place.plan(&token).await;
    place
        .theirs
        .fault(Endpoint::Swap, Fault::Instead(Reply::Cut), 1);
    let open = place.mint.swap(&swap, Attempt::First).await;
    assert!(matches!(open, Outcome::Open(Open::Unspent)), "{open:?}");
    place
        .theirs
        .fault(Endpoint::Swap, Fault::Instead(Reply::Html(503)), 2);
    let deadline = Instant::now() + Duration::from_secs(30);
    let proofs = done(place.mint.swap_until(&swap, Attempt::Again, deadline).await);
    assert_eq!(place.spend(&proofs), 1_000);
}

#[tokio::test]
async fn a_mint_that_has_had_enough_calls_is_asked_again_with_the_same_body() {
    let place = Place::with_fee(0);
    let swap = place.plan(&place.theirs.token("msat", 1_000)).await;
    let limited = Reply::Limited {
        retry_after: Some(0),
        is_html: true,
    };
    place
        .theirs
        .fault(Endpoint::Swap, Fault::Instead(limited), 2);
    let once = place.mint.swap(&swap, Attempt::First).await;
    let is_limited = |outcome: &Outcome| {
        let Outcome::Open(Open::Fault(fault)) = outcome else {
            return false;
        };
        matches!(fault, MintFault::Limited { .. })
    };
    assert!(is_limited(&once), "{once:?}");
    let deadline = Instant::now() + Duration::from_secs(30);
    done(place.mint.swap_until(&swap, Attempt::Again, deadline).await);
    let bodies = place.theirs.bodies(Endpoint::Swap);
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_no_money_unless_the_mint_really_signed() {
    for twist in [
        Twist::WrongSignature,
        Twist::WrongDleq,
        Twist::NoDleq,
        Twist::TooFew,
        Twist::OtherAmount,
        Twist::OtherKeyset,
        Twist::Reordered,
        Twist::Empty,
    ] {
        let place = Place::with_fee(0);
        let swap = place.plan(&place.theirs.token("msat", 1_000)).await;
        place.theirs.fault(Endpoint::Swap, Fault::Twist(twist), 1);
        // Asked again, it says what it signed.
        let proofs = done(place.mint.swap(&swap, Attempt::First).await);
        assert_eq!(place.spend(&proofs), 1_000, "{twist:?}");
        let place = Place::with_fee(0);
        let swap = place.plan(&place.theirs.token("msat", 1_000)).await;
        place.theirs.fault(Endpoint::Swap, Fault::Twist(twist), 1);
        place
            .theirs
            .fault(Endpoint::Restore, Fault::Twist(twist), ALWAYS);
        let outcome = place.mint.swap(&swap, Attempt::First).await;
        match &outcome {
            Outcome::Done(proofs) => {
                let sum: u64 = proofs.iter().map(|proof| proof.amount).sum();
                assert_eq!(sum, 1_000, "{twist:?}");
            }
            Outcome::Misfit(..) | Outcome::Open(_) => {}
            Outcome::Refused(_) | Outcome::Spent(_) => panic!("{twist:?}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn keys_that_rotate_before_the_swap_are_refused_and_found_anew() {
    let place = Place::with_fee(0);
    let token = place.theirs.token("msat", 1_000);
    let swap = place.plan(&token).await;
    place.theirs.rotate(100, false);
    let refused = place.mint.swap(&swap, Attempt::First).await;
    let Outcome::Refused(fault) = refused else {
        panic!("{refused:?}")
    };
    assert!(fault.is_of_keysets(), "{fault:?}");
    let old = swap.keyset().unwrap();
    let is_old =
        |keysets: &farebox_ecash::Keysets| keysets.get(&old).is_some_and(|keyset| keyset.is_active);
    assert!(!place.mint.has_retired(&swap).await, "its list is younger");
    while is_old(&place.mint.fresh_keysets().await.unwrap()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(place.mint.has_retired(&swap).await);
    // Old coins are swapped for new ones; their own fee counts.
    let swap = place.plan(&token).await;
    let proofs = done(place.mint.swap(&swap, Attempt::First).await);
    assert_eq!(place.spend(&proofs), 1_000);
}

#[tokio::test]
async fn what_can_be_refused_is_refused_before_the_mint_is_called() {
    let place = Place::with_fee(1_000);
    let dust = place.examine(&place.theirs.token("msat", 1)).await;
    assert!(matches!(dust, Err(TokenRefusal::Dust { .. })), "{dust:?}");
    assert_eq!(place.theirs.count(Endpoint::Swap), 0);
}
