//! Every answer to a request, and what leads to it.

use farebox_core::{Allowance, Kind, UnixMillis};

use crate::Place;
use crate::shop::{DAY, Shop, held, house, msat};
use farebox_ledger::{Admitted, ClaimPolicy, Cost, Funding, HoldRequest, LedgerError, VoidReason};

/// Claim and hold are one step; the view shows both.
pub async fn a_first_use_claims_and_holds(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 1_000);
    let hold = shop.hold(&token).await;
    assert_eq!(hold.charge(), msat(200));
    assert_eq!(
        (hold.remaining().calls, hold.remaining().msat),
        (Some(4), Some(msat(800)))
    );
    let account = shop.account(&token).await;
    assert_eq!(
        (account.balance, account.held, account.calls_held),
        (msat(1_000), msat(200), 1)
    );
    assert_eq!(account.terms, token.terms);
    assert_eq!(account.expires_at, hold.expires_at());
    hold.settle();
    let trial = shop.sound().await;
    assert_eq!(
        (house(&trial, "lightning"), house(&trial, "revenue:weather")),
        (-1_000, 200)
    );
}

/// After its calls a token buys nothing.
pub async fn a_used_up_token_is_exhausted(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(2), 10);
    shop.hold(&token).await.settle();
    shop.hold(&token).await.settle();
    assert!(matches!(shop.call(&token).await, Admitted::Exhausted));
    let trial = shop.sound().await;
    assert_eq!(
        (trial.payers, house(&trial, "revenue:weather")),
        (msat(0), 10)
    );
}

/// What open requests hold may come back, so the answer is not final.
pub async fn what_others_hold_is_reserved_and_not_exhausted(place: &dyn Place) {
    let shop = Shop::open(place);
    let calls = shop.token(Kind::Calls(1), 10);
    let balance = shop.token(Kind::Balance, 10);
    let (first, second) = (shop.hold(&calls).await, held(shop.draw(&balance, 6).await));
    assert!(matches!(shop.call(&calls).await, Admitted::Reserved));
    assert!(matches!(shop.draw(&balance, 5).await, Admitted::Reserved));
    assert!(matches!(shop.draw(&balance, 11).await, Admitted::Exhausted));
    first.void(VoidReason::Refused);
    second.void(VoidReason::Refused);
    shop.hold(&calls).await.settle();
    held(shop.draw(&balance, 10).await).settle();
    shop.sound().await;
}

/// The terms of the first claim stand.
pub async fn a_token_with_other_terms_is_refused(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 1_000);
    shop.hold(&token).await.settle();
    let mut other = token.clone();
    other.terms.kind = Kind::Calls(6);
    assert!(matches!(shop.call(&other).await, Admitted::TermsMismatch));
    other.terms = token.terms.clone();
    other.terms.claim_by = other.terms.claim_by.plus(DAY);
    assert!(matches!(shop.call(&other).await, Admitted::TermsMismatch));
    shop.hold(&token).await.settle();
    shop.sound().await;
}

/// An emergency rotation voids what was never claimed, and nothing else.
pub async fn a_rotated_key_admits_only_what_was_claimed_before(place: &dyn Place) {
    let shop = Shop::open(place);
    let (claimed, fresh) = (
        shop.token(Kind::Calls(5), 10),
        shop.token(Kind::Calls(5), 10),
    );
    shop.hold(&claimed).await.settle();
    let rotated = |request: HoldRequest| HoldRequest {
        funding: request.funding.clone().map(|funding| Funding {
            claims: ClaimPolicy::ClaimedOnly,
            ..funding
        }),
        ..request
    };
    let known = rotated(shop.request(&claimed, Cost::Call));
    let unknown = rotated(shop.request(&fresh, Cost::Call));
    held(shop.admit(known).await).settle();
    assert!(matches!(shop.admit(unknown).await, Admitted::Unclaimed));
    assert_eq!(shop.sound().await.accounts, 1);
}

/// Work that nobody pays for has a limit.
pub async fn too_many_voided_attempts_close_a_token(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 10);
    let request = || HoldRequest {
        max_voids: 2,
        ..shop.request(&token, Cost::Call)
    };
    for _ in 0..2 {
        held(shop.admit(request()).await).void(VoidReason::ClientGone);
    }
    assert!(matches!(
        shop.admit(request()).await,
        Admitted::TooManyVoids
    ));
    assert_eq!(shop.account(&token).await.voids, 2);
    assert_eq!(shop.account(&token).await.balance, msat(10));
}

