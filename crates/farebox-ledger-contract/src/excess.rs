//! What is not for sale: overpayments, and what a refund of calls left over.

use farebox_core::{Allowance, Clock, Kind, Msat};

use crate::Place;
use crate::shop::{DAY, Shop, held, house, msat};
use farebox_ledger::{Admitted, Cost, HoldRequest, PayoutAnswer, TransferKind, VoidReason};

/// Unused calls go all together with the money: held while the payout is open, gone when it is
/// paid, back when it failed.
pub async fn a_refund_takes_all_unused_calls(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 1_000);
    shop.hold(&token).await.settle();
    let open = shop.hold(&token).await;
    let payout = shop.begin(&token, 300, 100).await;
    assert_eq!(payout.calls, 3);
    let account = shop.account(&token).await;
    assert_eq!((account.calls_held, account.held), (4, msat(800)));
    assert!(matches!(shop.call(&token).await, Admitted::Reserved));
    shop.failed(&payout).await;
    assert_eq!(shop.account(&token).await.calls_held, 1);

    let payout = shop.begin(&token, 300, 100).await;
    shop.paid(&payout, 40).await;
    let account = shop.account(&token).await;
    assert_eq!((account.calls_used, account.calls_held), (4, 1));
    assert_eq!((account.balance, account.excess), (msat(460), msat(260)));
    open.void(VoidReason::Refused);
    let last = shop.hold(&token).await;
    assert_eq!(
        (last.charge(), last.remaining().msat),
        (msat(200), Some(msat(0)))
    );
    last.settle();
    assert!(matches!(shop.call(&token).await, Admitted::Exhausted));
    assert_eq!(house(&shop.sound().await, "revenue:weather"), 400);
}

/// What a refund left over buys nothing, and can be refunded itself.
pub async fn what_a_refund_left_over_can_be_refunded(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Single, 1_000);
    shop.paid(&shop.begin(&token, 600, 400).await, 100).await;
    assert!(matches!(
        shop.call_once(&token, 0, 1).await,
        Admitted::Exhausted
    ));
    let shop = shop.reopen(place).await;
    assert!(matches!(
        shop.call_once(&token, 0, 1).await,
        Admitted::Exhausted
    ));
    let left = shop
        .ledger
        .refundable(token.account())
        .await
        .expect("reads");
    let left = left.expect("was claimed");
    assert_eq!(
        (left.available, left.excess, left.calls),
        (msat(300), msat(300), 0)
    );
    let payout = shop.begin(&token, 290, 10).await;
    assert_eq!(payout.calls, 0);
    let available = msat(0);
    assert_eq!(
        shop.ledger
            .refundable(token.account())
            .await
            .expect("reads")
            .map(|left| left.available),
        Some(available)
    );
    shop.paid(&payout, 10).await;
    let answer = shop.ask(shop.payout(&token, 1, 0)).await;
    assert_eq!(answer, PayoutAnswer::NothingLeft { available });
    shop.sound().await;
}

/// An overpayment that came before the claim and one that came after are the same money.
pub async fn an_overpayment_is_credited_before_and_after_the_claim(place: &dyn Place) {
    let shop = Shop::open(place);
    let (before, after) = (
        shop.token(Kind::Balance, 1_000),
        shop.token(Kind::Balance, 1_000),
    );
    shop.receive(&before, 1_500).await;
    let shop = shop.reopen(place).await;
    held(shop.draw(&before, 1_500).await).settle();
    held(shop.draw(&after, 1_000).await).settle();
    assert!(matches!(shop.draw(&after, 1).await, Admitted::Exhausted));
    shop.receive(&after, 1_500).await;
    held(shop.draw(&after, 500).await).settle();
    for token in [&before, &after] {
        assert!(matches!(shop.draw(token, 1).await, Admitted::Exhausted));
        let account = shop.account(token).await;
        assert_eq!((account.balance, account.excess), (msat(0), msat(500)));
        let history = shop.ledger.transfers(token.account(), None, 9).await;
        let excess = history.expect("reads").into_iter();
        let excess: Vec<_> = excess
            .filter(|one| one.kind == TransferKind::Excess)
            .collect();
        assert_eq!((excess.len(), excess[0].amount), (1, msat(500)));
    }
    assert_eq!(house(&shop.sound().await, "lightning"), -3_000);
}

