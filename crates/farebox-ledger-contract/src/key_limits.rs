//! Children of prepaid keys, and what limits leave of the money.

use farebox_core::{Clock, KeyHash, UnixMillis};

use crate::Place;
use crate::key_shop::{at_most, new_key, new_payment, refusal, route};
use crate::keys::refund;
use crate::shop::{DAY, Shop, held, msat};
use farebox_ledger::{
    Admitted, Deposited, Hold, HoldRequest, KeyLimits, KeyRefusal, LedgerError, Noted, OpenChild,
    Opened, PayoutAnswer,
};

/// A child spends its parent's money within its limit, spent and held together.
pub async fn a_child_spends_its_parents_money_within_its_total(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(1_000).await;
    let child = shop.new_child(parent, at_most(Some(100), None)).await;
    let unlimited = shop.new_child(parent, at_most(None, None)).await;
    let hold = shop.key_hold(unlimited, 0).await;
    assert_eq!(
        hold.remaining().msat,
        None,
        "it sees nothing of its parent's money"
    );
    hold.settle();
    let hold = shop.key_hold(child, 60).await;
    assert_eq!(hold.remaining().msat, Some(msat(40)));
    assert!(matches!(shop.spend(child, 41).await, Admitted::Reserved));
    assert_eq!(
        refusal(&shop.spend(child, 101).await),
        KeyRefusal::TotalLimit
    );
    hold.settle_part(msat(50));
    let shop = shop.reopen(place).await;
    assert_eq!(
        refusal(&shop.spend(child, 51).await),
        KeyRefusal::TotalLimit
    );
    let last = shop.key_hold(child, 50).await;
    assert_eq!(last.remaining().msat, Some(msat(0)));
    assert_eq!(shop.key(child).await.held, msat(50));
    last.settle();
    let (parent, child) = (shop.key(parent).await, shop.key(child).await);
    assert_eq!((parent.balance, parent.spent), (msat(900), msat(100)));
    assert_eq!(
        (child.balance, child.spent, child.calls),
        (msat(0), msat(100), 2)
    );
    assert_eq!(child.parent, Some(parent.key));
    shop.sound().await;
}

