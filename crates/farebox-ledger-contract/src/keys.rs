//! Prepaid keys: filled by deposits, spent, refunded, revoked.

use farebox_core::{Clock, KeyHash, Kind, PaymentHash};

use crate::Place;
use crate::key_shop::{new_key, new_payment, refusal, route};
use crate::shop::{DAY, Shop, held, house, msat, once};
use farebox_ledger::{
    AccountName, Admitted, AskedBy, ClientFault, Deposit, Deposited, HoldRequest, KeyLimits,
    KeyRefusal, LedgerError, MAX_PENDING_OF_STRANGERS, MAX_PENDING_PER_KEY, Noted, OpenKey, Opened,
    PayoutAnswer, PayoutRequest, TopUpBy, TransferKind,
};

/// A key is inactive until its first deposit, and then spends what was paid in, route by route.
pub async fn a_key_spends_what_was_paid_in(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(0).await;
    assert_eq!(refusal(&shop.spend(key, 1).await), KeyRefusal::Inactive);
    assert_eq!(
        refusal(&shop.spend(new_key(), 1).await),
        KeyRefusal::Unknown
    );
    shop.fund(key, new_payment(), 100).await;
    let hold = shop.key_hold(key, 60).await;
    assert_eq!(hold.remaining().msat, Some(msat(40)));
    assert!(matches!(shop.spend(key, 41).await, Admitted::Reserved));
    assert!(matches!(shop.spend(key, 101).await, Admitted::Exhausted));
    hold.settle_part(msat(25));
    let images = HoldRequest {
        route: route("images"),
        ..shop.key_request(key, 75)
    };
    held(shop.admit_key(images).await).settle();
    let view = shop.key(key).await;
    assert_eq!(
        (view.balance, view.spent, view.deposited),
        (msat(0), msat(100), msat(100))
    );
    assert_eq!((view.calls, view.held), (2, msat(0)));
    let trial = shop.sound().await;
    assert_eq!(house(&trial, "revenue:chat"), 25);
    assert_eq!(house(&trial, "revenue:images"), 75);
    assert_eq!(house(&trial, "lightning"), -100);
    assert!(matches!(shop.spend(key, 1).await, Admitted::Exhausted));
}

/// Each payment fills one key, once, over restarts; several may fill the same one.
pub async fn a_payment_fills_a_key_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let (key, other) = (shop.new_key(0).await, shop.new_key(0).await);
    let payment = new_payment();
    assert!(matches!(
        shop.fund(key, payment, 30).await,
        Deposited::Credited(_)
    ));
    assert!(matches!(
        shop.fund(key, payment, 30).await,
        Deposited::Already(_)
    ));
    let shop = shop.reopen(place).await;
    assert!(matches!(
        shop.fund(key, payment, 31).await,
        Deposited::Already(_)
    ));
    assert!(matches!(
        shop.fund(other, payment, 30).await,
        Deposited::Taken
    ));
    assert!(matches!(
        shop.fund(new_key(), new_payment(), 1).await,
        Deposited::UnknownKey
    ));
    let Deposited::Credited(view) = shop.fund(key, new_payment(), 12).await else {
        panic!("the second payment was not credited")
    };
    assert_eq!((view.balance, view.deposited), (msat(42), msat(42)));
    assert!(view.funded_at.is_some());
    let empty = Deposit {
        payment_hash: new_payment(),
        amount: msat(0),
        at: shop.clock.now(),
    };
    let nothing = shop.ledger.deposit(key, empty);
    assert!(matches!(nothing.await, Err(LedgerError::NoDeposit)));
    let transfers = shop.ledger.transfers(key.account(), None, 10).await;
    let transfers = transfers.expect("the store reads");
    let kinds: Vec<_> = transfers.iter().map(|transfer| transfer.kind).collect();
    assert_eq!(kinds, [TransferKind::Deposit, TransferKind::Deposit]);
    assert_eq!(transfers[0].credit, AccountName::Key(key));
    assert_eq!(shop.sound().await.payers, msat(42));
}

