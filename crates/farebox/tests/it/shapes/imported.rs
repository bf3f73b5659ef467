//! A configuration of lsat-proxy, imported, sells: the sample of this repository, with the node and
//! the upstream of the test in the place of those that it names.

use std::fs;
use std::path::PathBuf;

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use crate::harness::{Call, Setup, TestGateway, farebox};

fn sample() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples/import/lsat-proxy.yaml")
}

/// What `farebox config import lsat-proxy` made of the sample, and what it had to say.
fn import() -> (toml::Table, String) {
    let folder = tempfile::tempdir().unwrap();
    let result = folder.path().join("farebox.toml");
    let sample = sample();
    let arguments = ["config", "import", "lsat-proxy"].map(Into::into);
    let files = [
        sample.into_os_string(),
        "-o".into(),
        result.clone().into_os_string(),
    ];
    let output = farebox(arguments.into_iter().chain(files))
        .output()
        .unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{notes}");
    let text = fs::read_to_string(result).unwrap();
    (text.parse().unwrap(), notes)
}

/// The imported routes, asked of this upstream.
fn setup(upstream: &ScriptedUpstream) -> Setup {
    let (mut imported, _) = import();
    let routes = imported["route"].as_array_mut().unwrap();
    for route in routes {
        let url = route["upstream"].as_str().unwrap();
        let path = url.split_once("://").unwrap().1.split_once('/').unwrap().1;
        let here = format!("{}/{path}", upstream.url());
        route
            .as_table_mut()
            .unwrap()
            .insert("upstream".to_owned(), here.into());
    }
    let routes = toml::Table::from_iter([("route".to_owned(), imported["route"].clone())]);
    Setup::new().section(&routes.to_string())
}

#[test]
fn the_imported_sample_serves_paid_calls_as_lsat_proxy_did() {
    let upstream = ScriptedUpstream::start().unwrap();
    upstream.will_tell(
        "/v1/completions",
        "application/json",
        json!({ "choices": [{ "text": "\n\nFirst.\n\nSecond." }] }).to_string(),
    );
    let gateway = TestGateway::start(setup(&upstream));
    // As its clients send: text for everything.
    let call = Call::post(
        "/ask",
        r#"{"prompt":"Why?","max_tokens":"12","model":"dear"}"#,
    )
    .header("Content-Type", "application/json");
    let unpaid = gateway.send(&call).expect(402);
    assert_eq!(unpaid.json()["amount_msat"], 10_000);
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
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(setup(&upstream));
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
fn what_has_no_counterpart_is_said() {
    let (_, notes) = import();
    for part in ["tokens:", "lnd:", "proto:"] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    assert!(!notes.contains("response_fields"), "{notes}");
}
