//! Price lists of others, taken over while the gateway runs: what is sold by them, what waits, and
//! what survives.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Call, Route, Setup, TestGateway, with_upstream};

/// A bitcoin for 100,000 dollars: a millionth of a dollar is one msat.
const RATE: &str = "[rates.fixed]\nusd = \"100000\"";

fn setup(upstream: &ScriptedUpstream, sections: &str) -> Setup {
    let route = Route::at("/v1", upstream)
        .line("price = { model_tokens = {} }")
        .line("balance = { sat = 1000 }");
    Setup::new().section(RATE).section(sections).route(route)
}

/// A list in OpenRouter's form; prices in millionths of a dollar a token.
fn list(models: &[(&str, u64, u64)]) -> String {
    let models = models.iter().map(|(name, input, output)| {
        json!({ "id": name, "context_length": 10_000, "pricing": {
            "prompt": format!("0.{input:06}"), "completion": format!("0.{output:06}"),
        } })
    });
    json!({ "data": models.collect::<Vec<_>>() }).to_string()
}

/// What a call with an answer of at most 50 tokens can cost, or the status of its refusal.
fn at_most(gateway: &TestGateway, model: &str) -> Result<u64, u16> {
    let body = json!({ "model": model, "max_tokens": 50,
        "messages": [{ "role": "user", "content": "hello" }] });
    let call = Call::post("/v1/chat/completions", body.to_string());
    let reply = gateway.send(&call.header("Content-Type", "application/json"));
    if reply.status != 402 {
        return Err(reply.status);
    }
    Ok(reply.json()["price_msat"].as_u64().unwrap())
}

/// The approved price of a token written, in millionths of a dollar.
#[track_caller]
fn output_price(gateway: &TestGateway, model: &str) -> u64 {
    let kept = gateway.admin(Call::get("/admin/v1/prices")).expect(200);
    let kept = kept.json();
    let price = &kept["approved"][model]["price"]["rows"]["output"];
    let millionths = price.as_str().unwrap().strip_prefix("0.").unwrap();
    format!("{millionths:0<6}").parse().unwrap()
}

fn write(gateway: &TestGateway, list: &str) -> String {
    let file = gateway.folder().join("list.json");
    std::fs::write(&file, list).unwrap();
    file.display().to_string()
}

fn run(gateway: &TestGateway, arguments: &[&str]) -> Output {
    gateway.command(&[&["admin", "prices"], arguments].concat())
}

#[track_caller]
fn said(gateway: &TestGateway, arguments: &[&str]) -> String {
    let output = run(gateway, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn import(gateway: &TestGateway, models: &[(&str, u64, u64)], more: &[&str]) -> String {
    let file = write(gateway, &list(models));
    let arguments = ["import", &file, "--from", "openrouter"];
    said(gateway, &[&arguments, more].concat())
}

#[test]
fn an_imported_model_is_sold_at_once_and_after_a_reload_and_a_restart() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(setup(upstream, "")));
    assert_eq!(at_most(&gateway, "small"), Err(404));
    let not_yet = import(&gateway, &[("small", 100, 1000)], &[]);
    assert!(not_yet.contains("without --add: small"), "{not_yet}");
    assert_eq!(at_most(&gateway, "small"), Err(404));
    let added = import(&gateway, &[("small", 100, 1000)], &["--add"]);
    assert!(added.contains("added: small"), "{added}");
    let cost = at_most(&gateway, "small").unwrap();
    assert!(cost >= 50 * 1000, "{cost}");

    gateway.reconfigure(setup(&upstream, "").server("legacy_challenge = false"));
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("the configuration was read again");
    assert_eq!(at_most(&gateway, "small"), Ok(cost));
    gateway.restart();
    assert_eq!(at_most(&gateway, "small"), Ok(cost));
    gateway.kill();
    gateway.start_again(&[]);
    assert_eq!(at_most(&gateway, "small"), Ok(cost));
}

