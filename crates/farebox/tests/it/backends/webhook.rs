//! phoenixd's webhook: what it tells is looked at once, and nobody else is believed.

use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;
use serde_json::json;

use super::phoenixd::{Phoenixd, WEBHOOK, WEBHOOK_SECRET, event, ring, signed};
use super::wait_until;
use crate::harness::{Call, Challenge, Connection, Reply, Route, Setup, TestGateway};
use crate::page::Visitor;

const FOLLOWING: &str = "farebox_lightning_following";
const WEBHOOKS: &str = "farebox_webhooks_total";

/// The hash of a payment that never was.
fn nothing() -> String {
    "ab".repeat(32)
}

fn shop(node: &Phoenixd, upstream: &ScriptedUpstream) -> Setup {
    let balance = Route::at("/paid", upstream)
        .msat(2_000)
        .line("balance = { msat = 10000 }");
    Setup::new()
        .lightning(&node.toml(WEBHOOK_SECRET))
        .route(balance)
}

fn start(setup: Setup) -> TestGateway {
    let gateway = TestGateway::start(setup);
    gateway.wait_for_metric(FOLLOWING, &["backend=\"phoenixd\""], 1);
    gateway
}

#[track_caller]
fn assert_problem(reply: Reply, status: u16, code: &str) {
    let problem = reply.expect(status).json();
    let kind = problem["type"].as_str().unwrap();
    assert!(kind.ends_with(code), "{problem}");
}

/// Makes the gateway rely on the webhook: from then on it asks for payments every ten seconds, or
/// when it is called.
fn rely_on_webhook(gateway: &TestGateway, node: &Phoenixd) {
    let before = node.lists();
    ring(gateway, &nothing()).expect(204);
    // One question because of the call, and one more a second later.
    wait_until("it was asked twice", || node.lists() >= before + 2);
}

#[test]
fn a_page_that_waits_becomes_the_answer_when_the_webhook_tells_of_its_payment() {
    let (node, upstream) = (Phoenixd::start(), ScriptedUpstream::start().unwrap());
    let route = Route::at("/paid", &upstream).msat(2_000);
    let gateway = start(
        Setup::new()
            .lightning(&node.toml(WEBHOOK_SECRET))
            .route(route),
    );
    let visitor = Visitor::new();
    let challenge = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    rely_on_webhook(&gateway, &node);

    let ask = |word| Call::get("/paid/a").header("Farebox-Claim-Status", word);
    let asked = Instant::now();
    let mut waiting = Connection::open(gateway.address).unwrap();
    waiting.send(&visitor.with_cookies(&ask("wait"))).unwrap();
    // Until the question has arrived.
    let open = visitor.send(&gateway, &ask("now")).expect(200);
    assert_eq!(open.json()["state"], "open");
    let preimage = node.pay(&challenge.invoice, 0);
    let token = challenge.paid_with(preimage);
    ring(&gateway, &token.payment_hash()).expect(204);
    let told = waiting.read_reply("GET").unwrap().expect(200);
    assert_eq!(told.json()["state"], "paid");
    // Without it, the page itself would have had the node asked after eight seconds.
    assert!(
        asked.elapsed() < Duration::from_secs(7),
        "{:?}",
        asked.elapsed()
    );

    visitor.get(&gateway, "/paid/a").expect(200);
    assert_eq!(gateway.charged(&token), 2_000);
    gateway.wait_for_metric(WEBHOOKS, &["result=\"heard\""], 2);
    assert!(!gateway.log().contains(WEBHOOK_SECRET));
}

