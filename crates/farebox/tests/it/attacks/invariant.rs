//! Whatever clients and upstreams do: nobody gets more than what is charged, nobody is charged more
//! than what was held, and no msat comes or goes in between.
//!
//! A client has got every event of which it could read bytes, and the prompt with it. What its answer
//! is worth at least is worked out here anew, from what the upstream sent and the client read, and not
//! from what the gateway says. Each price has an upstream of its own and is bought at beside all others;
//! what is thrown at one price depends on the seed alone.

mod payer;
mod price;
mod stall;
mod trial;

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{MintOptions, TestMint};

use super::chaos::Dice;
use crate::harness::{Setup, TestGateway};
use crate::rules::{Books, MANY_CHALLENGES, books_when};
use payer::{KINDS, Payer};
use price::{HOOK_SECRET, INPUT, OUTPUT, Price};
use stall::Stall;
use trial::Trial;

/// Names the seed of a run that is to be repeated.
const SEED: &str = "FAREBOX_TEST_SEED";

/// How much is tried.
#[derive(Clone, Copy)]
struct Extent {
    /// Calls of each payer at each price.
    calls: u32,
    /// Whether each payer reads one of its answers slowly; else one of them does.
    all_pace: bool,
}

fn gateway(upstreams: &[ScriptedUpstream], mint: &TestMint) -> TestGateway {
    let model = format!(
        "[[model]]\nname = \"m\"\ncurrency = \"msat\"\nper = \"unit\"\ninput = {INPUT}\n\
         output = {OUTPUT}\ncontext_tokens = 10000\nmax_output_tokens = 2000"
    );
    let setup = Setup::new()
        .server("trusted_proxies = [\"127.0.0.0/8\"]")
        .section(MANY_CHALLENGES)
        .section(&model)
        .section(&format!(
            "[[mint]]\nurl = \"{}\"\nmost = {{ msat = 100000000000 }}",
            mint.url()
        ))
        .section("[rates.fixed]\nusd = \"100000\"");
    let routes = Price::ALL.into_iter().zip(upstreams);
    let routes = routes.map(|(price, upstream)| price.route(upstream, price.hook().as_ref()));
    let setup = routes.fold(setup, Setup::route);
    TestGateway::start_with(setup, &[("HOOK_SECRET", HOOK_SECRET)])
}

/// What a payer paid in and what of it was charged, in msat.
#[derive(Clone, Copy, Default)]
struct Sums {
    paid_in: u64,
    charged: u64,
}

impl Sums {
    const fn and(self, other: Self) -> Self {
        Self {
            paid_in: self.paid_in + other.paid_in,
            charged: self.charged + other.charged,
        }
    }
}

/// All calls of one payer at one price.
fn trade(stall: &Stall<'_>, who: &str, payer: &mut dyn Payer, trials: &[Trial]) -> Sums {
    let Stall { gateway, price, .. } = *stall;
    let mut spent = payer.spent(gateway);
    let mut pass_is_paid = false;
    for (round, trial) in trials.iter().enumerate() {
        let got = payer.buy(stall, trial);
        let now = payer.spent(gateway);
        let charged = now - spent;
        spent = now;
        let worth = match price {
            Price::Pass if pass_is_paid => 0,
            _ => trial.worth(got),
        };
        let seen = format!(
            "{price:?}, {who}, call {round}: {:?} got {got:?} of {:?}, ends: {}, reported: {:?}",
            trial.client, trial.script.events, trial.script.ends, trial.script.reported
        );
        let worth_it = charged >= worth;
        assert!(worth_it, "{charged} for what is worth {worth}: {seen}");
        assert!(charged <= trial.most(got), "{charged} is too much: {seen}");
        pass_is_paid |= charged > 0;
    }
    Sums {
        paid_in: payer.paid_in(gateway),
        charged: spent,
    }
}

/// All payers at one price, one after the other.
fn trade_all(stall: &Stall<'_>, seed: u64, extent: Extent) -> Sums {
    let mut dice = Dice(seed.wrapping_add(stall.price as u64));
    let joined = KINDS
        .iter()
        .filter_map(|(who, join)| Some((who, join(stall)?)));
    let joined: Vec<_> = joined.collect();
    let slow = dice.index(joined.len());
    let mut sums = Sums::default();
    for (at, (who, mut payer)) in joined.into_iter().enumerate() {
        let trials = (0..extent.calls).map(|_| Trial::new(stall.price, &mut dice));
        let mut trials: Vec<_> = trials.collect();
        if extent.all_pace || at == slow {
            trials.push(Trial::paced(stall.price, &mut dice));
        }
        sums = sums.and(trade(stall, who, &mut *payer, &trials));
    }
    let books = stall.gateway.trial_balance();
    let revenue = &books["house_msat"][format!("revenue:{}", stall.price.name())];
    assert_eq!(revenue.as_u64(), Some(sums.charged), "{:?}", stall.price);
    sums
}

fn run(seed: u64, extent: Extent) {
    let seed = std::env::var(SEED).map_or(seed, |seed| seed.parse().unwrap());
    println!("repeated with {SEED}={seed}");
    let upstreams = Price::ALL.map(|_| ScriptedUpstream::start().unwrap());
    let mint = TestMint::start(MintOptions::default()).unwrap();
    let gateway = gateway(&upstreams, &mint);
    let sums = std::thread::scope(|scope| {
        let stalls = Price::ALL.into_iter().zip(&upstreams);
        let trades = stalls.map(|(price, upstream)| {
            let (gateway, mint) = (&gateway, &mint);
            scope.spawn(move || {
                let stall = Stall {
                    gateway,
                    upstream,
                    price,
                    mint,
                };
                trade_all(&stall, seed, extent)
            })
        });
        let trades: Vec<_> = trades.collect();
        let sums = trades.into_iter().map(|it| it.join().unwrap());
        sums.fold(Sums::default(), Sums::and)
    });
    let msat = |sum: u64| i64::try_from(sum).unwrap();
    books_when(
        &gateway,
        &Books::settled(msat(sums.paid_in), msat(sums.charged)),
    );
}

#[test]
fn nobody_gets_more_than_is_charged_and_nobody_is_charged_more_than_was_held() {
    let extent = Extent {
        calls: 16,
        all_pace: false,
    };
    run(7, extent);
}

#[test]
#[ignore = "long"]
fn nobody_gets_more_in_many_more_rounds_that_are_new_each_time() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let extent = Extent {
        calls: 150,
        all_pace: true,
    };
    run(now.as_secs(), extent);
}
