//! Prepaid keys: bought for an invoice, spent by unmodified clients, looked after by their parents.

mod bought;
mod family;
mod operator;
mod refused;
mod rush;
mod spent;

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Route, Setup, TestGateway};

/// The price of one call on the fixed route, in msat.
const PRICE: u64 = 2_000;
/// msat for a token read, and for one written.
const INPUT: u64 = 100;
const OUTPUT: u64 = 1_000;
/// The words of the scripted answer: "You asked: one two three A call was sold for this answer."
const ANSWER_WORDS: u64 = 12;
const COST: u64 = 3 * INPUT + ANSWER_WORDS * OUTPUT;

/// A key, as the one who bought it got it.
pub(crate) struct Bought {
    pub(crate) key: String,
    pub(crate) id: String,
    invoice: String,
}

fn setup(upstream: &ScriptedUpstream) -> Setup {
    let model = format!(
        "[[model]]\nname = \"small\"\ncurrency = \"msat\"\nper = \"unit\"\n\
         input = {INPUT}\noutput = {OUTPUT}\ncontext_tokens = 10000\nmax_output_tokens = 2000"
    );
    let models = Route::to("/v1", &upstream.url()).line("price = { model_tokens = {} }");
    Setup::new()
        .section(&model)
        .route(models)
        .route(Route::at("/paid", upstream).msat(PRICE))
}

fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    TestGateway::start(setup(upstream))
}

fn post(path: &str, body: &Value) -> Call {
    Call::post(path, body.to_string()).header("Content-Type", "application/json")
}

fn chat(more: Value) -> Call {
    let mut body = json!({
        "model": "small",
        "messages": [{ "role": "user", "content": "one two three" }],
        "max_tokens": 50
    });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    post("/v1/chat/completions", &body)
}

/// A key that is not paid for yet.
fn order(gateway: &TestGateway, msat: u64) -> Bought {
    let call = post("/.farebox/keys", &json!({ "amount_msat": msat }));
    let told = gateway.send(&call).expect(201).json();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    assert_eq!(told["amount_msat"], msat);
    Bought {
        key: text("key"),
        id: text("id"),
        invoice: text("invoice"),
    }
}

pub(crate) fn buy(gateway: &TestGateway, msat: u64) -> Bought {
    let bought = order(gateway, msat);
    gateway.pay(&bought.invoice);
    bought
}

pub(crate) fn bearer(call: Call, key: &str) -> Call {
    call.header("Authorization", &format!("Bearer {key}"))
}

/// What the key itself is told, once nothing is held on it.
fn standing(gateway: &TestGateway, key: &str) -> Value {
    let give_up_at = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let call = bearer(Call::get("/.farebox/keys/self"), key);
        let told = gateway.send(&call).expect(200).json();
        if told["held_msat"] == 0 {
            return told;
        }
        assert!(std::time::Instant::now() < give_up_at, "{told}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Asks until what was paid for the key is on it.
fn wait_until_paid(gateway: &TestGateway, key: &str) {
    let give_up_at = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while standing(gateway, key)["state"] != "active" {
        assert!(std::time::Instant::now() < give_up_at, "never credited");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

pub(crate) fn balance(gateway: &TestGateway, key: &str) -> u64 {
    standing(gateway, key)["balance_msat"].as_u64().unwrap()
}

/// A child of a key, with these limits.
pub(crate) fn child(gateway: &TestGateway, parent: &str, limits: &Value) -> Bought {
    let call = bearer(post("/.farebox/keys/children", limits), parent);
    let told = gateway.send(&call).expect(201).json();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    Bought {
        key: text("key"),
        id: text("id"),
        invoice: String::new(),
    }
}
