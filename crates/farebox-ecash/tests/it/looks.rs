//! What is found out of a swap without sending it.

use farebox_ecash::{Attempt, Open, Outcome};
use farebox_testkit::mint::{ALWAYS, Endpoint, Fault, Reply, Twist};

use crate::purse::Place;

#[tokio::test]
async fn a_swap_that_was_done_is_found_after_a_restart_of_both() {
    let mut place = Place::with_fee(100);
    let swap = place.plan(&place.theirs.token("msat", 5_000)).await;
    let fault = Fault::After(Reply::Cut);
    place.theirs.fault(Endpoint::Swap, fault, 1);
    place
        .theirs
        .fault(Endpoint::Restore, Fault::Instead(Reply::Html(503)), 1);
    let open = place.mint.swap(&swap, Attempt::First).await;
    assert!(matches!(open, Outcome::Open(Open::Fault(_))), "{open:?}");
    place.theirs.stop();
    place.theirs.start_again().unwrap();
    // The connection that was open before is dead, and says nothing of the swap.
    let proofs = loop {
        match place.mint.look(&swap, None).await {
            Outcome::Done(proofs) => break proofs,
            Outcome::Open(Open::Fault(_)) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(place.spend(&proofs), 4_999);
    place.theirs.assert_sound();
}

#[tokio::test]
async fn a_coin_that_is_being_spent_is_not_unspent_and_no_word_is_none() {
    for (twist, is_unspent) in [(Twist::SaysPending, false), (Twist::Capitals, true)] {
        let place = Place::with_fee(0);
        let swap = place.plan(&place.theirs.token("msat", 5_000)).await;
        place
            .theirs
            .fault(Endpoint::CheckState, Fault::Twist(twist), ALWAYS);
        let outcome = place.mint.look(&swap, None).await;
        let found = matches!(outcome, Outcome::Open(Open::Unspent));
        assert_eq!(found, is_unspent, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_request_that_lands_late_is_found_later() {
    let place = Place::with_fee(0);
    let swap = place.plan(&place.theirs.token("msat", 5_000)).await;
    place.theirs.fault(Endpoint::Swap, Fault::Delay, 1);
    // Its client gives up, and the mint has it all the same.
    let sent = tokio::time::timeout(
        std::time::Duration::from_millis(300),
        place.mint.swap(&swap, Attempt::First),
    );
    assert!(sent.await.is_err());
    let early = place.mint.look(&swap, None).await;
    assert!(matches!(early, Outcome::Open(Open::Unspent)), "{early:?}");
    place.theirs.release();
    let give_up_at = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        if let Outcome::Done(proofs) = place.mint.look(&swap, None).await {
            assert_eq!(place.spend(&proofs), 5_000);
            return;
        }
        assert!(tokio::time::Instant::now() < give_up_at);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
