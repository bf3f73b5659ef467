//! The lines that other sellers for ecash print in their documents, with our address and a token of ours: at a
//! fixed price they pay, and their change pays the next call.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::Coins;
use serde_json::Value;

use super::faults::{mint, parts, shop};
use crate::harness::Route;
use crate::parts as outside;

const PRICE: u64 = 1_500;
/// What the client of ecash-402 sends with each request.
const SENT: u64 = 65_536;

/// A line, and where its change comes back.
const LINES: [(&str, &str); 3] = [
    // The README of ecash-402.
    (
        r#"curl -i -X POST {url}/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "X-PAYMENT-SATS: {token}" \
  -d '{
    "model": "meta-llama/llama-4-scout-17b-16e-instruct",
    "messages": [
        {
            "role": "user",
            "content": "hello ecash"
        }
    ]
  }'"#,
        "x-change-sats",
    ),
    // The page of otrta's client, with `-i`.
    (
        r#"curl -i -X POST {url}/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "X-Cashu: {token}" \
  -d @request.json"#,
        "x-cashu",
    ),
    // The README of routstr-core, with `-i`.
    (
        r#"curl -i {url}/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "x-cashu: {token}" \
  -d '{
    "model": "gpt-5-nano",
    "messages": [{"role": "user", "content": "hello"}]
  }'"#,
        "x-cashu",
    ),
];
const REQUEST: &str =
    r#"{"model": "gpt-5-nano", "messages": [{"role": "user", "content": "hello"}]}"#;

/// What a pasted line printed.
struct Printed {
    head: Vec<(String, String)>,
    body: Value,
}

impl Printed {
    #[track_caller]
    fn of(shell: &mut std::process::Command) -> Self {
        let output = shell.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let mut head = head.lines();
        assert_eq!(head.next(), Some("HTTP/1.1 200 OK"), "{text}");
        let fields = head.filter_map(|line| line.split_once(": "));
        Self {
            head: fields
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: serde_json::from_str(body).unwrap(),
        }
    }

    fn find(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.iter().filter(|(its, _)| its == name);
        fields.next().map(|(_, value)| value.as_str())
    }
}

#[test]
fn lines_that_others_print_pay_and_their_change_pays_the_next_call() {
    let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
    let route = Route::at("/v1", &upstream).msat(PRICE);
    let gateway = shop(&[&mint], route.line("methods = [\"cashu\"]"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("request.json"), REQUEST).unwrap();
    for (line, change) in LINES {
        let line = line.replace("{url}", &gateway.url(""));
        // Their documents are of the time of the older form.
        let mut token = mint.wrap_a(mint.make(&Coins::worth("msat", SENT)));
        for _ in 0..2 {
            let Some(mut shell) = outside::curl(&line.replace("{token}", &token)) else {
                return;
            };
            let worth = mint.value_of(&token).unwrap();
            let printed = Printed::of(shell.current_dir(folder.path()));
            assert_eq!(printed.body["object"], "chat.completion");
            let parts = parts(&gateway, &token, worth - PRICE, &mint);
            let names = ["x-cashu", "x-change-sats"].into_iter();
            let told: Vec<_> = names.filter(|name| printed.find(name).is_some()).collect();
            assert_eq!(told, [change]);
            assert_eq!(printed.find(change), Some(parts[0].as_str()));
            token.clone_from(&parts[0]);
        }
    }
    assert_eq!(upstream.total(), 2 * LINES.len());
    mint.assert_sound();
}
