//! Whatever keys and their children do in between: no money is made or lost, no limit exceeded.

use std::collections::BTreeMap;

use farebox_core::{Clock, KeyHash, UnixMillis};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::Place;
use crate::key_shop::{at_most, new_payment};
use crate::keys::refund;
use crate::sequence::{pick, sample};
use crate::shop::{DAY, Shop, house, msat};
use farebox_ledger::{Admitted, Deposited, Hold, KeyRefusal, PayoutAnswer, PayoutView, VoidReason};

const SEQUENCES: usize = 24;
const STEPS: usize = 48;
const CHILDREN: usize = 3;

/// One thing that a holder, an upstream, the node or time does. Keys are 0 for the parent, then its
/// children.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deposit(u64),
    Ask { key: usize, amount: u64 },
    Settle { which: usize, used: u64 },
    Void(usize),
    Refund(u64),
    Paid,
    Failed,
    Day { back: bool },
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1_u64..300).prop_map(Step::Deposit),
        8 => (0..=CHILDREN, 0_u64..120).prop_map(|(key, amount)| Step::Ask { key, amount }),
        5 => (any::<usize>(), 0_u64..150).prop_map(|(which, used)| Step::Settle { which, used }),
        2 => any::<usize>().prop_map(Step::Void),
        1 => (1_u64..200).prop_map(Step::Refund),
        1 => Just(Step::Paid),
        1 => Just(Step::Failed),
        2 => any::<bool>().prop_map(|back| Step::Day { back }),
        1 => Just(Step::Restart),
    ]
}

/// Limits of one key: in all, and by day.
type Limits = (Option<u64>, Option<u64>);

fn any_limits() -> impl Strategy<Value = [Limits; CHILDREN + 1]> {
    let one = || {
        (
            proptest::option::of(0_u64..400),
            proptest::option::of(0_u64..200),
        )
    };
    [one(), one(), one(), one()]
}

/// What came in is what was charged, paid out, or is still there, and no key ever spends and holds
/// more than its limits allow: after each step, with children, over days and restarts.
pub async fn keys_and_children_conserve_money_within_limits(place: &dyn Place) {
    let mut shop = Shop::open(place);
    let mut runner = TestRunner::default();
    let sequences = (
        any_limits(),
        proptest::collection::vec(any_step(), 1..STEPS),
    );
    for _ in 0..SEQUENCES {
        let (limits, steps) = sample(&mut runner, &sequences);
        let mut family = Family::new(&shop, limits).await;
        for step in &steps {
            shop = family.take(shop, place, *step).await;
            family.check(&shop, &steps).await;
        }
        family.close(&shop).await;
    }
    shop.sound().await;
}

struct Open {
    hold: Hold,
    key: usize,
    day: u64,
}

/// What holders know of a parent and its children, counted independently of the ledger.
struct Family {
    keys: Vec<KeyHash>,
    limits: [Limits; CHILDREN + 1],
    open: Vec<Open>,
    /// What each key was charged, by day; the parent's own requests alone.
    charged: [BTreeMap<u64, u64>; CHILDREN + 1],
    paid_in: u64,
    paid_out: u64,
    payout: Option<PayoutView>,
    /// The house before.
    lightning: i64,
}

fn day(at: UnixMillis) -> u64 {
    at.get() / 86_400_000
}

impl Family {
    async fn new(shop: &Shop, limits: [Limits; CHILDREN + 1]) -> Self {
        let lightning = house(&shop.sound().await, "lightning");
        let mut keys = vec![shop.new_key(1).await];
        shop.limit(keys[0], at_most(limits[0].0, limits[0].1)).await;
        for (total, per_day) in &limits[1..] {
            keys.push(shop.new_child(keys[0], at_most(*total, *per_day)).await);
        }
        Self {
            keys,
            limits,
            open: Vec::new(),
            charged: Default::default(),
            paid_in: 1,
            paid_out: 0,
            payout: None,
            lightning,
        }
    }

    async fn take(&mut self, shop: Shop, place: &dyn Place, step: Step) -> Shop {
        match step {
            Step::Deposit(amount) => {
                let answer = shop.fund(self.keys[0], new_payment(), amount).await;
                assert!(matches!(answer, Deposited::Credited(_)));
                self.paid_in += amount;
            }
            Step::Ask { key, amount } => self.ask(&shop, key, amount).await,
            Step::Settle { which, used } => self.settle(which, used),
            Step::Void(which) => {
                if let Some(open) = pick(&mut self.open, which) {
                    open.hold.void(VoidReason::NotForwarded);
                }
            }
            Step::Refund(amount) => self.refund(&shop, amount).await,
            Step::Paid => {
                if let Some(payout) = self.payout.take() {
                    shop.paid(&payout, 0).await;
                    self.paid_out += payout.amount.get();
                }
            }
            Step::Failed => {
                if let Some(payout) = self.payout.take() {
                    shop.failed(&payout).await;
                }
            }
            Step::Day { back: false } => shop.clock.forward(DAY),
            Step::Day { back: true } => {
                let now = shop.clock.now().get();
                shop.clock.set(UnixMillis::new(now - 86_400_000));
            }
            Step::Restart => {
                // The next run voids what this one left open: nothing was recorded to charge.
                let shop = shop.reopen(place).await;
                self.open.clear();
                return shop;
            }
        }
        shop
    }