/// A token whose calls mostly succeed can have any number of them fail.
pub async fn each_charged_request_allows_one_more_failed_attempt(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 10);
    let request = || HoldRequest {
        max_voids: 2,
        ..shop.request(&token, Cost::Amount(msat(1)))
    };
    for _ in 0..5 {
        held(shop.admit(request()).await).void(VoidReason::Refused);
        held(shop.admit(request()).await).settle();
    }
    for _ in 0..2 {
        held(shop.admit(request()).await).void(VoidReason::Refused);
    }
    assert!(matches!(
        shop.admit(request()).await,
        Admitted::TooManyVoids
    ));
    assert_eq!(shop.account(&token).await.balance, msat(5));
}

/// What Farebox itself let drop is not held against the payer.
pub async fn a_void_that_is_not_the_payers_doing_does_not_count(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 10);
    for reason in [
        VoidReason::NotForwarded,
        VoidReason::Unreachable,
        VoidReason::Dropped,
    ] {
        shop.hold(&token).await.void(reason);
    }
    assert_eq!(shop.account(&token).await.voids, 0);
}

/// Revoking stops spending, not owning; open holds are still charged.
pub async fn a_revoked_token_is_refused_and_keeps_its_value(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 10);
    let open = shop.hold(&token).await;
    assert!(
        shop.ledger
            .revoke(token.account())
            .await
            .expect("the store works")
    );
    assert!(matches!(shop.call(&token).await, Admitted::Revoked));
    open.settle();
    let account = shop.account(&token).await;
    assert_eq!(
        (account.balance, account.revoked_at.is_some()),
        (msat(8), true)
    );
    let shop = shop.reopen(place).await;
    assert!(matches!(shop.call(&token).await, Admitted::Revoked));
    shop.sound().await;
}

/// A revocation waits for a payment that was not claimed yet, and credits it.
pub async fn a_token_revoked_before_its_first_use_is_refused_at_it(place: &dyn Place) {
    let shop = Shop::open(place);
    let (one, two) = (
        shop.token(Kind::Single, 10),
        shop.token(Kind::Pass(DAY), 10),
    );
    for token in [&one, &two] {
        assert!(
            !shop
                .ledger
                .revoke(token.account())
                .await
                .expect("the store works")
        );
    }
    assert!(matches!(shop.call(&one).await, Admitted::Revoked));
    let shop = shop.reopen(place).await;
    assert!(matches!(shop.call(&two).await, Admitted::Revoked));
    assert_eq!(shop.sound().await.payers, msat(20));
}

/// The first use of a pass buys it; later ones write nothing.
pub async fn a_pass_is_written_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Pass(DAY), 500);
    let until = shop.request(&token, Cost::Call).now.plus(DAY);
    let first = shop.call(&token).await;
    assert!(matches!(first, Admitted::Pass { expires_at } if expires_at == until));
    let before = shop.ledger.stats();
    for _ in 0..100 {
        assert!(matches!(shop.call(&token).await, Admitted::Pass { .. }));
    }
    assert_eq!(shop.ledger.stats().batches, before.batches);
    let shop = shop.reopen(place).await;
    assert!(
        matches!(shop.call(&token).await, Admitted::Pass { expires_at } if expires_at == until)
    );
    let trial = shop.sound().await;
    assert_eq!(
        (trial.transfers, house(&trial, "revenue:weather")),
        (2, 500)
    );
    shop.clock.forward(DAY);
    assert!(matches!(shop.call(&token).await, Admitted::Expired));
}

/// Memory learns of a revocation with its commit.
pub async fn a_revoked_pass_is_refused_from_memory_too(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Pass(DAY), 500);
    shop.call(&token).await;
    shop.ledger
        .revoke(token.account())
        .await
        .expect("the store works");
    assert!(matches!(shop.call(&token).await, Admitted::Revoked));
    assert!(matches!(shop.call(&token).await, Admitted::Revoked));
}

