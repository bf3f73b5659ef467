//! How much may go out, and how often.

use std::num::NonZeroU64;
use std::time::Duration;

use farebox_core::{Clock, Kind};

use crate::Place;
use crate::shop::{DAY, Shop, Token, msat};
use farebox_ledger::{PayoutAnswer, PayoutEnd, PayoutLimits, PayoutRequest};

fn limited(
    shop: &Shop,
    token: &Token,
    amount: u64,
    edit: impl Fn(&mut PayoutLimits),
) -> PayoutRequest {
    let mut request = shop.payout(token, amount, 5);
    edit(&mut request.limits);
    request
}

fn is_begun(answer: &PayoutAnswer) -> bool {
    matches!(answer, PayoutAnswer::Begun(_))
}

/// Dust and nothing at all are not paid out.
pub async fn a_payout_below_the_least_is_refused(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let least = |limits: &mut PayoutLimits| limits.least = msat(100);
    let answer = shop.ask(limited(&shop, &token, 99, least)).await;
    assert_eq!(answer, PayoutAnswer::BelowLeast);
    let answer = shop.ask(limited(&shop, &token, 0, |_| {})).await;
    assert_eq!(answer, PayoutAnswer::BelowLeast);
    assert_eq!(shop.sound().await.accounts, 0);
    assert!(is_begun(
        &shop.ask(limited(&shop, &token, 100, least)).await
    ));
}

/// Open and paid payouts count for a day, over restarts and whatever the clock does; failed ones
/// do not.
pub async fn the_daily_total_counts_open_and_paid_payouts(place: &dyn Place) {
    let shop = Shop::open(place);
    let tokens: Vec<_> = (0..4).map(|_| shop.token(Kind::Balance, 1_000)).collect();
    let daily = |limits: &mut PayoutLimits| limits.daily_total = msat(500);
    let ask = async |shop: &Shop, which: usize, amount: u64| {
        shop.ask(limited(shop, &tokens[which], amount, daily)).await
    };
    let PayoutAnswer::Begun(first) = ask(&shop, 0, 200).await else {
        panic!("nothing was begun")
    };
    let PayoutAnswer::Begun(second) = ask(&shop, 1, 300).await else {
        panic!("nothing was begun")
    };
    assert_eq!(ask(&shop, 2, 1).await, PayoutAnswer::DailyTotal);
    shop.failed(&first).await;
    shop.clock.forward(DAY + DAY);
    let shop = shop.reopen(place).await;
    assert_eq!(ask(&shop, 2, 201).await, PayoutAnswer::DailyTotal);
    shop.paid(&second, 0).await;
    let paid_at = shop.clock.now();
    shop.clock.forward(DAY - Duration::from_millis(1));
    assert_eq!(ask(&shop, 2, 201).await, PayoutAnswer::DailyTotal);
    shop.clock.set(farebox_core::UnixMillis::new(5));
    assert_eq!(ask(&shop, 2, 201).await, PayoutAnswer::DailyTotal);
    shop.clock.set(paid_at.plus(DAY));
    assert!(is_begun(&ask(&shop, 2, 500).await));
    assert_eq!(shop.sound().await.accounts, 3);
}

/// One account gets its part of the daily total, and leaves the others theirs.
pub async fn an_account_gets_its_part_of_the_daily_total(place: &dyn Place) {
    let shop = Shop::open(place);
    let tokens: Vec<_> = (0..20).map(|_| shop.token(Kind::Balance, 1_000)).collect();
    let part = |limits: &mut PayoutLimits| {
        (limits.daily_total, limits.account_part) = (msat(800), NonZeroU64::new(4).expect("four"));
    };
    let ask = async |which: usize, amount: u64| {
        shop.ask(limited(&shop, &tokens[which], amount, part)).await
    };
    let share = |left: u64| PayoutAnswer::DailyShare { left: msat(left) };
    assert_eq!(ask(0, 201).await, share(200));
    let PayoutAnswer::Begun(first) = ask(0, 150).await else {
        panic!("nothing was begun")
    };
    shop.paid(&first, 5).await;
    assert_eq!(ask(0, 51).await, share(50));
    // What others had is taken of what there is for all; fees are not.
    assert_eq!(ask(1, 163).await, share(162));
    for which in 1..20 {
        let PayoutAnswer::DailyShare { left } = ask(which, 1_000 - 10).await else {
            assert_eq!(ask(which, 990).await, PayoutAnswer::DailyTotal);
            break;
        };
        assert!(!left.is_zero(), "{which}: something is left for everybody");
        assert!(is_begun(&ask(which, left.get()).await));
    }
    shop.sound().await;
}

/// Only so many are open at once, and only so many begun for one account in a day.
pub async fn payouts_are_limited_in_number(place: &dyn Place) {
    let shop = Shop::open(place);
    let (token, other) = (
        shop.token(Kind::Balance, 1_000),
        shop.token(Kind::Balance, 1_000),
    );
    let one_open = |limits: &mut PayoutLimits| limits.max_open = 1;
    let first = shop.begin(&token, 100, 0).await;
    let answer = shop.ask(limited(&shop, &other, 100, one_open)).await;
    assert_eq!(answer, PayoutAnswer::TooManyOpen);
    shop.failed(&first).await;
    let two_a_day = |limits: &mut PayoutLimits| limits.per_account_per_day = 2;
    let PayoutAnswer::Begun(second) = shop.ask(limited(&shop, &token, 100, two_a_day)).await else {
        panic!("nothing was begun")
    };
    shop.paid(&second, 0).await;
    let shop = shop.reopen(place).await;
    let answer = shop.ask(limited(&shop, &token, 100, two_a_day)).await;
    assert_eq!(answer, PayoutAnswer::TooOften);
    assert!(is_begun(
        &shop.ask(limited(&shop, &other, 100, two_a_day)).await
    ));
    shop.clock.forward(DAY);
    assert!(is_begun(
        &shop.ask(limited(&shop, &token, 100, two_a_day)).await
    ));
}

/// Asked a hundred times at once for a hundred invoices: one payout, and it is charged once.
pub async fn parallel_payouts_of_one_account_reserve_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Single, 1_000);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let ledger = shop.ledger.clone();
        let request = shop.payout(&token, 900, 10);
        tasks.spawn(async move { ledger.begin_payout(request).await });
    }
    let answers = tasks.join_all().await;
    let mut begun = Vec::new();
    for answer in answers {
        match answer.expect("the store works") {
            PayoutAnswer::Begun(view) => begun.push(view),
            PayoutAnswer::Exists(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(begun.len(), 1);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (ledger, id, now) = (shop.ledger.clone(), begun[0].id, shop.clock.now());
        let end = PayoutEnd::Paid { fee: msat(9) };
        tasks.spawn(async move { ledger.finish_payout(id, end, now).await });
    }
    for answer in tasks.join_all().await {
        assert_eq!(answer.expect("the end is written").fee, Some(msat(9)));
    }
    assert_eq!(shop.account(&token).await.balance, msat(91));
    assert_eq!(shop.sound().await.transfers, 3);
}
