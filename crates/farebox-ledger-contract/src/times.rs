//! Instants: expiry stops spending and not owning, and the clock cannot make money.

use std::time::Duration;

use farebox_core::{Clock, Kind, UnixMillis};

use crate::Place;
use crate::shop::{DAY, Shop, house, msat};
use farebox_ledger::Admitted;

/// At its expiry a token is refused, and what is left stays on it. What is open is charged.
pub async fn an_expired_token_keeps_its_value(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 50);
    let open = shop.hold(&token).await;
    shop.clock.forward(30 * DAY - Duration::from_millis(1));
    shop.hold(&token).await.settle();
    shop.clock.forward(Duration::from_millis(1));
    assert!(matches!(shop.call(&token).await, Admitted::Expired));
    open.settle();
    let account = shop.account(&token).await;
    assert_eq!((account.balance, account.calls_used), (msat(30), 2));
    assert_eq!(shop.sound().await.payers, msat(30));
}

/// Paid in time and first used too late: the money is the payer's all the same.
pub async fn a_late_claim_is_credited_and_expired(place: &dyn Place) {
    let shop = Shop::open(place);
    let (calls, pass) = (
        shop.token(Kind::Calls(5), 50),
        shop.token(Kind::Pass(DAY), 70),
    );
    let punctual = shop.token(Kind::Single, 1);
    shop.clock.forward(DAY);
    shop.hold(&punctual).await.settle();
    shop.clock.forward(Duration::from_millis(1));
    for token in [&calls, &pass] {
        assert!(matches!(shop.call(token).await, Admitted::Expired));
        assert!(matches!(shop.call(token).await, Admitted::Expired));
    }
    let trial = shop.sound().await;
    assert_eq!(
        (trial.payers, house(&trial, "revenue:weather")),
        (msat(120), 1)
    );
}

/// A clock that jumps changes what may be spent, never what is there.
pub async fn a_clock_set_back_and_forth_neither_loses_nor_makes_money(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(10), 100);
    let start = shop.clock.now();
    let jumps = [0, 40, 1, 400, 0, 3_650, 2].map(|days| start.plus(days * DAY));
    let mut settled = 0;
    for at in jumps.into_iter().chain([UnixMillis::new(5)]) {
        shop.clock.set(at);
        match shop.call(&token).await {
            Admitted::Held(hold) => {
                hold.settle();
                settled += 1;
            }
            Admitted::Expired => {}
            other => panic!("unexpected {other:?}"),
        }
        let trial = shop.sound().await;
        assert_eq!(house(&trial, "revenue:weather"), 10 * settled);
    }
    assert_eq!(settled, 5);
    let shop = shop.reopen(place).await;
    assert_eq!(shop.account(&token).await.calls_used, 5);
}
