//! What is kept: over a restart, after a death, and past the retention time.

use std::sync::Arc;

use farebox_core::{AccountId, Kind};

use crate::Place;
use crate::shop::{DAY, ManualClock, Shop, Token, held, house, msat, once};
use farebox_ledger::{Admitted, Cost, HoldRequest, LedgerError, OpenError};

/// Everything that was answered is there again.
pub async fn what_was_written_is_there_after_reopening(place: &dyn Place) {
    let shop = Shop::open(place);
    let tokens = [
        shop.token(Kind::Single, 1),
        shop.token(Kind::Calls(u32::MAX), 50),
        shop.token(Kind::Balance, 60),
        shop.token(Kind::Pass(DAY), 70),
    ];
    for token in &tokens {
        let answer = shop.draw(token, 1).await;
        if let Admitted::Held(hold) = answer {
            hold.settle();
        }
    }
    let before = (
        shop.sound().await,
        shop.ledger.accounts(0, 10).await.expect("reads"),
    );
    let shop = shop.reopen(place).await;
    let after = (
        shop.sound().await,
        shop.ledger.accounts(0, 10).await.expect("reads"),
    );
    assert_eq!(before, after);
    assert_eq!((shop.recovery.voided, shop.recovery.settled), (0, 0));
    for (view, token) in after.1.iter().zip(&tokens) {
        assert_eq!(view.terms, token.terms);
    }
}

/// One ledger, one process: the second is told who has it.
pub async fn a_second_opener_is_refused_and_told_who_has_it(place: &dyn Place) {
    let shop = Shop::open(place);
    let second = place.open(Arc::new(ManualClock::default()), 1);
    let Err(OpenError::InUse { owner }) = second else {
        panic!("a second opener got in")
    };
    assert_eq!(owner.pid, Some(std::process::id()));
    let shop = shop.reopen(place).await;
    shop.sound().await;
}

/// Nothing recorded: voided. The first byte recorded: charged whole. Progress recorded: charged so
/// far. And a retry of what was charged is not charged again.
pub async fn holds_left_open_are_recovered_by_rule(place: &dyn Place) {
    let shop = Shop::open(place);
    let first_epoch = shop.recovery.epoch;
    let (quiet, started, metered) = (
        shop.token(Kind::Single, 10),
        shop.token(Kind::Single, 20),
        shop.token(Kind::Balance, 40),
    );
    let mut left = Vec::new();
    for token in [&quiet, &started] {
        let request = HoldRequest {
            once: once(0, 1),
            ..shop.request(token, Cost::Call)
        };
        left.push(held(shop.admit(request).await));
    }
    left.push(held(shop.draw(&metered, 30).await));
    left[1].first_byte();
    left[2].progress(msat(12));
    left[2].progress(msat(11));
    let shop = shop.reopen(place).await;
    drop(left);
    assert_eq!((shop.recovery.voided, shop.recovery.settled), (1, 2));
    assert_eq!(shop.recovery.charged, msat(32));
    assert!(shop.recovery.epoch > first_epoch);
    let trial = shop.sound().await;
    assert_eq!(
        (trial.open_holds, house(&trial, "revenue:weather")),
        (0, 32)
    );
    assert!(matches!(
        shop.call_once(&started, 0, 1).await,
        Admitted::Finished(_)
    ));
    held(shop.call_once(&quiet, 0, 1).await).settle();
    assert_eq!(shop.account(&metered).await.balance, msat(28));
}

async fn use_up(shop: &Shop, count: usize) -> Vec<Token> {
    let mut tokens = Vec::new();
    for _ in 0..count {
        let token = shop.token(Kind::Calls(2), 10);
        shop.hold(&token).await.settle();
        held(shop.call_once(&token, 3, 3).await).settle();
        tokens.push(token);
    }
    tokens
}

/// After the retention time a closed account is a sum and a hash; both still count.
pub async fn closed_accounts_are_pruned_and_stay_spent(place: &dyn Place) {
    let shop = Shop::open(place);
    let tokens = use_up(&shop, 300).await;
    let pass = shop.token(Kind::Pass(DAY), 5);
    shop.begin_pass(&pass).await;
    let before = shop.sound().await;
    shop.clock.forward(29 * DAY);
    assert_eq!(
        shop.ledger.prune().await.expect("the store works").accounts,
        0
    );
    shop.clock.forward(3 * DAY);
    let pruned = shop.ledger.prune().await.expect("the store works");
    assert_eq!((pruned.accounts, pruned.transfers), (301, 902));
    let after = shop.sound().await;
    assert_eq!((&after.house, after.accounts), (&before.house, 0));
    assert!(after.transfers < 5);
    assert!(matches!(shop.call(&tokens[7]).await, Admitted::Exhausted));
    let shop = shop.reopen(place).await;
    assert!(matches!(
        shop.call_once(&tokens[299], 3, 3).await,
        Admitted::Exhausted
    ));
    assert_eq!(
        shop.ledger
            .account(tokens[0].account())
            .await
            .expect("reads"),
        None
    );
    assert_eq!(shop.sound().await, after);
}

/// However old: value and open holds stay.
pub async fn accounts_with_value_or_open_holds_are_never_pruned(place: &dyn Place) {
    let shop = Shop::open(place);
    let (valued, open) = (
        shop.token(Kind::Calls(2), 10),
        shop.token(Kind::Calls(2), 1),
    );
    shop.hold(&valued).await.settle();
    shop.hold(&open).await.settle();
    let hold = shop.hold(&open).await;
    shop.clock.forward(4_000 * DAY);
    let pruned = shop.ledger.prune().await.expect("the store works");
    assert_eq!(pruned.accounts, 0);
    hold.settle();
    assert_eq!(shop.account(&valued).await.balance, msat(5));
    assert_eq!(shop.account(&open).await.calls_used, 2);
    shop.sound().await;
}

/// After closing nothing is sold, and what was open is recovered by the next run.
pub async fn a_closed_ledger_refuses(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 10);
    let request = shop.request(&token, Cost::Call);
    let other = shop.ledger.clone();
    shop.ledger.close().await;
    assert!(matches!(
        other.hold(request).await,
        Err(LedgerError::Closed)
    ));
    let nobody = AccountId::from_bytes([0; 32]);
    assert!(matches!(
        other.account(nobody).await,
        Err(LedgerError::Closed)
    ));
    assert!(matches!(other.flush().await, Err(LedgerError::Closed)));
}

/// Cursors lead through all accounts, each once.
pub async fn accounts_are_listed_page_by_page(place: &dyn Place) {
    let shop = Shop::open(place);
    let tokens = use_up(&shop, 5).await;
    let mut listed = Vec::new();
    let mut after = 0;
    loop {
        let page = shop.ledger.accounts(after, 2).await.expect("reads");
        let Some(last) = page.last() else { break };
        after = last.cursor;
        listed.extend(page.iter().map(|view| view.account));
    }
    let claimed: Vec<_> = tokens.iter().map(Token::account).collect();
    assert_eq!(listed, claimed);
}
