//! Many at once: exactly what was sold is handed out.

use std::collections::HashSet;

use farebox_core::Kind;
use tokio::task::JoinSet;

use crate::Place;
use crate::shop::{Shop, Token, msat, once};
use farebox_ledger::{Admitted, Cost, HoldRequest};

/// Asks `count` times at once and gives every answer.
async fn rush(shop: &Shop, token: &Token, count: usize, single: bool) -> Vec<Admitted> {
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let ledger = shop.ledger.clone();
        let once = if single { once(0, 1) } else { None };
        let request = HoldRequest {
            once,
            ..shop.request(token, Cost::Call)
        };
        tasks.spawn(async move { ledger.hold(request).await });
    }
    let answers = tasks.join_all().await;
    answers
        .into_iter()
        .map(|answer| answer.expect("the store works"))
        .collect()
}

/// A thousand at once on fifty calls: fifty are held, and the rest told to wait or that it is over.
pub async fn a_thousand_parallel_requests_get_exactly_fifty_calls(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(50), 9_999);
    let mut held = 0;
    for answer in rush(&shop, &token, 1_000, false).await {
        match answer {
            Admitted::Held(hold) => {
                held += 1;
                hold.settle();
            }
            Admitted::Reserved | Admitted::Exhausted => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(held, 50);
    assert!(matches!(shop.call(&token).await, Admitted::Exhausted));
    let account = shop.account(&token).await;
    assert_eq!((account.calls_used, account.balance), (50, msat(0)));
    assert_eq!(shop.sound().await.transfers, 51);
}

/// A single-use token is held by one of a hundred, and the others hear that it is in flight.
pub async fn a_hundred_parallel_uses_of_a_single_token_hold_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Single, 77);
    let answers = rush(&shop, &token, 100, true).await;
    let held = answers
        .iter()
        .filter(|answer| matches!(answer, Admitted::Held(_)))
        .count();
    let waiting = answers
        .iter()
        .filter(|answer| matches!(answer, Admitted::InFlight))
        .count();
    assert_eq!((held, waiting), (1, 99));
}

/// Whoever comes first, a payment is credited once.
pub async fn parallel_first_uses_claim_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(100), 1_000);
    let answers = rush(&shop, &token, 100, false).await;
    let ids: HashSet<_> = answers
        .iter()
        .map(|answer| match answer {
            Admitted::Held(hold) => hold.id(),
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(ids.len(), 100);
    let trial = shop.sound().await;
    assert_eq!(
        (trial.accounts, trial.payers, trial.held),
        (1, msat(1_000), msat(1_000))
    );
}

/// A client that leaves while it waits for its answer loses nothing.
pub async fn a_caller_that_stops_waiting_leaves_nothing_held(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 50);
    for _ in 0..20 {
        let ask = shop.ledger.hold(shop.request(&token, Cost::Call));
        // Polled once, so that it stands in line, then dropped.
        tokio::select! { biased; _ = ask => {}, () = std::future::ready(()) => {} }
    }
    // The first flush answers those who left, which voids; the second writes the voids.
    shop.ledger.flush().await.expect("the store works");
    shop.ledger.flush().await.expect("the store works");
    shop.hold(&token).await.settle();
    let account = shop.account(&token).await;
    assert_eq!(
        (account.calls_used, account.calls_held, account.held),
        (1, 0, msat(0))
    );
    shop.sound().await;
}
