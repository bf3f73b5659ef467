//! `on_failure = "cancel"`: the call runs while its payment is held, so a call that fails was never
//! paid, and one that was paid has its answer stored.

use std::thread::{JoinHandle, spawn};

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Call, Challenge, Reply, Route, Setup, TestGateway, with_upstream};

const PRICE: u64 = 2000;

fn route(upstream: &ScriptedUpstream) -> Route {
    Route::at("/paid", upstream)
        .msat(PRICE)
        .line("on_failure = \"cancel\"")
}

fn start(upstream: &ScriptedUpstream) -> TestGateway {
    TestGateway::start(Setup::new().route(route(upstream)))
}

/// A payment under way, as a wallet makes it: it has an outcome when the payment is taken or given
/// back.
pub(crate) struct Payment(JoinHandle<Reply>);

impl Payment {
    pub(crate) fn begin(gateway: &TestGateway, challenge: &Challenge) -> Self {
        let body = json!({ "invoice": challenge.invoice }).to_string();
        let call = Call::post("/test/pay", body)
            .header("Content-Type", "application/json")
            .header("Host", &gateway.console.to_string());
        let console = gateway.console;
        Self(spawn(move || call.send(console)))
    }

    fn is_under_way(&self) -> bool {
        !self.0.is_finished()
    }

    /// The preimage, if the payment was taken.
    pub(crate) fn outcome(self) -> Option<String> {
        let reply = self.0.join().unwrap();
        let preimage = (reply.status == 200).then(|| reply.json()["preimage"].clone());
        preimage.map(|preimage| preimage.as_str().unwrap().to_owned())
    }
}

#[track_caller]
fn pay(gateway: &TestGateway, challenge: &Challenge) -> Option<String> {
    Payment::begin(gateway, challenge).outcome()
}

/// Pays for a call that goes well. The payer has the preimage a moment before the ledger has the
/// payment; whoever comes back in that moment is asked to wait.
#[track_caller]
fn pay_for_answer(gateway: &TestGateway, challenge: &Challenge) -> String {
    let preimage = pay(gateway, challenge).expect("the call went well");
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"paid\""], 1);
    preimage
}

/// Pays for a call that fails: the money comes back, and no account was ever credited.
#[track_caller]
fn comes_back_from(target: &str, upstream: &ScriptedUpstream) {
    let gateway = start(upstream);
    let challenge = gateway.challenge(&Call::get(target));
    assert_eq!(pay(&gateway, &challenge), None, "{target} was paid");
    let balance = gateway.trial_balance();
    assert_eq!(balance["accounts"], 0, "{target}: {balance}");
    assert_eq!(balance["transfers"], 0, "{target}: {balance}");
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"canceled\""], 1);
}

#[test]
fn a_paid_call_is_answered_from_the_store_and_charged_once() {
    let (upstream, gateway) = with_upstream(start);
    let call = Call::post("/paid/order?size=1", "a whole body").header("X-Mine", "stays");
    let challenge = gateway.challenge(&call);
    assert_eq!(upstream.total(), 0);
    let preimage = pay_for_answer(&gateway, &challenge);
    assert_eq!(upstream.count("/paid/order"), 1);
    let token = challenge.paid_with(preimage);
    for _ in 0..3 {
        let reply = gateway.send(&call.clone().with(&token)).expect(200);
        let echo = reply.json();
        assert_eq!(echo["body"], "a whole body");
        assert_eq!(echo["query"], "size=1");
        assert!(echo["headers"].to_string().contains("stays"), "{echo}");
        assert_eq!(reply.all("farebox-charge-msat"), [PRICE.to_string()]);
        assert_eq!(reply.all("farebox-receipt").len(), 1);
        assert_eq!(reply.all("cache-control"), ["private, no-store"]);
    }
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), PRICE);
    let charged = gateway.metric("farebox_charged_msat_total", &["route=\"paid\""]);
    assert_eq!(charged, Some(2000));
}

#[test]
fn the_answer_outlives_the_process() {
    let (upstream, mut gateway) = with_upstream(start);
    let call = Call::get("/paid/thing");
    let challenge = gateway.challenge(&call);
    let preimage = pay_for_answer(&gateway, &challenge);
    let token = challenge.paid_with(preimage);
    gateway.restart();
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(upstream.total(), 1);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn the_payment_is_taken_only_after_the_answer() {
    let (upstream, gateway) = with_upstream(start);
    let challenge = gateway.challenge(&Call::get("/paid/gate/slow"));
    let payment = Payment::begin(&gateway, &challenge);
    upstream.wait_for("/paid/gate/slow", 1);
    assert!(payment.is_under_way());
    assert_eq!(gateway.trial_balance()["accounts"], 0);
    upstream.open_gate("slow");
    assert!(payment.outcome().is_some());
}

#[test]
fn a_call_that_fails_was_never_paid() {
    let upstream = ScriptedUpstream::start().unwrap();
    for target in [
        "/paid/status/500",
        "/paid/status/404",
        "/paid/challenge/402",
        "/paid/refuse",
        "/paid/cut/10/100",
        "/paid/cut-chunked/10",
    ] {
        comes_back_from(target, &upstream);
    }
}

#[test]
fn a_call_to_an_upstream_that_is_away_was_never_paid() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let route = Route::to("/paid", &url)
        .msat(PRICE)
        .line("on_failure = \"cancel\"");
    let gateway = TestGateway::start(Setup::new().route(route));
    let challenge = gateway.challenge(&Call::get("/paid/x"));
    assert_eq!(pay(&gateway, &challenge), None);
    assert_eq!(gateway.trial_balance()["accounts"], 0);
}

