//! Money is neither made nor lost, whatever pays in, is bought, and is paid out in between.

use farebox_core::Kind;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::Place;
use crate::sequence::{pick, sample};
use crate::shop::{DAY, Shop, Token, house, msat};
use farebox_ledger::{Admitted, Hold, PayoutAnswer, PayoutView, TrialBalance, VoidReason};

/// Sequences tried; each is up to [`STEPS`] long, over every kind of token in turn.
const SEQUENCES: usize = 24;
const STEPS: usize = 32;

/// One thing that a client, an upstream or the node does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(u64),
    Settle(usize),
    SettlePart(usize, u64),
    Void(usize),
    Receive(u64),
    Refund { amount: u64, max_fee: u64 },
    Paid(u64),
    Failed,
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_u64..300).prop_map(Step::Ask),
        2 => any::<usize>().prop_map(Step::Settle),
        1 => (any::<usize>(), 0_u64..400).prop_map(|(which, used)| Step::SettlePart(which, used)),
        2 => any::<usize>().prop_map(Step::Void),
        2 => (0_u64..2_500).prop_map(Step::Receive),
        4 => (0_u64..900, 0_u64..60).prop_map(|(amount, max_fee)| Step::Refund { amount, max_fee }),
        3 => (0_u64..80).prop_map(Step::Paid),
        1 => Just(Step::Failed),
        1 => Just(Step::Restart),
    ]
}

/// What came in is what was charged, paid out, taken by routing, or is still there: after each
/// step, for every kind of token.
pub async fn money_is_conserved_with_refunds_and_overpayments(place: &dyn Place) {
    let mut shop = Shop::open(place);
    let mut runner = TestRunner::default();
    let sequences = (
        1_u64..1_000,
        1_u32..8,
        proptest::collection::vec(any_step(), 1..STEPS),
    );
    for number in 0..SEQUENCES {
        let (amount, calls, steps) = sample(&mut runner, &sequences);
        let kinds = [
            Kind::Single,
            Kind::Calls(calls),
            Kind::Balance,
            Kind::Pass(DAY),
        ];
        let kind = kinds[number % kinds.len()];
        let mut till = Till::new(shop.token(kind, amount), &shop).await;
        for step in &steps {
            shop = till.take(shop, place, *step).await;
            till.check(&shop, &steps).await;
        }
        till.close(&shop).await;
    }
    shop.sound().await;
}

/// What a client and a node know of one token.
struct Till {
    token: Token,
    open: Vec<Hold>,
    payout: Option<PayoutView>,
    charged: u64,
    /// Paid out, fees included.
    gone: u64,
    /// What the payment brought, as far as the node has told.
    received: u64,
    /// The house before.
    lightning: i64,
    earned: i64,
}

/// What the house earned and lost in all, fees above their limits included.
fn earned(trial: &TrialBalance) -> i64 {
    let at = |name| house(trial, name);
    at("revenue:weather") + at("seller_loss") + at("lightning_fees")
}

impl Till {
    async fn new(token: Token, shop: &Shop) -> Self {
        let before = shop.sound().await;
        Self {
            received: token.terms.amount.get(),
            token,
            open: Vec::new(),
            payout: None,
            charged: 0,
            gone: 0,
            lightning: house(&before, "lightning"),
            earned: earned(&before),
        }
    }

