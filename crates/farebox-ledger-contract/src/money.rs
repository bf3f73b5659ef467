//! Money is neither made nor lost, whatever happens in whatever order.

use std::collections::HashMap;

use farebox_core::{Kind, Msat};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::Place;
use crate::sequence::{pick, sample};
use crate::shop::{Shop, Token, held, house, msat};
use farebox_ledger::{AccountName, Admitted, Hold, TransferKind, VoidReason};

/// Sequences tried; each is up to [`STEPS`] long.
const SEQUENCES: usize = 24;
const STEPS: usize = 24;

/// One thing a client or an upstream does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(u64),
    Settle(usize),
    SettlePart(usize, u64),
    Void(usize),
    Drop(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..400).prop_map(Step::Ask),
        2 => any::<usize>().prop_map(Step::Settle),
        1 => (any::<usize>(), 0_u64..500).prop_map(|(which, used)| Step::SettlePart(which, used)),
        2 => any::<usize>().prop_map(Step::Void),
        1 => any::<usize>().prop_map(Step::Drop),
    ]
}

/// Whatever is settled, settled in part, voided or dropped in between: what came in is what was
/// charged, what is held and what is left, after each step.
pub async fn money_is_conserved_under_any_sequence(place: &dyn Place) {
    let shop = Shop::open(place);
    let mut runner = TestRunner::default();
    let sequences = (
        1_u64..1_000,
        0_u32..12,
        proptest::collection::vec(any_step(), 1..STEPS),
    );
    for _ in 0..SEQUENCES {
        let (amount, calls, steps) = sample(&mut runner, &sequences);
        let kind = if calls == 0 {
            Kind::Balance
        } else {
            Kind::Calls(calls)
        };
        let mut till = Till {
            token: shop.token(kind, amount),
            open: Vec::new(),
            charged: 0,
        };
        for step in &steps {
            till.take(&shop, *step).await;
            till.check(&shop, amount, &steps).await;
        }
    }
    shop.sound().await;
}

/// A client's side of one token.
struct Till {
    token: Token,
    open: Vec<Hold>,
    charged: u64,
}

impl Till {
    async fn take(&mut self, shop: &Shop, step: Step) {
        match step {
            Step::Ask(amount) => {
                let answer = match self.token.terms.kind {
                    Kind::Balance => shop.draw(&self.token, amount).await,
                    Kind::Single | Kind::Calls(_) | Kind::Pass(_) => shop.call(&self.token).await,
                };
                if let Admitted::Held(hold) = answer {
                    self.open.push(hold);
                }
            }
            Step::Settle(which) => self.settle(which, None),
            Step::SettlePart(which, used) => self.settle(which, Some(used)),
            Step::Void(which) => {
                if let Some(hold) = pick(&mut self.open, which) {
                    hold.void(VoidReason::NotForwarded);
                }
            }
            Step::Drop(which) => drop(pick(&mut self.open, which)),
        }
    }

    fn settle(&mut self, which: usize, used: Option<u64>) {
        let Some(hold) = pick(&mut self.open, which) else {
            return;
        };
        let charge = hold.charge().get();
        self.charged += used.map_or(charge, |used| used.min(charge));
        match used {
            Some(used) => hold.settle_part(msat(used)),
            None => hold.settle(),
        }
    }

    async fn check(&self, shop: &Shop, amount: u64, steps: &[Step]) {
        shop.sound().await;
        let Some(account) = shop
            .ledger
            .account(self.token.account())
            .await
            .expect("reads")
        else {
            return;
        };
        let held: u64 = self.open.iter().map(|hold| hold.charge().get()).sum();
        assert_eq!(account.held.get(), held, "after {steps:?}");
        assert_eq!(
            account.balance.get() + self.charged,
            amount,
            "after {steps:?}"
        );
        assert!(account.held <= account.balance, "after {steps:?}");
    }
}

