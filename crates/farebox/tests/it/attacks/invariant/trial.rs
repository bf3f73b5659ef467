//! One call, thrown with dice: what is asked, what the upstream does, and what the client does with
//! the answer.

use std::time::Duration;

use serde_json::json;

use super::price::{
    AT_MOST, EACH, HOOKED, INPUT, LEAST, OUTPUT, PER_BYTE, PER_SECOND, PRICE, Price,
};
use crate::attacks::chaos::Dice;
use crate::harness::Call;

/// How long a client that paces its reading lets its upstream wait, in seconds, at each event: in all
/// longer than an upstream that breaks off afterwards is to blame.
const PAUSES: [&[u64]; 3] = [&[6], &[3, 3], &[2, 2, 2]];

pub(super) struct Trial {
    pub(super) price: Price,
    pub(super) script: Script,
    pub(super) client: Client,
    pub(super) call: Call,
}

/// What a client has had of its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Got {
    pub(super) bytes: usize,
    /// Of the time between the arrival of the request and the last event that the client awaited.
    pub(super) time: Duration,
}

impl Trial {
    pub(super) fn new(price: Price, dice: &mut Dice) -> Self {
        let script = Script::new(price, dice);
        let client = Client::new(price, dice);
        Self::of(price, script, client, dice)
    }

    /// One whose client reads slowly, until its upstream breaks off.
    pub(super) fn paced(price: Price, dice: &mut Dice) -> Self {
        let mut script = Script::new(price, dice);
        script.ends = false;
        let client = Client::Paces(PAUSES[dice.index(PAUSES.len())]);
        Self::of(price, script, client, dice)
    }

    fn of(price: Price, script: Script, client: Client, dice: &mut Dice) -> Self {
        let call = client.call(price, &script, dice);
        Self {
            price,
            script,
            client,
            call,
        }
    }

    /// What the client got is worth at least so much, in msat. What the upstream broke off by itself
    /// may be free at prices that are not measured: no client brings that about.
    pub(super) fn worth(&self, got: Got) -> u64 {
        if self.price == Price::Act {
            return PRICE;
        }
        if got.bytes == 0 {
            return 0;
        }
        let script = &self.script;
        let bytes = u64::try_from(got.bytes).unwrap();
        let is_sold = script.ends || matches!(self.client, Client::Paces(_));
        let worth = match self.price {
            Price::Bytes | Price::Both => bytes * PER_BYTE,
            Price::Seconds => {
                let msat = got.time.as_micros() * u128::from(PER_SECOND) / 1_000_000;
                u64::try_from(msat).unwrap()
            }
            Price::Model => {
                let written = u64::try_from(script.text_in(got.bytes)).unwrap() / 4;
                let seen = INPUT + written * OUTPUT;
                script.reported.map_or(seen, |reported| reported.min(seen))
            }
            _ if !is_sold => 0,
            Price::Header | Price::Least | Price::Json => script.reported.unwrap_or(AT_MOST),
            Price::Hook => HOOKED,
            _ => PRICE,
        };
        worth.min(self.price.most())
    }

    /// The most that this call can cost, in msat, of which the client got so much: what was told or
    /// sent, where that decides, and else what is held.
    pub(super) fn most(&self, got: Got) -> u64 {
        let held = self.price.most();
        if got.bytes == 0 {
            return held;
        }
        let sent: usize = self.script.events.iter().map(String::len).sum();
        let per_bytes = |bytes: usize| u64::try_from(bytes).unwrap() * PER_BYTE;
        let most = match self.price {
            Price::Bytes => per_bytes(sent),
            Price::Both => per_bytes(sent + self.call.body.len()),
            // Who spoils its upload may never let the upstream come to the report.
            Price::Json if matches!(self.client, Client::Spoils(_)) => held,
            Price::Header | Price::Least | Price::Json => self.script.reported.unwrap_or(held),
            Price::Hook => HOOKED,
            _ => held,
        };
        most.min(held)
    }
}

/// What the upstream does with one call.
pub(super) struct Script {
    /// Headers of its answer, as the scripted upstream takes them.
    query: String,
    /// Each is a whole event.
    pub(super) events: Vec<String>,
    /// Bytes of text in each event that has any: those come first.
    pub(super) texts: Vec<usize>,
    /// What its report comes to, where it makes one that can be true.
    pub(super) reported: Option<u64>,
    /// Else it breaks off.
    pub(super) ends: bool,
}

