//! A `.env` of matador, imported, is a shop for the four things that matador sold: chat, pictures,
//! embeddings and the list of models.

use std::fs;

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use super::{events, post};
use crate::harness::{Call, Reply, Setup, TestGateway, Token, farebox, with_upstream};
use crate::keys;

/// The seller's key at his provider.
const API_KEY: &str = "sk-of-the-seller";
/// Tokens of the scripted answer to a chat: three words of the question, twelve of the answer.
const TOKENS: u64 = 3 + 12;
/// msat for a dollar where a bitcoin costs 25,000.
const DOLLAR: u64 = 4_000_000;
/// What the list of models costs, in msat.
const LIST: u64 = 1_000;

/// The four variables, imported; and what the import told.
fn import(upstream: &ScriptedUpstream) -> (toml::Table, String) {
    let folder = tempfile::tempdir().unwrap();
    let [env, result] = [".env", "farebox.toml"].map(|name| folder.path().join(name));
    let url = upstream.url();
    let text = format!(
        "API_KEY={API_KEY}\nAPI_ROOT={url}\nLN_ADDRESS=me@example.com\nRUNE_SECRET=00112233\n"
    );
    fs::write(&env, text).unwrap();
    let mut command = farebox(["config", "import", "matador"]);
    let output = command.arg(&env).arg("-o").arg(&result).output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{notes}");

    let mut check = farebox(["config", "check", "-c"]);
    let checked = check.arg(&result).env("API_KEY", API_KEY).output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let text = fs::read_to_string(&result).unwrap();
    assert!(!text.contains(API_KEY), "{text}");
    (toml::from_str(&text).unwrap(), notes)
}

/// What was imported, served: with test money, on free ports, and at matador's own rate.
fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    let (mut table, notes) = import(upstream);
    let server = table.remove("server").unwrap();
    assert_eq!(server["listen"].as_str(), Some("0.0.0.0:8080"));
    let lightning = table.remove("lightning").unwrap();
    assert_eq!(lightning["address"].as_str(), Some("me@example.com"));
    assert_eq!(table["rates"]["live"][0].as_str(), Some("usd"));
    let fixed = "fixed = { usd = \"25000\" }";
    assert!(notes.contains(fixed), "{notes}");
    table.insert("rates".to_owned(), toml::from_str(fixed).unwrap());
    let setup = Setup::new().section(&toml::to_string(&table).unwrap());
    TestGateway::start_with(setup, &[("API_KEY", API_KEY)])
}

fn chat(model: &str, stream: bool) -> Call {
    let message = json!({ "role": "user", "content": "one two three" });
    let body = json!({ "model": model, "messages": [message], "stream": stream });
    post("/v1/chat/completions", &body)
}

/// A request for pictures as matador's clients wrote it: without a model.
fn pictures(size: Option<&str>, count: u64) -> Call {
    let mut body = json!({ "prompt": "A coin", "n": count });
    if let Some(size) = size {
        body["size"] = size.into();
    }
    post("/v1/images/generations", &body)
}

fn embedding() -> Call {
    let input = "word ".repeat(1_001);
    let body = json!({ "model": "text-embedding-ada-002", "input": input });
    post("/v1/embeddings", &body)
}

/// So many tokens in msat, at a price for a thousand in tenths of a mill.
fn tokens(count: u64, price: u64) -> u64 {
    (count * price * DOLLAR).div_ceil(1_000 * 10_000)
}

/// Each thing that is sold, and what it costs at matador's prices.
fn catalogue() -> Vec<(Call, u64)> {
    let picture = |mills: u64| mills * DOLLAR / 1_000;
    vec![
        (chat("gpt-3.5-turbo", false), tokens(TOKENS, 20)),
        (chat("gpt-3.5-turbo", true), tokens(TOKENS, 20)),
        (chat("gpt-3.5-turbo-16k", false), tokens(TOKENS, 40)),
        (chat("gpt-4", false), tokens(TOKENS, 600)),
        (chat("gpt-4-32k-0613", true), tokens(TOKENS, 1_200)),
        (pictures(Some("256x256"), 2), 2 * picture(16)),
        (pictures(Some("512x512"), 1), picture(18)),
        (pictures(Some("1024x1024"), 1), picture(20)),
        (pictures(None, 1), picture(20)),
        (embedding(), tokens(1_001, 1)),
        (Call::get("/v1/models"), LIST),
    ]
}

/// What came for a call is what was asked for.
#[track_caller]
fn assert_sold(call: &Call, reply: &Reply) {
    assert_eq!(reply.status, 200, "{}: {}", call.target, reply.text());
    if String::from_utf8_lossy(&call.body).contains("\"stream\":true") {
        assert!(events(&reply.text()).len() > 12, "{}", reply.text());
        return;
    }
    let answer = reply.json();
    let things = match call.target.as_str() {
        "/v1/chat/completions" => &answer["choices"],
        _ => &answer["data"],
    };
    assert!(!things.as_array().unwrap().is_empty(), "{answer}");
}

#[test]
fn everything_that_matador_sold_is_sold_for_a_payment() {
    let (upstream, gateway) = with_upstream(shop);
    for (call, cost) in catalogue() {
        let token: Token = gateway.buy(&call);
        assert_sold(&call, &gateway.send(&call.clone().with(&token)));
        assert_eq!(gateway.charged(&token), cost, "{}", call.target);
    }
    for request in upstream.requests() {
        let sent = request.all("authorization");
        assert_eq!(sent, [format!("Bearer {API_KEY}")]);
    }
    assert_eq!(upstream.total(), catalogue().len());
}

#[test]
fn everything_that_matador_sold_is_sold_to_a_prepaid_key() {
    let (_upstream, gateway) = with_upstream(shop);
    let bought = keys::buy(&gateway, 10_000_000);
    let mut left = 10_000_000;
    for (call, cost) in catalogue() {
        let paid = call
            .clone()
            .header("Authorization", &format!("Bearer {}", bought.key));
        assert_sold(&call, &gateway.send(&paid));
        left -= cost;
        assert_eq!(
            keys::balance(&gateway, &bought.key),
            left,
            "{}",
            call.target
        );
    }
}

#[test]
fn what_belongs_to_the_sellers_account_is_not_sold() {
    let (upstream, gateway) = with_upstream(shop);
    let unknown = chat("gpt-5", false);
    let files = Call::get("/v1/files");
    let tuning = post("/v1/fine_tuning/jobs", &json!({ "model": "gpt-4" }));
    for call in [unknown, files, tuning] {
        gateway.send(&call).expect(404);
    }
    assert_eq!(upstream.total(), 0);
}
