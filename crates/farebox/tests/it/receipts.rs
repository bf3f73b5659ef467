//! What a request was charged, and what that was made of: for whoever paid, and for the operator.

use farebox_testkit::ScriptedUpstream;
use serde_json::{Value, json};

use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway, Token, with_upstream};

/// Dollars for a million tokens read, and written.
const MODEL: &str = "[[model]]\nname = \"small\"\ncurrency = \"usd\"\ninput = \"1\"\n\
                     output = \"10\"\ncontext_tokens = 10000\nmax_output_tokens = 2000";
const RATES: &str = "[rates.fixed]\nusd = \"64123.5\"";

fn setup(models_url: &str, upstream: &ScriptedUpstream) -> Setup {
    Setup::new()
        .section(MODEL)
        .section(RATES)
        .route(
            Route::to("/v1", models_url)
                .line("price = { model_tokens = {} }")
                .line("balance = { sat = 1000 }"),
        )
        .route(
            Route::at("/dollars", upstream)
                .line("price = { usd = \"0.01\" }")
                .line("balance = { sat = 1000 }"),
        )
        .route(Route::at("/paid", upstream).msat(2_000).line("calls = 3"))
}

fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    TestGateway::start(setup(&upstream.url(), upstream))
}

fn chat(more: &Value) -> Call {
    let mut body = json!({
        "model": "small",
        "messages": [{ "role": "user", "content": "one two three" }],
        "max_tokens": 50
    });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more.clone()) {
        body.extend(more);
    }
    Call::post("/v1/chat/completions", body.to_string()).header("Content-Type", "application/json")
}

fn receipt_of(reply: &Reply) -> String {
    let found = reply.all("farebox-receipt");
    assert_eq!(found.len(), 1);
    found[0].to_owned()
}

fn ask(id: &str) -> Call {
    Call::get(&format!("/.farebox/receipts/{id}"))
}

fn admin(gateway: &TestGateway, arguments: &[&str]) -> Value {
    let words = [&["admin"][..], arguments, &["--json"]].concat();
    let output = gateway.command(&words);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_metered_call_is_told_with_its_rate_and_usage_and_over_a_restart() {
    let (_upstream, mut gateway) = with_upstream(shop);
    let call = chat(&json!({}));
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token)).expect(200);
    let id = receipt_of(&reply);
    let told = gateway.send(&ask(&id).with(&token)).expect(200).json();
    assert_eq!(told["id"], id.as_str());
    assert_eq!(told["model"], "small");
    assert_eq!(told["ended"], "complete");
    assert_eq!(told["usage"]["input"], 3);
    assert_eq!(told["usage"]["output"], 12);
    let rate = json!({ "currency": "usd", "bitcoin_price": "64123.5" });
    assert_eq!(told["rate"], rate, "a fixed rate has no age");
    let msat = |name: &str| told[name].as_u64().unwrap();
    assert_eq!(
        reply.all("farebox-charge-msat"),
        [msat("charged_msat").to_string()]
    );
    assert_eq!(
        msat("charged_msat") + msat("given_back_msat"),
        msat("held_msat")
    );
    assert!(msat("given_back_msat") > 0);
    gateway.restart();
    let again = gateway.send(&ask(&id).with(&token)).expect(200).json();
    assert_eq!(again, told);
}

#[test]
fn only_who_paid_is_told() {
    let (_upstream, gateway) = with_upstream(shop);
    let call = Call::get("/paid/x");
    let (token, other) = (gateway.buy(&call), gateway.buy(&call));
    let id = receipt_of(&gateway.send(&call.clone().with(&token)).expect(200));
    gateway.send(&call.with(&other)).expect(200);
    let told = gateway.send(&ask(&id).with(&token)).expect(200).json();
    assert_eq!(told["charged_msat"], 2_000);
    assert!(told["rate"].is_null() && told["usage"].is_null(), "{told}");
    gateway.send(&ask(&id).with(&other)).expect(404);
    let unknown = "019dd5ab-57c0-7a1e-8bd5-5be04f0f3c11";
    for nothing in [unknown, "", "x", &format!("{id}/x")] {
        gateway.send(&ask(nothing).with(&token)).expect(404);
    }
    let refused = gateway.send(&ask(&id)).expect(401);
    assert!(!refused.all("www-authenticate").is_empty());
    let forged = Token {
        preimage: "00".repeat(32),
        ..token.clone()
    };
    gateway.send(&ask(&id).with(&forged)).expect(401);
    let key = format!("Bearer sk-farebox-{}", "0".repeat(64));
    gateway
        .send(&ask(&id).header("Authorization", &key))
        .expect(404);
    let write = Call::post(&format!("/.farebox/receipts/{id}"), "").with(&token);
    gateway.send(&write).expect(405);
}