#[test]
fn a_leap_waits_for_the_seller_and_a_step_does_not() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(setup(&upstream, ""));
    import(&gateway, &[("a", 100, 1000), ("b", 100, 1000)], &["--add"]);
    let old = at_most(&gateway, "a").unwrap();
    let told = import(&gateway, &[("a", 100, 10), ("b", 100, 1200)], &[]);
    assert!(
        told.contains("waits for approval: a output: 0.001 -> 0.00001"),
        "{told}"
    );
    assert!(
        told.contains("changed: b output: 0.001 -> 0.0012"),
        "{told}"
    );
    assert_eq!(at_most(&gateway, "a"), Ok(old));
    assert_eq!(output_price(&gateway, "b"), 1200);
    gateway.restart();

    let diff: Value = serde_json::from_str(&said(&gateway, &["diff", "--json"])).unwrap();
    assert_eq!(diff["changes"][0]["model"], "a");
    let seen = diff["revision"].as_u64().unwrap();
    let early = run(
        &gateway,
        &["approve", "--all", "--revision", &(seen - 1).to_string()],
    );
    assert!(!early.status.success());
    assert_eq!(at_most(&gateway, "a"), Ok(old));
    let approved = said(&gateway, &["approve", "a", "--revision", &seen.to_string()]);
    assert_eq!(approved.trim(), "approved: a");
    assert!(at_most(&gateway, "a").unwrap() < old);
    assert!(said(&gateway, &["diff"]).contains("waiting: 0"));
    assert!(said(&gateway, &["show"]).contains("output 0.00001"));
}

#[test]
fn the_configurations_own_price_wins() {
    let upstream = ScriptedUpstream::start().unwrap();
    let own =
        "[[model]]\nname = \"a\"\ncurrency = \"msat\"\nper = \"unit\"\ninput = 1\noutput = 7\n";
    let gateway = TestGateway::start(setup(&upstream, own));
    let before = at_most(&gateway, "a").unwrap();
    let told = import(&gateway, &[("a", 100, 1000)], &["--add"]);
    assert!(told.contains("own price wins: a"), "{told}");
    assert_eq!(at_most(&gateway, "a"), Ok(before));
}

#[test]
fn selections_new_names_and_markups_are_applied() {
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(setup(upstream, "")));
    let models = [("x/a", 100, 1000), ("y/a", 100, 3000)];
    let more = [
        "--add", "--only", "x/*", "--rename", "x/*=*", "--markup", "12.5",
    ];
    import(&gateway, &models, &more);
    assert_eq!(output_price(&gateway, "a"), 1125);
    assert_eq!(at_most(&gateway, "y/a"), Err(404));
    let refused = run(&gateway, &["import", "--from", "upstream"]);
    assert!(!refused.status.success());
    let file = write(&gateway, "<html>");
    let refused = run(&gateway, &["import", &file, "--from", "litellm"]);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("not a price list"), "{why}");
}

#[test]
fn the_gateway_fetches_lists_only_from_where_it_may() {
    let upstream = ScriptedUpstream::start().unwrap();
    let address = serve(list(&[("far", 100, 1000)]));
    let url = format!("http://{address}/v1/models");
    let arguments = ["import", &url, "--from", "upstream", "--add"];
    let gateway = TestGateway::start(setup(&upstream, ""));
    let refused = run(&gateway, &arguments);
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(at_most(&gateway, "far"), Err(404));
    drop(gateway);
    let allowed = format!("[prices]\nallow_hosts = [\"{address}\"]");
    let gateway = TestGateway::start(setup(&upstream, &allowed));
    said(&gateway, &arguments);
    assert_eq!(output_price(&gateway, "far"), 1000);
}

#[test]
fn nobody_without_the_admin_token_changes_prices() {
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(setup(upstream, "")));
    let body = json!({ "source": "openrouter", "add": true, "body": list(&[("a", 1, 1)]) });
    for path in ["/admin/v1/prices/import", "/admin/v1/prices/approve"] {
        let call = Call::post(path, body.to_string()).header("Host", &gateway.console.to_string());
        assert_eq!(call.send(gateway.console).status, 401, "{path}");
    }
    assert_eq!(at_most(&gateway, "a"), Err(404));
}

/// Answers everybody with `body`.
fn serve(body: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let _ = lines
                .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                .count();
            let head = "HTTP/1.1 200 OK\r\nConnection: close";
            let _ = write!(
                stream,
                "{head}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}
