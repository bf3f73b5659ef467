//! What a settlement leaves over: it stays on the account, or is owed as change and told.

use std::sync::Arc;

use farebox_core::{Kind, UnixMillis};
use farebox_ledger::{
    Admitted, ChangeRequest, Cost, Hold, HoldRequest, LedgerError, Rail, Rest, TransferKind,
    VoidReason,
};

use crate::Place;
use crate::shop::{DAY, Shop, Token, held, house, msat};

/// A hold of 60 on a balance of 100 that came by the fake rail.
async fn hold_of(shop: &Shop, token: &Token) -> Hold {
    let mut request: HoldRequest = shop.request(token, Cost::Amount(msat(60)));
    if let Some(funding) = &mut request.funding {
        funding.rail = Rail::Fake;
    }
    held(shop.admit(request).await)
}

/// Change that goes back without coins, as that of the fake rail does.
fn told(token: &Token, amount: u64, text: &str, at: UnixMillis) -> ChangeRequest {
    ChangeRequest {
        account: token.account(),
        part: 0,
        given: Vec::new(),
        freed: Vec::new(),
        amount: msat(amount),
        text: text.into(),
        at,
    }
}

/// A settlement says what becomes of the rest: it stays, or leaves the account in the same step.
pub async fn what_is_left_stays_or_is_owed(place: &dyn Place) {
    let shop = Shop::open(place);
    let (stays, owed) = (
        shop.token(Kind::Balance, 100),
        shop.token(Kind::Balance, 100),
    );
    hold_of(&shop, &stays)
        .await
        .settle_and(msat(50), Rest::Stays);
    let hold = hold_of(&shop, &owed).await;
    hold.settle_and(msat(50), Rest::Owed);
    assert_eq!(shop.account(&stays).await.balance, msat(50));
    assert_eq!(shop.account(&owed).await.balance, msat(0));
    let change = shop
        .ledger
        .change(owed.account())
        .await
        .expect("reads")
        .expect("is owed");
    assert_eq!(
        (change.rail, change.owed, change.told),
        (Rail::Fake, msat(50), Vec::new())
    );
    let trial = shop.sound().await;
    assert_eq!(house(&trial, "owed:fake"), 50);
    assert_eq!(house(&trial, "fake"), -200);
    assert!(matches!(shop.draw(&owed, 1).await, Admitted::Exhausted));
    let history = shop.ledger.transfers(owed.account(), None, 1).await;
    assert_eq!(history.expect("reads")[0].kind, TransferKind::Change);
}

/// What is owed is found by the next run, and told once: whoever asks again gets the same bytes.
pub async fn change_is_told_once_and_survives_restarts(place: &dyn Place) {
    let mut shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 100);
    let hold = hold_of(&shop, &token).await;
    hold.settle_and(msat(60), Rest::Owed);
    shop.ledger.flush().await.expect("the store works");
    shop = shop.reopen(place).await;
    let owed = shop.ledger.owed_change().await.expect("reads");
    assert_eq!(
        owed.iter().map(|it| it.account).collect::<Vec<_>>(),
        [token.account()]
    );
    let tell = |text: &str| {
        shop.ledger
            .tell_change(told(&token, 40, text, owed[0].since))
    };
    let first = tell("first").await.expect("the store works");
    assert_eq!(first.told, [Arc::from("first")]);
    let again = tell("second").await.expect("the store works");
    assert_eq!(again, first);
    assert_eq!(shop.ledger.owed_change().await.expect("reads"), []);
    let trial = shop.sound().await;
    assert_eq!(
        (house(&trial, "owed:fake"), house(&trial, "fake")),
        (0, -60)
    );
    let other = shop.token(Kind::Balance, 60);
    let hold = hold_of(&shop, &other).await;
    let tell = |amount| {
        shop.ledger
            .tell_change(told(&other, amount, "all", owed[0].since))
    };
    assert!(matches!(tell(1).await, Err(LedgerError::NoChange)));
    hold.void(VoidReason::Refused);
    assert!(matches!(tell(61).await, Err(LedgerError::NoChange)));
    assert_eq!(tell(60).await.expect("the store works").told.len(), 1);
    assert!(matches!(shop.draw(&other, 1).await, Admitted::Expired));
    let unknown = shop.token(Kind::Balance, 60);
    let none = shop
        .ledger
        .tell_change(told(&unknown, 60, "all", owed[0].since));
    assert!(matches!(none.await, Err(LedgerError::NoChange)));
}

/// Other requests keep what they hold.
pub async fn a_part_that_is_held_is_not_owed(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 100);
    let first = hold_of(&shop, &token).await;
    let second = held(shop.draw(&token, 30).await);
    first.settle_and(msat(20), Rest::Owed);
    shop.ledger.flush().await.expect("the store works");
    let change = shop
        .ledger
        .change(token.account())
        .await
        .expect("reads")
        .expect("is owed");
    assert_eq!(change.owed, msat(50));
    second.settle();
    assert_eq!(shop.account(&token).await.balance, msat(0));
    shop.sound().await;
}

/// An account stays until its change is told.
pub async fn an_account_that_owes_change_is_never_pruned(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 100);
    let hold = hold_of(&shop, &token).await;
    hold.settle_and(msat(60), Rest::Owed);
    shop.ledger.flush().await.expect("the store works");
    shop.clock.forward(200 * DAY);
    assert_eq!(shop.ledger.prune().await.expect("prunes").accounts, 0);
    let at = shop.request(&token, Cost::Call).now;
    shop.ledger
        .tell_change(told(&token, 40, "it", at))
        .await
        .expect("the store works");
    shop.clock.forward(200 * DAY);
    assert_eq!(shop.ledger.prune().await.expect("prunes").accounts, 1);
    let trial = shop.sound().await;
    assert_eq!(
        (house(&trial, "fake"), house(&trial, "owed:fake")),
        (-60, 0)
    );
}
