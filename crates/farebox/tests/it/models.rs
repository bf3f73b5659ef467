//! Calls of models, charged by what they use: the hold, the charge and what is left, to the msat.

mod compressed;
mod ends;
mod evasion;
mod imported;
mod long;
mod refusals;
mod sales;
mod sdks;
mod tokens;

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Route, Setup, TestGateway};

/// msat for a token read, and for one written.
const INPUT: u64 = 100;
const OUTPUT: u64 = 1000;
/// What the scripted upstream is told in the query by the requests that it answers.
const TOLD_BY_QUERY: &str = "allow_query = [\"content-encoding\", \"content-type\", \"etag\"]";
/// What one payment deposits, in msat.
const DEPOSIT: u64 = 1_000_000;

/// The prices of one model, in msat a token.
fn model(name: &str) -> String {
    format!(
        "[[model]]\nname = \"{name}\"\ncurrency = \"msat\"\nper = \"unit\"\n\
         input = {INPUT}\noutput = {OUTPUT}\ncontext_tokens = 10000\nmax_output_tokens = 2000"
    )
}

/// A route that sells what lies at `upstream_url`.
fn route(upstream_url: &str) -> Route {
    Route::to("/v1", upstream_url)
        .line(&format!(
            "price = {{ model_tokens = {{ {TOLD_BY_QUERY} }} }}"
        ))
        .line(&format!("balance = {{ msat = {DEPOSIT} }}"))
}

pub(crate) fn shop_with(route: Route) -> TestGateway {
    TestGateway::start(Setup::new().section(&model("small")).route(route))
}

pub(crate) fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    shop_with(route(&upstream.url()))
}

/// A request for a chat completion, with further members.
pub(crate) fn chat(more: Value) -> Call {
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

fn post(path: &str, body: &Value) -> Call {
    Call::post(path, body.to_string()).header("Content-Type", "application/json")
}

/// The data of a stream's events.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}
