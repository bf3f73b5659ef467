//! What a charge was made of is kept with it, and goes with it.

use farebox_core::{HoldId, Kind, Msat};

use crate::Place;
use crate::key_shop::{at_most, route};
use crate::shop::{DAY, Shop, Token, held, msat};
use farebox_ledger::{
    AccountName, Admitted, ChargeBasis, ChargePage, ChargeQuery, ChargeView, Cost, Hold,
    HoldRequest, LedgerError, MAX_CHARGE_MODEL, MAX_CHARGE_RATE, Measured, RECOVERED, RateUsed,
    VoidReason,
};

fn dollars() -> RateUsed {
    RateUsed {
        currency: "usd".to_owned(),
        bitcoin_price: "64123.5".to_owned(),
        age_ms: Some(1_500),
    }
}

fn basis() -> ChargeBasis {
    ChargeBasis {
        rate: Some(dollars()),
        model: Some("gpt-small".to_owned()),
    }
}

fn measured() -> Measured {
    Measured {
        terminal: "complete",
        usage: vec![("input", 812), ("output", u64::MAX)],
        quantity: Some("0.125".to_owned()),
    }
}

impl Shop {
    /// The same as [`draw`](Self::draw), by a rate and for a model.
    async fn draw_by(&self, token: &Token, amount: u64, basis: ChargeBasis) -> Hold {
        let request = HoldRequest {
            basis: Some(Box::new(basis)),
            ..self.request(token, Cost::Amount(msat(amount)))
        };
        held(self.admit(request).await)
    }

    /// A charge after everything queued is written.
    async fn charge(&self, hold: HoldId) -> Option<ChargeView> {
        self.ledger.flush().await.expect("the store works");
        self.ledger.charge(hold).await.expect("the store reads")
    }

    async fn charges(&self, query: ChargeQuery, limit: u32) -> ChargePage {
        self.ledger.flush().await.expect("the store works");
        let found = self.ledger.charges(query, limit).await;
        found.expect("the store reads")
    }
}

/// Rate, model, usage and end are there when the settlement is, and over a restart.
pub async fn a_charge_is_kept_with_what_it_was_made_of(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let hold = shop.draw_by(&token, 100, basis()).await;
    let id = hold.id();
    assert_eq!(shop.charge(id).await, None, "nothing is charged yet");
    hold.settle_part_with(msat(60), measured());
    let charge = ChargeView {
        hold: id,
        account: AccountName::Payer(token.account()),
        asker: None,
        route: token.terms.route.clone(),
        at: farebox_core::Clock::now(shop.clock.as_ref()),
        held: Some(msat(100)),
        used: msat(60),
        charged: msat(60),
        released: false,
        basis: basis(),
        terminal: Some("complete".to_owned()),
        usage: vec![("input".to_owned(), 812), ("output".to_owned(), u64::MAX)],
        quantity: Some("0.125".to_owned()),
    };
    assert_eq!(shop.charge(id).await.as_ref(), Some(&charge));
    shop.sound().await;
    let shop = shop.reopen(place).await;
    assert_eq!(shop.charge(id).await, Some(charge));
}

/// What needs no telling is told from its transfer.
pub async fn a_plain_charge_is_its_transfer(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(2), 21);
    let hold = shop.hold(&token).await;
    let id = hold.id();
    hold.settle();
    let charge = shop.charge(id).await.expect("was charged");
    assert_eq!((charge.charged, charge.used), (msat(11), msat(11)));
    assert_eq!(charge.account, AccountName::Payer(token.account()));
    assert_eq!(charge.route, token.terms.route);
    assert_eq!(charge.basis, ChargeBasis::default());
    assert_eq!((charge.held, charge.terminal), (None, None));
    let unknown = HoldId::new(shop.request(&token, Cost::Call).now, [0xab; 10]);
    assert_eq!(shop.charge(unknown).await, None);
}

/// The rate of a fixed price in other money, which is charged whole.
pub async fn a_rate_is_kept_with_a_whole_charge(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let fixed = RateUsed {
        age_ms: None,
        ..dollars()
    };
    let by_rate = ChargeBasis {
        rate: Some(fixed),
        model: None,
    };
    let hold = shop.draw_by(&token, 70, by_rate.clone()).await;
    let id = hold.id();
    hold.first_byte();
    hold.settle();
    let charge = shop.charge(id).await.expect("was charged");
    assert_eq!((charge.held, charge.charged), (Some(msat(70)), msat(70)));
    assert_eq!((charge.basis, charge.terminal), (by_rate, None));
    shop.sound().await;
}

/// The seller's loss shows as usage beyond what was charged.
pub async fn a_charge_tells_usage_above_its_hold(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let hold = shop.draw_by(&token, 100, basis()).await;
    let id = hold.id();
    hold.settle_part_with(msat(130), measured());
    let charge = shop.charge(id).await.expect("was charged");
    assert_eq!((charge.used, charge.charged), (msat(130), msat(100)));
    shop.sound().await;
}