/// A payment told again credits nothing, a smaller total neither, and a larger one the difference.
pub async fn each_msat_that_came_is_credited_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let (early, late) = (
        shop.token(Kind::Single, 1_000),
        shop.token(Kind::Calls(2), 1_000),
    );
    shop.hold(&late).await.void(VoidReason::Refused);
    for total in [1_200, 1_200, 1_100, 1_000, 900, 1_300] {
        shop.receive(&early, total).await;
        shop.receive(&late, total).await;
    }
    shop.hold(&early).await.void(VoidReason::Refused);
    let shop = shop.reopen(place).await;
    for total in [1_300, 1_200, 1_350, 1_350] {
        shop.receive(&early, total).await;
        shop.receive(&late, total).await;
    }
    for token in [&early, &late] {
        let account = shop.account(token).await;
        assert_eq!((account.balance, account.excess), (msat(1_350), msat(350)));
    }
    shop.paid(&shop.begin(&early, 1_350, 0).await, 0).await;
    shop.receive(&early, 1_350).await;
    assert_eq!(shop.account(&early).await.balance, msat(0));
    assert_eq!(house(&shop.sound().await, "lightning"), -1_350);
}

/// Calls cost their share of what was sold, whatever came on top, and the excess alone can be
/// refunded without them.
pub async fn calls_are_priced_without_the_excess(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(3), 100);
    shop.receive(&token, 1_000).await;
    let first = shop.hold(&token).await;
    assert_eq!(
        (first.charge(), first.remaining().msat),
        (msat(34), Some(msat(66)))
    );
    first.settle();
    let payout = shop.begin(&token, 850, 50).await;
    assert_eq!(
        (payout.calls, shop.account(&token).await.held),
        (0, msat(900))
    );
    let second = shop.hold(&token).await;
    shop.paid(&payout, 0).await;
    let third = shop.hold(&token).await;
    assert_eq!((second.charge(), third.charge()), (msat(33), msat(33)));
    second.settle();
    third.settle();
    assert!(matches!(shop.call(&token).await, Admitted::Exhausted));
    let account = shop.account(&token).await;
    assert_eq!((account.balance, account.excess), (msat(50), msat(50)));
    assert_eq!(house(&shop.sound().await, "revenue:weather"), 100);
}

/// A refund may reach from the calls into the excess, and back.
pub async fn a_refund_takes_calls_and_excess_together(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(4), 400);
    shop.receive(&token, 500).await;
    shop.hold(&token).await.settle();
    let all = shop.ledger.refundable(token.account());
    let all = all.await.expect("reads").expect("was claimed");
    assert_eq!(
        (all.available, all.excess, all.calls),
        (msat(400), msat(100), 3)
    );
    let payout = shop.begin(&token, 350, 30).await;
    assert_eq!(
        (payout.calls, shop.account(&token).await.held),
        (3, msat(380))
    );
    shop.sound().await;
    shop.paid(&payout, 5).await;
    let account = shop.account(&token).await;
    assert_eq!((account.balance, account.excess), (msat(45), msat(45)));
    assert_eq!(account.calls_used, 4);
    shop.sound().await;
}

/// A pass that was begun has only its excess to give; one that was not can be given back whole.
pub async fn a_pass_can_be_refunded_until_it_is_begun(place: &dyn Place) {
    let shop = Shop::open(place);
    let (begun, fresh) = (
        shop.token(Kind::Pass(DAY), 1_000),
        shop.token(Kind::Pass(DAY), 1_000),
    );
    shop.receive(&begun, 1_100).await;
    shop.begin_pass(&begun).await;
    assert!(matches!(shop.call(&begun).await, Admitted::Pass { .. }));
    let available = msat(100);
    let answer = shop.ask(shop.payout(&begun, 101, 0)).await;
    assert_eq!(answer, PayoutAnswer::NothingLeft { available });
    let payout = shop.begin(&begun, 100, 0).await;
    assert!(matches!(shop.call(&begun).await, Admitted::Pass { .. }));
    shop.paid(&payout, 0).await;

    let payout = shop.begin(&fresh, 800, 200).await;
    assert!(matches!(shop.call(&fresh).await, Admitted::Reserved));
    shop.failed(&payout).await;
    let shop = shop.reopen(place).await;
    let payout = shop.begin(&fresh, 800, 200).await;
    shop.paid(&payout, 0).await;
    assert!(matches!(shop.call(&fresh).await, Admitted::Exhausted));
    assert_eq!(shop.account(&fresh).await.balance, msat(200));
    let shop = shop.reopen(place).await;
    assert!(matches!(shop.call(&fresh).await, Admitted::Exhausted));
    assert!(matches!(shop.call(&begun).await, Admitted::Pass { .. }));
    assert_eq!(house(&shop.sound().await, "revenue:weather"), 1_000);
}