/// What is left of the parent's money bounds its children, whatever their limits.
pub async fn children_share_what_their_parent_has(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(100).await;
    let one = shop.new_child(parent, at_most(Some(80), None)).await;
    let two = shop.new_child(parent, KeyLimits::default()).await;
    shop.key_hold(one, 70).await.settle();
    let open = shop.key_hold(two, 20).await;
    assert!(matches!(shop.spend(two, 11).await, Admitted::Reserved));
    assert!(matches!(shop.spend(two, 31).await, Admitted::Exhausted));
    open.settle();
    // The parent's own limits count its children's spending.
    shop.limit(parent, at_most(Some(95), None)).await;
    assert_eq!(refusal(&shop.spend(two, 6).await), KeyRefusal::TotalLimit);
    assert_eq!(
        refusal(&shop.spend(parent, 6).await),
        KeyRefusal::TotalLimit
    );
    shop.key_hold(parent, 5).await.settle();
    assert_eq!(shop.key(parent).await.spent, msat(95));
    shop.sound().await;
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A daily limit counts by day of UTC, on the day of the hold; a clock that goes back finds the
/// day as it was left.
pub async fn a_daily_limit_counts_on_the_day_of_the_hold(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(1_000).await;
    let child = shop.new_child(parent, at_most(None, Some(100))).await;
    let today = shop.clock.now();
    let overnight = shop.key_hold(child, 90).await;
    // No day ever allows so much.
    let never = KeyRefusal::DayLimit { resets_at: None };
    assert_eq!(refusal(&shop.spend(child, 101).await), never);
    let resets_at = UnixMillis::new((today.get() / DAY_MS + 1) * DAY_MS);
    assert!(matches!(shop.spend(child, 11).await, Admitted::Reserved));
    shop.clock.set(UnixMillis::new(resets_at.get() - 1));
    assert!(matches!(shop.spend(child, 11).await, Admitted::Reserved));
    shop.clock.set(resets_at);
    let tomorrow = shop.key_hold(child, 100).await;
    overnight.settle();
    let view = shop.key(child).await;
    assert_eq!(
        (view.spent, view.spent_today, view.held_today),
        (msat(90), msat(0), msat(100))
    );
    tomorrow.settle_part(msat(99));
    let shop = shop.reopen(place).await;
    shop.key_hold(child, 1).await.settle();
    let day_limit =
        |answer: &Admitted| matches!(refusal(answer), KeyRefusal::DayLimit { resets_at: Some(_) });
    assert!(day_limit(&shop.spend(child, 1).await));
    shop.clock.set(today);
    assert!(day_limit(&shop.spend(child, 11).await));
    shop.key_hold(child, 10).await.settle();
    assert!(day_limit(&shop.spend(child, 1).await));
    shop.clock.set(resets_at);
    assert!(day_limit(&shop.spend(child, 1).await));
    // Many days, forward and back: none is forgotten.
    for day in 1..20 {
        shop.clock.set(resets_at.plus(day * DAY));
        shop.key_hold(child, 5).await.settle();
    }
    shop.clock.set(today);
    assert!(day_limit(&shop.spend(child, 1).await));
    assert_eq!(shop.key(parent).await.spent, msat(295));
    shop.sound().await;
}

/// A child may be made and used in one batch. What its parent spent on the day counts, although
/// nobody asked the parent since.
pub async fn a_child_used_as_it_is_made_counts_on_its_parents_day(place: &dyn Place) {
    let mut shop = Shop::open(place);
    let parent = shop.new_key(1_000).await;
    shop.limit(parent, at_most(None, Some(100))).await;
    shop.key_hold(parent, 60).await.settle();
    for spent in [60, 70, 80, 90] {
        // Another run has none of the parent's days in memory.
        shop = shop.reopen(place).await;
        let open = shop.child_of(parent, KeyLimits::default());
        let (above, within) = (
            shop.key_request(open.child, 101 - spent),
            shop.key_request(open.child, 10),
        );
        // The writer is busy with the first, and takes what came meanwhile as one batch.
        let (_, opened, above, within) = tokio::join!(
            shop.ledger.revoke(new_payment().account()),
            shop.open_child(open),
            shop.admit_key(above),
            shop.admit_key(within),
        );
        assert!(matches!(opened, Opened::Opened(_)), "{opened:?}");
        assert!(matches!(refusal(&above), KeyRefusal::DayLimit { .. }));
        held(within).settle();
        let view = shop.key(parent).await;
        assert_eq!(view.spent_today, msat(spent + 10));
    }
    shop.sound().await;
}

/// Routes and models are allowed by name.
pub async fn a_key_is_limited_to_routes_and_models(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(100).await;
    let limits = KeyLimits {
        routes: Some(vec![route("chat"), route("images")]),
        models: Some(vec!["gpt-5".to_owned(), "claude".to_owned()]),
        ..KeyLimits::default()
    };
    let child = shop.new_child(parent, limits.clone()).await;
    let shop = shop.reopen(place).await;
    assert_eq!(shop.key(child).await.limits, limits);
    let ask = async |key, at: &str, model: Option<&str>| {
        let request = HoldRequest {
            route: route(at),
            model: model.map(str::to_owned),
            ..shop.key_request(key, 1)
        };
        shop.admit_key(request).await
    };
    held(ask(child, "images", Some("claude")).await).settle();
    assert_eq!(
        refusal(&ask(child, "audio", Some("claude")).await),
        KeyRefusal::Route
    );
    for model in [None, Some("gpt-5-pro"), Some("GPT-5"), Some("")] {
        assert_eq!(refusal(&ask(child, "chat", model).await), KeyRefusal::Model);
    }
    held(ask(parent, "audio", None).await).settle();
    // No names allow nothing, and a parent's limits bind its children.
    let nowhere = KeyLimits {
        routes: Some(Vec::new()),
        models: Some(Vec::new()),
        ..KeyLimits::default()
    };
    let limited = shop.limit(parent, nowhere.clone()).await;
    assert_eq!(limited.limits, nowhere);
    assert_eq!(
        refusal(&ask(child, "images", Some("claude")).await),
        KeyRefusal::Route
    );
    shop.limit(parent, KeyLimits::default()).await;
    held(ask(child, "images", Some("claude")).await).settle();
    shop.sound().await;
}

/// A key ends when it or its parent does, and its money stays with the parent.
pub async fn a_child_ends_with_its_parent(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(100).await;
    let soon = KeyLimits {
        expires_at: Some(shop.clock.now().plus(DAY)),
        ..KeyLimits::default()
    };
    let (brief, lasting) = (
        shop.new_child(parent, soon.clone()).await,
        shop.new_child(parent, KeyLimits::default()).await,
    );
    let hold = shop.key_hold(brief, 1).await;
    assert_eq!(Some(hold.expires_at()), soon.expires_at);
    shop.clock.forward(DAY);
    assert!(matches!(shop.spend(brief, 1).await, Admitted::Expired));
    hold.settle();
    shop.key_hold(lasting, 1).await.settle();
    shop.limit(parent, soon).await;
    assert!(matches!(shop.spend(lasting, 1).await, Admitted::Expired));
    shop.limit(parent, KeyLimits::default()).await;
    shop.ledger
        .revoke_key(brief)
        .await
        .expect("the store works");
    assert!(matches!(shop.spend(brief, 1).await, Admitted::Revoked));
    shop.key_hold(parent, 1).await.settle();
    shop.ledger
        .revoke_key(parent)
        .await
        .expect("the store works");
    assert!(matches!(shop.spend(lasting, 1).await, Admitted::Revoked));
    assert_eq!(shop.key(parent).await.balance, msat(97));
    // Children that ended a day ago are forgotten, and what they spent is not.
    shop.clock.forward(2 * DAY);
    shop.ledger.prune().await.expect("prunes");
    let left = shop.ledger.children(parent, 0, 10).await.expect("reads");
    assert_eq!(
        left.iter().map(|child| child.key).collect::<Vec<_>>(),
        [lasting]
    );
    assert_eq!(refusal(&shop.spend(brief, 1).await), KeyRefusal::Unknown);
    assert_eq!(shop.key(parent).await.spent, msat(3));
    shop.sound().await;
}

/// Only a parent that was paid for and not revoked has children, and a child none.
pub async fn only_a_parent_in_use_gets_children(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(0).await;
    let open = async |parent: KeyHash| {
        let open = shop.child_of(parent, KeyLimits::default());
        shop.open_child(open).await
    };
    assert_eq!(open(new_key()).await, Opened::UnknownParent);
    assert_eq!(open(parent).await, Opened::Inactive);
    shop.fund(parent, new_payment(), 100).await;
    let child = shop.child_of(parent, at_most(Some(1), None));
    assert!(matches!(
        shop.open_child(child.clone()).await,
        Opened::Opened(_)
    ));
    let again = OpenChild {
        limits: at_most(Some(2), None),
        ..child.clone()
    };
    let Opened::Exists(view) = shop.open_child(again).await else {
        panic!("the child was opened twice")
    };
    assert_eq!(view.limits.total, Some(msat(1)));
    assert_eq!(open(child.child).await, Opened::NotParent);
    let other = shop.new_key(5).await;
    let stolen = OpenChild {
        parent: other,
        ..child.clone()
    };
    assert_eq!(shop.open_child(stolen).await, Opened::Taken);
    let endless = KeyLimits {
        models: Some(vec!["m\n".to_owned()]),
        ..KeyLimits::default()
    };
    let odd = shop.ledger.limit_key(parent, endless).await;
    assert!(matches!(odd, Err(LedgerError::TooLarge)));
    assert_eq!(
        shop.ledger
            .limit_key(new_key(), KeyLimits::default())
            .await
            .expect("works"),
        None
    );
    shop.ledger
        .revoke_key(parent)
        .await
        .expect("the store works");
    assert_eq!(open(parent).await, Opened::Revoked);
    shop.sound().await;
}

/// A child has no money: none is paid in to it and none out of it.
pub async fn no_money_goes_into_or_out_of_a_child(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(100).await;
    let child = shop.new_child(parent, KeyLimits::default()).await;
    assert_eq!(
        shop.invoice(child, new_payment(), 1).await,
        Noted::UnknownKey
    );
    assert_eq!(
        shop.fund(child, new_payment(), 1).await,
        Deposited::UnknownKey
    );
    assert_eq!(
        shop.ask(refund(&shop, child, 1)).await,
        PayoutAnswer::Unknown
    );
    assert_eq!(
        shop.ledger
            .refundable(child.account())
            .await
            .expect("reads"),
        None
    );
    let hold: Hold = shop.key_hold(child, 30).await;
    assert_eq!(
        shop.ask(refund(&shop, parent, 71)).await,
        PayoutAnswer::Reserved
    );
    assert!(matches!(
        shop.ask(refund(&shop, parent, 70)).await,
        PayoutAnswer::Begun(_)
    ));
    hold.settle();
    assert!(matches!(shop.spend(child, 1).await, Admitted::Reserved));
    shop.sound().await;
}

/// Keys are listed in the order of opening, page by page, children under their parents.
pub async fn keys_are_listed_page_by_page(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(1).await;
    let mut all = vec![parent];
    for _ in 0..3 {
        all.push(shop.new_child(parent, KeyLimits::default()).await);
    }
    all.push(shop.new_key(0).await);
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = shop.ledger.keys(after, 2).await.expect("the store reads");
        let Some(last) = page.last() else { break };
        after = last.cursor;
        seen.extend(page.iter().map(|view| view.key));
    }
    assert_eq!(seen, all);
    let page = async |after| {
        let page = shop.ledger.children(parent, after, 2).await;
        page.expect("the store reads")
    };
    let (first, none) = (page(0).await, page(u64::MAX >> 1).await);
    let rest = page(first[1].cursor).await;
    let children: Vec<_> = first.iter().chain(&rest).map(|view| view.key).collect();
    assert_eq!((children.as_slice(), none.len()), (&all[1..4], 0));
    assert!(shop.ledger.accounts(0, 10).await.expect("reads").is_empty());
}
