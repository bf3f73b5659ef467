//! Clients that others wrote, each buying a call with a wallet that pays the mock node.

use std::process::Command;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Route, Setup, TestGateway};
use crate::parts;

/// Runs a buyer and checks what it got, what it paid and what reached the upstream.
#[track_caller]
fn check(buyer: Option<Command>) {
    let Some(mut buyer) = buyer else { return };
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().route(Route::at("/paid", &upstream).msat(2000));
    let gateway = TestGateway::start(setup);

    let url = gateway.url("/paid/report?of=today");
    let bought = parts::outcome(buyer.args([url, gateway.pay_url()]));

    assert_eq!(bought["status"], 200, "{bought}");
    assert_eq!(bought["payments"], 1, "{bought}");
    let body: serde_json::Value = serde_json::from_str(bought["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["path"], "/paid/report");
    assert_eq!(upstream.total(), 1);
}

#[test]
fn lightning_tools_buys_a_call() {
    check(parts::node("buy_with_lightning_tools.cjs"));
}

#[test]
fn the_l402_axios_interceptor_buys_a_call() {
    check(parts::node("buy_with_l402_axios.cjs"));
}

#[test]
fn l402_requests_buys_a_call() {
    check(parts::python("buy_with_l402_requests.py"));
}

#[test]
fn the_fewsats_l402_client_buys_a_call() {
    check(parts::python("buy_with_l402_fewsats.py"));
}
