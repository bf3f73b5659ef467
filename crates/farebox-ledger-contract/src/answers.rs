//! Every answer to a request, and what leads to it.

use farebox_core::{Allowance, Clock as _, Kind, UnixMillis};

use crate::Place;
use crate::shop::{DAY, Shop, held, house, msat};
use farebox_ledger::{
    Admitted, ChargeQuery, ClaimPolicy, ClientFault, Cost, Funding, HoldRequest, LedgerError,
    Measured, PayoutAnswer, VoidReason,
};

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

/// What a client lets come to nothing is free a few times, and then charged: refused it never is.
pub async fn a_client_is_excused_a_few_times_and_then_charged(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 10);
    let ask = async || {
        let request = HoldRequest {
            max_voids: 2,
            ..shop.request(&token, Cost::Call)
        };
        held(shop.admit(request).await)
    };
    let all = [
        ClientFault::Gone,
        ClientFault::Upload,
        ClientFault::NotDelivered,
    ];
    for (fault, charged) in all.into_iter().zip([0, 0, 2]) {
        let excused = ask().await.excuse(fault, msat(2), None);
        assert_eq!(excused.await, msat(charged), "{fault:?}");
    }
    let account = shop.account(&token).await;
    assert_eq!((account.voids, account.balance), (1, msat(8)));
    assert_eq!((account.calls_used, account.calls_held), (1, 0));
    shop.sound().await;
    // It is charged what was used, never more than was held, and nobody has to listen.
    let shop = shop.reopen(place).await;
    let ask = async || {
        let request = HoldRequest {
            max_voids: 1,
            ..shop.request(&token, Cost::Call)
        };
        held(shop.admit(request).await)
    };
    drop(ask().await.excuse(ClientFault::Gone, msat(99), None));
    assert_eq!(shop.account(&token).await.balance, msat(6));
    shop.sound().await;
}

/// A token whose calls mostly succeed can have any number of them fail; what cost nothing is neither.
pub async fn each_request_that_was_charged_excuses_one_more(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 10);
    let ask = async || {
        let request = HoldRequest {
            max_voids: 1,
            ..shop.request(&token, Cost::Amount(msat(1)))
        };
        held(shop.admit(request).await)
    };
    let leave = async || {
        let excused = ask().await.excuse(ClientFault::Gone, msat(1), None);
        excused.await.get()
    };
    for charged in [0, 1, 0] {
        ask().await.settle_part(msat(0));
        assert_eq!(leave().await, charged);
    }
    for _ in 0..2 {
        ask().await.settle();
    }
    assert_eq!((leave().await, leave().await, leave().await), (0, 0, 1));
    assert_eq!(shop.account(&token).await.balance, msat(6));
    shop.sound().await;
}

/// What the upstream or Farebox itself let fail is not held against the payer.
pub async fn a_void_that_is_not_the_clients_doing_does_not_count(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(5), 10);
    for reason in [
        VoidReason::NotForwarded,
        VoidReason::Unreachable,
        VoidReason::TimedOut,
        VoidReason::Refused,
        VoidReason::CutShort,
        VoidReason::Dropped,
    ] {
        shop.hold(&token).await.void(reason);
    }
    assert_eq!(shop.account(&token).await.voids, 0);
}

/// What the answer showed is kept with the charge of a client that is excused no more.
pub async fn what_was_measured_is_kept_of_an_excused_request_too(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 100);
    for charged in [0, 7] {
        let request = HoldRequest {
            max_voids: 1,
            ..shop.request(&token, Cost::Amount(msat(50)))
        };
        let measured = Measured {
            terminal: "cut_by_client",
            usage: vec![("input", 3)],
            quantity: None,
        };
        let hold = held(shop.admit(request).await);
        let excused = hold.excuse(ClientFault::Gone, msat(7), Some(measured));
        assert_eq!(excused.await, msat(charged));
    }
    let page = shop.ledger.charges(ChargeQuery::default(), 10).await;
    let told = page.expect("reads").charges;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].charged, told[0].held), (msat(7), Some(msat(50))));
    assert_eq!(told[0].terminal.as_deref(), Some("cut_by_client"));
    shop.sound().await;
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

/// The first answer of a pass that is charged buys it; later uses write nothing.
pub async fn a_pass_is_written_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Pass(DAY), 500);
    let until = shop.request(&token, Cost::Call).now.plus(DAY);
    shop.begin_pass(&token).await;
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

/// A pass whose first calls fail does not run, and can be given back; the first answer that is charged
/// begins it, however many are under way.
pub async fn a_pass_begins_with_the_first_answer_that_is_charged(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Pass(DAY), 500);
    shop.hold(&token).await.void(VoidReason::Refused);
    shop.clock.forward(2 * DAY);
    let (failing, first, second) = (
        shop.hold(&token).await,
        shop.hold(&token).await,
        shop.hold(&token).await,
    );
    assert_eq!(shop.account(&token).await.balance, msat(500));
    let refused = shop.ask(shop.payout(&token, 500, 0)).await;
    assert_eq!(refused, PayoutAnswer::Reserved);
    failing.void(VoidReason::Refused);
    let since = shop.clock.now();
    shop.clock.forward(DAY / 2);
    first.begin_pass(since);
    second.begin_pass(shop.clock.now());
    let begun = shop.call(&token).await;
    assert!(matches!(begun, Admitted::Pass { expires_at } if expires_at == since.plus(DAY)));
    let trial = shop.sound().await;
    assert_eq!(house(&trial, "revenue:weather"), 500);
    shop.clock.forward(DAY / 2);
    assert!(matches!(shop.call(&token).await, Admitted::Expired));
    let unused = shop.token(Kind::Pass(DAY), 700);
    shop.hold(&unused).await.void(VoidReason::CutShort);
    let payout = shop.begin(&unused, 700, 0).await;
    shop.paid(&payout, 0).await;
    assert!(matches!(shop.call(&unused).await, Admitted::Exhausted));
    shop.sound().await;
}

/// An answer that went out before the process died begins its pass; a request that got none does not.
pub async fn a_pass_is_recovered_by_its_first_byte(place: &dyn Place) {
    let shop = Shop::open(place);
    let (begun, failed) = (
        shop.token(Kind::Pass(DAY), 500),
        shop.token(Kind::Pass(DAY), 70),
    );
    let open = [shop.hold(&begun).await, shop.hold(&failed).await];
    open[0].first_byte();
    open.into_iter().for_each(std::mem::forget);
    let shop = shop.reopen(place).await;
    assert!(matches!(shop.call(&begun).await, Admitted::Pass { .. }));
    assert_eq!(shop.account(&failed).await.balance, msat(70));
    assert_eq!(house(&shop.sound().await, "revenue:weather"), 500);
}

/// Memory learns of a revocation with its commit.
pub async fn a_revoked_pass_is_refused_from_memory_too(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Pass(DAY), 500);
    shop.begin_pass(&token).await;
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
    shop.begin_pass(&token).await;
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
        swapped: None,
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