/// A payment buys a token or fills a key, whichever comes first, and never both.
pub async fn a_payment_is_of_a_token_or_of_a_key(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(5).await;
    // In use, and pruned after its use: both are of tokens.
    let (used, pruned) = (shop.token(Kind::Calls(2), 20), shop.token(Kind::Single, 20));
    shop.hold(&pruned).await.settle();
    shop.clock.forward(31 * DAY);
    shop.ledger.prune().await.expect("prunes");
    let mut used = used;
    used.terms.claim_by = shop.clock.now().plus(DAY);
    shop.hold(&used).await.settle();
    for token in [&used, &pruned] {
        assert!(matches!(
            shop.fund(key, token.hash, 20).await,
            Deposited::Taken
        ));
        assert_eq!(shop.invoice(key, token.hash, 20).await, Noted::Taken);
    }
    // Paid in, and only asked for: both are of the key.
    let (paid, asked) = (shop.token(Kind::Single, 20), shop.token(Kind::Single, 20));
    shop.fund(key, paid.hash, 20).await;
    assert_eq!(shop.invoice(key, asked.hash, 20).await, Noted::Noted);
    for token in [&paid, &asked] {
        assert!(matches!(shop.call(token).await, Admitted::Exhausted));
        shop.receive(token, 50).await;
        let refund = shop.ask(shop.payout(token, 10, 0)).await;
        assert!(
            matches!(refund, PayoutAnswer::NothingLeft { .. }),
            "{refund:?}"
        );
    }
    assert_eq!(shop.key(key).await.balance, msat(25));
    assert_eq!(shop.sound().await.payers, msat(35));
}

/// The name of a key's account buys nothing as a token, and a token's payment is no key.
pub async fn a_key_is_no_token_and_a_token_no_key(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(50).await;
    let mut token = shop.token(Kind::Balance, 50);
    let payment = token.hash;
    shop.draw(&token, 1).await;
    let as_key = KeyHash::from_bytes(*payment.as_bytes());
    assert_eq!(refusal(&shop.spend(as_key, 1).await), KeyRefusal::Unknown);
    let open = OpenKey {
        key: as_key,
        ..shop.opening()
    };
    assert_eq!(shop.open_key(open).await, Opened::Taken);
    token.hash = PaymentHash::from_bytes(*key.as_bytes());
    let shop = shop.reopen(place).await;
    // Once with the key in the store alone, once with it in memory.
    for _ in 0..2 {
        assert!(matches!(shop.draw(&token, 1).await, Admitted::Exhausted));
        let revoked = shop.ledger.revoke(token.account()).await;
        assert!(!revoked.expect("the store works"));
        assert_eq!(
            shop.ledger.account(token.account()).await.expect("reads"),
            None
        );
        let other = shop.fund(key, token.hash, 1).await;
        assert_eq!(other, Deposited::Taken);
        shop.key_hold(key, 1).await.settle();
    }
    assert_eq!(shop.key(key).await.balance, msat(48));
    shop.sound().await;
}

/// Opening is idempotent, and names are used once.
pub async fn a_key_is_opened_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let open = shop.opening();
    assert!(matches!(
        shop.open_key(open.clone()).await,
        Opened::Opened(_)
    ));
    let shop = shop.reopen(place).await;
    let Opened::Exists(view) = shop.open_key(open.clone()).await else {
        panic!("the key was opened twice")
    };
    assert_eq!((view.key, &view.public_id), (open.key, &open.public_id));
    assert_eq!((view.funded_at, view.balance), (None, msat(0)));
    let renamed = OpenKey {
        public_id: "another".to_owned(),
        ..open.clone()
    };
    assert_eq!(shop.open_key(renamed).await, Opened::Taken);
    let impostor = OpenKey {
        key: new_key(),
        ..open.clone()
    };
    assert_eq!(shop.open_key(impostor).await, Opened::Taken);
    let found = shop.ledger.key_by_public_id(&open.public_id).await;
    assert_eq!(found.expect("the store reads"), Some(view));
    let long = OpenKey {
        public_id: "x".repeat(65),
        ..shop.opening()
    };
    assert!(matches!(
        shop.ledger.open_key(long).await,
        Err(LedgerError::TooLarge)
    ));
}

