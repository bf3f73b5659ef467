//! What one token may ask at once and in a period, whatever is left on it.

use farebox_testkit::ScriptedUpstream;

use super::{Books, account_when, books_when, eventually};
use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway};

#[track_caller]
fn assert_waits(reply: &Reply) {
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert!(reply.find("retry-after").is_some(), "{reply:?}");
    assert!(
        reply.all("www-authenticate").is_empty(),
        "never a challenge"
    );
}

#[test]
fn a_token_has_no_more_requests_running_than_its_route_allows() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/calls", &upstream).msat(1000).calls(10);
    let gateway = TestGateway::start(Setup::new().route(route.line("max_concurrent = 2")));
    let call = Call::get("/calls/gate/g");
    let (token, other) = (gateway.buy(&call), gateway.buy(&call));
    let open = |token| {
        let mut connection = Connection::open(gateway.address).unwrap();
        connection.send(&call.clone().with(token)).unwrap();
        connection
    };
    let mut running = [open(&token), open(&token)];
    upstream.wait_for("/calls/gate/g", 2);
    assert_waits(&gateway.send(&Call::get("/calls/a").with(&token)));
    gateway
        .send(&Call::get("/calls/a").with(&other))
        .expect(200);
    upstream.open_gate("g");
    for connection in &mut running {
        connection.read_reply("GET").unwrap().expect(200);
    }
    let again = || gateway.send(&Call::get("/calls/a").with(&token)).status;
    assert_eq!(eventually(again, |status| *status == 200), 200);
    books_when(&gateway, &Books::settled(20_000, 4000));
}

#[test]
fn a_client_that_left_does_not_count_as_running() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/pass", &upstream).msat(1000);
    let route = route.line("pass = \"1h\"").line("max_concurrent = 1");
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/pass/gate/g");
    let token = gateway.buy(&call);
    let mut gone = Connection::open(gateway.address).unwrap();
    gone.send(&call.with(&token)).unwrap();
    upstream.wait_for("/pass/gate/g", 1);
    let next = Call::get("/pass/a").with(&token);
    assert_waits(&gateway.send(&next));
    drop(gone);
    let again = || gateway.send(&next).status;
    assert_eq!(eventually(again, |status| *status == 200), 200);
}

#[test]
fn a_token_asks_no_faster_than_its_route_allows() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/calls", &upstream).msat(1000).calls(10);
    let gateway = TestGateway::start(Setup::new().route(route.line("rate = \"3/1h\"")));
    let call = Call::get("/calls/a");
    let (token, other) = (gateway.buy(&call), gateway.buy(&call));
    for _ in 0..3 {
        gateway.send(&call.clone().with(&token)).expect(200);
    }
    // The holder's copies are the same token.
    for again in [token.clone(), token.attenuated("count=9")] {
        assert_waits(&gateway.send(&call.clone().with(&again)));
    }
    gateway.send(&call.with(&other)).expect(200);
    account_when(&gateway, &token, |account| account["calls_used"] == 3);
    assert_eq!(upstream.total(), 4);
}

#[test]
fn a_forged_token_uses_up_nobody_s_limit() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/calls", &upstream).msat(1000).calls(10);
    let gateway = TestGateway::start(Setup::new().route(route.line("rate = \"1/1h\"")));
    let call = Call::get("/calls/a");
    let token = gateway.buy(&call);
    let mut forged = token.clone();
    forged.preimage = "00".repeat(32);
    for _ in 0..5 {
        gateway.send(&call.clone().with(&forged)).expect(401);
    }
    gateway.send(&call.with(&token)).expect(200);
}
