//! Two engines over one store, at once. What each of them may do is decided over rows that only one
//! has at a time.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Binding, KeyEpoch, Kind, PaymentHash, RequestDigest};
use farebox_ledger::{
    Admitted, ChangeRequest, Cost, Deposited, HeldCall, HeldLimits, HeldState, KeyLimits,
    KeyRefusal, Ledger, LedgerError, PayoutAnswer, PayoutEnd, Rest, VoidReason,
};
use tokio::task::JoinSet;

use crate::Place;
use crate::key_shop::at_most;
use crate::shop::{Shop, Token, digest, house, msat, serial};

/// Two engines with one clock.
fn two(place: &dyn Place) -> [Arc<Shop>; 2] {
    let first = Shop::open(place);
    let clock = Arc::clone(&first.clock);
    let second = Shop::open_with(place, clock, 10_000);
    [Arc::new(first), Arc::new(second)]
}

async fn flush(shops: &[Arc<Shop>]) {
    for shop in shops {
        shop.ledger.flush().await.expect("the store works");
    }
}

/// The books, when nothing is under way any more.
async fn sound(shops: &[Arc<Shop>]) -> farebox_ledger::TrialBalance {
    flush(shops).await;
    let trial = shops[0]
        .ledger
        .trial_balance()
        .await
        .expect("the store reads");
    assert!(trial.is_sound(), "the books are wrong: {trial:?}");
    trial
}

fn held_call(shop: &Shop, token: &Token) -> HeldCall {
    let now = shop.request(token, Cost::Call).now;
    let mut terms = token.terms.clone();
    terms.binding = Binding::Request(digest(1));
    HeldCall {
        payment_hash: token.hash,
        token_id: [1; 32],
        key_epoch: KeyEpoch(1),
        terms,
        digest: RequestDigest::from_bytes([1; 32]),
        request: b"GET /".to_vec(),
        backend: "alice".to_owned(),
        state: HeldState::Offered,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(600)),
        answer: None,
    }
}

/// What a payment was turned into by those who raced for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Token,
    Deposit,
    HeldCall,
    Nothing,
}

async fn as_token(shop: Arc<Shop>, token: Token) -> Became {
    match shop.call(&token).await {
        Admitted::Held(hold) => {
            hold.settle();
            Became::Token
        }
        _ => Became::Nothing,
    }
}

async fn as_deposit(shop: Arc<Shop>, token: Token, key: farebox_core::KeyHash) -> Became {
    match shop.fund(key, token.hash, 10).await {
        Deposited::Credited(_) => Became::Deposit,
        _ => Became::Nothing,
    }
}

async fn as_held_call(shop: Arc<Shop>, token: Token) -> Became {
    let limits = HeldLimits {
        max_calls: 10_000,
        max_bytes: 1 << 30,
    };
    let call = held_call(&shop, &token);
    let (ledger, hash): (&Ledger, PaymentHash) = (&shop.ledger, token.hash);
    match ledger.open_held_call(call, limits).await {
        Ok(true) => {}
        Ok(false) | Err(LedgerError::HeldCallExists) => return Became::Nothing,
        Err(error) => panic!("{error}"),
    }
    if !ledger.held_run(hash).await.expect("the store works") {
        return Became::Nothing;
    }
    let answered = ledger.held_answered(hash, b"sunny".to_vec()).await;
    assert!(answered.expect("the store works"));
    let now = shop.request(&token, Cost::Call).now;
    let settled = ledger.held_settled(hash, msat(10), now).await;
    assert!(settled.expect("the store works"));
    Became::HeldCall
}

