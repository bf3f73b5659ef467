//! Held calls: run once, answered once, charged once.

use farebox_core::{Binding, Clock, KeyEpoch, Kind};

use crate::Place;
use crate::shop::{DAY, Shop, Token, digest, house, msat};
use farebox_ledger::{Admitted, HeldCall, HeldLimits, HeldState, LedgerError, PayoutAnswer};

const LIMITS: HeldLimits = HeldLimits {
    max_calls: 10,
    max_bytes: 1_000,
};

fn held_call(shop: &Shop, token: &Token, request: &[u8]) -> HeldCall {
    HeldCall {
        payment_hash: token.hash,
        token_id: [5; 32],
        key_epoch: KeyEpoch(1),
        terms: token.terms.clone(),
        digest: digest(1),
        request: request.to_vec(),
        backend: "alice".to_owned(),
        state: HeldState::Offered,
        created_at: shop.clock.now(),
        expires_at: shop.clock.now().plus(DAY),
        answer: None,
    }
}

fn token(shop: &Shop, amount: u64) -> Token {
    let mut token = shop.token(Kind::Single, amount);
    token.terms.binding = Binding::Request(digest(1));
    token
}

async fn offer(shop: &Shop, token: &Token) {
    let call = held_call(shop, token, b"GET /");
    let offered = shop.ledger.open_held_call(call, LIMITS).await;
    assert!(offered.expect("the store works"), "there was no room");
}

async fn state(shop: &Shop, token: &Token) -> HeldState {
    let call = shop.ledger.held_call(token.hash).await.expect("reads");
    call.expect("was offered").state
}

async fn run(shop: &Shop, token: &Token) -> bool {
    let run = shop.ledger.held_run(token.hash).await;
    run.expect("the store works")
}

async fn answer(shop: &Shop, token: &Token, body: &[u8]) -> bool {
    let answered = shop.ledger.held_answered(token.hash, body.to_vec()).await;
    answered.expect("the store works")
}

async fn settle(shop: &Shop, token: &Token, received: u64) -> bool {
    let now = shop.clock.now();
    let settled = shop.ledger.held_settled(token.hash, msat(received), now);
    settled.await.expect("the store works")
}

async fn cancel(shop: &Shop, token: &Token) -> bool {
    let canceled = shop.ledger.held_canceled(token.hash).await;
    canceled.expect("the store works")
}

/// What was offered is what is run, over a restart; and its token then finds the receipt.
pub async fn a_held_call_is_run_answered_and_charged_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = token(&shop, 1_000);
    offer(&shop, &token).await;
    let shop = shop.reopen(place).await;
    let call = shop.ledger.held_call(token.hash).await.expect("reads");
    let call = call.expect("was offered");
    assert_eq!(call, held_call(&shop, &token, b"GET /"));
    assert!(run(&shop, &token).await);
    assert!(!run(&shop, &token).await);
    assert!(!settle(&shop, &token, 1_000).await);
    assert!(answer(&shop, &token, b"sunny").await);
    assert!(!answer(&shop, &token, b"rainy").await);
    let shop = shop.reopen(place).await;
    assert_eq!(state(&shop, &token).await, HeldState::Answered);
    assert!(!run(&shop, &token).await);
    assert!(settle(&shop, &token, 1_000).await);
    assert!(!settle(&shop, &token, 1_000).await);
    assert!(!cancel(&shop, &token).await);

    let Admitted::Finished(receipt) = shop.call_once(&token, 0, 1).await else {
        panic!("the call was not charged")
    };
    assert_eq!(receipt.charged, msat(1_000));
    assert!(matches!(
        shop.call_once(&token, 0, 2).await,
        Admitted::Exhausted
    ));
    let shop = shop.reopen(place).await;
    assert!(matches!(
        shop.call_once(&token, 0, 1).await,
        Admitted::Finished(_)
    ));
    let trial = shop.sound().await;
    assert_eq!(
        (
            house(&trial, "lightning"),
            house(&trial, "revenue:weather"),
            trial.held_calls
        ),
        (-1_000, 1_000, 0)
    );
    let call = shop.ledger.held_call(token.hash).await.expect("reads");
    let call = call.expect("is kept");
    assert_eq!((call.state, call.request.len()), (HeldState::Settled, 0));
    assert_eq!(call.answer.as_deref(), Some(b"sunny".as_slice()));
}

/// Many find the payment held at once: one of them runs the call.
pub async fn a_held_call_is_begun_by_one_of_many(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = token(&shop, 1_000);
    offer(&shop, &token).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (ledger, hash) = (shop.ledger.clone(), token.hash);
        tasks.spawn(async move { ledger.held_run(hash).await });
    }
    let runs = tasks.join_all().await.into_iter();
    assert_eq!(runs.filter(|run| matches!(run, Ok(true))).count(), 1);
}

/// A canceled call takes nothing, and never comes back.
pub async fn a_canceled_held_call_charges_nothing(place: &dyn Place) {
    let shop = Shop::open(place);
    let tokens = [token(&shop, 10), token(&shop, 10), token(&shop, 10)];
    for token in &tokens {
        offer(&shop, token).await;
    }
    run(&shop, &tokens[1]).await;
    run(&shop, &tokens[2]).await;
    answer(&shop, &tokens[2], b"sunny").await;
    for token in &tokens {
        assert!(cancel(&shop, token).await);
        assert!(!cancel(&shop, token).await);
        assert!(!run(&shop, token).await);
        assert!(!settle(&shop, token, 10).await);
        let call = shop.ledger.held_call(token.hash).await.expect("reads");
        let call = call.expect("is kept");
        assert_eq!((call.state, call.answer), (HeldState::Canceled, None));
        let again = held_call(&shop, token, b"GET /");
        let error = shop.ledger.open_held_call(again, LIMITS).await;
        assert!(matches!(error, Err(LedgerError::HeldCallExists)));
    }
    let trial = shop.sound().await;
    assert_eq!((trial.accounts, trial.held_calls), (0, 0));
}