/// Invoices that wait survive restarts until they are paid or long past, and are bounded.
pub async fn invoices_for_keys_are_remembered_until_they_are_paid(place: &dyn Place) {
    let shop = Shop::open(place);
    let (key, other) = (shop.new_key(0).await, shop.new_key(0).await);
    let payment = new_payment();
    assert_eq!(shop.invoice(key, payment, 30).await, Noted::Noted);
    assert_eq!(shop.invoice(key, payment, 30).await, Noted::Noted);
    assert_eq!(shop.invoice(other, payment, 30).await, Noted::Taken);
    assert_eq!(shop.fund(other, payment, 30).await, Deposited::Taken);
    let by = TopUpBy::Stranger;
    for _ in 1..MAX_PENDING_OF_STRANGERS {
        let noted = shop.invoice_by(by, key, new_payment(), 1).await;
        assert_eq!(noted, Noted::Noted);
    }
    let noted = shop.invoice_by(by, key, new_payment(), 1).await;
    assert_eq!(noted, Noted::Full, "the rest is the holder's");
    for _ in MAX_PENDING_OF_STRANGERS..MAX_PENDING_PER_KEY {
        assert_eq!(shop.invoice(key, new_payment(), 1).await, Noted::Noted);
    }
    assert_eq!(shop.invoice(key, new_payment(), 1).await, Noted::Full);
    let shop = shop.reopen(place).await;
    // What will never be paid leaves its place to another one.
    let waiting = shop.ledger.pending_deposits().await.expect("reads");
    let unpaid = waiting.iter().find(|it| it.payment_hash != payment);
    let unpaid = unpaid.expect("there are many").payment_hash;
    for is_known in [true, false] {
        let forgotten = shop.ledger.forget_unpaid(unpaid).await;
        assert_eq!(forgotten.expect("the store works"), is_known);
    }
    assert_eq!(shop.invoice(key, new_payment(), 1).await, Noted::Noted);
    assert_eq!(shop.invoice(key, new_payment(), 1).await, Noted::Full);
    let waiting = shop.ledger.pending_deposits().await.expect("reads");
    assert_eq!(waiting.len(), MAX_PENDING_PER_KEY as usize);
    let found = shop
        .ledger
        .pending_deposit_by(payment)
        .await
        .expect("reads");
    assert_eq!(
        found.map(|pending| (pending.key, pending.amount)),
        Some((key, msat(30)))
    );
    // Late, but in time for the grace.
    shop.clock.forward(6 * DAY);
    shop.ledger.prune().await.expect("prunes");
    assert!(matches!(
        shop.fund(key, payment, 30).await,
        Deposited::Credited(_)
    ));
    assert_eq!(shop.invoice(key, payment, 30).await, Noted::Taken);
    assert_eq!(shop.invoice(key, new_payment(), 1).await, Noted::Noted);
    shop.clock.forward(2 * DAY);
    shop.ledger.prune().await.expect("prunes");
    let waiting = shop.ledger.pending_deposits_of(key).await.expect("reads");
    assert_eq!(waiting.len(), 1);
    shop.sound().await;
}

/// A key nobody ever paid for goes after the retention time; one that was paid for never does.
pub async fn keys_that_were_never_paid_for_are_pruned(place: &dyn Place) {
    let shop = Shop::open(place);
    let (unpaid, asked, paid) = (
        shop.new_key(0).await,
        shop.new_key(0).await,
        shop.new_key(1).await,
    );
    shop.key_hold(paid, 1).await.settle();
    shop.clock.forward(31 * DAY);
    shop.invoice(asked, new_payment(), 1).await;
    shop.ledger.prune().await.expect("prunes");
    let known = async |key| shop.ledger.key(key).await.expect("reads").is_some();
    assert!(!known(unpaid).await);
    assert!(known(asked).await && known(paid).await);
    assert_eq!(refusal(&shop.spend(unpaid, 1).await), KeyRefusal::Unknown);
    assert!(matches!(shop.spend(paid, 1).await, Admitted::Exhausted));
    shop.sound().await;
}

/// A revoked key spends nothing, and what is on it can still be paid back by the operator.
pub async fn a_revoked_key_is_refused_and_keeps_its_money(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(100).await;
    let open = shop.key_hold(key, 30).await;
    let revoked = shop.ledger.revoke_key(key).await.expect("the store works");
    assert!(revoked.is_some_and(|view| view.revoked_at.is_some()));
    assert_eq!(
        shop.ledger.revoke_key(new_key()).await.expect("works"),
        None
    );
    assert!(matches!(shop.spend(key, 1).await, Admitted::Revoked));
    open.settle();
    assert_eq!(shop.invoice(key, new_payment(), 1).await, Noted::Revoked);
    assert!(matches!(
        shop.fund(key, new_payment(), 5).await,
        Deposited::Credited(_)
    ));
    let shop = shop.reopen(place).await;
    assert!(matches!(shop.spend(key, 1).await, Admitted::Revoked));
    let refund = refund(&shop, key, 75);
    assert_eq!(shop.ask(refund.clone()).await, PayoutAnswer::Revoked);
    let operator = PayoutRequest {
        asked_by: AskedBy::Operator,
        ..refund
    };
    let PayoutAnswer::Begun(payout) = shop.ask(operator).await else {
        panic!("the operator was refused")
    };
    shop.paid(&payout, 0).await;
    assert_eq!(shop.key(key).await.balance, msat(0));
    shop.sound().await;
}

/// The holder's request for what is on a key.
pub(crate) fn refund(shop: &Shop, key: KeyHash, amount: u64) -> PayoutRequest {
    let mut token = shop.token(Kind::Balance, 1);
    token.hash = PaymentHash::from_bytes(*key.as_bytes());
    PayoutRequest {
        funding: None,
        ..shop.payout(&token, amount, 0)
    }
}