impl Script {
    fn new(price: Price, dice: &mut Dice) -> Self {
        let mut script = Self {
            query: String::new(),
            events: Vec::new(),
            texts: Vec::new(),
            reported: None,
            ends: dice.below(5) > 0,
        };
        for _ in 0..5 + dice.below(4) {
            let text = "word ".repeat(10 + dice.index(60));
            script.texts.push(text.len());
            script.events.push(match price {
                Price::Model => delta(dice, &text),
                Price::Json => format!("data: {}\n\n", json!({ "text": text })),
                _ => text,
            });
        }
        let cost = dice.below(AT_MOST / EACH);
        match (price, dice.below(3)) {
            (Price::Header | Price::Least, 0) => {
                script.query = format!("?x-cost={cost}");
                script.reported = Some(match price {
                    Price::Least => LEAST.max(cost * EACH),
                    _ => cost,
                });
            }
            (Price::Header | Price::Least, 1) => script.query = "?x-cost=much".to_owned(),
            (Price::Json, 0) => {
                let usage = json!({ "usage": { "cost": cost } });
                script.events.push(format!("data: {usage}\n\n"));
                script.reported = Some(cost);
            }
            (Price::Json, 1) => script.events.push("data: {\"usage\": {}}\n\n".to_owned()),
            (Price::Model, how) => script.report_usage(how, dice),
            _ => {}
        }
        script
    }

    /// A report that is true, one that cannot be, or none.
    fn report_usage(&mut self, how: u64, dice: &mut Dice) {
        let (read, written) = (1 + dice.below(40), 1 + dice.below(200));
        let usage = match how {
            0 => {
                self.reported = Some(read * INPUT + written * OUTPUT);
                json!({ "prompt_tokens": read, "completion_tokens": written })
            }
            1 => match dice.below(4) {
                0 => json!({ "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0 }),
                1 => json!({ "prompt_tokens": read, "completion_tokens": -1 }),
                2 => json!({ "prompt_tokens": "many", "completion_tokens": null }),
                _ => json!([read, written]),
            },
            _ => return,
        };
        let event = json!({ "choices": [], "usage": usage });
        self.events.push(format!("data: {event}\n\n"));
        if self.ends {
            self.events.push("data: [DONE]\n\n".to_owned());
        }
    }

    /// Bytes of text in all events of which a client got bytes that got so many of the answer.
    fn text_in(&self, got: usize) -> usize {
        let mut start = 0;
        let mut text = 0;
        for (event, length) in self.events.iter().zip(&self.texts) {
            text += if start < got { *length } else { 0 };
            start += event.len();
        }
        text
    }
}

/// An event with this text, in one of the members that texts of models stand in.
fn delta(dice: &mut Dice, text: &str) -> String {
    let delta = match dice.below(5) {
        0 => json!({ "reasoning_content": text }),
        1 => json!({ "tool_calls": [{ "index": 0, "function": { "arguments": text } }] }),
        2 => json!({ "tool_calls": [{ "index": 0, "custom": { "input": text } }] }),
        3 => json!({ "a_member_of_next_year": { "deep": [text] } }),
        _ => json!({ "content": text }),
    };
    let event = json!({ "choices": [{ "index": 0, "delta": delta }] });
    format!("data: {event}\n\n")
}

/// What a client does with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Stays,
    /// After so many events.
    Leaves(usize),
    /// Says that it will write no more, and reads on.
    HalfCloses(usize),
    /// Breaks its own upload, and reads on.
    Spoils(usize),
    /// Lets its upstream wait, so many seconds at each event, and then reads what there is.
    Paces(&'static [u64]),
}

impl Client {
    fn new(price: Price, dice: &mut Dice) -> Self {
        let after = dice.index(5);
        match dice.below(5) {
            0 | 1 => Self::Stays,
            2 => Self::HalfCloses(after),
            3 if !price.reads_all_first() => Self::Spoils(after),
            _ => Self::Leaves(after),
        }
    }

    pub(super) const fn acts_after(self) -> usize {
        match self {
            Self::Stays | Self::Paces(_) => usize::MAX,
            Self::Leaves(after) | Self::HalfCloses(after) | Self::Spoils(after) => after,
        }
    }

    fn call(self, price: Price, script: &Script, dice: &mut Dice) -> Call {
        let name = price.name();
        if price == Price::Model {
            let body = json!({ "model": "m", "stream": true, "max_tokens": 1000,
                               "messages": [{ "role": "user", "content": "one two three" }] });
            let call = Call::post("/model/v1/chat/completions", body.to_string());
            return call.header("Content-Type", "application/json");
        }
        let spelled = match dice.below(3) {
            0 => format!("/{name}/a/../b"),
            1 => format!("/{name}/%62"),
            _ => format!("/{name}/b"),
        };
        let mut call = Call::post(&format!("{spelled}{}", script.query), "body");
        if dice.below(2) == 0 {
            call = call.header("Accept-Encoding", "gzip, br");
        }
        if dice.below(3) == 0 {
            call = call.header("Accept", "text/csv");
        }
        if matches!(self, Self::Spoils(_)) {
            call.body = b"5\r\nbegun\r\n".to_vec();
            call = call.header("Transfer-Encoding", "chunked");
        }
        call
    }
}
