//! Money out: reserved before it is sent, charged when it was paid, and never twice.

use farebox_core::{AccountId, Kind, PayoutId};

use crate::Place;
use crate::shop::{DAY, Shop, held, house, msat};
use farebox_ledger::{
    AccountName, Admitted, AskedBy, LedgerError, PayoutAnswer, PayoutEnd, PayoutRequest,
    PayoutState, TransferKind, VoidReason,
};

/// Amount and fee leave the account in entries of their own, and the rest of the reserve is back.
pub async fn a_payout_reserves_and_then_takes_amount_and_fee(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    held(shop.draw(&token, 300).await).settle();
    let payout = shop.begin(&token, 500, 50).await;
    assert_eq!((payout.state, payout.calls), (PayoutState::Open, 0));
    let account = shop.account(&token).await;
    assert_eq!((account.balance, account.held), (msat(700), msat(550)));
    let trial = shop.sound().await;
    assert_eq!(
        (trial.open_payouts, trial.payouts_held, trial.held),
        (1, msat(550), msat(550))
    );

    let paid = shop.paid(&payout, 20).await;
    assert_eq!((paid.state, paid.fee), (PayoutState::Paid, Some(msat(20))));
    assert_eq!(paid.ended_at, Some(paid.asked_at));
    let account = shop.account(&token).await;
    assert_eq!((account.balance, account.held), (msat(180), msat(0)));
    let trial = shop.sound().await;
    assert_eq!((house(&trial, "lightning"), trial.open_payouts), (-480, 0));
    let history = shop.ledger.transfers(token.account(), None, 2).await;
    let history = history.expect("reads");
    assert_eq!(
        [
            (history[0].kind, history[0].amount),
            (history[1].kind, history[1].amount)
        ],
        [
            (TransferKind::PayoutFee, msat(20)),
            (TransferKind::Payout, msat(500))
        ]
    );
    assert_eq!(history[1].debit, AccountName::Payer(token.account()));
    assert_eq!(
        history[1].credit,
        AccountName::House("lightning".to_owned())
    );
    held(shop.draw(&token, 180).await).settle();
    shop.sound().await;
}

/// A failed payout leaves everything as it was.
pub async fn a_failed_payout_gives_everything_back(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let payout = shop.begin(&token, 900, 100).await;
    assert!(matches!(shop.draw(&token, 1).await, Admitted::Reserved));
    assert!(matches!(
        shop.draw(&token, 1_001).await,
        Admitted::Exhausted
    ));
    let failed = shop.failed(&payout).await;
    assert_eq!((failed.state, failed.fee), (PayoutState::Failed, None));
    held(shop.draw(&token, 1_000).await).settle();
    assert_eq!(house(&shop.sound().await, "lightning"), -1_000);
}

/// What open requests hold is not paid out, and what is not there never.
pub async fn only_what_is_free_is_paid_out(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let hold = held(shop.draw(&token, 400).await);
    let answer = shop.ask(shop.payout(&token, 601, 0)).await;
    assert_eq!(answer, PayoutAnswer::Reserved);
    let answer = shop.ask(shop.payout(&token, 1_000, 1)).await;
    let available = msat(600);
    assert_eq!(answer, PayoutAnswer::NothingLeft { available });
    let answer = shop
        .ask(shop.payout(&token, farebox_core::Msat::MAX.get(), 1))
        .await;
    assert_eq!(answer, PayoutAnswer::NothingLeft { available });
    let payout = shop.begin(&token, 500, 100).await;
    hold.void(VoidReason::Refused);
    shop.paid(&payout, 100).await;
    held(shop.draw(&token, 400).await).settle();
    let answer = shop.ask(shop.payout(&token, 1, 0)).await;
    let available = msat(0);
    assert_eq!(answer, PayoutAnswer::NothingLeft { available });
    shop.sound().await;
}

