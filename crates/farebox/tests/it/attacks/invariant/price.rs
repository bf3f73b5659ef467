//! What is sold, each kind under a path of its name.

use farebox_testkit::ScriptedUpstream;

use crate::by_use::hook::{Answer, Hook};
use crate::harness::Route;

/// What a payer has, in msat: more than all of its calls can cost.
pub(super) const DEPOSIT: u64 = 50_000_000;
/// A fixed price, in msat.
pub(super) const PRICE: u64 = 700;
/// The most that a call costs by use, in msat.
pub(super) const AT_MOST: u64 = 400_000;
pub(super) const PER_BYTE: u64 = 9;
pub(super) const PER_SECOND: u64 = 1000;
/// The least that a call costs of [`Price::Least`], and what one of what its upstream tells costs.
pub(super) const LEAST: u64 = 5000;
pub(super) const EACH: u64 = 2;
/// What the seller's program says that a call came to.
pub(super) const HOOKED: u64 = 3100;
/// msat for a token read, and for one written.
pub(super) const INPUT: u64 = 10;
pub(super) const OUTPUT: u64 = 100;

pub(super) const HOOK_SECRET: &str = "a secret of enough bytes";

/// A kind of price together with what a payment buys at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Price {
    /// Several calls.
    Fixed,
    /// One call, on the whole route.
    Single,
    /// One call, for the exact request.
    Bound,
    /// One call, whose payment is held until its answer is stored.
    Held,
    /// Several calls, in dollars.
    Fiat,
    /// A deposit that fixed prices are drawn from.
    Balance,
    /// A time.
    Pass,
    /// Several calls, each charged for being forwarded.
    Act,
    Bytes,
    /// The bytes of both bodies.
    Both,
    Seconds,
    Header,
    /// A quantity in a header, and a least charge.
    Least,
    Json,
    Model,
    /// The seller's program says afterwards what a call came to.
    Hook,
    /// The seller's program says before each call what it costs.
    Quoted,
}

impl Price {
    pub(super) const ALL: [Self; 17] = [
        Self::Fixed,
        Self::Single,
        Self::Bound,
        Self::Held,
        Self::Fiat,
        Self::Balance,
        Self::Pass,
        Self::Act,
        Self::Bytes,
        Self::Both,
        Self::Seconds,
        Self::Header,
        Self::Least,
        Self::Json,
        Self::Model,
        Self::Hook,
        Self::Quoted,
    ];

    pub(super) fn name(self) -> String {
        format!("{self:?}").to_ascii_lowercase()
    }

    /// Whether a payment buys one call and no more.
    pub(super) const fn is_single(self) -> bool {
        matches!(self, Self::Single | Self::Bound | Self::Held | Self::Quoted)
    }

    /// Whether a call costs the same whatever its answer is.
    pub(super) const fn is_flat(self) -> bool {
        self.is_single()
            || matches!(
                self,
                Self::Fixed | Self::Fiat | Self::Balance | Self::Pass | Self::Act
            )
    }

    /// Whether a request is read to its end before it is forwarded: then it cannot break off afterwards.
    pub(super) const fn reads_all_first(self) -> bool {
        matches!(
            self,
            Self::Model | Self::Single | Self::Bound | Self::Held | Self::Hook | Self::Quoted
        )
    }

    /// The most that one call costs, in msat.
    pub(super) const fn most(self) -> u64 {
        if self.is_flat() { PRICE } else { AT_MOST }
    }

    /// The seller's program, where one says the price.
    pub(super) fn hook(self) -> Option<Hook> {
        let quote = match self {
            Self::Hook => format!("{{\"at_most_msat\": {AT_MOST}}}"),
            Self::Quoted => format!("{{\"price_msat\": {PRICE}}}"),
            _ => return None,
        };
        let charge = Answer::Json(format!("{{\"charge_msat\": {HOOKED}}}"));
        Some(Hook::start(&quote, &[charge]))
    }

    /// Whether coins pay at it: not for a time, nor for what the node holds.
    pub(super) const fn takes_coins(self) -> bool {
        !matches!(self, Self::Held | Self::Pass)
    }

    pub(super) fn route(self, upstream: &ScriptedUpstream, hook: Option<&Hook>) -> Route {
        let name = self.name();
        let to = format!("{}/stream/{name}", upstream.url());
        let route = Route::to(&format!("/{name}"), &to);
        let route = if self.takes_coins() {
            route.line("methods = [\"l402\", \"cashu\"]")
        } else {
            route
        };
        let flat = route.clone().msat(PRICE);
        let deposit = format!("balance = {{ msat = {DEPOSIT} }}");
        let by_use = |price: &str| {
            let price = format!("price = {{ {price}, at_most = {{ msat = {AT_MOST} }} }}");
            route.clone().line(&price).line(&deposit)
        };
        let webhook = || {
            let url = hook.map(Hook::url).unwrap_or_default();
            let secret = "secret = { env = \"HOOK_SECRET\" }, missing = \"hold\"";
            let price = format!("price = {{ webhook = \"{url}\", {secret} }}");
            route.clone().line(&price)
        };
        match self {
            Self::Fixed => flat.calls(1000),
            Self::Single => flat.bound_to_route(),
            Self::Bound => flat,
            Self::Held => flat.line("on_failure = \"cancel\""),
            Self::Fiat => route.line("price = { usd = \"0.0007\" }").calls(1000),
            Self::Balance => flat.line(&deposit),
            Self::Pass => flat.line("pass = \"1h\""),
            Self::Act => flat.calls(1000).line("charge_on = \"forwarded\""),
            Self::Bytes => by_use(&format!("per_byte = {{ msat = {PER_BYTE} }}")),
            Self::Both => {
                let per_kib = PER_BYTE * 1024;
                by_use(&format!("per_kib = {{ msat = {per_kib} }}, of = \"both\""))
            }
            Self::Seconds => by_use(&format!("per_second = {{ msat = {PER_SECOND} }}")),
            Self::Header => {
                by_use("upstream_header = \"x-cost\", unit = \"msat\", missing = \"hold\"")
            }
            Self::Least => by_use(&format!(
                "upstream_header = \"x-cost\", each = {{ msat = {EACH} }}, least = {{ msat = {LEAST} }}"
            )),
            Self::Json => {
                by_use("upstream_json = \"/usage/cost\", unit = \"msat\", missing = \"hold\"")
            }
            Self::Model => {
                let price = "price = { model_tokens = { tokenizer = \"bytes\" } }";
                route.line(price).line(&deposit)
            }
            Self::Hook => webhook().line(&deposit),
            Self::Quoted => webhook().calls(1),
        }
    }
}
