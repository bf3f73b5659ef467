//! Clients that leave: before the first byte it costs nothing, after it the sale stands and its
//! answer can be fetched.

use farebox_testkit::ScriptedUpstream;

use super::{Books, account_when, books_when, eventually};
use crate::harness::{Call, Connection, Route, Setup, TestGateway};

fn start(route: Route) -> TestGateway {
    TestGateway::start(Setup::new().route(route))
}

#[test]
fn a_client_gone_before_the_first_byte_is_not_charged() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let call = Call::get("/paid/gate/g");
    let token = gateway.buy(&call);
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&call.clone().with(&token)).unwrap();
    upstream.wait_for("/paid/gate/g", 1);
    drop(client);
    books_when(&gateway, &Books::settled(2000, 0));
    upstream.open_gate("g");
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert!(reply.find("farebox-replayed").is_none());
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn a_client_gone_between_headers_and_first_byte_is_not_charged() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(2));
    let stream = upstream.stream("s");
    let call = Call::get("/calls/stream/s");
    let token = gateway.buy(&call);
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&call.with(&token)).unwrap();
    assert_eq!(client.read_head().unwrap().status, 200);
    drop(client);
    stream.wait_until_abandoned();
    books_when(&gateway, &Books::settled(2000, 0));
}

#[test]
fn a_client_gone_in_the_middle_is_charged_and_can_fetch_the_answer() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let call = Call::get("/paid/stream/s");
    let token = gateway.buy(&call);
    let paid = call.with(&token);
    let stream = upstream.stream("s");
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&paid).unwrap();
    assert_eq!(client.read_head().unwrap().status, 200);
    assert!(stream.send("first, "));
    assert_eq!(client.read_chunk().unwrap().unwrap(), b"first, ");
    drop(client);
    books_when(&gateway, &Books::settled(2000, 2000));
    let waits = gateway.send(&paid).expect(409);
    assert!(
        waits.find("retry-after").is_some(),
        "the answer is still coming"
    );
    assert!(stream.send("second"), "the rest is read for the client");
    stream.finish();
    let reply = eventually(|| gateway.send(&paid), |reply| reply.status == 200);
    assert_eq!(reply.text(), "first, second");
    assert_eq!(reply.find("farebox-replayed"), Some("true"));
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_client_gone_in_the_middle_of_an_answer_that_is_not_kept_lets_the_upstream_go() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(2));
    let call = Call::get("/calls/stream/s");
    let token = gateway.buy(&call);
    let stream = upstream.stream("s");
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&call.with(&token)).unwrap();
    client.read_head().unwrap();
    assert!(stream.send("first"));
    client.read_chunk().unwrap();
    drop(client);
    stream.wait_until_abandoned();
    account_when(&gateway, &token, |account| account["calls_used"] == 1);
}

#[test]
fn a_client_gone_under_a_pass_lets_the_upstream_go() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(
        Route::at("/pass", &upstream)
            .msat(1000)
            .line("pass = \"1h\""),
    );
    let call = Call::get("/pass/stream/s");
    let token = gateway.buy(&call);
    let stream = upstream.stream("s");
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&call.with(&token)).unwrap();
    client.read_head().unwrap();
    drop(client);
    stream.wait_until_abandoned();
}

#[test]
fn a_client_gone_in_the_middle_of_its_own_body_is_not_charged() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(2));
    let token = gateway.buy(&Call::post("/calls/a", "x"));
    let call = Call::post("/calls/digest", "half").header("Content-Length", "1000000");
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&call.with(&token)).unwrap();
    upstream.wait_for("/calls/digest", 1);
    drop(client);
    books_when(&gateway, &Books::settled(2000, 0));
}

#[test]
fn a_client_that_never_finishes_a_bound_body_holds_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let call = Call::post("/paid/a", "the whole order");
    let token = gateway.buy(&call);
    let half = Call::post("/paid/a", "the whole").header("Content-Length", "15");
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&half.with(&token)).unwrap();
    drop(client);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(upstream.total(), 1);
}

#[test]
fn clients_that_hang_up_at_once_leave_no_hold_behind() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/calls", &upstream).msat(1000).calls(400);
    let gateway = start(route.line("max_voids = 1000000"));
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    let paid = call.with(&token);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..75 {
                    let mut client = Connection::open(gateway.address).unwrap();
                    client.send(&paid).unwrap();
                }
            });
        }
    });
    let settled = |account: &serde_json::Value| account["held_msat"] == 0;
    let quiet = || gateway.metric("farebox_connections", &[]) == Some(0);
    assert!(eventually(quiet, |quiet| *quiet), "connections stay open");
    let account = account_when(&gateway, &token, settled);
    assert_eq!(account["calls_held"], 0);
    let used = account["calls_used"].as_i64().unwrap();
    assert!(
        used <= 300 && used <= upstream.total().try_into().unwrap(),
        "{account}"
    );
    books_when(&gateway, &Books::settled(400_000, used * 1000));
}

#[test]
fn a_client_that_hangs_up_while_it_reads_its_challenge_costs_nobody_anything() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    for _ in 0..50 {
        let mut client = Connection::open(gateway.address).unwrap();
        client.send(&Call::get("/paid/a")).unwrap();
    }
    books_when(&gateway, &Books::settled(0, 0));
    assert_eq!(upstream.total(), 0);
}