#[test]
fn what_is_told_again_and_again_is_booked_once_and_with_what_the_node_says() {
    let (node, upstream) = (Phoenixd::start(), ScriptedUpstream::start().unwrap());
    let gateway = start(shop(&node, &upstream));
    let call = Call::get("/paid/a");
    let challenge = gateway.challenge(&call);
    let preimage = node.pay(&challenge.invoice, 3);
    let token = challenge.paid_with(preimage);
    gateway.send(&call.with(&token)).expect(200);
    let told = signed(WEBHOOK_SECRET, &event(&token.payment_hash()));
    for _ in 0..5 {
        gateway.send(&told).expect(204);
    }
    wait_until("the excess is on the token", || {
        let account = gateway.find_account(&token).expect("it was used");
        account["balance_msat"] == 10_000 + 3_000 - 2_000 && account["held_msat"] == 0
    });
    let asked = node.lists();
    gateway.send(&told).expect(204);
    wait_until("it was asked again", || node.lists() > asked);
    let account = gateway.find_account(&token).unwrap();
    assert_eq!(account["balance_msat"], 11_000);
}

#[test]
fn nobody_is_believed_without_the_signature_over_the_whole_body() {
    let (node, upstream) = (Phoenixd::start(), ScriptedUpstream::start().unwrap());
    let gateway = start(shop(&node, &upstream));
    rely_on_webhook(&gateway, &node);
    let asked = node.lists();
    let told = event(&nothing());
    let good = signed(WEBHOOK_SECRET, &told);
    let (name, signature) = good.headers[0].clone();
    let with = |signature: &str| Call::post(WEBHOOK, told.as_str()).header(&name, signature);
    let forged = [
        Call::post(WEBHOOK, told.as_str()),
        with(""),
        with("é"),
        with(&signature[2..]),
        with(&"0".repeat(64)),
        with(&signature).header(&name, &signature),
        signed("another-secret-of-somebody", &told),
        Call::post(WEBHOOK, told.replace("amountSat\":1", "amountSat\":2"))
            .header(&name, &signature),
    ];
    let count = i64::try_from(forged.len()).unwrap();
    for call in &forged {
        let reply = gateway.send(call);
        assert_problem(reply, 401, "signature-refused");
    }
    gateway.wait_for_metric(WEBHOOKS, &["result=\"refused\""], count);
    let long = signed(WEBHOOK_SECRET, &" ".repeat(20_000));
    assert_problem(gateway.send(&long), 413, "body-too-large");
    let get = Call::get(WEBHOOK).header(&name, &signature);
    assert_eq!(gateway.send(&get).expect(405).find("allow"), Some("POST"));
    assert_eq!(node.lists(), asked, "the node was asked for somebody else");

    let other = json!({ "type": "channel_opened", "paymentHash": nothing() }).to_string();
    gateway.send(&signed(WEBHOOK_SECRET, &other)).expect(204);
    gateway.wait_for_metric(WEBHOOKS, &["result=\"ignored\""], 1);
}

#[test]
fn without_a_secret_there_is_no_webhook() {
    let (node, upstream) = (Phoenixd::start(), ScriptedUpstream::start().unwrap());
    let setup = |lightning: &str| {
        let route = Route::at("/paid", &upstream).msat(2_000);
        Setup::new().lightning(lightning).route(route)
    };
    let gateway = start(setup(&node.toml_without_webhook()));
    assert_problem(ring(&gateway, &nothing()), 404, "not-found");
    let gateway = TestGateway::start(setup("backend = \"mock\""));
    assert_problem(ring(&gateway, &nothing()), 404, "not-found");
}

#[test]
fn another_secret_counts_after_a_reload() {
    const OTHER: &str = "0123456789abcdef-another";
    let (node, upstream) = (Phoenixd::start(), ScriptedUpstream::start().unwrap());
    let mut gateway = start(shop(&node, &upstream));
    ring(&gateway, &nothing()).expect(204);
    let route = Route::at("/paid", &upstream).msat(2_000);
    gateway.reconfigure(Setup::new().lightning(&node.toml(OTHER)).route(route));
    gateway.signal(Signal::HUP);
    let told = signed(OTHER, &event(&nothing()));
    wait_until("the other secret counts", || {
        gateway.send(&told).status == 204
    });
    assert_problem(ring(&gateway, &nothing()), 401, "signature-refused");
}