/// Offered calls are bounded in number and in bytes, over restarts; expired ones are listed until
/// they are canceled.
pub async fn held_calls_are_bounded(place: &dyn Place) {
    let shop = Shop::open(place);
    let room = HeldLimits {
        max_calls: 3,
        max_bytes: 100,
    };
    let open = async |shop: &Shop, bytes: usize| {
        let call = held_call(shop, &token(shop, 10), &vec![7; bytes]);
        let hash = call.payment_hash;
        let opened = shop.ledger.open_held_call(call, room).await;
        opened.expect("the store works").then_some(hash)
    };
    assert!(open(&shop, 101).await.is_none());
    let first = open(&shop, 60).await.expect("there is room");
    assert!(open(&shop, 41).await.is_none());
    assert!(open(&shop, 40).await.is_some());
    let shop = shop.reopen(place).await;
    assert!(open(&shop, 1).await.is_none());
    assert!(open(&shop, 0).await.is_some());
    assert!(open(&shop, 0).await.is_none());
    shop.clock.forward(2 * DAY);
    let listed = shop.ledger.held_calls().await.expect("reads");
    let expired = listed
        .iter()
        .filter(|call| call.expires_at < shop.clock.now());
    assert_eq!((listed.len(), expired.count()), (3, 3));
    assert!(
        shop.ledger
            .held_canceled(first)
            .await
            .expect("the store works")
    );
    assert!(open(&shop, 60).await.is_some());
    assert_eq!(shop.sound().await.held_calls, 3);
}

/// While a call runs or waits to be settled, its token is in flight: it buys no second call, and
/// no refund.
pub async fn a_running_held_call_keeps_its_token(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = token(&shop, 1_000);
    offer(&shop, &token).await;
    run(&shop, &token).await;
    for _ in 0..2 {
        assert!(matches!(
            shop.call_once(&token, 0, 1).await,
            Admitted::InFlight
        ));
        let refund = shop.ask(shop.payout(&token, 100, 0)).await;
        assert_eq!(refund, PayoutAnswer::Reserved);
        answer(&shop, &token, b"sunny").await;
    }
    settle(&shop, &token, 1_000).await;
    let available = msat(0);
    let refund = shop.ask(shop.payout(&token, 100, 0)).await;
    assert_eq!(refund, PayoutAnswer::NothingLeft { available });
    shop.sound().await;
}

/// A payment that was claimed while its call was only offered is served the ordinary way.
pub async fn a_claimed_payment_is_not_run_as_a_held_call(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = token(&shop, 1_000);
    offer(&shop, &token).await;
    shop.hold(&token).await.settle();
    assert!(!run(&shop, &token).await);
    let other = held_call(&shop, &token, b"GET /");
    assert!(cancel(&shop, &token).await);
    let error = shop.ledger.open_held_call(other, LIMITS).await;
    assert!(matches!(error, Err(LedgerError::HeldCallExists)));
    assert_eq!(shop.sound().await.accounts, 1);
}

/// What a held payment brought beyond the price is excess, whichever event tells of it first.
pub async fn an_overpaid_held_call_leaves_an_excess(place: &dyn Place) {
    let shop = Shop::open(place);
    let (told, untold) = (token(&shop, 1_000), token(&shop, 1_000));
    for token in [&told, &untold] {
        offer(&shop, token).await;
        run(&shop, token).await;
        answer(&shop, token, b"sunny").await;
    }
    shop.receive(&told, 1_400).await;
    settle(&shop, &told, 1_400).await;
    settle(&shop, &untold, 1_400).await;
    shop.receive(&untold, 1_400).await;
    for token in [&told, &untold] {
        let account = shop.account(token).await;
        assert_eq!((account.balance, account.excess), (msat(400), msat(400)));
        assert!(matches!(
            shop.call_once(token, 0, 1).await,
            Admitted::Finished(_)
        ));
    }
    shop.sound().await;
}

/// Only a single call can be held.
pub async fn only_single_calls_are_held(place: &dyn Place) {
    let shop = Shop::open(place);
    for kind in [Kind::Calls(1), Kind::Balance, Kind::Pass(DAY)] {
        let call = held_call(&shop, &shop.token(kind, 10), b"GET /");
        let error = shop.ledger.open_held_call(call, LIMITS).await;
        assert!(matches!(error, Err(LedgerError::NotHoldable)));
    }
}

/// The answer is there for a day, the row for the retention time.
pub async fn answers_of_held_calls_are_kept_for_a_day(place: &dyn Place) {
    let shop = Shop::open(place);
    let (token, open) = (token(&shop, 1_000), token(&shop, 1_000));
    offer(&shop, &token).await;
    offer(&shop, &open).await;
    run(&shop, &token).await;
    answer(&shop, &token, b"sunny").await;
    settle(&shop, &token, 1_000).await;
    let kept = async || {
        shop.ledger.prune().await.expect("the store works");
        let call = shop.ledger.held_call(token.hash).await.expect("reads");
        call.map(|call| call.answer.is_some())
    };
    shop.clock.forward(DAY);
    assert_eq!(kept().await, Some(true));
    shop.clock.forward(DAY);
    assert_eq!(kept().await, Some(false));
    assert!(matches!(
        shop.call_once(&token, 0, 1).await,
        Admitted::Finished(_)
    ));
    shop.clock.forward(40 * DAY);
    assert_eq!(kept().await, None);
    assert_eq!(state(&shop, &open).await, HeldState::Offered);
    shop.sound().await;
}
