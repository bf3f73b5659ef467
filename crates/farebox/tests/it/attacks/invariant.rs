//! Whatever clients and upstreams do: nobody gets more than what is charged, and nobody is charged more
//! than what was held.
//!
//! A client has got every event of which it could read bytes, and the prompt with it. What its answer
//! is worth at least is worked out here anew, from what the upstream sent and the client read, and not
//! from what the gateway says.

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use super::chaos::Dice;
use crate::harness::{Call, Connection, Route, Setup, TestGateway, Token};
use crate::keys;
use crate::rules::{MANY_CHALLENGES, eventually};

/// What a payer has, in msat: more than all of its calls can cost.
const DEPOSIT: u64 = 50_000_000;
/// The price of a call of [`Price::Fixed`], in msat.
const PRICE: u64 = 700;
/// The most that a call costs by use, in msat.
const AT_MOST: u64 = 400_000;
const PER_BYTE: u64 = 9;
/// msat for a token read, and for one written.
const INPUT: u64 = 10;
const OUTPUT: u64 = 100;
/// Calls of each payer at each price.
const CALLS: u32 = 24;

/// How a call is sold, each under a path of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Price {
    Fixed,
    Pass,
    Bytes,
    Header,
    Json,
    Model,
}

impl Price {
    const ALL: [Self; 6] = [
        Self::Fixed,
        Self::Pass,
        Self::Bytes,
        Self::Header,
        Self::Json,
        Self::Model,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Pass => "pass",
            Self::Bytes => "bytes",
            Self::Header => "header",
            Self::Json => "json",
            Self::Model => "model",
        }
    }

    fn route(self, upstream: &ScriptedUpstream) -> Route {
        let name = self.name();
        let route = Route::to(
            &format!("/{name}"),
            &format!("{}/stream/{name}", upstream.url()),
        );
        let by_use = |price: &str| {
            let at_most = format!("at_most = {{ msat = {AT_MOST} }}");
            let route = route.clone();
            route.line(&format!("price = {{ {price}, {at_most} }}"))
        };
        let told = "unit = \"msat\", missing = \"hold\"";
        match self {
            Self::Fixed => return route.msat(PRICE).calls(CALLS * 2),
            Self::Pass => return route.msat(PRICE).line("pass = \"1h\""),
            Self::Bytes => by_use(&format!("per_byte = {{ msat = {PER_BYTE} }}")),
            Self::Header => by_use(&format!("upstream_header = \"x-cost\", {told}")),
            Self::Json => by_use(&format!("upstream_json = \"/usage/cost\", {told}")),
            Self::Model => route.line("price = { model_tokens = { tokenizer = \"bytes\" } }"),
        }
        .line(&format!("balance = {{ msat = {DEPOSIT} }}"))
    }

    const fn most(self) -> u64 {
        match self {
            Self::Fixed | Self::Pass => PRICE,
            _ => AT_MOST,
        }
    }
}