/// What is on a key is paid out as from a token: reserved, over restarts, then gone or back.
pub async fn a_key_is_refunded(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(100).await;
    let open = shop.key_hold(key, 40).await;
    assert_eq!(
        shop.ask(refund(&shop, key, 61)).await,
        PayoutAnswer::Reserved
    );
    let left = shop.ledger.refundable(key.account()).await.expect("reads");
    assert_eq!(
        left.map(|left| (left.available, left.held)),
        Some((msat(60), msat(40)))
    );
    open.settle_part(msat(10));
    shop.sound().await;
    let PayoutAnswer::Begun(payout) = shop.ask(refund(&shop, key, 90)).await else {
        panic!("nothing was begun")
    };
    let shop = shop.reopen(place).await;
    assert!(matches!(shop.spend(key, 1).await, Admitted::Reserved));
    assert_eq!(shop.key(key).await.held, msat(90));
    shop.paid(&payout, 0).await;
    assert!(matches!(shop.spend(key, 1).await, Admitted::Exhausted));
    // A payout is no spending: limits count requests alone.
    assert_eq!(shop.key(key).await.spent, msat(10));
    shop.fund(key, new_payment(), 7).await;
    shop.key_hold(key, 7).await.settle();
    assert_eq!(house(&shop.sound().await, "lightning"), -17);
}

/// A request under the client's own key is charged once, and each prepaid key has its own.
pub async fn a_clients_retry_on_a_key_is_charged_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(100).await;
    let child = shop.new_child(key, KeyLimits::default()).await;
    let ask = async |shop: &Shop, key, of| {
        let request = HoldRequest {
            once: once(1, of),
            ..shop.key_request(key, 10)
        };
        shop.admit_key(request).await
    };
    let hold = held(ask(&shop, key, 1).await);
    assert!(matches!(ask(&shop, key, 1).await, Admitted::InFlight));
    assert!(matches!(ask(&shop, key, 2).await, Admitted::Conflict));
    let of_child = held(ask(&shop, child, 2).await);
    hold.settle_part(msat(4));
    of_child.settle();
    let shop = shop.reopen(place).await;
    for (key, of, charged) in [(key, 1, 4), (child, 2, 10)] {
        match ask(&shop, key, of).await {
            Admitted::Finished(receipt) => assert_eq!(receipt.charged, msat(charged)),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(matches!(ask(&shop, child, 1).await, Admitted::Conflict));
    assert_eq!(shop.key(key).await.balance, msat(86));
    shop.sound().await;
}

/// What children let come to nothing stands on their parent, whose excuses they share.
pub async fn children_share_the_excuses_of_their_parent(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(100).await;
    let leave = async |key| {
        let request = HoldRequest {
            max_voids: 2,
            ..shop.key_request(key, 1)
        };
        let hold = held(shop.admit_key(request).await);
        hold.excuse(ClientFault::Gone, msat(1), None).await
    };
    let mut charged = Vec::new();
    for _ in 0..4 {
        let child = shop.new_child(key, KeyLimits::default()).await;
        charged.push(leave(child).await);
    }
    assert_eq!(charged, [0, 0, 1, 0].map(msat));
    assert_eq!(leave(key).await, msat(1));
    assert_eq!(shop.key(key).await.balance, msat(98));
    shop.sound().await;
}

/// Usage above a hold is the seller's loss, on the route that served it.
pub async fn usage_above_a_keys_hold_is_the_sellers_loss(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(100).await;
    shop.key_hold(key, 10).await.settle_part(msat(13));
    let view = shop.key(key).await;
    assert_eq!((view.balance, view.spent), (msat(90), msat(10)));
    let trial = shop.sound().await;
    assert_eq!(
        (house(&trial, "revenue:chat"), house(&trial, "seller_loss")),
        (13, -3)
    );
}

/// Holds that a dead process left open are settled to the route that served them, or given back.
pub async fn holds_on_keys_are_recovered_to_their_route(place: &dyn Place) {
    let shop = Shop::open(place);
    let key = shop.new_key(100).await;
    let child = shop.new_child(key, KeyLimits::default()).await;
    let served = HoldRequest {
        route: route("images"),
        ..shop.key_request(child, 30)
    };
    let served = held(shop.admit_key(served).await);
    let waiting = shop.key_hold(key, 20).await;
    served.progress(msat(12));
    shop.ledger.flush().await.expect("the store works");
    let yesterday = shop.clock.now();
    shop.clock.forward(DAY);
    let shop = shop.reopen(place).await;
    drop((served, waiting));
    assert_eq!((shop.recovery.settled, shop.recovery.voided), (1, 1));
    let trial = shop.sound().await;
    assert_eq!((house(&trial, "revenue:images"), trial.held), (12, msat(0)));
    let (parent, child) = (shop.key(key).await, shop.key(child).await);
    assert_eq!(
        (parent.balance, parent.spent, child.spent),
        (msat(88), msat(12), msat(12))
    );
    // It counts on the day on which it was admitted.
    assert_eq!((parent.spent_today, child.spent_today), (msat(0), msat(0)));
    shop.clock.set(yesterday);
    assert_eq!(shop.key(key).await.spent_today, msat(12));
}