/// The short way keeps the rules of the long one.
pub async fn a_pass_with_other_terms_or_limits_is_refused_from_memory_too(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Pass(DAY), 500);
    shop.call(&token).await;
    let mut longer = token.clone();
    longer.terms.kind = Kind::Pass(2 * DAY);
    assert!(matches!(shop.call(&longer).await, Admitted::TermsMismatch));
    let limited = |allowance| HoldRequest {
        allowance,
        ..shop.request(&token, Cost::Call)
    };
    let counted = Allowance {
        calls: Some(5),
        ..Allowance::default()
    };
    assert!(matches!(
        shop.admit(limited(counted)).await,
        Admitted::Exhausted
    ));
    let past = Allowance {
        expires_at: Some(UnixMillis::new(1)),
        ..Allowance::default()
    };
    assert!(matches!(shop.admit(limited(past)).await, Admitted::Expired));
}

/// A holder's own caveats count what anybody spent, and never add to the terms.
pub async fn a_holders_limit_only_lowers(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(3), 30);
    let limited = |calls, amount| HoldRequest {
        allowance: Allowance {
            calls,
            amount,
            expires_at: None,
        },
        ..shop.request(&token, Cost::Call)
    };
    let open = held(shop.admit(limited(Some(1), None)).await);
    assert!(matches!(
        shop.admit(limited(Some(1), None)).await,
        Admitted::Reserved
    ));
    assert!(matches!(
        shop.admit(limited(None, Some(msat(15)))).await,
        Admitted::Reserved
    ));
    open.settle();
    assert!(matches!(
        shop.admit(limited(Some(1), None)).await,
        Admitted::Exhausted
    ));
    assert!(matches!(
        shop.admit(limited(None, Some(msat(15)))).await,
        Admitted::Exhausted
    ));
    for _ in 0..2 {
        held(shop.admit(limited(Some(100), Some(msat(1_000)))).await).settle();
    }
    let more = shop.admit(limited(Some(100), Some(msat(1_000)))).await;
    assert!(matches!(more, Admitted::Exhausted));
    shop.sound().await;
}

/// A balance gives what it has, to the last msat.
pub async fn a_balance_is_drawn_down_exactly(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 10);
    held(shop.draw(&token, 7).await).settle();
    assert!(matches!(shop.draw(&token, 4).await, Admitted::Exhausted));
    let last = held(shop.draw(&token, 3).await);
    assert_eq!(
        (last.remaining().calls, last.remaining().msat),
        (None, Some(msat(0)))
    );
    last.settle();
    assert!(matches!(shop.draw(&token, 1).await, Admitted::Exhausted));
    shop.sound().await;
}

/// Nothing is guessed where the price is missing.
pub async fn a_balance_without_an_amount_is_an_error(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 10);
    let error = shop.error(shop.request(&token, Cost::Call)).await;
    assert!(matches!(error, LedgerError::CallOnBalance));
}

/// The id of a hold names its transfer, so it is good once.
pub async fn a_hold_id_is_never_used_twice(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 10);
    let request = shop.request(&token, Cost::Call);
    let hold = held(shop.admit(request.clone()).await);
    assert!(matches!(
        shop.error(request.clone()).await,
        LedgerError::HoldExists
    ));
    hold.settle();
    assert!(matches!(
        shop.error(request.clone()).await,
        LedgerError::HoldExists
    ));
    let shop = shop.reopen(place).await;
    assert!(matches!(shop.error(request).await, LedgerError::HoldExists));
    assert_eq!(shop.account(&token).await.calls_used, 1);
}

/// Open holds are bounded; refused ones leave nothing behind.
pub async fn more_holds_than_the_limit_are_an_error(place: &dyn Place) {
    let shop = Shop::open_with(place, std::sync::Arc::default(), 2);
    let token = shop.token(Kind::Calls(5), 10);
    let (first, _second) = (shop.hold(&token).await, shop.hold(&token).await);
    let third = shop.error(shop.request(&token, Cost::Call)).await;
    assert!(matches!(third, LedgerError::TooManyHolds));
    first.settle();
    shop.hold(&token).await.settle();
    assert_eq!(shop.account(&token).await.calls_used, 2);
}

/// No sum leaves the range of a column.
pub async fn no_more_than_all_money_can_be_claimed(place: &dyn Place) {
    let shop = Shop::open(place);
    let all = shop.token(Kind::Single, farebox_core::Msat::MAX.get());
    shop.hold(&all).await.settle();
    let more = shop.token(Kind::Single, 1);
    let error = shop.error(shop.request(&more, Cost::Call)).await;
    assert!(matches!(error, LedgerError::TooMuchMoney));
    shop.sound().await;
}