/// Asking again for the same invoice is the same payout, whatever became of it, and however often.
pub async fn one_invoice_is_one_payout(place: &dyn Place) {
    let shop = Shop::open(place);
    let (token, other) = (
        shop.token(Kind::Balance, 1_000),
        shop.token(Kind::Balance, 1_000),
    );
    let request = shop.payout(&token, 100, 0);
    let again = || PayoutRequest {
        id: shop.payout(&token, 1, 0).id,
        ..request.clone()
    };
    let PayoutAnswer::Begun(begun) = shop.ask(request.clone()).await else {
        panic!("nothing was begun")
    };
    assert_eq!(shop.ask(again()).await, PayoutAnswer::Exists(begun.clone()));
    assert_eq!(
        shop.ask(request.clone()).await,
        PayoutAnswer::Exists(begun.clone())
    );
    let stolen = PayoutRequest {
        destination_hash: request.destination_hash,
        ..shop.payout(&other, 100, 0)
    };
    assert_eq!(
        shop.ask(stolen.clone()).await,
        PayoutAnswer::DestinationTaken
    );
    let failed = shop.failed(&begun).await;
    assert_eq!(
        shop.ask(again()).await,
        PayoutAnswer::Exists(failed.clone())
    );
    let shop = shop.reopen(place).await;
    assert_eq!(shop.ask(stolen).await, PayoutAnswer::DestinationTaken);
    assert_eq!(shop.account(&token).await.held, msat(0));
    assert_eq!(
        shop.ledger.account(other.account()).await.expect("reads"),
        None
    );
    shop.sound().await;
}

/// An id names one payout; another invoice under it is an error.
pub async fn a_payout_id_is_never_used_twice(place: &dyn Place) {
    let shop = Shop::open(place);
    let (token, other) = (
        shop.token(Kind::Balance, 1_000),
        shop.token(Kind::Balance, 1_000),
    );
    let begun = shop.begin(&token, 100, 0).await;
    let twice = PayoutRequest {
        id: begun.id,
        ..shop.payout(&other, 100, 0)
    };
    let error = shop.ledger.begin_payout(twice).await;
    assert!(matches!(error, Err(LedgerError::PayoutExists)));
    let missing = PayoutId::from_bytes([9; 16]);
    let error = shop
        .ledger
        .finish_payout(missing, PayoutEnd::Failed, begun.asked_at);
    assert!(matches!(error.await, Err(LedgerError::NoPayout)));
    assert_eq!(shop.sound().await.accounts, 1);
}

/// An account has one payout open at most: a second invoice is answered with the first payout.
pub async fn an_account_has_one_payout_open(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let first = shop.begin(&token, 100, 0).await;
    let answer = shop.ask(shop.payout(&token, 100, 0)).await;
    assert_eq!(answer, PayoutAnswer::Exists(first.clone()));
    shop.paid(&first, 0).await;
    let second = shop.begin(&token, 100, 0).await;
    assert_ne!(second.id, first.id);
    assert_eq!(shop.account(&token).await.held, msat(100));
}

/// The same end may be told again; another end changes nothing and is an error.
pub async fn a_payout_ends_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let paid = shop.paid(&shop.begin(&token, 100, 10).await, 3).await;
    assert_eq!(shop.paid(&paid, 3).await, paid);
    assert_eq!(shop.paid(&paid, 4).await.fee, Some(msat(3)));
    let now = paid.asked_at;
    let error = shop
        .ledger
        .finish_payout(paid.id, PayoutEnd::Failed, now)
        .await;
    let state = PayoutState::Paid;
    assert!(matches!(error, Err(LedgerError::PayoutEnded { state: found }) if found == state));
    assert_eq!(shop.account(&token).await.balance, msat(897));

    let failed = shop.failed(&shop.begin(&token, 100, 10).await).await;
    assert_eq!(shop.failed(&failed).await, failed);
    let end = PayoutEnd::Paid { fee: msat(0) };
    let error = shop.ledger.finish_payout(failed.id, end, now).await;
    let state = PayoutState::Failed;
    assert!(matches!(error, Err(LedgerError::PayoutEnded { state: found }) if found == state));
    assert_eq!(shop.account(&token).await.balance, msat(897));
    let known = shop.ledger.payout(failed.id).await.expect("reads");
    assert_eq!(known, Some(failed));
    shop.sound().await;
}

