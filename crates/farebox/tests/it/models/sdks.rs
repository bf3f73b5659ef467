//! The official SDKs, unmodified but for URL and credential, against servers that are not ours and,
//! for what those lack, a scripted one. What each call is charged is what the test computes from the
//! answer that the SDK shows.

mod aimock;
mod litellm;
mod mock_ai_api;
mod refused;
mod scripted;
mod usage;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::usage::{PLAIN, Prices, cost_of, usage_in};
use super::{INPUT, OUTPUT, chat, model};
use crate::harness::{Route, Setup, TestGateway, Token};
use crate::keys::{self, Bought};
use crate::parts::{self, Server};

/// What one payment deposits: enough for every call of a test.
const DEPOSIT: u64 = 20_000_000;
const PICTURE: u64 = 40_000;
const QUESTION: &str = "What does a call cost?";

/// The official SDKs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sdk {
    Python,
    Node,
    Anthropic,
}

/// What an SDK pays with.
enum Credential {
    /// A token, in a header that replaces the key.
    Token(Token),
    /// A prepaid key in the place of the provider's.
    Key(Bought),
    /// Something that is no credential here.
    Nothing,
}

/// The two ways to pay.
const PAYS_WITH: [fn(&TestGateway, &str) -> Credential; 2] = [token, key];

fn token(gateway: &TestGateway, name: &str) -> Credential {
    Credential::Token(gateway.buy(&chat(json!({ "model": name }))))
}

fn key(gateway: &TestGateway, _: &str) -> Credential {
    Credential::Key(keys::buy(gateway, DEPOSIT))
}

impl Sdk {
    /// Its program; nothing where it is not installed.
    fn program(self) -> Option<std::process::Command> {
        match self {
            Self::Python => parts::sdk("sdk_openai.py"),
            Self::Node => parts::node("sdk_openai.cjs"),
            Self::Anthropic => parts::sdk("sdk_anthropic.py"),
        }
    }

    /// Has the SDK make these calls, one after the other.
    fn make(self, gateway: &TestGateway, pays: &Credential, calls: &[Value]) -> Vec<Value> {
        let wish = json!({
            "url": gateway.url(""),
            "credential": self.credential(pays),
            "calls": calls,
        });
        let told = parts::answer(&mut self.program().unwrap(), &wish);
        told["answers"].as_array().unwrap().clone()
    }

    fn credential(self, pays: &Credential) -> Value {
        match (self, pays) {
            (Self::Anthropic, Credential::Token(token)) => {
                json!({ "default_headers": { "Authorization": token.authorization() } })
            }
            (_, Credential::Token(token)) => json!({
                "api_key": "none",
                "default_headers": { "Authorization": token.authorization() },
            }),
            (_, Credential::Key(bought)) => json!({ "api_key": bought.key }),
            (_, Credential::Nothing) => json!({ "api_key": "none" }),
        }
    }
}

impl Credential {
    #[track_caller]
    fn key(&self) -> &str {
        match self {
            Self::Key(bought) => &bought.key,
            Self::Token(_) | Self::Nothing => panic!("not a key"),
        }
    }

    /// How much of its money is gone, once none of it is held any more.
    #[track_caller]
    fn charged(&self, gateway: &TestGateway) -> u64 {
        match self {
            Self::Token(token) => gateway.charged(token),
            Self::Key(bought) => DEPOSIT - keys::balance(gateway, &bought.key),
            Self::Nothing => 0,
        }
    }
}

/// A shop with the usual prices for each name that the tests ask for.
fn shop(upstream_url: &str, names: &[&str]) -> TestGateway {
    let route = Route::to("/v1", upstream_url)
        .line("price = { model_tokens = {} }")
        .line(&format!("balance = {{ msat = {DEPOSIT} }}"));
    TestGateway::start(priced(Setup::new().route(route), names))
}

fn priced(mut setup: Setup, names: &[&str]) -> Setup {
    for name in names {
        setup = setup.section(&model(name));
    }
    let pictures = model("gpt-image-1");
    setup.section(&format!("{pictures}\nimage = {PICTURE}"))
}

fn aimock() -> Option<Server> {
    let port = parts::free_port();
    let mut aimock = parts::npm("@copilotkit/aimock/dist/cli.js")?;
    aimock.args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    aimock.args(["--validate-on-load", "-f"]);
    aimock.arg(parts::conformance("models.json"));
    Some(Server::on_port(aimock.env("NO_COLOR", "1"), port))
}

fn mock_ai_api(api: &str) -> Option<Server> {
    let port = parts::free_port();
    let mut command = parts::mock_ai_api(api, port)?;
    Some(Server::on_port(&mut command, port))
}

/// A call, as an SDK's method and what it is given.
fn call(method: &str, with: Value) -> Value {
    let members = [
        ("call".to_owned(), method.into()),
        ("with".to_owned(), with),
    ];
    Value::Object(members.into_iter().collect())
}

fn chat_with(content: &str, more: Value) -> Value {
    let with = json!({
        "model": "gpt-4o-mini",
        "max_tokens": 50,
        "messages": [{ "role": "user", "content": content }],
    });
    merged(with, more)
}

/// A call of Responses.
fn ask_with(content: &str, more: Value) -> Value {
    let with = json!({ "model": "gpt-4o-mini", "max_output_tokens": 50, "input": content });
    merged(with, more)
}

fn merged(mut with: Value, more: Value) -> Value {
    if let (Value::Object(with), Value::Object(more)) = (&mut with, more) {
        with.extend(more);
    }
    with
}

fn tools() -> Value {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let function = json!({ "name": "get_weather", "parameters": parameters });
    json!([{ "type": "function", "function": function }])
}

/// The same tool in Anthropic's form.
fn anthropic_tools() -> Value {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    json!([{ "name": "get_weather", "input_schema": schema }])
}

/// What an answer costs at the usual prices; where it shows its usage it says the same.
#[track_caller]
fn cost_shown(answer: &Value) -> u64 {
    cost_shown_at(&PLAIN, answer)
}

#[track_caller]
fn cost_shown_at(prices: &Prices, answer: &Value) -> u64 {
    let usage = usage_in(answer).unwrap_or_else(|| panic!("no usage: {answer}"));
    let cost = cost_of(&usage, prices);
    assert!(cost > 0, "{answer}");
    assert_eq!(usage["cost_msat"], cost, "{answer}");
    cost
}

/// Fails unless the metered calls so far were charged exactly so much each, in any order.
#[track_caller]
fn assert_charged(gateway: &TestGateway, pays: &Credential, mut costs: Vec<u64>) {
    assert_eq!(pays.charged(gateway), costs.iter().sum::<u64>());
    // A line of the log may come after its answer.
    let give_up_at = Instant::now() + Duration::from_secs(10);
    let mut logged = charges(&gateway.log());
    while logged.len() < costs.len() && Instant::now() < give_up_at {
        std::thread::sleep(Duration::from_millis(10));
        logged = charges(&gateway.log());
    }
    logged.sort_unstable();
    costs.sort_unstable();
    assert_eq!(logged, costs, "{}", gateway.log());
    assert_eq!(gateway.trial_balance()["sound"], true);
}

/// What the log says that each metered call was charged.
fn charges(log: &str) -> Vec<u64> {
    let lines = log.lines().filter(|line| line.contains("\"model\":"));
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .map(|line| line["charged_msat"].as_u64().unwrap())
        .collect()
}