#[test]
fn the_operator_finds_charges_by_route_account_and_receipt() {
    let (_upstream, gateway) = with_upstream(shop);
    let (plain, dollars) = (Call::get("/paid/x"), Call::get("/dollars/x"));
    let token = gateway.buy(&plain);
    for _ in 0..2 {
        gateway.send(&plain.clone().with(&token)).expect(200);
    }
    let payer = gateway.buy(&dollars);
    let id = receipt_of(&gateway.send(&dollars.with(&payer)).expect(200));

    let all = admin(&gateway, &["charges"]);
    let charges = all["charges"].as_array().unwrap();
    assert_eq!(charges.len(), 3);
    assert_eq!(charges[0]["id"], id.as_str());
    assert_eq!(charges[0]["rate"]["bitcoin_price"], "64123.5");
    assert_eq!(charges[0]["charged_msat"], 15_595);
    let shown = admin(&gateway, &["receipt", &id]);
    assert_eq!(shown, charges[0]);

    let first = admin(&gateway, &["charges", "--limit", "2"]);
    let next = first["next"].as_str().unwrap();
    let rest = admin(&gateway, &["charges", "--before", next]);
    assert_eq!(first["charges"][1], charges[1]);
    assert_eq!(rest["charges"], json!([charges[2]]));
    let account = charges[0]["account"].as_str().unwrap();
    for words in [["--account", account], ["--route", "dollars"]] {
        let found = admin(&gateway, &[&["charges"][..], &words].concat());
        assert_eq!(found["charges"], json!([charges[0]]), "{words:?}");
    }
    let printed = gateway.command(&["admin", "charges", "--limit", "1"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    println!("{printed}");
    assert!(printed.starts_with(&id) && printed.contains("15595 msat"));
    assert!(printed.contains("usd 64123.5"));
    assert!(printed.contains(&format!("more with --before {id}")));
    let found = admin(&gateway, &["charges", "--until", "1"]);
    assert_eq!(found["charges"], json!([]));
    let secret = gateway.command(&["admin", "charges", "--account", "sk-farebox-secret"]);
    assert!(!secret.status.success());
    assert!(!String::from_utf8_lossy(&secret.stderr).contains("sk-farebox-secret"));
}

#[test]
fn a_key_is_told_what_its_child_was_charged_and_so_is_the_child() {
    let (_upstream, gateway) = with_upstream(shop);
    let parent = crate::keys::buy(&gateway, 1_000_000).key;
    let bearer = |call: Call, key: &str| call.header("Authorization", &format!("Bearer {key}"));
    let order = Call::post("/.farebox/keys/children", "{}");
    let made = bearer(order.header("Content-Type", "application/json"), &parent);
    // The first use of a key credits its payment.
    gateway
        .send(&bearer(Call::get("/paid/x"), &parent))
        .expect(200);
    let child = gateway.send(&made).expect(201).json();
    let child_key = child["key"].as_str().unwrap();
    let reply = gateway
        .send(&bearer(Call::get("/paid/x"), child_key))
        .expect(200);
    let id = receipt_of(&reply);
    for key in [parent.as_str(), child_key] {
        let told = gateway.send(&bearer(ask(&id), key)).expect(200).json();
        assert_eq!(told["charged_msat"], 2_000);
    }
    let listed = admin(
        &gateway,
        &["charges", "--account", child["id"].as_str().unwrap()],
    );
    assert_eq!(listed["charges"][0]["child"], child["id"]);
    assert_eq!(listed["charges"].as_array().unwrap().len(), 1);
}

#[test]
fn what_the_upstream_said_stands_on_the_receipt_and_what_failed_has_none() {
    let upstream = ScriptedUpstream::start().unwrap();
    let price = "upstream_header = \"x-cost\", unit = \"msat\", at_most = { msat = 5000 }";
    let route = Route::at("/paid", &upstream)
        .line(&format!("price = {{ {price} }}"))
        .line("balance = { sat = 100 }");
    let gateway = TestGateway::start(Setup::new().route(route));
    let say = |what: Value| Call::post("/paid/say", what.to_string());
    let token = gateway.buy(&say(json!({})));
    let paid = |what: Value| {
        let reply = gateway.send(&say(what).with(&token));
        gateway.send(&ask(&receipt_of(&reply)).with(&token))
    };
    let told = paid(json!({ "headers": [["x-cost", "1234.5"]] }))
        .expect(200)
        .json();
    assert_eq!(
        (&told["quantity"], &told["ended"]),
        (&json!("1234.5"), &json!("complete"))
    );
    assert_eq!(
        (&told["charged_msat"], &told["given_back_msat"]),
        (&json!(1_235), &json!(3_765))
    );
    let lost = paid(json!({ "headers": [["x-cost", "6000"]] }))
        .expect(200)
        .json();
    assert_eq!(
        (&lost["used_msat"], &lost["charged_msat"]),
        (&json!(6_000), &json!(5_000))
    );
    paid(json!({ "status": 500 })).expect(404);
}

#[test]
fn a_killed_process_leaves_a_receipt_with_the_rate_of_the_hold() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(setup(&format!("{}/stream/s", upstream.url()), &upstream));
    let call = chat(&json!({ "stream": true }));
    let token = gateway.buy(&call);
    let control = upstream.stream("s");
    let mut connection = Connection::open(gateway.address).unwrap();
    connection.send(&call.with(&token)).unwrap();
    let word = json!({ "choices": [{ "index": 0, "delta": { "content": "hello there" } }] });
    control.send(format!("data: {word}\n\n"));
    let id = receipt_of(&connection.read_head().unwrap());
    connection.read_chunk().unwrap();
    // What was recorded is on its way to the disk: another request waits for it.
    let other = gateway.buy(&Call::get("/paid/x"));
    gateway.send(&Call::get("/paid/x").with(&other)).expect(200);
    gateway.kill();
    gateway.start_again(&[]);
    let told = gateway.send(&ask(&id).with(&token)).expect(200).json();
    assert_eq!(told["ended"], "recovered");
    assert_eq!(told["model"], "small");
    assert_eq!(told["rate"]["bitcoin_price"], "64123.5");
    assert!(told["charged_msat"].as_u64().unwrap() > 0);
    drop(control);
}