/// A node that took more for routing than it was allowed costs the seller, not the payer.
pub async fn a_fee_above_its_limit_is_the_sellers_loss(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let payout = shop.begin(&token, 990, 10).await;
    let paid = shop.paid(&payout, 25).await;
    assert_eq!(paid.fee, Some(msat(25)));
    let trial = shop.sound().await;
    let at = |name| house(&trial, name);
    assert_eq!(
        (at("seller_loss"), at("lightning_fees"), at("lightning")),
        (-15, 15, 0)
    );
    assert_eq!(shop.account(&token).await.balance, msat(0));
    assert_eq!(shop.ledger.stats().seller_loss_msat, 15);
    shop.reopen(place).await.sound().await;
}

/// A token that was never used is claimed with its payout, and only with one.
pub async fn a_payout_claims_a_token_that_was_never_used(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let unknown = PayoutRequest {
        funding: None,
        ..shop.payout(&token, 100, 0)
    };
    assert_eq!(shop.ask(unknown).await, PayoutAnswer::Unknown);
    let mut closed = shop.payout(&token, 100, 0);
    if let Some(claim) = &mut closed.funding {
        claim.claims = farebox_ledger::ClaimPolicy::ClaimedOnly;
    }
    assert_eq!(shop.ask(closed).await, PayoutAnswer::Unknown);
    let available = msat(1_000);
    let answer = shop.ask(shop.payout(&token, 1_001, 0)).await;
    assert_eq!(answer, PayoutAnswer::NothingLeft { available });
    assert_eq!(shop.sound().await.accounts, 0);

    let payout = shop.begin(&token, 900, 50).await;
    assert_eq!(shop.ledger.stats().claims, 1);
    let account = shop.account(&token).await;
    assert_eq!((account.balance, account.held), (msat(1_000), msat(950)));
    shop.paid(&payout, 0).await;
    held(shop.draw(&token, 100).await).settle();
    assert_eq!(shop.sound().await.accounts, 1);
    assert_eq!(shop.ledger.stats().claims, 1);
}

/// A token with other terms than those credited gets nothing.
pub async fn a_payout_of_other_terms_is_refused(place: &dyn Place) {
    let shop = Shop::open(place);
    let mut token = shop.token(Kind::Calls(5), 1_000);
    shop.hold(&token).await.settle();
    token.terms.kind = Kind::Balance;
    let answer = shop.ask(shop.payout(&token, 100, 0)).await;
    assert_eq!(answer, PayoutAnswer::TermsMismatch);
    assert_eq!(shop.sound().await.held, msat(0));
}

/// Revoked: its holder gets nothing, and the operator may pay what is left all the same.
pub async fn only_the_operator_pays_out_of_a_revoked_account(place: &dyn Place) {
    let shop = Shop::open(place);
    let (used, fresh) = (
        shop.token(Kind::Calls(2), 1_000),
        shop.token(Kind::Single, 1_000),
    );
    shop.hold(&used).await.settle();
    for token in [&used, &fresh] {
        shop.ledger
            .revoke(token.account())
            .await
            .expect("the store works");
        let answer = shop.ask(shop.payout(token, 100, 0)).await;
        assert_eq!(answer, PayoutAnswer::Revoked);
    }
    assert_eq!(shop.sound().await.accounts, 1);
    let operator = PayoutRequest {
        asked_by: AskedBy::Operator,
        funding: None,
        ..shop.payout(&used, 500, 0)
    };
    let PayoutAnswer::Begun(payout) = shop.ask(operator).await else {
        panic!("the operator was refused")
    };
    let shop = shop.reopen(place).await;
    assert_eq!(shop.paid(&payout, 0).await.asked_by, AskedBy::Operator);
    assert_eq!(shop.account(&used).await.balance, msat(0));
    shop.sound().await;
}

/// Expiry stops spending, not owning.
pub async fn an_expired_account_can_be_paid_out(place: &dyn Place) {
    let shop = Shop::open(place);
    let (used, fresh) = (
        shop.token(Kind::Calls(2), 1_000),
        shop.token(Kind::Pass(DAY), 1_000),
    );
    shop.hold(&used).await.settle();
    shop.clock.forward(400 * DAY);
    assert!(matches!(shop.call(&used).await, Admitted::Expired));
    shop.paid(&shop.begin(&used, 450, 50).await, 7).await;
    assert!(matches!(shop.call(&fresh).await, Admitted::Expired));
    shop.paid(&shop.begin(&fresh, 1_000, 0).await, 0).await;
    assert_eq!(shop.account(&used).await.balance, msat(43));
    assert_eq!(shop.account(&fresh).await.balance, msat(0));
    shop.sound().await;
}