/// A payment that a token, a key and a held call race for, while pruning looks at it too, is credited
/// once and to one of them.
pub async fn one_payment_becomes_one_thing_whoever_asks(place: &dyn Place) {
    let shops = two(place);
    let key = shops[0].new_key(1).await;
    let mut claimed = 0;
    for round in 0..24_usize {
        let token = shops[0].token(Kind::Single, 10);
        let at = |place: usize| Arc::clone(&shops[(round + place) % 2]);
        let pruning = at(1);
        let prune = tokio::spawn(async move { pruning.ledger.prune().await });
        let mut race = JoinSet::new();
        race.spawn(as_token(at(0), token.clone()));
        race.spawn(as_token(at(1), token.clone()));
        race.spawn(as_deposit(at(1), token.clone(), key));
        race.spawn(as_deposit(at(0), token.clone(), key));
        race.spawn(as_held_call(at(0), token.clone()));
        race.spawn(as_held_call(at(1), token.clone()));
        let became = race.join_all().await;
        prune.await.expect("ends").expect("prunes");
        let became: Vec<_> = became
            .into_iter()
            .filter(|it| *it != Became::Nothing)
            .collect();
        assert_eq!(became.len(), 1, "in round {round}: {became:?}");
        claimed += 10;
    }
    let trial = sound(&shops).await;
    assert_eq!(house(&trial, "lightning"), -1 - claimed);
}

/// Requests of one key through two engines spend what one day allows, and not more.
pub async fn a_limit_by_day_holds_over_two_engines(place: &dyn Place) {
    let shops = two(place);
    let key = shops[0].new_key(1_000).await;
    let limits: KeyLimits = at_most(None, Some(70));
    let child = shops[0].new_child(key, limits).await;
    let mut race = JoinSet::new();
    for number in 0..40_usize {
        let shop = Arc::clone(&shops[number % 2]);
        race.spawn(async move {
            loop {
                match shop.spend(child, 7).await {
                    Admitted::Held(hold) if number % 3 == 0 => {
                        hold.void(VoidReason::Unreachable);
                        return 0;
                    }
                    Admitted::Held(hold) => {
                        hold.settle();
                        return 7;
                    }
                    Admitted::Reserved => tokio::task::yield_now().await,
                    Admitted::Key(KeyRefusal::DayLimit { .. }) => return 0,
                    other => panic!("unexpected {other:?}"),
                }
            }
        });
    }
    let spent: u64 = race.join_all().await.into_iter().sum();
    flush(&shops).await;
    let view = shops[1].key(child).await;
    assert_eq!((view.spent.get(), view.spent_today.get()), (spent, spent));
    assert_eq!(spent, 70, "all that the day allows, and no more");
    sound(&shops).await;
}

/// However many ask for a payout of one account, one is begun; and all payouts together keep to the
/// daily total.
pub async fn an_account_has_one_payout_open_over_two_engines(place: &dyn Place) {
    let shops = two(place);
    let token = shops[0].token(Kind::Balance, 1_000);
    let mut race = JoinSet::new();
    for number in 0..16_usize {
        let (shop, token) = (Arc::clone(&shops[number % 2]), token.clone());
        race.spawn(async move { shop.ask(shop.payout(&token, 50, 1)).await });
    }
    let answers = race.join_all().await;
    let begun = |answer: &&PayoutAnswer| matches!(answer, PayoutAnswer::Begun(_));
    assert_eq!(answers.iter().filter(begun).count(), 1, "{answers:?}");
    let mut race = JoinSet::new();
    for number in 0..12_usize {
        let shop = Arc::clone(&shops[number % 2]);
        race.spawn(async move {
            let token = shop.token(Kind::Balance, 1_000);
            let mut request = shop.payout(&token, 50, 1);
            request.limits.daily_total = msat(250);
            shop.ask(request).await
        });
    }
    let answers = race.join_all().await;
    assert_eq!(answers.iter().filter(begun).count(), 4, "{answers:?}");
    sound(&shops).await;
}

/// One of many things that engines do at once with the same few accounts.
async fn do_something(shop: &Shop, tokens: &[Token], key: farebox_core::KeyHash, choice: u64) {
    let token = &tokens[usize::try_from(choice / 8).unwrap_or_default() % tokens.len()];
    let amount = 1 + choice % 13;
    match choice % 8 {
        0 | 1 => {
            if let Admitted::Held(hold) = shop.draw(token, amount).await {
                hold.settle_part(msat(amount / 2));
            }
        }
        2 => {
            if let Admitted::Held(hold) = shop.draw(token, amount).await {
                hold.settle_and(msat(amount), Rest::Stays);
            }
        }
        3 => {
            if let Admitted::Held(hold) = shop.spend(key, amount).await {
                hold.progress(msat(1));
                hold.settle();
            }
        }
        4 => drop(shop.spend(key, amount).await),
        5 => {
            if let PayoutAnswer::Begun(view) = shop.ask(shop.payout(token, amount, 1)).await {
                let end = [PayoutEnd::Failed, PayoutEnd::Paid { fee: msat(1) }];
                let end = end[usize::from(choice.is_multiple_of(3))];
                let ended = shop.ledger.finish_payout(view.id, end, view.asked_at).await;
                ended.expect("the end is written");
            }
        }
        6 => shop.receive(token, 1_000 + choice % 50).await,
        _ => {
            let credited = shop.fund(key, crate::key_shop::new_payment(), amount).await;
            assert!(matches!(credited, Deposited::Credited(_)));
        }
    }
}

