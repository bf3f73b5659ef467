//! Configurations of lsat-proxy, imported, sell: with the test's money and upstream in the place of
//! those that they name, and nothing else changed.

use std::fs;
use std::path::PathBuf;

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use crate::harness::{Call, Setup, TestGateway, farebox};

/// As lsat-proxy's own manual has it: no fields of the client's, and a payment for five calls.
const MANUAL: &str = r#"
server:
  host: "0.0.0.0"
  port: 3030
lnd:
  host: "https://node.local:10009"
  tls_path: "lnd.crt"
  mac_path: "lnd.mac"
backends:
  - name: "gpt"
    path: "/gpt"
    upstream: "https://api.example.com/v1/completions"
    proto: "https"
    headers:
      - "Content-Type: application/json"
      - "Authorization: Bearer sk-not-a-real-key"
    body: "{\"model\": \"text-davinci-003\", \"prompt\": \"Tell me a story\", \"temperature\": 0, \"max_tokens\": 57}"
    capabilties: ""
    constraints:
      timeout: 600
    price_msat: 200
    budget_multiple: 5
    price_passthrough: false
    response_fields: "choices.0.text"
"#;

fn sample() -> String {
    let file = "../../samples/import/lsat-proxy.yaml";
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// What `farebox config import lsat-proxy` makes of a file, and what it has to say.
fn import(yaml: &str) -> (toml::Table, String) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (
        folder.path().join("config.yaml"),
        folder.path().join("farebox.toml"),
    );
    fs::write(&from, yaml).unwrap();
    let mut command = farebox(["config", "import", "lsat-proxy"]);
    let output = command.arg(&from).arg("-o").arg(&to).output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{notes}");
    (fs::read_to_string(to).unwrap().parse().unwrap(), notes)
}

/// The imported routes, asked of this upstream.
fn setup(yaml: &str, upstream: &ScriptedUpstream) -> Setup {
    let (mut imported, _) = import(yaml);
    for route in imported["route"].as_array_mut().unwrap() {
        let url = route["upstream"].as_str().unwrap();
        let here = url.replace("https://api.example.com", &upstream.url());
        route
            .as_table_mut()
            .unwrap()
            .insert("upstream".to_owned(), here.into());
    }
    let routes = toml::Table::from_iter([("route".to_owned(), imported["route"].clone())]);
    let legacy = &imported["server"]["legacy_challenge"];
    let setup = Setup::new().section(&routes.to_string());
    setup.server(&format!("legacy_challenge = {legacy}"))
}

fn upstream() -> ScriptedUpstream {
    let upstream = ScriptedUpstream::start().unwrap();
    let answer = json!({ "choices": [{ "text": "\n\nFirst.\n\nSecond." }] });
    upstream.will_tell("/v1/completions", "application/json", answer.to_string());
    upstream
}

#[test]
fn the_sample_of_the_manual_serves_five_paid_calls_for_a_thousand_millisatoshi() {
    let upstream = upstream();
    let gateway = TestGateway::start(setup(MANUAL, &upstream));
    // Any method will do, and nothing that the client says is passed on.
    let call = Call::post("/gpt", r#"{"prompt":"mine"}"#);
    assert_eq!(gateway.send(&call).expect(402).json()["amount_msat"], 1000);
    let token = gateway.buy(&call);
    for (call, left) in [call, Call::post("/gpt", "")]
        .iter()
        .cycle()
        .zip(["800", "600", "400", "200", "0"])
    {
        let reply = gateway.send(&call.clone().with(&token)).expect(200);
        assert_eq!(reply.find("x-msats-quota"), Some(left));
        assert_eq!(reply.text(), r#"{"data":["First.","Second."]}"#);
    }
    let refused = gateway
        .send(&Call::post("/gpt", "").with(&token))
        .expect(402);
    assert_eq!(refused.find("x-reason"), Some("quota exhausted"));
    let template = r#"{"model":"text-davinci-003","prompt":"Tell me a story","temperature":0,"max_tokens":57}"#;
    assert!(upstream.asked().iter().all(|asked| asked == template));
    assert_eq!(gateway.charged(&token), 1000);
}

#[test]
fn the_fields_of_a_client_of_lsat_proxy_are_read_as_it_sends_them() {
    let upstream = upstream();
    let gateway = TestGateway::start(setup(&sample(), &upstream));
    // As its clients send: text for everything.
    let call = Call::post(
        "/ask",
        r#"{"prompt":"Why?","max_tokens":"12","model":"dear"}"#,
    )
    .header("Content-Type", "application/json");
    let unpaid = gateway.send(&call).expect(402);
    assert_eq!(unpaid.json()["amount_msat"], 10_000);
    assert!(unpaid.all("www-authenticate")[0].starts_with("LSAT macaroon="));
    let token = gateway.buy(&call);
    for left in (0..10).rev() {
        let reply = gateway.send(&call.clone().with(&token)).expect(200);
        assert_eq!(reply.json(), json!({ "data": ["First.", "Second."] }));
        assert_eq!(
            reply.find("x-msats-quota"),
            Some(format!("{}", left * 1000).as_str())
        );
    }
    let refused = gateway.send(&call.with(&token)).expect(402);
    assert_eq!(refused.find("x-reason"), Some("quota exhausted"));
    assert_eq!(gateway.charged(&token), 10_000);

    let asked = &upstream.requests()[0];
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("POST", "/v1/completions")
    );
    assert_eq!(asked.all("authorization"), ["Bearer not-a-real-key"]);
    assert_eq!(
        asked.all("x-callback"),
        ["https://me.example.com:8443/done"]
    );
    assert_eq!(
        upstream.asked()[0],
        r#"{"model":"text-davinci-003","prompt":"Why?","temperature":0,"max_tokens":12}"#
    );
}

#[test]
fn what_lsat_proxy_needed_is_needed_and_what_it_could_not_read_is_refused_unpaid() {
    let upstream = upstream();
    let gateway = TestGateway::start(setup(&sample(), &upstream));
    for body in [
        r#"{"max_tokens":"many"}"#,
        r#"{"max_tokens":"1.5"}"#,
        "prompt=a",
    ] {
        gateway.send(&Call::post("/ask", body)).expect(400);
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_page_of_any_origin_buys_and_reads_what_is_left_as_with_lsat_proxy() {
    let upstream = upstream();
    let gateway = TestGateway::start(setup(MANUAL, &upstream));
    let call = Call::post("/gpt", "").header("Origin", "https://page.example");
    let reply = gateway.send(&call.clone().with(&gateway.buy(&call)));
    let reply = reply.expect(200);
    assert_eq!(reply.find("access-control-allow-origin"), Some("*"));
    let shown = reply.find("access-control-expose-headers").unwrap();
    assert!(
        shown.to_ascii_lowercase().contains("x-msats-quota"),
        "{shown}"
    );
}

#[test]
fn what_has_no_counterpart_is_said() {
    let (_, notes) = import(MANUAL);
    for part in [
        "tokens:",
        "lnd:",
        "proto:",
        "pass_fields:",
        "/invoice/status:",
        "cors:",
    ] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    assert!(!notes.contains("not-a-real-key"), "{notes}");
    assert!(!notes.contains("response_fields"), "{notes}");
}
