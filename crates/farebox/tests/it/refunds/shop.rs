//! A seller with a node that can pay, and a buyer who wants money back.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use super::lnd::Lnd;
use crate::harness::{Call, Challenge, Reply, Route, Setup, TestGateway, Token};
use crate::rules::MANY_CHALLENGES;

/// What each kind of token costs, in msat.
pub(super) const PRICE: u64 = 100_000;
/// What a call on the balance costs, in msat.
pub(super) const CALL: u64 = 2_000;
/// A payment that ended by itself has ended by then.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

/// One gateway, its node and its upstream.
pub(super) struct Shop {
    pub(super) gateway: TestGateway,
    pub(super) upstream: ScriptedUpstream,
    pub(super) lnd: Lnd,
}

impl Shop {
    pub(super) fn open() -> Self {
        Self::open_with("", &[])
    }

    /// With lines for `[refunds]` and an environment.
    pub(super) fn open_with(refunds: &str, environment: &[(&str, &str)]) -> Self {
        let (upstream, lnd) = (ScriptedUpstream::start().unwrap(), Lnd::start());
        let setup = setup(&upstream, &lnd, refunds);
        Self {
            gateway: TestGateway::start_with(setup, environment),
            upstream,
            lnd,
        }
    }

    /// Writes other lines for `[refunds]`; SIGHUP or a restart makes them count.
    pub(super) fn rewrite(&mut self, refunds: &str) {
        let setup = setup(&self.upstream, &self.lnd, refunds);
        self.gateway.reconfigure(setup);
    }

    /// A token for what `target` costs, paid at the node and never used.
    #[track_caller]
    pub(super) fn buy(&self, target: &str) -> Token {
        let challenge = self.challenge(target);
        let preimage = self.lnd.node.pay(&challenge.invoice).unwrap();
        challenge.paid_with(hex::encode(preimage.reveal()))
    }

    #[track_caller]
    pub(super) fn challenge(&self, target: &str) -> Challenge {
        self.gateway.challenge(&Call::get(target))
    }

    /// A balance of which one call was used.
    #[track_caller]
    pub(super) fn used_balance(&self) -> Token {
        let token = self.buy("/balance/a");
        self.spend(&token, "/balance/a").expect(200);
        assert_eq!(self.gateway.charged(&token), CALL);
        token
    }

    pub(super) fn spend(&self, token: &Token, target: &str) -> Reply {
        self.gateway.send(&Call::get(target).with(token))
    }

    /// Asks for a refund.
    pub(super) fn refund(&self, token: &Token, wish: &Value) -> Reply {
        self.gateway.send(&ask(token, wish))
    }

    pub(super) fn refund_to(&self, token: &Token, invoice: &str) -> Reply {
        self.refund(token, &json!({ "invoice": invoice }))
    }

    /// Asks for a refund whose answer may take long, or never come.
    pub(super) fn refund_in_background(&self, token: &Token, invoice: &str) -> JoinHandle<()> {
        let (call, to) = (
            ask(token, &json!({ "invoice": invoice })),
            self.gateway.address,
        );
        std::thread::spawn(move || drop(call.try_send(to)))
    }

    /// What the holder of `token` sees.
    #[track_caller]
    pub(super) fn standing(&self, token: &Token) -> Value {
        let call = Call::get("/.farebox/refund").with(token);
        self.gateway.send(&call).expect(200).json()
    }

    /// What could be paid back on `token`, in msat.
    #[track_caller]
    pub(super) fn refundable(&self, token: &Token) -> u64 {
        self.standing(token)["refundable_msat"].as_u64().unwrap()
    }

    /// The latest refund of `token`, as soon as it has an end.
    #[track_caller]
    pub(super) fn wait_for_end(&self, token: &Token) -> Value {
        self.wait_for_end_of(("payment_hash", &token.payment_hash()))
    }

    /// The same for whatever the operator's view calls so.
    #[track_caller]
    pub(super) fn wait_for_end_of(&self, (name, value): (&str, &str)) -> Value {
        let give_up_at = Instant::now() + WAIT_AT_MOST;
        loop {
            // The operator's view: the holder's has a limit on how often it is asked for.
            let call = Call::get("/admin/v1/payouts");
            let payouts = self.gateway.admin(call).expect(200).json();
            let payouts = payouts["payouts"].as_array().unwrap().clone();
            let own = payouts.into_iter().rfind(|payout| payout[name] == value);
            let own = own.expect("a refund was begun");
            if own["state"] != "open" {
                return own;
            }
            assert!(Instant::now() < give_up_at, "no end: {own}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the books say left over Lightning, more than came in for `paid_in` tokens.
    #[track_caller]
    pub(super) fn assert_books(&self, paid_in: u64) {
        let balance = self.gateway.trial_balance();
        assert_eq!(balance["sound"], true, "{balance}");
        let lightning = balance["house_msat"]["lightning"].as_i64().unwrap();
        let (_, out) = self.lnd.paid_out();
        let expected = i64::try_from(out).unwrap() - i64::try_from(paid_in).unwrap();
        assert_eq!(lightning, expected, "{balance}");
    }
}

/// A request for a refund.
pub(super) fn ask(token: &Token, wish: &Value) -> Call {
    Call::post("/.farebox/refund", wish.to_string()).with(token)
}

/// Fails unless `reply` is a problem of this status and code.
#[track_caller]
pub(super) fn assert_problem(reply: Reply, status: u16, code: &str) -> Value {
    let problem = reply.expect(status).json();
    let kind = problem["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with(&format!("/{code}")), "{problem}");
    problem
}

fn setup(upstream: &ScriptedUpstream, lnd: &Lnd, refunds: &str) -> Setup {
    let priced = |path: &str| Route::at(path, upstream).msat(PRICE);
    Setup::new()
        .lightning(&lnd.toml())
        .server("trusted_proxies = [\"127.0.0.0/8\"]")
        .section(MANY_CHALLENGES)
        .section(&format!("[refunds]\n{refunds}"))
        .route(priced("/single").bound_to_route())
        .route(Route::at("/calls", upstream).msat(PRICE / 5).calls(5))
        .route(
            Route::at("/balance", upstream)
                .msat(CALL)
                .line(&format!("balance = {{ msat = {PRICE} }}")),
        )
        .route(priced("/pass").line("pass = \"1h\""))
}
