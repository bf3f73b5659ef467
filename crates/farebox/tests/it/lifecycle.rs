//! One process on its store, from start to drain: reload, a second start, a seller's mistakes.

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;

use crate::harness::{Call, Connection, Route, Setup, TestGateway, farebox, with_upstream};

fn priced(upstream: &ScriptedUpstream, msat: u64) -> Setup {
    Setup::new().route(Route::at("/paid", upstream).msat(msat))
}

/// Sends SIGHUP and waits until an unpaid call costs `msat`.
#[track_caller]
fn reload_until(gateway: &mut TestGateway, call: &Call, msat: u64) {
    gateway.signal(Signal::HUP);
    for _ in 0..1000 {
        if gateway.send(call).expect(402).json()["price_msat"] == msat {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the price did not become {msat} msat");
}

#[test]
fn a_token_sold_before_a_price_change_buys_what_it_said() {
    let upstream = ScriptedUpstream::start().unwrap();
    let without_limits = "[server.challenges]\nper_client = \"10000/1s\"\ntotal = \"10000/1s\"";
    let mut gateway = TestGateway::start(priced(&upstream, 2000).section(without_limits));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.reconfigure(priced(&upstream, 9000).section(without_limits));
    reload_until(&mut gateway, &call, 9000);
    assert_eq!(gateway.send(&call.with(&token)).status, 200);
    assert_eq!(gateway.charged(&token), 2000);
}

#[test]
fn a_reload_with_mistakes_keeps_what_was_and_says_why() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(priced(&upstream, 2000));
    gateway.reconfigure(priced(&upstream, 9000).server("lisen = \"127.0.0.1:1\""));
    gateway.expect_alarms();
    gateway.signal(Signal::HUP);
    let line = gateway.wait_for_log("lisen");
    assert!(line.contains("listen"), "no suggestion in {line:?}");
    assert_eq!(
        gateway.send(&Call::get("/paid/a")).expect(402).json()["price_msat"],
        2000
    );
    gateway.reconfigure(priced(&upstream, 2000));
}

#[test]
fn a_second_process_on_the_same_store_refuses_to_start_and_names_the_first() {
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(priced(upstream, 2000)));
    let config = gateway.config();
    let mut second = farebox(["serve", "--insecure-test-money", "-c"]);
    let second = second
        .arg(config)
        .current_dir(gateway.folder())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&gateway.process_id().to_string()), "{said}");
    assert_eq!(gateway.send(&Call::get("/paid/a")).status, 402);
}

#[test]
fn a_request_that_runs_at_sigterm_is_finished() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(priced(&upstream, 2000));
    let call = Call::get("/paid/gate/one");
    let token = gateway.buy(&call);
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call.with(&token)).unwrap();
    upstream.wait_for("/paid/gate/one", 1);
    gateway.signal(Signal::TERM);
    upstream.open_gate("one");
    assert_eq!(buyer.read_reply("GET").unwrap().text(), "the gate is open");
    assert!(gateway.wait_for_exit().success(), "{}", gateway.log());
}

#[test]
fn an_upstream_that_refuses_the_seller_is_the_seller_s_mistake_and_costs_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(priced(&upstream, 2000));
    gateway.expect_alarms();
    for code in [401, 402, 403, 407] {
        let call = Call::get(&format!("/paid/challenge/{code}"));
        let token = gateway.buy(&call);
        let reply = gateway.send(&call.with(&token)).expect(502);
        let told = format!("{:?}{}", reply.headers, reply.text());
        assert!(
            !told.contains("upstream-secret") && !told.contains("lnbcupstream"),
            "{told}"
        );
        assert_eq!(gateway.charged(&token), 0);
    }
}
