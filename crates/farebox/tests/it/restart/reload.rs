//! SIGHUP: another plan, or the old one and a reason.

use std::fs;
use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;

use super::{PRICE, shop};
use crate::harness::{Call, Connection, Route, Setup, TestGateway, with_upstream};

const READ_AGAIN: &str = "the configuration was read again";

/// Polls until `done`, for what the process does in its own time.
#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < give_up_at, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reloads `setup`, the first time for this gateway.
#[track_caller]
fn reload(gateway: &mut TestGateway, setup: Setup) {
    gateway.reconfigure(setup);
    gateway.signal(Signal::HUP);
    gateway.wait_for_log(READ_AGAIN);
}

#[test]
fn a_reload_adds_routes_and_takes_routes_away() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    assert_eq!(gateway.send(&Call::get("/new/a")).status, 404);
    let new = Setup::new().route(Route::at("/new", &upstream).free());
    reload(&mut gateway, new);
    gateway.send(&Call::get("/new/a")).expect(200);
    assert_eq!(gateway.send(&Call::get("/paid/a")).status, 404);
}

#[test]
fn a_token_is_not_lost_while_its_route_is_gone() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    reload(
        &mut gateway,
        Setup::new().route(Route::at("/new", &upstream).free()),
    );
    assert_eq!(gateway.send(&call).status, 404);
    gateway.reconfigure(shop(&upstream));
    gateway.signal(Signal::HUP);
    wait_until("the route is back", || gateway.send(&call).status == 200);
    assert_eq!(gateway.charged(&token), PRICE);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn requests_on_their_way_keep_the_plan_they_began_with() {
    let upstream = ScriptedUpstream::start().unwrap();
    let other = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(shop(&upstream));
    let stream = upstream.stream("one");
    let call = Call::get("/paid/stream/one");
    let token = gateway.buy(&call);
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call.with(&token)).unwrap();
    buyer.read_head().unwrap().expect(200);
    stream.send("data: 1\n\n");
    buyer.read_chunk().unwrap().unwrap();

    reload(&mut gateway, shop(&other));
    for text in ["data: 2\n\n", "data: 3\n\n"] {
        assert!(stream.send(text));
        assert_eq!(buyer.read_chunk().unwrap().unwrap(), text.as_bytes());
    }
    stream.finish();
    assert_eq!(buyer.read_chunk().unwrap(), None);
    assert_eq!(buyer.read_exactly(2).unwrap(), b"\r\n", "no trailers");
    assert_eq!(gateway.charged(&token), PRICE);

    // The same connection's next request goes by the new plan.
    let next = Call::get("/paid/b");
    let token = gateway.buy(&next);
    buyer.send(&next.with(&token)).unwrap();
    buyer.read_reply("GET").unwrap().expect(200);
    assert_eq!((upstream.total(), other.count("/paid/b")), (1, 1));
}

#[test]
fn answers_kept_for_a_retry_outlive_a_reload() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let call = call.with(&token);
    let first = gateway.send(&call).expect(200);
    reload(&mut gateway, shop(&upstream).server("bad_credential = 402"));
    let again = gateway.send(&call).expect(200);
    assert_eq!(again.find("farebox-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_file_that_is_gone_or_broken_changes_nothing() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    gateway.expect_alarms();
    fs::write(gateway.config(), "[server\nlisten = ").unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("the old one stays");
    fs::remove_file(gateway.config()).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("was not read; the old one stays");
    let reply = gateway.send(&Call::get("/paid/a")).expect(402);
    assert_eq!(reply.json()["price_msat"], PRICE);
    gateway.reconfigure(shop(&upstream));
}

#[test]
fn settings_that_need_a_restart_are_named_and_stay() {
    let (upstream, mut gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    gateway.reconfigure(shop(&upstream).server("max_connections = 7"));
    gateway.signal(Signal::HUP);
    let line = gateway.wait_for_log("changes only with a restart");
    assert!(line.contains("server.max_connections"), "{line}");
    assert_eq!(gateway.send(&Call::get("/paid/a")).status, 402);
}

#[test]
fn reloads_one_after_another_lose_no_request() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = TestGateway::start(Setup::new().route(Route::at("/free", &upstream).free()));
    let mut client = Connection::open(gateway.address).unwrap();
    for round in 0..50 {
        gateway.signal(Signal::HUP);
        client.send(&Call::get(&format!("/free/{round}"))).unwrap();
        client.read_reply("GET").unwrap().expect(200);
    }
    assert_eq!(upstream.total(), 50);
}

#[test]
fn the_access_log_goes_on_in_a_new_file_after_a_rotation() {
    let upstream = ScriptedUpstream::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("access.log"), folder.path().join("old"));
    let log = format!("[log]\nfile = \"{}\"", file.display());
    let route = Route::at("/free", &upstream).free();
    let mut gateway = TestGateway::start(Setup::new().route(route).section(&log));
    let written = |file: &std::path::Path| fs::read_to_string(file).unwrap_or_default();

    gateway.send(&Call::get("/free/before")).expect(200);
    wait_until("a line in the log", || {
        written(&file).contains("/free/before")
    });
    fs::rename(&file, &old).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_for_log(READ_AGAIN);
    gateway.send(&Call::get("/free/after")).expect(200);
    wait_until("a line in the new log", || {
        written(&file).contains("/free/after")
    });
    assert!(!written(&old).contains("/free/after"));
    assert!(!written(&file).contains("/free/before"));
}