    async fn take(&mut self, shop: Shop, place: &dyn Place, step: Step) -> Shop {
        match step {
            Step::Ask(amount) => self.ask(&shop, amount).await,
            Step::Settle(which) => self.settle(which, None),
            Step::SettlePart(which, used) => self.settle(which, Some(used)),
            Step::Void(which) => {
                if let Some(hold) = pick(&mut self.open, which) {
                    hold.void(VoidReason::NotForwarded);
                }
            }
            Step::Receive(total) => {
                shop.receive(&self.token, total).await;
                self.received = self.received.max(total);
            }
            Step::Refund { amount, max_fee } => self.refund(&shop, amount, max_fee).await,
            Step::Paid(fee) => {
                if let Some(payout) = self.payout.take() {
                    shop.paid(&payout, fee).await;
                    self.gone += payout.amount.get() + fee.min(payout.max_fee.get());
                }
            }
            Step::Failed => {
                if let Some(payout) = self.payout.take() {
                    shop.failed(&payout).await;
                }
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

    async fn ask(&mut self, shop: &Shop, amount: u64) {
        match shop.draw(&self.token, amount).await {
            Admitted::Held(hold) => self.open.push(hold),
            Admitted::Pass { .. } => assert_eq!(self.charged, self.token.terms.amount.get()),
            _ => {}
        }
    }

    fn settle(&mut self, which: usize, used: Option<u64>) {
        let Some(hold) = pick(&mut self.open, which) else {
            return;
        };
        let charge = hold.charge().get();
        // Usage above the hold is another story.
        let used = used.unwrap_or(charge).min(charge);
        // A pass is charged whole, once.
        match self.token.terms.kind {
            Kind::Pass(_) => self.charged = self.token.terms.amount.get(),
            _ => self.charged += used,
        }
        hold.settle_part(msat(used));
    }

    async fn refund(&mut self, shop: &Shop, amount: u64, max_fee: u64) {
        match shop.ask(shop.payout(&self.token, amount, max_fee)).await {
            PayoutAnswer::Begun(payout) => {
                assert!(self.payout.replace(payout).is_none(), "two are open");
            }
            PayoutAnswer::Exists(known) => assert_eq!(Some(&known), self.payout.as_ref()),
            PayoutAnswer::NothingLeft { available } => {
                assert!(available.get() < amount + max_fee, "{available} were left");
            }
            PayoutAnswer::Reserved | PayoutAnswer::BelowLeast => {}
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn check(&self, shop: &Shop, steps: &[Step]) {
        let trial = shop.sound().await;
        let Some(account) = shop
            .ledger
            .account(self.token.account())
            .await
            .expect("reads")
        else {
            assert_eq!((self.charged, self.gone), (0, 0), "after {steps:?}");
            return;
        };
        let left = account.balance.get();
        assert_eq!(
            left + self.charged + self.gone,
            self.received,
            "after {steps:?}"
        );
        assert!(account.held <= account.balance, "after {steps:?}");
        let came = i64::try_from(self.received).expect("is small");
        let gone = i64::try_from(self.gone).expect("is small");
        let charged = i64::try_from(self.charged).expect("is small");
        assert_eq!(
            house(&trial, "lightning"),
            self.lightning - came + gone,
            "after {steps:?}"
        );
        assert_eq!(earned(&trial), self.earned + charged, "after {steps:?}");
        let sold = match account.terms.kind {
            Kind::Single => 1,
            Kind::Calls(count) => count,
            Kind::Pass(_) | Kind::Balance => return,
        };
        assert!(
            account.calls_used + account.calls_held <= sold,
            "after {steps:?}"
        );
        assert!(account.excess.get() <= left, "after {steps:?}");
    }

    /// Whatever happened: all that is left can be paid out, to the last msat.
    async fn close(mut self, shop: &Shop) {
        if let Some(payout) = self.payout.take() {
            shop.failed(&payout).await;
        }
        for hold in self.open.drain(..) {
            hold.void(VoidReason::NotForwarded);
        }
        shop.sound().await;
        let left = shop
            .ledger
            .refundable(self.token.account())
            .await
            .expect("reads");
        let Some(left) = left.filter(|left| !left.available.is_zero()) else {
            return;
        };
        assert_eq!(left.held, msat(0));
        let payout = shop.begin(&self.token, left.available.get(), 0).await;
        shop.paid(&payout, 0).await;
        let account = shop.account(&self.token).await;
        assert_eq!((account.balance, account.calls_held), (msat(0), 0));
        let again = shop.draw(&self.token, 1).await;
        assert!(
            matches!(again, Admitted::Exhausted | Admitted::Pass { .. }),
            "{again:?} of a refunded token"
        );
    }
}
