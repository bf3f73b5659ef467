//! The gateway that sells by use, its customers' keys, and what it ought to have taken.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bench::accounting::TRIAL_BALANCE;
use crate::bench::farebox::{Gateway, Shape, Stage};
use crate::bench::http::request;
use crate::bench::report::Report;
use crate::bench::units::thousands;

/// Streams of our own upstream, sold by use, and for nothing.
pub(super) const PACED: &str = "/paced";
pub(super) const PACED_FREE: &str = "/paced-free";
/// Whole answers of nginx, sold by use.
pub(super) const WHOLE: &str = "/whole";
pub(super) const CHAT: &str = "/v1/chat/completions";

/// msat for a token read, and for one written.
const INPUT: u64 = 1;
const OUTPUT: u64 = 2;
/// Keys that take turns, so that no single account is the bottleneck.
const KEYS: usize = 64;
/// What is on each.
const DEPOSIT: u64 = 1_000_000_000;
/// Settlements are queued before the last byte leaves, and committed a moment later.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Bytes of the request's body, whatever it asks for.
const BODY_BYTES: usize = 1_024;

/// What one answer says that it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) prompt: u64,
    pub(super) completion: u64,
}

/// A gateway with keys, and what is owed on each route.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) gateway: Gateway,
    pub(super) keys: Vec<String>,
    /// By what was served, in msat.
    owed: BTreeMap<&'static str, u64>,
}

impl Used {
    /// What it costs, by the prices in the configuration, which are whole msat a token.
    pub(super) const fn cost(self) -> u64 {
        self.prompt * INPUT + self.completion * OUTPUT
    }

    /// From the `usage` of an answer or of a chunk.
    pub(super) fn read(usage: &Value) -> Option<Self> {
        Some(Self {
            prompt: usage["prompt_tokens"].as_u64()?,
            completion: usage["completion_tokens"].as_u64()?,
        })
    }
}

impl Shop {
    pub(super) fn open(stage: &Stage<'_>, paced: SocketAddr) -> Result<Self> {
        let shape = Shape {
            sections: sections(paced, stage.upstream),
            ..Shape::default()
        };
        let gateway = stage.start_as("metered", &shape)?;
        let keys = (0..KEYS).map(|_| gateway.buy_key(DEPOSIT));
        let keys = keys.collect::<Result<_>>().context("buying keys")?;
        Ok(Self {
            gateway,
            keys,
            owed: BTreeMap::new(),
        })
    }

    /// So much was served on a route.
    pub(super) fn add(&mut self, place: &'static str, msat: u64) {
        *self.owed.entry(place).or_default() += msat;
    }

    /// Compares with the ledger, route by route; its own trial balance has to be right as well.
    pub(super) fn check(&self, after: &str, report: &mut Report) -> Result<()> {
        let give_up_at = Instant::now() + SETTLED_AFTER;
        let mut ledger = self.gateway.admin(TRIAL_BALANCE)?;
        while !self.is_settled(&ledger) && Instant::now() < give_up_at {
            std::thread::sleep(Duration::from_millis(100));
            ledger = self.gateway.admin(TRIAL_BALANCE)?;
        }
        let owed: u64 = self.owed.values().sum();
        let taken: u64 = [PACED, WHOLE]
            .map(|place| revenue(&ledger, place))
            .iter()
            .sum();
        let exact = self.is_exact(&ledger);
        report.demand(
            &format!("charges after {after}"),
            &format!("{} msat", thousands(taken)),
            &format!("= {} msat of usage", thousands(owed)),
            exact,
        );
        let sound = ledger["sound"] == true && ledger["sum_msat"] == 0 && ledger["open_holds"] == 0;
        report.demand(
            &format!("trial balance after {after}"),
            if sound { "zero" } else { "unsound" },
            "zero, nothing held",
            sound,
        );
        Ok(())
    }

    fn is_settled(&self, ledger: &Value) -> bool {
        self.is_exact(ledger) && ledger["open_holds"] == 0
    }

    fn is_exact(&self, ledger: &Value) -> bool {
        let owed = |place| self.owed.get(place).copied().unwrap_or(0);
        [PACED, WHOLE]
            .iter()
            .all(|place| revenue(ledger, place) == owed(*place))
    }
}

/// What a route has earned so far.
fn revenue(ledger: &Value, place: &str) -> u64 {
    let account = format!("revenue:{}", &place[1..]);
    ledger["house_msat"][account].as_u64().unwrap_or(0)
}

fn sections(paced: SocketAddr, whole: SocketAddr) -> String {
    let mut text = format!(
        "[[model]]\nname = \"bench\"\ncurrency = \"msat\"\nper = \"unit\"\n\
         input = \"{INPUT}\"\noutput = \"{OUTPUT}\"\n\
         context_tokens = 2000000\nmax_output_tokens = 100000\n"
    );
    let by_use = "{ model_tokens = {} }";
    for (path, upstream, price) in [
        (PACED, paced, by_use),
        (PACED_FREE, paced, "\"free\""),
        (WHOLE, whole, by_use),
    ] {
        let name = &path[1..];
        text += &format!(
            "[[route]]\nname = \"{name}\"\npath = \"{path}\"\n\
             upstream = \"http://{upstream}\"\nprice = {price}\n"
        );
    }
    text
}

/// A request for a stream of so many chunks, with its usage at the end; without a key where there
/// is none.
pub(super) fn stream_request(place: &str, key: &str, chunks: u32) -> Vec<u8> {
    let more = r#","stream":true,"stream_options":{"include_usage":true}"#;
    chat(place, key, &body(chunks, more))
}

/// A request for a whole answer.
pub(super) fn whole_request(place: &str, key: &str) -> Vec<u8> {
    chat(place, key, &body(1_000, ""))
}

pub(super) fn chat(place: &str, key: &str, body: &str) -> Vec<u8> {
    let path = format!("{place}{CHAT}");
    let authorization = [("Authorization", key)];
    let fields: &[(&str, &str)] = if key.is_empty() { &[] } else { &authorization };
    request("POST", &path, fields, body)
}

/// What decides about the answer comes first, where the upstream looks for it.
fn body(max_tokens: u32, more: &str) -> String {
    let start = format!(
        r#"{{"model":"bench","max_tokens":{max_tokens}{more},"messages":[{{"role":"user","content":""#
    );
    let end = r#""}]}"#;
    let text = "x".repeat(BODY_BYTES.saturating_sub(start.len() + end.len()));
    format!("{start}{text}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_one_length() {
        for body in [body(7, ""), body(99, r#","stream":true"#)] {
            assert_eq!(body.len(), BODY_BYTES);
            let read: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(read["model"], "bench");
        }
    }

    #[test]
    fn usage_that_is_not_told_costs_nothing_that_could_be_known() {
        let usage = serde_json::json!({ "prompt_tokens": 10, "completion_tokens": 3 });
        assert_eq!(Used::read(&usage).unwrap().cost(), 10 * INPUT + 3 * OUTPUT);
        assert_eq!(Used::read(&Value::Null), None);
    }
}
