//! Whatever is bought, and whatever fails: what came in is what was charged, what came back, and what mints
//! took, to the msat, and the mint's own books agree.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{Endpoint, Fault, MintOptions, Reply as MintReply, TestMint};
use serde_json::{Value, json};

use super::faults::{MODEL, section, send};
use super::refused::reason;
use crate::attacks::chaos::Dice;
use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway};
use crate::rules::eventually;

const PRICE: u64 = 1_500;
/// Names the seed of a run that is to be repeated.
const SEED: &str = "FAREBOX_TEST_SEED";
/// What spending a thousand coins costs, at a mint for each trader.
const FEES: [u64; 4] = [0, 100, 250, 1000];

/// Somebody with a purse, and a seller and a mint that only he deals with.
struct Trader {
    dice: Dice,
    mint: TestMint,
    upstream: ScriptedUpstream,
    gateway: TestGateway,
    /// Tokens, with their unit and what they are worth in it.
    purse: Vec<(&'static str, String, u64)>,
    /// What was charged and what is below a coin, in msat.
    earned: u64,
    /// Answers that were charged, and clients that left.
    served: u32,
    gates: u64,
}

/// What is asked for.
enum Wish {
    /// A call, and what it costs in msat.
    Fixed(Call, u64),
    /// An answer of a model, which tells itself what it costs.
    Chat(Call),
    /// A call whose client leaves.
    Leave,
}

/// How a token is sent.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Cashu,
    PaymentSats,
    Bearer,
}

impl Way {
    /// Each token comes from an address of its own, whose limits no other one meets.
    fn send(self, call: &Call, token: &str) -> Call {
        let digits = token.bytes().fold(0_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        let [.., b, c, d] = digits.to_be_bytes();
        let call = call.clone();
        let call = call.header("X-Forwarded-For", &format!("10.{b}.{c}.{d}"));
        match self {
            Self::Cashu => call.header("X-Cashu", token),
            Self::PaymentSats => call.header("X-PAYMENT-SATS", token),
            Self::Bearer => call.header("Authorization", &format!("Bearer {token}")),
        }
    }
}

fn msat(unit: &str, amount: u64) -> u64 {
    if unit == "sat" { amount * 1000 } else { amount }
}

impl Trader {
    fn new(seed: u64, fee_ppk: u64) -> Self {
        let mint = TestMint::start(MintOptions::with_fee(fee_ppk)).unwrap();
        let upstream = ScriptedUpstream::start().unwrap();
        let cashu = "methods = [\"cashu\"]";
        let tokens = "price = { model_tokens = { tokenizer = \"bytes\" } }";
        let bytes = "price = { per_byte = { msat = \"0.01\" }, at_most = { sat = 2 } }";
        let setup = Setup::new()
            .without_lightning()
            .server("trusted_proxies = [\"127.0.0.0/8\"]")
            .section(MODEL)
            .section(&section(&mint, "most = { msat = 1000000000 }"))
            .route(Route::at("/paid", &upstream).msat(PRICE).line(cashu))
            .route(Route::at("/v1", &upstream).line(tokens).line(cashu))
            .route(Route::at("/bytes", &upstream).line(bytes).line(cashu));
        Self {
            dice: Dice(seed),
            gateway: TestGateway::start(setup),
            mint,
            upstream,
            purse: Vec::new(),
            earned: 0,
            served: 0,
            gates: 0,
        }
    }

    fn token(&mut self) -> (&'static str, String, u64) {
        if !self.purse.is_empty() && self.dice.below(2) == 0 {
            let at = self.dice.index(self.purse.len());
            return self.purse.swap_remove(at);
        }
        let (unit, most) = if self.dice.below(4) == 0 {
            ("sat", 60)
        } else {
            ("msat", 30_000)
        };
        let amount = 1 + self.dice.below(most);
        (unit, self.mint.token(unit, amount), amount)
    }

    fn wish(&mut self) -> Wish {
        let chat = |stream: bool, most: u64| {
            let mut body = json!({
                "model": "m", "max_tokens": most,
                "messages": [{ "role": "user", "content": "one two three" }],
            });
            if stream {
                body["stream"] = true.into();
                body["stream_options"] = json!({ "include_usage": true });
            }
            let call = Call::post("/v1/chat/completions", body.to_string());
            call.header("Content-Type", "application/json")
        };
        match self.dice.below(8) {
            0..3 => Wish::Fixed(Call::get("/paid/a"), PRICE),
            3 => Wish::Fixed(Call::get("/paid/status/500"), 0),
            4 => Wish::Chat(chat(false, 1 + self.dice.below(20_000))),
            5 => Wish::Chat(chat(true, 1 + self.dice.below(20_000))),
            6 => {
                let hundreds = 1 + self.dice.below(300);
                Wish::Fixed(Call::get(&format!("/bytes/large/{hundreds}00")), hundreds)
            }
            _ => Wish::Leave,
        }
    }