/// An answer that was measured and not charged has a receipt too; what was not measured has none.
pub async fn a_measured_release_is_told_and_not_listed(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let (told, silent) = (
        shop.draw_by(&token, 100, basis()).await,
        shop.draw_by(&token, 100, basis()).await,
    );
    let (told_id, silent_id) = (told.id(), silent.id());
    let cut = Measured {
        terminal: "cut_by_upstream",
        usage: Vec::new(),
        quantity: None,
    };
    told.void_with(VoidReason::CutShort, cut);
    silent.void(VoidReason::CutShort);
    let charge = shop.charge(told_id).await.expect("is told");
    assert!(charge.released);
    assert_eq!((charge.charged, charge.held), (Msat::ZERO, Some(msat(100))));
    assert_eq!(charge.terminal.as_deref(), Some("cut_by_upstream"));
    assert_eq!(charge.basis, basis());
    assert_eq!(shop.charge(silent_id).await, None);
    let listed = shop.charges(ChargeQuery::default(), 10).await;
    assert_eq!(listed, ChargePage::default());
    assert_eq!(shop.account(&token).await.balance, msat(1_000));
    shop.sound().await;
}

/// Rate and model were written with the hold, so the charge of a dead process has them too.
pub async fn a_recovered_charge_says_so(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let begun = shop.draw_by(&token, 100, basis()).await;
    let quiet = shop.draw_by(&token, 100, basis()).await;
    let plain = held(shop.draw(&token, 30).await);
    begun.progress(msat(40));
    plain.first_byte();
    let ids = [&begun, &quiet, &plain].map(Hold::id);
    let shop = shop.reopen(place).await;
    drop((begun, quiet, plain));
    let charge = shop.charge(ids[0]).await.expect("was charged");
    assert_eq!((charge.held, charge.charged), (Some(msat(100)), msat(40)));
    assert_eq!(charge.basis, basis());
    assert_eq!(charge.terminal.as_deref(), Some(RECOVERED));
    assert_eq!(shop.charge(ids[1]).await, None, "nothing was charged");
    let plain = shop.charge(ids[2]).await.expect("was charged");
    assert_eq!(plain.terminal.as_deref(), Some(RECOVERED));
    assert_eq!(plain.basis, ChargeBasis::default());
    shop.sound().await;
}

/// A parent's money tells which of its children spent it.
pub async fn a_childs_charge_names_the_child(place: &dyn Place) {
    let shop = Shop::open(place);
    let parent = shop.new_key(1_000).await;
    let child = shop.new_child(parent, at_most(None, None)).await;
    let (own, of_child) = (
        shop.key_hold(parent, 10).await,
        shop.key_hold(child, 20).await,
    );
    let by_model = HoldRequest {
        basis: Some(Box::new(basis())),
        ..shop.key_request(child, 30)
    };
    let by_model = held(shop.admit_key(by_model).await);
    let ids = [&own, &of_child, &by_model].map(Hold::id);
    own.settle();
    of_child.settle();
    by_model.settle_part_with(msat(25), measured());
    for (id, asker, charged) in [
        (ids[0], None, 10),
        (ids[1], Some(child), 20),
        (ids[2], Some(child), 25),
    ] {
        let charge = shop.charge(id).await.expect("was charged");
        assert_eq!(charge.account, AccountName::Key(parent));
        assert_eq!((charge.asker, charge.charged), (asker, msat(charged)));
        assert_eq!(charge.route, route("chat"));
    }
    let of = |key| ChargeQuery {
        account: Some(AccountName::Key(key)),
        ..ChargeQuery::default()
    };
    let listed = shop.charges(of(child), 10).await;
    assert_eq!(ids_of(&listed), [ids[2], ids[1]]);
    let listed = shop.charges(of(parent), 10).await;
    assert_eq!(ids_of(&listed), [ids[2], ids[1], ids[0]]);
    shop.sound().await;
}

fn ids_of(page: &ChargePage) -> Vec<HoldId> {
    page.charges.iter().map(|charge| charge.hold).collect()
}

