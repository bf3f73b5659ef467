//! What a retry is: never a second sale.

use farebox_core::Kind;

use crate::Place;
use crate::shop::{Shop, held, msat};
use farebox_ledger::{Admitted, VoidReason};

/// The same request is in flight, then finished; another one finds the token reserved, then used.
pub async fn a_single_use_token_serves_one_request_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Single, 2_000);
    let hold = held(shop.call_once(&token, 0, 1).await);
    let id = hold.id();
    assert!(matches!(
        shop.call_once(&token, 0, 1).await,
        Admitted::InFlight
    ));
    assert!(matches!(
        shop.call_once(&token, 0, 2).await,
        Admitted::Reserved
    ));
    hold.settle();
    let settled_at = shop.request(&token, farebox_ledger::Cost::Call).now;
    let shop = shop.reopen(place).await;
    let retry = shop.call_once(&token, 0, 1).await;
    let Admitted::Finished(receipt) = retry else {
        panic!("not finished: {retry:?}")
    };
    assert_eq!((receipt.hold, receipt.charged), (id, msat(2_000)));
    assert_eq!(receipt.settled_at, settled_at);
    assert!(matches!(
        shop.call_once(&token, 0, 2).await,
        Admitted::Exhausted
    ));
    shop.sound().await;
}

/// A client's own key works the same on any account, with a conflict for another request.
pub async fn an_idempotency_key_is_charged_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 50);
    let hold = held(shop.call_once(&token, 9, 1).await);
    assert!(matches!(
        shop.call_once(&token, 9, 1).await,
        Admitted::InFlight
    ));
    assert!(matches!(
        shop.call_once(&token, 9, 2).await,
        Admitted::Conflict
    ));
    hold.settle();
    assert!(matches!(
        shop.call_once(&token, 9, 1).await,
        Admitted::Finished(_)
    ));
    assert!(matches!(
        shop.call_once(&token, 9, 2).await,
        Admitted::Conflict
    ));
    held(shop.call_once(&token, 8, 2).await).settle();
    let other = shop.token(Kind::Calls(5), 50);
    held(shop.call_once(&other, 9, 2).await).settle();
    assert_eq!(shop.account(&token).await.calls_used, 2);
    let shop = shop.reopen(place).await;
    assert!(matches!(
        shop.call_once(&token, 9, 1).await,
        Admitted::Finished(_)
    ));
}

/// A voided attempt is no sale: its key is free, for the same request or another.
pub async fn a_voided_attempt_may_be_tried_again(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Single, 50);
    held(shop.call_once(&token, 0, 1).await).void(VoidReason::TimedOut);
    held(shop.call_once(&token, 0, 2).await).void(VoidReason::Refused);
    held(shop.call_once(&token, 0, 1).await).settle();
    assert!(matches!(
        shop.call_once(&token, 0, 1).await,
        Admitted::Finished(_)
    ));
    assert_eq!(shop.account(&token).await.calls_used, 1);
    shop.sound().await;
}

/// A hold that nobody decides about is voided.
pub async fn a_dropped_hold_is_voided(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(1), 50);
    drop(shop.hold(&token).await);
    let account = shop.account(&token).await;
    assert_eq!(
        (account.held, account.balance, account.calls_held),
        (msat(0), msat(50), 0)
    );
    shop.hold(&token).await.settle();
    shop.sound().await;
}