    /// What goes wrong at the mint with the next swap.
    fn fault(&mut self) {
        let fault = match self.dice.below(24) {
            0 => Fault::Instead(MintReply::Html(503)),
            1 => Fault::Instead(MintReply::Cut),
            2 => Fault::After(MintReply::Cut),
            3 => Fault::After(MintReply::Broken),
            4 => Fault::After(MintReply::Html(502)),
            5 => Fault::Instead(MintReply::Limited {
                retry_after: Some(0),
                is_html: false,
            }),
            _ => return,
        };
        self.mint.fault(Endpoint::Swap, fault, 1);
    }

    fn round(&mut self) {
        if self.dice.below(40) == 0 {
            self.gateway.kill();
            self.gateway.start_again(&[]);
        }
        self.fault();
        let (unit, token, worth) = self.token();
        let fees = self.mint.fees(unit);
        let way = [Way::Cashu, Way::PaymentSats, Way::Bearer][self.dice.index(3)];
        let (mut charged, mut leaves) = (0, 0);
        let mut is_paid = false;
        let calls = if way == Way::Bearer {
            1 + self.dice.below(4)
        } else {
            1
        };
        for _ in 0..calls {
            match self.wish() {
                Wish::Leave => {
                    let is_forwarded = self.leave(way, &token);
                    is_paid |= is_forwarded;
                    leaves += u64::from(is_forwarded);
                }
                wish => match self.buy(way, &token, &wish) {
                    Ok(cost) => {
                        is_paid = true;
                        charged += cost;
                        self.served += u32::from(cost > 0);
                    }
                    Err(reply) => self.is_refused_rightly(&reply),
                },
            }
        }
        self.mint.clear_faults();
        if !is_paid && self.pick_up(&token).status == 404 {
            assert_eq!(
                self.mint.value_of(&token).unwrap(),
                worth,
                "it is still his"
            );
            self.purse.push((unit, token, worth));
            return;
        }
        // What was swapped, less the mint's fee, is what is charged and what comes back.
        let credit = msat(unit, worth - (self.mint.fees(unit) - fees));
        self.settle(unit, &token, credit, (charged, leaves));
    }

    fn pick_up(&self, token: &str) -> Reply {
        let call = Way::Cashu.send(&Call::post("/.farebox/change", ""), token);
        let asked = eventually(|| self.gateway.send(&call), |reply| reply.status != 429);
        assert_ne!(asked.status, 429);
        asked
    }

    /// What an answer costs that was served; or why none was.
    fn buy(&self, way: Way, token: &str, wish: &Wish) -> Result<u64, Box<Reply>> {
        let (Wish::Fixed(call, _) | Wish::Chat(call)) = wish else {
            unreachable!("nobody waits for an answer")
        };
        let reply = send(&self.gateway, &way.send(call, token));
        match (wish, reply.status) {
            (Wish::Fixed(_, 0), 500) => Ok(0),
            (Wish::Fixed(_, cost), 200) => Ok(*cost),
            (Wish::Chat(_), 200) => Ok(cost(&reply)),
            _ => Err(Box::new(reply)),
        }
    }

    fn is_refused_rightly(&self, reply: &Reply) {
        let why = reason(reply);
        let known = ["too_little", "used_up", "used", "mint_refused"];
        assert!(known.contains(&&*why), "{reply:?}");
    }

    /// Sends a call, and goes before there is an answer. Whether it was forwarded.
    fn leave(&mut self, way: Way, token: &str) -> bool {
        self.gates += 1;
        let gate = format!("g{}", self.gates);
        let path = format!("/paid/gate/{gate}");
        let mut client = Connection::open(self.gateway.address).unwrap();
        client.send(&way.send(&Call::get(&path), token)).unwrap();
        // It is refused, or comes to the upstream.
        let forwarded = eventually(
            || (self.upstream.count(&path) > 0, client.has_more()),
            |(forwarded, answered)| *forwarded || *answered,
        );
        drop(client);
        let held = || {
            let trial = self.gateway.trial_balance();
            trial["held_msat"].as_u64()
        };
        eventually(held, |held| *held == Some(0));
        self.upstream.open_gate(&gate);
        forwarded.0
    }