/// A holder's own limit counts what was spent, not what came on top.
pub async fn an_overpayment_does_not_raise_a_holders_limit(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 100);
    shop.receive(&token, 300).await;
    let limited = |amount| HoldRequest {
        swapped: None,
        allowance: Allowance {
            amount: Some(msat(120)),
            ..Allowance::default()
        },
        ..shop.request(&token, Cost::Amount(msat(amount)))
    };
    held(shop.admit(limited(100)).await).settle();
    assert!(matches!(shop.admit(limited(21)).await, Admitted::Exhausted));
    held(shop.admit(limited(20)).await).settle();
    assert!(matches!(shop.admit(limited(1)).await, Admitted::Exhausted));
    shop.sound().await;
}

/// Remembered for a year at least, whatever the retention; then for nobody. What a pruned account
/// received is not credited again.
pub async fn an_overpayment_is_remembered_for_its_claim(place: &dyn Place) {
    let shop = Shop::open(place);
    let (kept, gone, used) = (
        shop.token(Kind::Balance, 100),
        shop.token(Kind::Balance, 100),
        shop.token(Kind::Balance, 100),
    );
    for token in [&kept, &gone, &used] {
        shop.receive(token, 150).await;
    }
    held(shop.draw(&used, 150).await).settle();
    shop.clock.forward(364 * DAY);
    let pruned = shop.ledger.prune().await.expect("the store works");
    assert_eq!(pruned.accounts, 1);
    shop.receive(&used, 150).await;
    assert!(matches!(shop.draw(&used, 1).await, Admitted::Exhausted));
    assert!(matches!(shop.draw(&kept, 1).await, Admitted::Expired));
    assert_eq!(shop.account(&kept).await.balance, msat(150));
    shop.clock.forward(2 * DAY);
    shop.ledger.prune().await.expect("the store works");
    assert!(matches!(shop.draw(&gone, 1).await, Admitted::Expired));
    assert_eq!(shop.account(&gone).await.balance, msat(100));
    assert_eq!(shop.account(&kept).await.balance, msat(150));
    shop.receive(&kept, 150).await;
    assert_eq!(shop.account(&kept).await.balance, msat(150));
    shop.sound().await;
}

/// More than all money there is never came.
pub async fn an_impossible_overpayment_is_not_credited(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 100);
    held(shop.draw(&token, 1).await).settle();
    let all = Msat::MAX;
    let noted = shop
        .ledger
        .note_received(token.hash, msat(100), all, shop.clock.now());
    noted.await.expect("exactly all money fits");
    let more = shop.token(Kind::Balance, 100);
    let error = shop.error(shop.request(&more, Cost::Amount(msat(1)))).await;
    assert!(matches!(error, farebox_ledger::LedgerError::TooMuchMoney));
    shop.sound().await;
}

/// How far a backend was read is known to the next run, for each name its own.
pub async fn settlement_cursors_are_kept_by_name(place: &dyn Place) {
    let shop = Shop::open(place);
    let read = async |shop: &Shop, name: &str| {
        let cursor = shop.ledger.settlement_cursor(name).await;
        cursor.expect("reads")
    };
    assert_eq!(read(&shop, "alice").await, None);
    for cursor in [7, u64::MAX, 9] {
        shop.ledger.note_settlement_cursor("alice", cursor);
        shop.ledger.note_settlement_cursor("bob", u64::MAX);
    }
    shop.ledger.flush().await.expect("the store works");
    assert_eq!(read(&shop, "alice").await, Some(9));
    shop.ledger.note_settlement_cursor("alice", 3);
    let shop = shop.reopen(place).await;
    assert_eq!(read(&shop, "alice").await, Some(3));
    assert_eq!(read(&shop, "bob").await, Some(u64::MAX));
}

/// A node tells of all that it receives: what was asked for no amount was never sold here.
pub async fn gifts_to_the_node_are_not_remembered(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 100);
    let now = shop.clock.now();
    let noted = shop
        .ledger
        .note_received(token.hash, Msat::ZERO, msat(500), now);
    noted.await.expect("the store works");
    held(shop.draw(&token, 100).await).settle();
    assert!(matches!(shop.draw(&token, 1).await, Admitted::Exhausted));
}