#[test]
fn an_answer_too_long_to_store_was_never_paid() {
    let upstream = ScriptedUpstream::start().unwrap();
    comes_back_from("/paid/large/2000000", &upstream);
}

#[test]
fn a_token_is_good_for_its_own_request_only() {
    let (upstream, gateway) = with_upstream(start);
    let challenge = gateway.challenge(&Call::get("/paid/one"));
    let preimage = pay_for_answer(&gateway, &challenge);
    let token = challenge.paid_with(preimage);
    let other = Call::get("/paid/two").with(&token);
    assert_eq!(
        gateway.send(&other).expect(402).json()["reason"],
        "wrong_request"
    );
    assert_eq!(upstream.count("/paid/two"), 0);
}

#[test]
fn an_offer_that_nobody_pays_makes_room_again() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .server("invoice_expiry = \"1s\"")
        .section("[held]\nmax_calls = 1")
        .route(route(&upstream));
    let gateway = TestGateway::start(setup);
    let unpaid = gateway.challenge(&Call::get("/paid/one"));
    let full = gateway.send(&Call::get("/paid/two")).expect(503);
    assert_eq!(full.all("retry-after").len(), 1);
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"canceled\""], 1);
    assert_eq!(pay(&gateway, &unpaid), None, "a canceled invoice was paid");
    gateway.challenge(&Call::get("/paid/two"));
}

#[test]
fn what_cannot_run_without_its_client_is_refused_unpaid() {
    let (upstream, gateway) = with_upstream(start);
    gateway.send(&Call::websocket("/paid/upgrade")).expect(400);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_probe_learns_the_price_and_keeps_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new()
        .section("[held]\nmax_calls = 1")
        .route(route(&upstream));
    let gateway = TestGateway::start(setup);
    for _ in 0..3 {
        let reply = gateway.send(&Call::new("HEAD", "/paid/x")).expect(402);
        assert!(reply.all("www-authenticate").is_empty());
    }
    gateway.challenge(&Call::get("/paid/x"));
}

/// The same shop, paid by another node of another name.
fn reload_with_another_node(gateway: &mut TestGateway, upstream: &ScriptedUpstream) {
    let setup = Setup::new().lightning("backend = \"mock\"\nname = \"another\"");
    gateway.reconfigure(setup.route(route(upstream)));
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("the configuration was read again");
}

#[test]
fn a_call_ends_with_the_node_it_was_offered_by_although_a_reload_took_that_away() {
    let (upstream, mut gateway) = with_upstream(start);
    let (offered, running) = (Call::get("/paid/one"), Call::get("/paid/gate/slow"));
    let first = gateway.challenge(&offered);
    let second = gateway.challenge(&running);
    let failing = gateway.challenge(&Call::get("/paid/status/500"));
    let under_way = Payment::begin(&gateway, &second);
    upstream.wait_for("/paid/gate/slow", 1);
    reload_with_another_node(&mut gateway, &upstream);

    let paid = pay_for_answer(&gateway, &first);
    assert_eq!(pay(&gateway, &failing), None, "it was paid");
    upstream.open_gate("slow");
    let taken = under_way.outcome().expect("the call went well");
    for (call, challenge, preimage) in [(offered, first, paid), (running, second, taken)] {
        let token = challenge.paid_with(preimage);
        gateway.send(&call.with(&token)).expect(200);
        assert_eq!(gateway.charged(&token), PRICE);
    }
    assert_eq!(upstream.count("/paid/one"), 1);
    assert!(!gateway.log().contains("a held call has to wait"));
}

#[test]
fn a_call_whose_node_is_gone_after_a_restart_says_so_once_and_ends_when_it_is_back() {
    let (upstream, mut gateway) = with_upstream(start);
    gateway.challenge(&Call::get("/paid/one"));
    gateway.stop();
    let with = |lightning: &str| {
        let setup = Setup::new().lightning(lightning).route(route(&upstream));
        setup.server("invoice_expiry = \"1s\"")
    };
    gateway.reconfigure(with("backend = \"mock\"\nname = \"another\""));
    gateway.start_again(&[]);
    gateway.wait_for_log("no Lightning backend called \\\"mock\\\" holds payments");
    // Other calls are sold and end meanwhile.
    gateway.challenge(&Call::get("/paid/two"));
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"canceled\""], 1);
    let complaints = gateway.log().matches("a held call has to wait").count();
    assert_eq!(complaints, 1);
    gateway.stop();
    gateway.reconfigure(with("backend = \"mock\""));
    gateway.start_again(&[]);
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"canceled\""], 1);
}