    /// Everything that is not charged comes back. Calls that were left may be charged too.
    fn settle(
        &mut self,
        unit: &'static str,
        token: &str,
        credit: u64,
        (charged, leaves): (u64, u64),
    ) {
        let read = || {
            let told = self.pick_up(token).json()["change"].clone();
            let parts: Vec<String> = serde_json::from_value(told).unwrap_or_default();
            let worths = parts.iter().map(|part| self.mint.value_of(part).unwrap());
            let worths: Vec<_> = worths.collect();
            let sum = worths.iter().sum::<u64>();
            (parts, worths, msat(unit, sum))
        };
        let coin = msat(unit, 1);
        let is_all = |back: u64| {
            let left = credit.checked_sub(charged + back);
            left.is_some_and(|left| left % PRICE < coin && left / PRICE <= leaves)
        };
        let (parts, worths, back) = eventually(read, |(.., back)| is_all(*back));
        assert!(
            is_all(back),
            "{back} of {credit} {unit}, and {charged} charged"
        );
        self.earned += credit - back;
        for (part, worth) in parts.into_iter().zip(worths) {
            if self.dice.below(4) == 0 {
                self.mint.redeem(&part).unwrap();
            } else {
                self.purse.push((unit, part, worth));
            }
        }
    }

    /// The books of all.
    fn close(self) {
        let Self { mint, gateway, .. } = &self;
        let stock = || {
            let all = gateway
                .admin(Call::get("/admin/v1/ecash"))
                .expect(200)
                .json();
            let sum = |name: &str| {
                let shelves = all["stock"].as_array().unwrap().iter();
                shelves
                    .map(|shelf| shelf[name].as_u64().unwrap())
                    .sum::<u64>()
            };
            (sum("free_msat"), sum("reserved_msat"), sum("in_doubt"))
        };
        let free = eventually(stock, |(free, ..)| *free == self.earned);
        assert_eq!(
            free,
            (self.earned, 0, 0),
            "all that was earned is the seller's"
        );
        let trial = gateway.trial_balance();
        assert_eq!(trial["sum_msat"], 0, "{trial}");
        let revenue = trial["house_msat"].as_object().unwrap().iter();
        let revenue = revenue.filter(|(name, _)| name.starts_with("revenue:"));
        let revenue: u64 = revenue.map(|(_, sum)| sum.as_u64().unwrap()).sum();
        let below_a_coin = trial["payers_msat"].as_u64().unwrap();
        assert_eq!(revenue + below_a_coin, self.earned);
        for unit in ["sat", "msat"] {
            let purse = self.purse.iter().filter(|(of, ..)| *of == unit);
            let held: u64 = purse.map(|(.., worth)| worth).sum();
            let shelf = gateway.admin(Call::get("/admin/v1/ecash")).json()["stock"].clone();
            let shelves = shelf.as_array().unwrap().iter();
            let ours: u64 = shelves
                .filter(|shelf| shelf["unit"] == unit)
                .map(|shelf| shelf["free_msat"].as_u64().unwrap() / msat(unit, 1))
                .sum();
            assert_eq!(mint.outstanding(unit), held + ours, "{unit}");
        }
        mint.assert_sound();
    }
}

/// What an answer of a model says that it costs, in its usage.
fn cost(reply: &Reply) -> u64 {
    let text = reply.text();
    let whole: Option<Value> = serde_json::from_str(&text).ok();
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.filter_map(|event| serde_json::from_str(event).ok());
    let costs = whole.into_iter().chain(events);
    let mut costs = costs.filter_map(|said: Value| said["usage"]["cost_msat"].as_u64());
    costs.next_back().expect("a cost")
}

fn run(seed: u64, rounds: u32) {
    let seed = std::env::var(SEED).map_or(seed, |seed| seed.parse().unwrap());
    println!("repeated with {SEED}={seed}");
    std::thread::scope(|scope| {
        for (at, fee) in FEES.into_iter().enumerate() {
            scope.spawn(move || {
                let mut trader = Trader::new(seed + at as u64, fee);
                for _ in 0..rounds / 4 {
                    trader.round();
                }
                let most = rounds / 4;
                let (served, left) = (trader.served, trader.gates);
                assert!(served > most / 4, "{served} answers in {most} rounds");
                assert!(left > 0 && trader.earned > 0);
                trader.close();
            });
        }
    });
}

#[test]
fn what_came_in_is_what_was_charged_and_what_came_back() {
    run(7, 1_000);
}

#[test]
#[ignore = "long"]
fn the_sums_are_right_in_many_more_rounds_that_are_new_each_time() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    run(now.as_secs(), 10_000);
}
