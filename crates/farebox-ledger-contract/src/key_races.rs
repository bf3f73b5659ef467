//! Many requests of one key at once: exactly the money there is is spent, and never more held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use farebox_core::{KeyHash, Msat};
use tokio::task::JoinSet;

use crate::Place;
use crate::key_shop::at_most;
use crate::shop::{Shop, msat};
use farebox_ledger::{Admitted, HoldRequest, KeyLimits, KeyRefusal, Ledger};

const ASKED: usize = 1_000;
const SERVED: u64 = 50;
const CHARGE: u64 = 7;

/// How many requests of a rush were held and charged, and how many refused.
#[derive(Clone, Copy, Debug, Default)]
struct Rush {
    held: u64,
    refused: u64,
}

/// Asks a thousand times at once, each from a task of its own, and charges `CHARGE` for every hold
/// as soon as it is there.
async fn rush(shop: &Shop, requests: Vec<HoldRequest>) -> Rush {
    let mut tasks = JoinSet::new();
    for request in requests {
        let ledger = shop.ledger.clone();
        tasks.spawn(async move {
            match ledger.hold(request).await.expect("the store works") {
                Admitted::Held(hold) => {
                    tokio::task::yield_now().await;
                    hold.settle_part(msat(CHARGE));
                    Rush {
                        held: 1,
                        ..Rush::default()
                    }
                }
                Admitted::Reserved
                | Admitted::Exhausted
                | Admitted::Key(KeyRefusal::TotalLimit) => Rush {
                    refused: 1,
                    ..Rush::default()
                },
                other => panic!("unexpected {other:?}"),
            }
        });
    }
    let all = tasks.join_all().await;
    all.iter().fold(Rush::default(), |sum, one| Rush {
        held: sum.held + one.held,
        refused: sum.refused + one.refused,
    })
}

fn requests(shop: &Shop, keys: &[KeyHash], amount: u64) -> Vec<HoldRequest> {
    let keys = keys.iter().cycle().take(ASKED);
    keys.map(|key| shop.key_request(*key, amount)).collect()
}

/// A thousand at once, with money for fifty, each holding what it is charged: fifty are served.
pub async fn a_thousand_parallel_requests_of_a_key_get_money_for_fifty(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(SERVED * CHARGE).await;
    let rush = rush(&shop, requests(&shop, &[key], CHARGE)).await;
    assert_eq!(rush.held, SERVED, "{rush:?}");
    assert_eq!(rush.refused, 1_000 - SERVED, "{rush:?}");
    assert!(matches!(shop.spend(key, 1).await, Admitted::Exhausted));
    let view = shop.key(key).await;
    assert_eq!((view.balance, view.spent), (msat(0), msat(SERVED * CHARGE)));
    // A deposit, and a transfer for each that was served.
    assert_eq!(shop.sound().await.transfers, 1 + SERVED);
}

/// The same from five children, one of them with a limit of its own: together fifty are served.
pub async fn children_in_parallel_share_money_for_fifty(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(SERVED * CHARGE).await;
    let mut keys = vec![parent];
    keys.push(
        shop.new_child(parent, at_most(Some(3 * CHARGE), None))
            .await,
    );
    for _ in 0..3 {
        keys.push(shop.new_child(parent, KeyLimits::default()).await);
    }
    let rush = rush(&shop, requests(&shop, &keys, CHARGE)).await;
    assert_eq!(rush.held, SERVED, "{rush:?}");
    assert_eq!(rush.refused, 1_000 - SERVED, "{rush:?}");
    let limited = shop.key(keys[1]).await;
    assert!(limited.spent <= msat(3 * CHARGE), "{limited:?}");
    assert_eq!(shop.key(parent).await.balance, msat(0));
    shop.sound().await;
}

/// A child's limit holds against a thousand at once, however much its parent has.
pub async fn a_childs_limit_holds_against_a_thousand_at_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(1_000 * CHARGE).await;
    let limits = at_most(Some(SERVED * CHARGE), Some(2 * SERVED * CHARGE));
    let child = shop.new_child(parent, limits).await;
    let rush = rush(&shop, requests(&shop, &[child], CHARGE)).await;
    assert_eq!(rush.held, SERVED, "{rush:?}");
    assert_eq!(shop.key(child).await.spent, msat(SERVED * CHARGE));
    shop.sound().await;
}

/// Each holds ten times its charge: never is more held and charged than there was, nobody is told
/// that it is over while it is not, and who asks again is served until exactly fifty were.
pub async fn holds_above_the_charge_serve_exactly_fifty_to_who_retries(place: &dyn Place) {
    let shop = Shop::open(place);
    // What is left after the fiftieth is less than a hold: the last nine need their hold, too.
    let funded = SERVED * CHARGE + 9 * CHARGE;
    let key = shop.new_key(funded).await;
    let served = Arc::new(AtomicU64::new(0));
    let mut shop = shop;
    for half in [SERVED / 2, SERVED] {
        retry_until(&shop, key, &served, half).await;
        let trial = shop.sound().await;
        assert_eq!(trial.payers, msat(funded - half * CHARGE));
        // A restart in the middle changes nothing.
        shop = shop.reopen(place).await;
    }
    assert!(matches!(
        shop.spend(key, 10 * CHARGE).await,
        Admitted::Exhausted
    ));
    assert_eq!(shop.key(key).await.spent, msat(SERVED * CHARGE));
    shop.sound().await;
}

/// A thousand tasks that ask again while they are told to wait, until `goal` were served in all.
async fn retry_until(shop: &Shop, key: KeyHash, served: &Arc<AtomicU64>, goal: u64) {
    let watch = tokio::spawn(watch_books(shop.ledger.clone(), key));
    let mut tasks = JoinSet::new();
    for request in requests(shop, &[key], 10 * CHARGE) {
        let (ledger, served) = (shop.ledger.clone(), Arc::clone(served));
        tasks.spawn(async move {
            while served.load(Ordering::SeqCst) < goal {
                let answer = ledger.hold(request.clone()).await;
                match answer.expect("the store works") {
                    Admitted::Held(hold) => {
                        if served.fetch_add(1, Ordering::SeqCst) < goal {
                            hold.settle_part(msat(CHARGE));
                        } else {
                            served.fetch_sub(1, Ordering::SeqCst);
                            drop(hold);
                        }
                        return;
                    }
                    Admitted::Reserved => tokio::task::yield_now().await,
                    Admitted::Exhausted => return,
                    other => panic!("unexpected {other:?}"),
                }
            }
        });
    }
    tasks.join_all().await;
    watch.abort();
    if let Err(error) = watch.await {
        assert!(error.is_cancelled(), "the books were wrong in between");
    }
    assert_eq!(served.load(Ordering::SeqCst), goal);
}

/// At every commit that a reader sees, held and charged are within what was paid in.
async fn watch_books(ledger: Ledger, key: KeyHash) {
    loop {
        let view = ledger.key(key).await.expect("the store reads");
        let view = view.expect("the key was opened");
        assert!(view.held <= view.balance, "{view:?}");
        let all = view.balance.checked_add(view.spent);
        assert_eq!(all, Some(view.deposited), "{view:?}");
        assert_ne!(view.balance, Msat::ZERO);
        tokio::task::yield_now().await;
    }
}