/// What the upstream does with one call.
struct Script {
    /// Headers of its answer, as the scripted upstream takes them.
    query: String,
    /// Each is a whole event.
    events: Vec<String>,
    /// Bytes of text in each event.
    texts: Vec<usize>,
    /// What its report comes to, where it makes one that can be true.
    reported: Option<u64>,
    /// Else it breaks off.
    ends: bool,
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
        for _ in 0..=dice.below(5) {
            let text = "word ".repeat(1 + dice.index(60));
            script.texts.push(text.len());
            script.events.push(match price {
                Price::Model => delta(dice, &text),
                Price::Json => format!("data: {}\n\n", json!({ "text": text })),
                _ => text,
            });
        }
        let cost = dice.below(AT_MOST);
        match (price, dice.below(3)) {
            (Price::Header, 0) => {
                script.query = format!("?x-cost={cost}");
                script.reported = Some(cost);
            }
            (Price::Header, 1) => script.query = "?x-cost=much".to_owned(),
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
enum Client {
    Stays,
    /// After so many events.
    Leaves(usize),
    /// Says that it will write no more, and reads on.
    HalfCloses(usize),
    /// Breaks its own upload, and reads on.
    Spoils(usize),
}

impl Client {
    fn new(price: Price, dice: &mut Dice) -> Self {
        let after = dice.index(5);
        match dice.below(5) {
            0 | 1 => Self::Stays,
            2 => Self::HalfCloses(after),
            // A model's call is read to its end before it is forwarded.
            3 if price != Price::Model => Self::Spoils(after),
            _ => Self::Leaves(after),
        }
    }

    const fn acts_after(self) -> usize {
        match self {
            Self::Stays => usize::MAX,
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

/// Who pays: each has a deposit of its own.
enum Payer {
    Token(Token),
    Key(String),
}

impl Payer {
    /// One of each kind: a token, one that its holder narrowed, a key, and a key's child.
    fn all(gateway: &TestGateway, price: Price, call: &Call) -> Vec<Self> {
        let token = gateway.buy(call);
        let narrowed = gateway.buy(call).attenuated("valid_until=4102444800");
        let mut payers = vec![Self::Token(token), Self::Token(narrowed)];
        if price != Price::Pass {
            let key = keys::buy(gateway, DEPOSIT).key;
            let child = keys::child(gateway, &key, &json!({})).key;
            payers.extend([Self::Key(key), Self::Key(child)]);
        }
        payers
    }

    fn pays(&self, call: Call) -> Call {
        match self {
            Self::Token(token) => call.with(token),
            Self::Key(key) => call.header("Authorization", &format!("Bearer {key}")),
        }
    }
}

struct Market {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
}

impl Market {
    fn new() -> Self {
        let upstream = ScriptedUpstream::start().unwrap();
        let model = format!(
            "[[model]]\nname = \"m\"\ncurrency = \"msat\"\nper = \"unit\"\ninput = {INPUT}\n\
             output = {OUTPUT}\ncontext_tokens = 10000\nmax_output_tokens = 2000"
        );
        let setup = Setup::new().section(MANY_CHALLENGES).section(&model);
        let routes = Price::ALL.map(|price| price.route(&upstream));
        let setup = routes.into_iter().fold(setup, Setup::route);
        let gateway = TestGateway::start(setup);
        Self { upstream, gateway }
    }

    /// What the seller has earned at a price, once nothing is held.
    fn earned(&self, price: Price) -> u64 {
        let settled = |books: &Value| books["held_msat"] == 0;
        let books = eventually(|| self.gateway.trial_balance(), settled);
        assert!(settled(&books), "{books}");
        let revenue = &books["house_msat"][format!("revenue:{}", price.name())];
        revenue.as_u64().unwrap_or(0)
    }

    /// One call: the upstream says its part, event by event, and the client reads or does not. How
    /// many bytes of the answer the client got.
    fn call(&self, price: Price, call: &Call, client: Client, script: &Script) -> usize {
        let stream = self.upstream.stream(price.name());
        let mut connection = Connection::open(self.gateway.address).unwrap();
        let before = self.upstream.total();
        connection.send(call).unwrap();
        let called = eventually(|| self.upstream.total(), |total| *total > before);
        assert!(
            called > before,
            "{price:?} never reached its upstream: {client:?}"
        );
        let mut got = 0;
        let mut connection = Some(connection);
        for (at, event) in script.events.iter().enumerate() {
            if at == client.acts_after() {
                client.act(&mut connection);
            }
            if !stream.send(event.clone()) {
                break;
            }
            if let (Some(open), true) = (&mut connection, at < client.acts_after()) {
                // What tells the usage may be kept back.
                if at < script.texts.len() {
                    if at == 0 {
                        open.read_head().unwrap();
                    }
                    got += open.read_chunk().unwrap().unwrap().len();
                }
            }
        }
        if script.ends {
            stream.finish();
        } else {
            stream.cut();
        }
        if let Some(mut open) = connection {
            if got == 0 && open.read_head().is_err() {
                return got;
            }
            while let Ok(Some(chunk)) = open.read_chunk() {
                got += chunk.len();
            }
        }
        got
    }
}

impl Client {
    fn act(self, connection: &mut Option<Connection>) {
        match (self, connection) {
            (Self::Leaves(_), connection) => drop(connection.take()),
            (Self::HalfCloses(_), Some(open)) => open.close_write().unwrap(),
            (Self::Spoils(_), Some(open)) => {
                // The gateway may have hung up already.
                let _ = open.write(b"no chunk\r\n");
            }
            _ => {}
        }
    }
}

/// What a client got is worth at least so much. What the upstream broke off by itself may be free at
/// prices that are not measured: no client brings that about.
fn worth(price: Price, script: &Script, got: usize) -> u64 {
    if got == 0 {
        return 0;
    }
    let bytes = u64::try_from(got).unwrap();
    match price {
        Price::Fixed | Price::Pass if !script.ends => 0,
        Price::Fixed | Price::Pass => PRICE,
        Price::Bytes => bytes * PER_BYTE,
        Price::Header | Price::Json if !script.ends => 0,
        Price::Header | Price::Json => script.reported.unwrap_or(AT_MOST),
        Price::Model => {
            let written = u64::try_from(script.text_in(got)).unwrap() / 4;
            let seen = INPUT + written * OUTPUT;
            script.reported.map_or(seen, |reported| reported.min(seen))
        }
    }
}

/// All calls of one payer at one price.
fn trade(market: &Market, price: Price, payer: &Payer, dice: &mut Dice) {
    let mut earned = market.earned(price);
    let mut pass_is_paid = false;
    for round in 0..u64::from(CALLS) {
        let script = Script::new(price, dice);
        let client = Client::new(price, dice);
        let call = payer.pays(client.call(price, &script, dice));
        let got = market.call(price, &call, client, &script);
        let now = market.earned(price);
        let charged = now - earned;
        earned = now;
        let worth = match price {
            Price::Pass if pass_is_paid => 0,
            _ => worth(price, &script, got),
        };
        let seen = format!(
            "{price:?}, call {round}: {client:?} read {got} bytes of {:?}, ends: {}, reported: {:?}",
            script.events, script.ends, script.reported
        );
        assert!(
            charged >= worth,
            "{charged} for what is worth {worth}: {seen}"
        );
        assert!(charged <= price.most(), "{charged} is too much: {seen}");
        pass_is_paid |= charged > 0;
    }
}

#[test]
fn nobody_gets_more_than_is_charged_and_nobody_is_charged_more_than_was_held() {
    let market = Market::new();
    for price in Price::ALL {
        let mut dice = Dice(price as u64 + 7);
        let first = Client::Stays.call(price, &Script::new(price, &mut dice), &mut dice);
        for payer in Payer::all(&market.gateway, price, &first) {
            trade(&market, price, &payer, &mut dice);
        }
    }
}
