//! Everything at once: buyers, cheats and failing upstreams, and then the books.

use farebox_testkit::ScriptedUpstream;

use super::edited;
use crate::harness::{Call, Connection, Route, Setup, TestGateway, Token};
use crate::rules::{Books, MANY_CHALLENGES, account_when, books_when, eventually};

const BUYERS: u64 = 6;
const ROUNDS: u64 = 60;

/// What one buyer saw of one token.
#[derive(Default)]
struct Seen {
    /// Answers that came whole and are charged for.
    whole: i64,
    /// Requests whose end the buyer did not wait for.
    abandoned: i64,
}

/// Numbers without a pattern that matters, the same in each run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }

    pub(crate) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }
}

fn target(dice: &mut Dice, route: &str) -> String {
    let scripts = [
        "a",
        "large/5000",
        "status/204",
        "status/404",
        "status/500",
        "cut/10/20",
        "cut-chunked/9",
        "refuse",
        "challenge/402",
    ];
    format!("{route}/{}", scripts[dice.index(scripts.len())])
}

/// Spends, cheats and leaves with `token` until its rounds are over.
fn spend(gateway: &TestGateway, route: &str, token: &Token, mut dice: Dice) -> Seen {
    let mut seen = Seen::default();
    for round in 0..ROUNDS {
        let call = Call::get(&target(&mut dice, route));
        match dice.below(8) {
            0 => {
                let broken = edited(token, |bytes| *bytes.last_mut().unwrap() ^= 1);
                assert_eq!(gateway.send(&call.with(&broken)).status, 401);
            }
            1 => {
                let mut connection = Connection::open(gateway.address).unwrap();
                connection.send(&call.with(token)).unwrap();
                seen.abandoned += 1;
            }
            2 => {
                let keyed = call.header("Idempotency-Key", &format!("{}{round}", dice.0));
                let keyed = keyed.with(token);
                for _ in 0..2 {
                    count(&mut seen, gateway, &keyed);
                }
            }
            _ => count(&mut seen, gateway, &call.with(token)),
        }
    }
    seen
}

fn count(seen: &mut Seen, gateway: &TestGateway, call: &Call) {
    let Ok(reply) = call.try_send(gateway.address) else {
        return;
    };
    let charged = (200..400).contains(&reply.status);
    seen.whole += i64::from(charged && reply.find("farebox-replayed").is_none());
}

#[test]
fn whatever_happens_the_books_balance_and_every_buyer_gets_what_was_paid_for() {
    let upstream = ScriptedUpstream::start().unwrap();
    let limits = "max_voids = 1000000";
    let balance = Route::at("/balance", &upstream).msat(700).line(limits);
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .route(
            Route::at("/calls", &upstream)
                .msat(901)
                .calls(100)
                .line(limits),
        )
        .route(balance.line("balance = { msat = 70000 }"));
    let mut gateway = TestGateway::start(setup);
    let routes = [("/calls", 901), ("/balance", 700)];
    let mut charged = 0;
    for (route, price) in routes {
        let token = gateway.buy(&Call::get(&format!("{route}/a")));
        let seen: Vec<Seen> = std::thread::scope(|scope| {
            let spend = |buyer| {
                let (gateway, token) = (&gateway, &token);
                scope.spawn(move || spend(gateway, route, token, Dice(buyer)))
            };
            let buyers: Vec<_> = (1..=BUYERS).map(spend).collect();
            buyers
                .into_iter()
                .map(|buyer| buyer.join().unwrap())
                .collect()
        });
        let account = account_when(&gateway, &token, |account| {
            account["held_msat"] == 0 && gateway.metric("farebox_holds_open", &[]) == Some(0)
        });
        let whole: i64 = seen.iter().map(|seen| seen.whole).sum();
        let abandoned: i64 = seen.iter().map(|seen| seen.abandoned).sum();
        let amount = account["amount_msat"].as_i64().unwrap();
        let spent = amount - account["balance_msat"].as_i64().unwrap();
        assert_eq!(spent % price, 0, "{account}");
        let used = spent / price;
        assert!(
            (whole..=whole + abandoned).contains(&used),
            "{whole} {abandoned} {account}"
        );
        charged += spent;
    }
    books_when(&gateway, &Books::settled(90_100 + 70_000, charged));
    let counted = || gateway.metric("farebox_charged_msat_total", &[]);
    let counted = eventually(counted, |counted| *counted == Some(charged));
    assert_eq!(counted, Some(charged), "the metrics and the ledger agree");
    gateway.stop();
    let proof = gateway.command(&["db", "verify", "--json"]).stdout;
    let proof: serde_json::Value = serde_json::from_slice(&proof).unwrap();
    assert_eq!(proof["sound"], true, "{proof}");
    assert_eq!(proof["house_msat"]["lightning"], -160_100, "{proof}");
    assert_eq!(proof["payers_msat"], 160_100 - charged, "{proof}");
}
