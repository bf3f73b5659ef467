//! Prices by what a call turns out to have used: who tells it, what is charged, and what remains of
//! the hold, to the msat.

mod evasion;
pub(crate) mod hook;
mod measured;
mod told;
mod webhook;

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Route, Setup, TestGateway, Token};

/// What one payment deposits, in msat.
const DEPOSIT: u64 = 100_000;

/// A shop that sells its upstream by use.
struct Shop {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
}

impl Shop {
    fn new(price: &str) -> Self {
        Self::with(Setup::new(), price)
    }

    fn with(setup: Setup, price: &str) -> Self {
        let upstream = ScriptedUpstream::start().unwrap();
        let route = Route::at("/paid", &upstream)
            .line(&format!("price = {{ {price} }}"))
            .line(&format!("balance = {{ msat = {DEPOSIT} }}"));
        let gateway = TestGateway::start(setup.route(route));
        Self { upstream, gateway }
    }

    fn buy(&self) -> Token {
        self.gateway.buy(&say(&json!({})))
    }

    /// What one call is charged.
    #[track_caller]
    fn charge_for(&self, call: Call) -> u64 {
        let token = self.buy();
        self.gateway.send(&call.with(&token)).expect(200);
        self.gateway.charged(&token)
    }

    /// What the seller has lost to calls above their hold.
    fn loss(&self) -> Value {
        self.gateway.trial_balance()["house_msat"]["seller_loss"].clone()
    }
}

/// A request whose upstream answers just that.
fn say(what: &Value) -> Call {
    Call::post("/paid/say", what.to_string())
}

/// A request whose upstream says so in headers of this name.
fn costs(lines: &[&str]) -> Call {
    let headers: Vec<_> = lines.iter().map(|line| json!(["x-cost", line])).collect();
    say(&json!({ "headers": headers }))
}