/// By account, route and time; payments, losses and refunds are no charges.
pub async fn charges_are_found_by_account_route_and_time(place: &dyn Place) {
    let shop = Shop::open(place);
    let (token, other) = (
        shop.token(Kind::Balance, 1_000),
        shop.token(Kind::Calls(9), 90),
    );
    let key = shop.new_key(500).await;
    let first = shop.draw_by(&token, 100, basis()).await;
    let first_id = first.id();
    first.settle_part_with(msat(130), measured());
    shop.clock.forward(DAY);
    let noon = farebox_core::Clock::now(shop.clock.as_ref());
    let (second, third) = (shop.hold(&other).await, shop.key_hold(key, 5).await);
    let ids = [first_id, second.id(), third.id()];
    second.settle();
    third.settle();
    let found = async |query| ids_of(&shop.charges(query, 10).await);
    let all = ChargeQuery::default;
    assert_eq!(found(all()).await, [ids[2], ids[1], ids[0]]);
    let query = ChargeQuery {
        account: Some(AccountName::Payer(token.account())),
        ..all()
    };
    assert_eq!(found(query).await, [ids[0]]);
    let query = ChargeQuery {
        route: Some(token.terms.route.clone()),
        ..all()
    };
    assert_eq!(found(query).await, [ids[1], ids[0]]);
    let query = ChargeQuery {
        since: Some(noon),
        ..all()
    };
    assert_eq!(found(query).await, [ids[2], ids[1]]);
    let query = ChargeQuery {
        until: Some(noon),
        ..all()
    };
    assert_eq!(found(query).await, [ids[0]]);
    let query = ChargeQuery {
        route: Some(route("nowhere")),
        ..all()
    };
    assert!(found(query).await.is_empty());
}

/// Every charge is on one page, and once.
pub async fn charges_are_listed_page_by_page(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Calls(7), 70);
    let mut made = Vec::new();
    for _ in 0..7 {
        let hold = shop.hold(&token).await;
        made.insert(0, hold.id());
        hold.settle();
    }
    let (mut listed, mut before) = (Vec::new(), None);
    loop {
        let query = ChargeQuery {
            before,
            ..ChargeQuery::default()
        };
        let page = shop.charges(query, 3).await;
        listed.extend(ids_of(&page));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(listed, made);
}

/// However long a model's name is, and whatever it consists of, the charge is made.
pub async fn long_names_of_models_are_cut(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let long = ChargeBasis {
        rate: None,
        model: Some("ä".repeat(MAX_CHARGE_MODEL)),
    };
    let hold = shop.draw_by(&token, 10, long).await;
    let id = hold.id();
    hold.settle();
    let charge = shop.charge(id).await.expect("was charged");
    let kept = "ä".repeat(MAX_CHARGE_MODEL / 2);
    assert_eq!(charge.basis.model.as_deref(), Some(kept.as_str()));
    let mut wrong = basis();
    wrong.rate = Some(RateUsed {
        bitcoin_price: "9".repeat(MAX_CHARGE_RATE + 1),
        ..dollars()
    });
    let request = HoldRequest {
        basis: Some(Box::new(wrong)),
        ..shop.request(&token, Cost::Amount(msat(10)))
    };
    let refused = shop.ledger.hold(request).await;
    assert!(matches!(refused, Err(LedgerError::TooLarge)));
    assert_eq!(shop.account(&token).await.held, Msat::ZERO);
}

/// Details live as long as the account, and no longer.
pub async fn details_of_charges_are_pruned_with_their_account(place: &dyn Place) {
    let shop = Shop::open(place);
    let (gone, kept) = (shop.token(Kind::Balance, 50), shop.token(Kind::Balance, 51));
    let released = shop.draw_by(&gone, 50, basis()).await;
    let released_id = released.id();
    released.void_with(VoidReason::CutShort, measured());
    let mut ids = Vec::new();
    for token in [&gone, &kept] {
        let hold = shop.draw_by(token, 50, basis()).await;
        ids.push(hold.id());
        hold.settle_part_with(msat(50), measured());
    }
    assert!(shop.charge(released_id).await.is_some());
    shop.clock.forward(32 * DAY);
    let pruned = shop.ledger.prune().await.expect("the store works");
    assert_eq!(pruned.accounts, 1);
    assert_eq!(shop.charge(ids[0]).await, None);
    assert_eq!(shop.charge(released_id).await, None);
    let kept = shop.charge(ids[1]).await.expect("has value");
    assert_eq!(kept.basis, basis());
    shop.sound().await;
}

/// A retry of a charged request finds the first charge, and adds none.
pub async fn a_retry_leaves_the_charge_as_it_was(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    let request = |model: &str| HoldRequest {
        once: crate::shop::once(1, 1),
        basis: Some(Box::new(ChargeBasis {
            rate: None,
            model: Some(model.to_owned()),
        })),
        ..shop.request(&token, Cost::Amount(msat(10)))
    };
    let hold = held(shop.admit(request("first")).await);
    let id = hold.id();
    hold.settle_part_with(msat(9), measured());
    shop.ledger.flush().await.expect("the store works");
    let Admitted::Finished(receipt) = shop.admit(request("second")).await else {
        panic!("was charged twice")
    };
    assert_eq!((receipt.hold, receipt.charged), (id, msat(9)));
    let charge = shop.charge(id).await.expect("was charged");
    assert_eq!(charge.basis.model.as_deref(), Some("first"));
    assert_eq!(
        shop.charges(ChargeQuery::default(), 9).await.charges.len(),
        1
    );
}
