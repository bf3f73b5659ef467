//! Who pays. Another kind joins by implementing [`Payer`] and standing in [`KINDS`]; it then buys at
//! every price that it does not decline, with every client and upstream.

use farebox_testkit::mint::Coins as Worth;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::price::{DEPOSIT, Price};
use super::stall::Stall;
use super::trial::{Client, Got, Trial};
use crate::harness::{Call, Connection, Reply, TestGateway, Token};
use crate::held::Payment;
use crate::keys;
use crate::rules::eventually;

/// Whoever pays at one price, with money of its own.
pub(super) trait Payer {
    /// Pays for what `trial` asks, in its own way, and takes what it gets of the answer; most show
    /// something with the request, and leave the rest to [`Stall::exchange`].
    fn buy(&mut self, stall: &Stall<'_>, trial: &Trial) -> Got;

    /// All money that the ledger has got from it so far, in msat.
    fn paid_in(&self, gateway: &TestGateway) -> u64;

    /// How much of that is gone by its own accounts, in msat, once nothing is held on them.
    fn spent(&self, gateway: &TestGateway) -> u64;
}

/// Lets a payer come to a price, unless it cannot pay there.
pub(super) type Join = fn(&Stall<'_>) -> Option<Box<dyn Payer>>;

/// Every kind of payer.
pub(super) const KINDS: [(&str, Join); 6] = [
    ("token", |stall| Tokens::join(stall, None)),
    ("narrowed token", |stall| {
        Tokens::join(stall, Some("valid_until=4102444800"))
    }),
    ("key", |stall| Key::join(stall, false)),
    ("child key", |stall| Key::join(stall, true)),
    ("held call", HeldCalls::join),
    ("coins", Coins::join),
];

/// What is known of tokens that a payer is done with, and the one it has.
#[derive(Default)]
struct Tokens {
    /// What a holder adds to each of them.
    caveat: Option<&'static str>,
    current: Option<Token>,
    earlier_paid: u64,
    earlier_spent: u64,
}

impl Tokens {
    fn join(stall: &Stall<'_>, caveat: Option<&'static str>) -> Option<Box<dyn Payer>> {
        let tokens = Self {
            caveat,
            ..Self::default()
        };
        (stall.price != Price::Held).then(|| Box::new(tokens) as _)
    }

    fn take(&mut self, gateway: &TestGateway, token: Token) -> Token {
        self.earlier_paid = self.paid_in(gateway);
        self.earlier_spent = self.spent(gateway);
        let token = match self.caveat {
            Some(caveat) => token.attenuated(caveat),
            None => token,
        };
        self.current.insert(token).clone()
    }
}

impl Payer for Tokens {
    fn buy(&mut self, stall: &Stall<'_>, trial: &Trial) -> Got {
        let token = match &self.current {
            Some(token) if !stall.price.is_single() => token.clone(),
            _ => {
                let mut asked = trial.call.clone();
                if matches!(trial.client, Client::Spoils(_)) {
                    asked.body.extend(b"0\r\n\r\n");
                }
                let token = stall.gateway.buy(&stall.ask(asked));
                self.take(stall.gateway, token)
            }
        };
        let call = stall.ask(trial.call.clone());
        stall.exchange(trial, &call.with(&token))
    }

    fn paid_in(&self, gateway: &TestGateway) -> u64 {
        let account = self
            .current
            .as_ref()
            .and_then(|it| gateway.find_account(it));
        let amount = account.map_or(0, |account| account["amount_msat"].as_u64().unwrap());
        self.earlier_paid + amount
    }

    fn spent(&self, gateway: &TestGateway) -> u64 {
        let spent = self.current.as_ref().map_or(0, |it| gateway.charged(it));
        self.earlier_spent + spent
    }
}

fn json_call(path: &str, body: String) -> Call {
    Call::post(path, body).header("Content-Type", "application/json")
}

struct Key {
    /// What is shown.
    shown: String,
    /// The id of the key whose money it is.
    owner: String,
}

impl Key {
    fn join(stall: &Stall<'_>, is_child: bool) -> Option<Box<dyn Payer>> {
        // A key buys no time.
        if stall.price == Price::Pass {
            return None;
        }
        let amount = json!({ "amount_msat": DEPOSIT }).to_string();
        let order = stall.ask(json_call("/.farebox/keys", amount));
        let told = stall.gateway.send(&order).expect(201).json();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        stall.gateway.pay(&text("invoice"));
        // Asking for it credits what was paid.
        let own = keys::bearer(Call::get("/.farebox/keys/self"), &text("key"));
        stall.gateway.send(&stall.ask(own)).expect(200);
        let shown = if is_child {
            let child = json!({ "parent": text("id") }).to_string();
            let made = stall.gateway.admin(json_call("/admin/v1/keys", child));
            made.json()["key"].as_str().unwrap().to_owned()
        } else {
            text("key")
        };
        let owner = text("id");
        Some(Box::new(Self { shown, owner }))
    }

    /// What the seller knows of the key whose money it is, once nothing is held on it.
    fn standing(&self, gateway: &TestGateway) -> Value {
        let path = format!("/admin/v1/keys/{}", self.owner);
        let read = || gateway.admin(Call::get(&path)).expect(200).json();
        let is_settled = |told: &Value| told["held_msat"] == 0;
        let told = eventually(read, is_settled);
        assert!(is_settled(&told), "{told}");
        told
    }
}

impl Payer for Key {
    fn buy(&mut self, stall: &Stall<'_>, trial: &Trial) -> Got {
        let call = stall.ask(trial.call.clone());
        stall.exchange(trial, &keys::bearer(call, &self.shown))
    }

    fn paid_in(&self, gateway: &TestGateway) -> u64 {
        self.standing(gateway)["deposited_msat"].as_u64().unwrap()
    }

    fn spent(&self, gateway: &TestGateway) -> u64 {
        let told = self.standing(gateway);
        let msat = |name: &str| told[name].as_u64().unwrap();
        msat("deposited_msat") - msat("balance_msat")
    }
}

/// A token of ecash in the place of a key.
struct Coins {
    token: String,
    /// What names the account that they are, in hex.
    account: String,
}

impl Coins {
    fn join(stall: &Stall<'_>) -> Option<Box<dyn Payer>> {
        let proofs = stall.mint.make(&Worth::worth("msat", DEPOSIT));
        let points = proofs.iter().map(|proof| proof.y().unwrap().to_bytes());
        let mut points: Vec<_> = points.collect();
        points.sort_unstable();
        let url = stall.mint.url();
        let named = [b"farebox/token\0", url.as_bytes(), &[0], &points.concat()].concat();
        let coins = Self {
            account: hex::encode(Sha256::digest(named)),
            token: stall.mint.wrap(proofs),
        };
        stall.price.takes_coins().then(|| Box::new(coins) as _)
    }

    /// What the seller knows of the account, once nothing is held on it; nothing before its first use.
    fn standing(&self, gateway: &TestGateway) -> Option<(u64, u64)> {
        let path = format!("/admin/v1/tokens/{}", self.account);
        let read = || gateway.admin(Call::get(&path));
        let is_settled = |told: &Reply| told.status == 404 || told.json()["held_msat"] == 0;
        let told = eventually(read, is_settled);
        assert!(is_settled(&told), "{}", told.text());
        let msat = |name: &str| told.json()[name].as_u64().unwrap();
        (told.status != 404).then(|| (msat("amount_msat"), msat("balance_msat")))
    }
}

impl Payer for Coins {
    fn buy(&mut self, stall: &Stall<'_>, trial: &Trial) -> Got {
        let call = stall.ask(trial.call.clone());
        let line = format!("Bearer {}", self.token);
        stall.exchange(trial, &call.header("Authorization", &line))
    }

    fn paid_in(&self, gateway: &TestGateway) -> u64 {
        self.standing(gateway).map_or(0, |(amount, _)| amount)
    }

    fn spent(&self, gateway: &TestGateway) -> u64 {
        self.standing(gateway)
            .map_or(0, |(amount, balance)| amount - balance)
    }
}

/// Each call has a payment of its own, which the node holds while the upstream answers.
struct HeldCalls(Tokens);

impl HeldCalls {
    fn join(stall: &Stall<'_>) -> Option<Box<dyn Payer>> {
        let held = Self(Tokens::default());
        (stall.price == Price::Held).then(|| Box::new(held) as _)
    }

    /// Fetches the stored answer as its client does, who may have tried something else before.
    fn fetch(stall: &Stall<'_>, trial: &Trial, token: &Token) -> Got {
        let address = stall.gateway.address;
        let call = stall.ask(trial.call.clone()).with(token);
        match trial.client {
            Client::Leaves(_) | Client::HalfCloses(_) => {
                let mut client = Connection::open(address).unwrap();
                client.send(&call).unwrap();
                if trial.client == Client::HalfCloses(0) {
                    client.close_write().unwrap();
                }
            }
            _ => {
                let other = stall.ask(Call::post("/held/other", "body"));
                let reply = stall.gateway.send(&other.with(token));
                assert!(reply.status >= 400, "{}", reply.text());
            }
        }
        let fetch = || call.send(address);
        let reply = eventually(fetch, |reply| reply.status == 200).expect(200);
        assert_eq!(reply.text(), trial.script.events.concat());
        Got {
            bytes: reply.body.len(),
            ..Got::default()
        }
    }
}

impl Payer for HeldCalls {
    fn buy(&mut self, stall: &Stall<'_>, trial: &Trial) -> Got {
        let before = stall.upstream.total();
        let stream = stall.upstream.stream(&stall.price.name());
        let challenge = stall.gateway.challenge(&stall.ask(trial.call.clone()));
        let payment = Payment::begin(stall.gateway, &challenge);
        for event in &trial.script.events {
            stream.send(event.clone());
        }
        if trial.script.ends {
            stream.finish();
        } else {
            stream.cut();
        }
        let preimage = payment.outcome();
        assert_eq!(preimage.is_some(), trial.script.ends, "{:?}", trial.client);
        let mut got = Got::default();
        if let Some(preimage) = preimage {
            let token = challenge.paid_with(preimage);
            got = Self::fetch(stall, trial, &token);
            self.0.take(stall.gateway, token);
        }
        assert_eq!(stall.upstream.total(), before + 1);
        got
    }

    fn paid_in(&self, gateway: &TestGateway) -> u64 {
        self.0.paid_in(gateway)
    }

    fn spent(&self, gateway: &TestGateway) -> u64 {
        self.0.spent(gateway)
    }
}