/// After any interleaving all sums are exact, and nothing is held that is not open.
pub async fn sums_are_exact_after_random_interleavings(place: &dyn Place) {
    let shops = two(place);
    let key = shops[0].new_key(500).await;
    let tokens: Arc<Vec<_>> = Arc::new(
        (0..3)
            .map(|_| shops[0].token(Kind::Balance, 1_000))
            .collect(),
    );
    let mut race = JoinSet::new();
    for task in 0..24_u64 {
        let shop = Arc::clone(&shops[usize::from(task % 2 == 0)]);
        let tokens = Arc::clone(&tokens);
        race.spawn(async move {
            let mut random = task.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ serial();
            for _ in 0..12 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(task | 1);
                do_something(&shop, &tokens, key, random >> 33).await;
            }
        });
    }
    race.join_all().await;
    let trial = sound(&shops).await;
    assert_eq!(
        (trial.open_holds, trial.open_payouts, trial.held),
        (0, 0, msat(0))
    );
    assert_eq!(trial.sum, 0);
}

/// Recovery takes what closed runs left, and never what another engine has under way.
pub async fn an_engine_leaves_alone_what_another_one_has_open(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(3), 30);
    let hold = shop.hold(&token).await;
    let payout = shop.begin(&shop.token(Kind::Balance, 100), 10, 1).await;
    let second = Shop::open_with(place, Arc::clone(&shop.clock), 10_000);
    assert_eq!((second.recovery.voided, second.recovery.settled), (0, 0));
    assert_eq!(second.ledger.open_payouts().await.expect("reads"), []);
    hold.settle();
    shop.ledger.flush().await.expect("the store works");
    let left_open = shop.hold(&token).await;
    left_open.first_byte();
    shop.ledger.flush().await.expect("the store works");
    shop.ledger.close().await;
    drop(left_open);
    let third = Shop::open_with(place, Arc::clone(&second.clock), 10_000);
    assert_eq!((third.recovery.voided, third.recovery.settled), (0, 1));
    let open = third.ledger.open_payouts().await.expect("reads");
    assert_eq!(open.iter().map(|it| it.id).collect::<Vec<_>>(), [payout.id]);
    assert_eq!(second.account(&token).await.calls_used, 2);
    let trial = second.ledger.trial_balance().await.expect("reads");
    assert!(trial.is_sound(), "{trial:?}");
}

/// Whoever tells change first says how, also to the other.
pub async fn change_is_told_with_the_same_bytes_by_two_engines(place: &dyn Place) {
    let shops = two(place);
    let token = shops[0].token(Kind::Balance, 100);
    let Admitted::Held(hold) = shops[0].draw(&token, 10).await else {
        panic!("there is money")
    };
    hold.settle_and(msat(10), Rest::Owed);
    flush(&shops).await;
    let at = shops[0].request(&token, Cost::Call).now;
    let tell = |shop: &Arc<Shop>, byte: u8| {
        let shop = Arc::clone(shop);
        let request = ChangeRequest {
            account: token.account(),
            part: 0,
            given: Vec::new(),
            freed: Vec::new(),
            amount: msat(90),
            text: byte.to_string().into(),
            at,
        };
        async move { shop.ledger.tell_change(request).await.expect("tells") }
    };
    let (one, two) = tokio::join!(tell(&shops[0], 1), tell(&shops[1], 2));
    assert_eq!(one, two);
    let trial = sound(&shops).await;
    assert_eq!(house(&trial, "lightning"), -10);
}