    async fn ask(&mut self, shop: &Shop, key: usize, amount: u64) {
        let day = day(shop.clock.now());
        let fits = |open| self.fits(key, amount, day, open);
        let (now, later) = (fits(true), fits(false));
        match shop.spend(self.keys[key], amount).await {
            Admitted::Held(hold) => {
                assert!(now, "more was held than there is");
                self.open.push(Open { hold, key, day });
            }
            Admitted::Reserved => assert!(later && !now),
            Admitted::Exhausted
            | Admitted::Key(KeyRefusal::TotalLimit | KeyRefusal::DayLimit { .. }) => {
                assert!(!later, "refused for good what might fit");
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Whether a request fits the money and every limit, with open holds and payouts or without.
    fn fits(&self, key: usize, amount: u64, today: u64, with_open: bool) -> bool {
        let held = |counts: &dyn Fn(&Open) -> bool| -> u64 {
            let open = self.open.iter().filter(|open| with_open && counts(open));
            open.map(|open| open.hold.charge().get()).sum()
        };
        let reserved = self.payout.as_ref().filter(|_| with_open);
        let reserved = reserved.map_or(0, |payout| payout.amount.get());
        let mut fits = amount + held(&|_| true) + reserved <= self.balance();
        for who in if key == 0 { vec![0] } else { vec![0, key] } {
            let (total, per_day) = self.limits[who];
            let counts = |open: &Open| who == 0 || open.key == who;
            let all = self.spent(who, None) + held(&counts);
            let of_day =
                self.spent(who, Some(today)) + held(&|open| counts(open) && open.day == today);
            fits &= total.is_none_or(|most| all + amount <= most);
            fits &= per_day.is_none_or(|most| of_day + amount <= most);
        }
        fits
    }

    /// What counts against a key: against the parent, everything.
    fn spent(&self, who: usize, day: Option<u64>) -> u64 {
        let charged = self.charged.iter().enumerate();
        let charged = charged.filter(|(key, _)| who == 0 || *key == who);
        let days = charged.flat_map(|(_, days)| days);
        let days = days.filter(|(known, _)| day.is_none_or(|day| day == **known));
        days.map(|(_, amount)| amount).sum()
    }

    fn balance(&self) -> u64 {
        self.paid_in - self.paid_out - self.spent(0, None)
    }

    fn settle(&mut self, which: usize, used: u64) {
        let Some(open) = pick(&mut self.open, which) else {
            return;
        };
        let used = used.min(open.hold.charge().get());
        *self.charged[open.key].entry(open.day).or_default() += used;
        open.hold.settle_part(msat(used));
    }

    async fn refund(&mut self, shop: &Shop, amount: u64) {
        match shop.ask(refund(shop, self.keys[0], amount)).await {
            PayoutAnswer::Begun(payout) => {
                assert!(self.payout.replace(payout).is_none(), "two are open");
            }
            PayoutAnswer::Exists(known) => assert_eq!(Some(&known), self.payout.as_ref()),
            PayoutAnswer::NothingLeft { .. } => assert!(amount > self.balance()),
            PayoutAnswer::Reserved => assert!(amount <= self.balance()),
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn check(&self, shop: &Shop, steps: &[Step]) {
        let trial = shop.sound().await;
        let today = day(shop.clock.now());
        for (who, key) in self.keys.iter().enumerate() {
            let view = shop.key(*key).await;
            let open = self.open.iter();
            let open = open.filter(|open| who == 0 || open.key == who);
            let mut held: u64 = open.map(|open| open.hold.charge().get()).sum();
            let (total, per_day) = self.limits[who];
            assert_eq!(view.spent.get(), self.spent(who, None), "after {steps:?}");
            let of_day = self.spent(who, Some(today));
            assert_eq!(view.spent_today.get(), of_day, "after {steps:?}");
            assert!(total.is_none_or(|most| view.spent.get() + held <= most));
            let on_day = view.spent_today.get() + view.held_today.get();
            assert!(per_day.is_none_or(|most| on_day <= most), "after {steps:?}");
            if who == 0 {
                held += self.payout.as_ref().map_or(0, |open| open.amount.get());
                assert_eq!(view.balance.get(), self.balance(), "after {steps:?}");
                assert!(view.held <= view.balance, "after {steps:?}");
            }
            assert_eq!(view.held.get(), held, "after {steps:?}");
        }
        let in_house = i64::try_from(self.paid_in - self.paid_out).expect("is small");
        let lightning = self.lightning - in_house;
        assert_eq!(house(&trial, "lightning"), lightning, "after {steps:?}");
    }

    /// Whatever happened: all that is left can be paid out, to the last msat.
    async fn close(mut self, shop: &Shop) {
        if let Some(payout) = self.payout.take() {
            shop.failed(&payout).await;
        }
        for open in self.open.drain(..) {
            open.hold.void(VoidReason::NotForwarded);
        }
        shop.sound().await;
        let left = self.balance();
        if left > 0 {
            let PayoutAnswer::Begun(payout) = shop.ask(refund(shop, self.keys[0], left)).await
            else {
                panic!("{left} msat could not be paid out")
            };
            shop.paid(&payout, 0).await;
        }
        assert_eq!(shop.key(self.keys[0]).await.balance, msat(0));
    }
}
