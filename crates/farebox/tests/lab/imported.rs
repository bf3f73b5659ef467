//! A configuration of lsat-proxy, imported, sells over a real channel.

use std::fs;

use serde_json::json;

use crate::harness::{Call, Setup, TestGateway, farebox};
use crate::stage::{shared, upstream};

/// What lsat-proxy's manual has, for an upstream of a test.
fn yaml(upstream: &str) -> String {
    format!(
        r#"
server: {{ host: "127.0.0.1", port: 3030 }}
lnd: {{ host: "https://localhost:10009", tls_path: lnd.crt, mac_path: lnd.mac }}
backends:
  - name: gpt
    path: /gpt
    upstream: "{upstream}/v1/completions"
    headers: ["Content-Type: application/json", "Authorization: Bearer sk-not-a-real-key"]
    body: '{{"model": "text-davinci-003", "prompt": "", "max_tokens": 57}}'
    pass_fields: {{ prompt: string, max_tokens: int }}
    capabilties: ""
    constraints: {{ timeout: 600 }}
    price_msat: 200
    budget_multiple: 5
    price_passthrough: false
    response_fields: choices.0.text
"#
    )
}

/// The imported file's routes, and whether it asks the node about every payment.
fn import(yaml: &str) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (
        folder.path().join("config.yaml"),
        folder.path().join("farebox.toml"),
    );
    fs::write(&from, yaml).unwrap();
    let mut command = farebox(["config", "import", "lsat-proxy"]);
    let output = command.arg(&from).arg("-o").arg(&to).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let imported: toml::Table = fs::read_to_string(to).unwrap().parse().unwrap();
    let is_strict = imported["lightning"]["strict"].as_bool() == Some(true);
    let routes = toml::Table::from_iter([("route".to_owned(), imported["route"].clone())]);
    (routes.to_string(), is_strict)
}

#[test]
fn what_lsat_proxy_sold_is_bought_over_a_real_channel() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let answer = json!({ "choices": [{ "text": "One.\n\nTwo." }] });
    upstream.will_tell("/v1/completions", "application/json", answer.to_string());
    let (routes, is_strict) = import(&yaml(&upstream.url()));
    let lightning = format!("{}\nstrict = {is_strict}", stage.lightning());
    let gateway = TestGateway::start(Setup::new().lightning(&lightning).section(&routes));
    let call = Call::post("/gpt", r#"{"prompt":"Why?","max_tokens":"12"}"#);
    let token = stage.buy(&gateway, &call);
    assert_eq!(
        stage.alice().received_for(&token.payment_hash()).unwrap(),
        1000
    );
    for left in ["800", "600", "400", "200", "0"] {
        let reply = gateway.send(&call.clone().with(&token)).expect(200);
        assert_eq!(reply.text(), r#"{"data":["One.","Two."]}"#);
        assert_eq!(reply.find("x-msats-quota"), Some(left));
    }
    let refused = gateway.send(&call.with(&token)).expect(402);
    assert_eq!(refused.find("x-reason"), Some("quota exhausted"));
    let asked = r#"{"model":"text-davinci-003","prompt":"Why?","max_tokens":12}"#;
    assert!(upstream.asked().iter().all(|body| body == asked));
}