/// N settled calls charge exactly the amount, in whatever order others are voided in between.
pub async fn shares_of_calls_sum_to_the_amount_whatever_is_voided(place: &dyn Place) {
    let shop = Shop::open(place);
    let mut runner = TestRunner::default();
    let plans = (
        0_u64..5_000,
        1_u32..20,
        proptest::collection::vec(any::<(bool, usize)>(), 60),
    );
    for _ in 0..SEQUENCES {
        let (amount, calls, plan) = sample(&mut runner, &plans);
        let token = shop.token(Kind::Calls(calls), amount);
        let mut open = HashMap::new();
        let mut settled = Vec::new();
        for (number, (void, which)) in plan.into_iter().enumerate() {
            if let Admitted::Held(hold) = shop.call(&token).await {
                open.insert(number, hold);
            }
            let chosen = open.keys().copied().nth(which % open.len().max(1));
            let Some(hold) = chosen.and_then(|chosen| open.remove(&chosen)) else {
                continue;
            };
            if void {
                hold.void(VoidReason::NotForwarded);
            } else {
                settled.push(hold.charge().get());
                hold.settle();
            }
        }
        settled.extend(settle_rest(&shop, &token, open.into_values()).await);
        assert_eq!(settled.len(), calls as usize);
        assert_eq!(settled.iter().sum::<u64>(), amount, "shares {settled:?}");
        assert_eq!(shop.account(&token).await.balance, Msat::ZERO);
    }
    shop.sound().await;
}

async fn settle_rest(shop: &Shop, token: &Token, open: impl Iterator<Item = Hold>) -> Vec<u64> {
    let mut settled = Vec::new();
    for hold in open {
        settled.push(hold.charge().get());
        hold.settle();
    }
    while let Admitted::Held(hold) = shop.call(token).await {
        settled.push(hold.charge().get());
        hold.settle();
    }
    settled
}

/// A metered answer is charged what it used.
pub async fn part_of_a_hold_is_charged_and_the_rest_released(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    held(shop.draw(&token, 800).await).settle_part(msat(300));
    let account = shop.account(&token).await;
    assert_eq!((account.balance, account.held), (msat(700), msat(0)));
    held(shop.draw(&token, 700).await).settle();
    shop.sound().await;
}

/// What was used above the hold is not the payer's to pay, and stays visible.
pub async fn usage_above_the_hold_is_the_sellers_loss(place: &dyn Place) {
    let shop = Shop::open(place);
    let token = shop.token(Kind::Balance, 1_000);
    held(shop.draw(&token, 400).await).settle_part(msat(450));
    let trial = shop.sound().await;
    assert_eq!(shop.account(&token).await.balance, msat(600));
    assert_eq!(
        (
            house(&trial, "seller_loss"),
            house(&trial, "revenue:weather")
        ),
        (-50, 450)
    );
    assert_eq!(shop.ledger.stats().seller_loss_msat, 50);
    assert_eq!(shop.ledger.stats().claims, 1);
}

/// An account's history reads backwards, page by page.
pub async fn transfers_are_listed_latest_first(place: &dyn Place) {
    let shop = Shop::open(place);
    let (token, other) = (
        shop.token(Kind::Calls(5), 50),
        shop.token(Kind::Calls(5), 50),
    );
    let mut ids = Vec::new();
    for _ in 0..3 {
        let hold = shop.hold(&token).await;
        ids.push(*hold.id().as_bytes());
        hold.settle();
        shop.hold(&other).await.settle();
    }
    shop.sound().await;
    let page = shop
        .ledger
        .transfers(token.account(), None, 2)
        .await
        .expect("reads");
    assert_eq!([page[0].id, page[1].id], [ids[2], ids[1]]);
    let rest = shop
        .ledger
        .transfers(token.account(), Some(page[1].id), 10)
        .await
        .expect("reads");
    assert_eq!(
        (rest.len(), rest[0].id, rest[1].kind),
        (2, ids[0], TransferKind::Claim)
    );
    assert_eq!(rest[0].debit, AccountName::Payer(token.account()));
    assert_eq!(rest[1].debit, AccountName::House("lightning".to_owned()));
}
