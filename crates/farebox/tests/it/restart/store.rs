//! One store, one process.

use std::process::Output;

use super::shop;
use crate::harness::{Call, TestGateway, farebox, with_upstream};

/// What the help promises for a store that another process has open.
const EXIT_IN_USE: i32 = 3;

fn second_start(gateway: &TestGateway) -> Output {
    let mut second = farebox(["serve", "--insecure-test-money", "-c"]);
    second.arg(gateway.config()).current_dir(gateway.folder());
    second.output().unwrap()
}

#[track_caller]
fn assert_refused(gateway: &TestGateway, refused: &Output) {
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(EXIT_IN_USE), "{said}");
    assert!(said.contains(&gateway.process_id().to_string()), "{said}");
}

#[test]
fn a_second_process_exits_with_3_and_names_the_first() {
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    assert_refused(&gateway, &second_start(&gateway));
    assert_eq!(gateway.send(&Call::get("/paid/a")).status, 402);
}

#[test]
fn the_owner_is_named_even_where_the_ports_are_taken_as_well() {
    let (_upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    // From the second start on, the file has the ports of the first one.
    gateway.restart();
    assert_refused(&gateway, &second_start(&gateway));
}

#[test]
fn other_commands_leave_a_running_gateway_s_store_alone() {
    let (_upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    for command in [["db", "verify"], ["db", "migrate"]] {
        assert_refused(&gateway, &gateway.command(&command));
    }
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_second_process_does_not_recover_the_holds_of_a_living_one() {
    let (upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/gate/one");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    let mut buyer = crate::harness::Connection::open(gateway.address).unwrap();
    buyer.send(&call).unwrap();
    upstream.wait_for("/paid/gate/one", 1);
    assert_refused(&gateway, &second_start(&gateway));
    assert_eq!(gateway.trial_balance()["open_holds"], 1);
    upstream.open_gate("one");
    buyer.read_reply("GET").unwrap().expect(200);
}

#[test]
fn the_store_is_free_again_as_soon_as_its_owner_was_killed() {
    let (_upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    gateway.kill();
    let verified = gateway.command(&["db", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    gateway.start_again(&[]);
    assert_eq!(gateway.send(&Call::get("/paid/a")).status, 402);
}

#[test]
fn another_gateway_cannot_share_the_port() {
    let (_upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    // From the second start on, the file has the ports of the first one.
    gateway.restart();
    let elsewhere = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(gateway.config()).unwrap();
    let here = gateway.folder().display().to_string();
    let there = elsewhere.path().display().to_string();
    let file = elsewhere.path().join("farebox.toml");
    std::fs::write(&file, config.replace(&here, &there)).unwrap();
    let mut other = farebox(["serve", "--insecure-test-money", "-c"]);
    let other = other.arg(file).current_dir(&elsewhere).output().unwrap();
    let said = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(said.contains(&gateway.address.to_string()), "{said}");
    assert_eq!(gateway.send(&Call::get("/paid/a")).status, 402);
}