/// What is open stays open and reserved over restarts, until the node has said what became of it.
pub async fn open_payouts_survive_restarts_as_reservations(place: &dyn Place) {
    let shop = Shop::open(place);
    let (balance, calls) = (
        shop.token(Kind::Balance, 1_000),
        shop.token(Kind::Calls(3), 300),
    );
    let first = shop.begin(&balance, 900, 100).await;
    let second = shop.begin(&calls, 250, 10).await;
    let shop = shop.reopen(place).await;
    let open = shop.ledger.open_payouts().await.expect("reads");
    assert_eq!(open, [first.clone(), second.clone()]);
    assert_eq!((shop.recovery.voided, shop.recovery.settled), (0, 0));
    assert!(matches!(shop.draw(&balance, 1).await, Admitted::Reserved));
    assert!(matches!(shop.call(&calls).await, Admitted::Reserved));
    let answer = shop.ask(shop.payout(&balance, 1, 0)).await;
    assert_eq!(answer, PayoutAnswer::Exists(first.clone()));
    assert_eq!(shop.sound().await.payouts_held, msat(1_300));
    let shop = shop.reopen(place).await;
    shop.paid(&first, 100).await;
    shop.failed(&second).await;
    shop.hold(&calls).await.settle();
    assert_eq!(shop.account(&balance).await.balance, msat(0));
    assert_eq!(shop.sound().await.open_payouts, 0);
    assert_eq!(shop.ledger.open_payouts().await.expect("reads"), []);
}

/// Open payouts and what is left keep an account; a pruned one is never paid out again.
pub async fn accounts_with_open_payouts_are_never_pruned(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let payout = shop.begin(&token, 1_000, 0).await;
    shop.clock.forward(4_000 * DAY);
    shop.ledger.prune().await.expect("the store works");
    let paid = shop.paid(&payout, 0).await;
    shop.clock.forward(40 * DAY);
    let pruned = shop.ledger.prune().await.expect("the store works");
    assert_eq!((pruned.accounts, pruned.transfers), (1, 2));
    let trial = shop.sound().await;
    assert_eq!((house(&trial, "lightning"), trial.accounts), (0, 0));
    let available = msat(0);
    let answer = shop.ask(shop.payout(&token, 1, 0)).await;
    assert_eq!(answer, PayoutAnswer::NothingLeft { available });
    let known = shop.ledger.payout(paid.id).await.expect("reads");
    assert_eq!(known, Some(paid.clone()));
    let same = PayoutRequest {
        destination_hash: paid.destination_hash,
        ..shop.payout(&token, 1_000, 0)
    };
    assert_eq!(shop.ask(same).await, PayoutAnswer::Exists(paid));
}

/// Cursors lead through all payouts, each once; those of one account come latest first.
pub async fn payouts_are_listed_page_by_page(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let other = shop.token(Kind::Balance, 1_000);
    let mut begun = Vec::new();
    for amount in 1..=3 {
        begun.push(shop.failed(&shop.begin(&token, amount, 0).await).await);
        begun.push(shop.paid(&shop.begin(&other, amount, 0).await, 0).await);
    }
    let mut listed = Vec::new();
    let mut after = 0;
    loop {
        let page = shop.ledger.payouts(after, 4).await.expect("reads");
        let Some(last) = page.last() else { break };
        after = last.cursor;
        listed.extend(page);
    }
    assert_eq!(listed, begun);
    let own = shop
        .ledger
        .payouts_of(token.account(), 2)
        .await
        .expect("reads");
    assert_eq!(own, [begun[4].clone(), begun[2].clone()]);
    let nobody = AccountId::from_bytes([3; 32]);
    assert_eq!(shop.ledger.payouts_of(nobody, 2).await.expect("reads"), []);
}
