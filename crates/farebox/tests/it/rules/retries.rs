//! What a retry is, and that it is never charged again.

use farebox_testkit::ScriptedUpstream;

use super::{Books, MANY_CHALLENGES, account_when, books_when};
use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway};

fn start(route: Route) -> TestGateway {
    TestGateway::start(Setup::new().section(MANY_CHALLENGES).route(route))
}

/// What must be the same in a stored answer: everything but the mark and the request's own id.
fn content(reply: &Reply) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let changing = [
        "farebox-replayed",
        "x-request-id",
        "date",
        "transfer-encoding",
        "content-length",
    ];
    let fields = reply.headers.iter();
    let mut fields: Vec<_> = fields
        .filter(|(name, _)| !changing.contains(&name.as_str()))
        .cloned()
        .collect();
    fields.sort();
    (reply.status, fields, reply.body.clone())
}

#[track_caller]
fn assert_replayed(original: &Reply, again: &Reply) {
    assert_eq!(again.find("farebox-replayed"), Some("true"), "{again:?}");
    assert!(original.find("farebox-replayed").is_none());
    assert_eq!(content(original), content(again));
}

#[track_caller]
fn assert_gone(reply: &Reply, charged_msat: u64) {
    assert_eq!(reply.status, 410, "{}", reply.text());
    assert!(reply.all("www-authenticate").is_empty());
    let problem = reply.json();
    assert_eq!(problem["charged_msat"], charged_msat, "{problem}");
    assert!(problem["receipt"].is_string(), "{problem}");
}

#[test]
fn on_a_single_use_token_the_same_request_is_the_same_sale() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let elsewhere = r#"{"status":303,"headers":[["location","https://elsewhere.test/"]]}"#;
    for call in [
        Call::get("/paid/a?b"),
        Call::post("/paid/b", "body"),
        Call::get("/paid/trailers"),
        Call::get("/paid/status/204"),
        Call::post("/paid/say", elsewhere),
        Call::get("/paid/large/1000"),
        Call::get("/paid/large/1000?length"),
        Call::get("/paid/hop"),
    ] {
        let token = gateway.buy(&call);
        let before = upstream.total();
        let original = gateway.send(&call.clone().with(&token));
        assert_eq!(
            original.find("farebox-charge-msat"),
            Some("2000"),
            "{call:?}"
        );
        for _ in 0..3 {
            assert_replayed(&original, &gateway.send(&call.clone().with(&token)));
        }
        assert_eq!(upstream.total(), before + 1, "{call:?}");
    }
    books_when(&gateway, &Books::settled(16_000, 16_000));
}

#[test]
fn a_stored_answer_is_for_its_payer_alone() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.send(&call).expect(402);
    let other = gateway.buy(&call);
    let reply = gateway.send(&call.with(&other)).expect(200);
    assert!(reply.find("farebox-replayed").is_none());
    assert_eq!(upstream.total(), 2);
}

#[test]
fn a_single_use_token_bound_to_its_route_is_spent_by_its_first_request() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000).bound_to_route());
    let token = gateway.buy(&Call::get("/paid/a"));
    let original = gateway.send(&Call::get("/paid/b").with(&token)).expect(200);
    assert_replayed(&original, &gateway.send(&Call::get("/paid/b").with(&token)));
    let other = gateway.send(&Call::get("/paid/a").with(&token)).expect(402);
    assert_eq!(other.json()["reason"], "used_up");
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_retry_while_the_first_is_in_flight_is_told_to_wait() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000).bound_to_route());
    let call = Call::get("/paid/gate/g");
    let token = gateway.buy(&call);
    let mut first = Connection::open(gateway.address).unwrap();
    first.send(&call.clone().with(&token)).unwrap();
    upstream.wait_for("/paid/gate/g", 1);
    let same = gateway.send(&call.clone().with(&token)).expect(409);
    let other = gateway.send(&Call::get("/paid/b").with(&token)).expect(429);
    for waits in [same, other] {
        assert!(waits.find("retry-after").is_some(), "{waits:?}");
        assert!(
            waits.all("www-authenticate").is_empty(),
            "never a challenge"
        );
    }
    upstream.open_gate("g");
    let original = first.read_reply("GET").unwrap();
    assert_replayed(&original, &gateway.send(&call.with(&token)));
    assert_eq!(upstream.total(), 1);
}

#[test]
fn without_a_stored_answer_a_retry_gets_the_receipt() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000);
    let gateway = start(route.line("replay = false"));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.clone().with(&token)).expect(200);
    let again = gateway.send(&call.with(&token));
    assert_gone(&again, 2000);
    assert_eq!(
        again.json()["receipt"],
        *reply.find("farebox-receipt").unwrap()
    );
    assert_eq!(upstream.total(), 1);
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn an_answer_above_the_limit_is_not_kept() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000);
    let gateway = start(route.line("replay = { max_bytes = \"1KiB\", ttl = \"10m\" }"));
    for (target, kept) in [("/paid/large/1024", true), ("/paid/large/1025", false)] {
        let call = Call::get(target);
        let token = gateway.buy(&call);
        let original = gateway.send(&call.clone().with(&token)).expect(200);
        let again = gateway.send(&call.with(&token));
        if kept {
            assert_replayed(&original, &again);
        } else {
            assert_gone(&again, 2000);
        }
    }
    assert_eq!(upstream.total(), 2);
}

#[test]
fn old_answers_make_room_for_new_ones() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000);
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .server("replay_budget = \"64KiB\"");
    let limits = "replay = { max_bytes = \"16KiB\", ttl = \"10m\" }";
    let gateway = TestGateway::start(setup.route(route.line(limits)));
    let statuses: Vec<_> = (0..8)
        .map(|number| {
            let call = Call::get(&format!("/paid/large/12000?{number}"));
            let token = gateway.buy(&call);
            gateway.send(&call.clone().with(&token)).expect(200);
            (call, token)
        })
        .collect::<Vec<_>>()
        .iter()
        .map(|(call, token)| gateway.send(&call.clone().with(token)).status)
        .collect();
    // Which of the old ones goes is nobody's promise; the newest stays.
    let kept = statuses.iter().filter(|status| **status == 200).count();
    assert!(
        statuses[7] == 200 && (1..=5).contains(&kept),
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| [200, 410].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(upstream.total(), 8);
}

#[test]
fn a_stored_answer_ends_with_its_time() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000);
    let gateway = start(route.line("replay = { max_bytes = \"1KiB\", ttl = \"50ms\" }"));
    let call = Call::get("/paid/status/200");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    let read = || gateway.send(&call.clone().with(&token));
    assert_gone(&super::eventually(read, |reply| reply.status == 410), 2000);
}

/// A route of five calls, and one with a balance of five times its price.
fn both_kinds(upstream: &ScriptedUpstream) -> (TestGateway, [&'static str; 2]) {
    let balance = Route::at("/balance", upstream).msat(1000);
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .route(Route::at("/calls", upstream).msat(1000).calls(5))
        .route(balance.line("balance = { msat = 5000 }"));
    (TestGateway::start(setup), ["/calls", "/balance"])
}

#[test]
fn on_calls_and_balances_the_same_idempotency_key_and_request_is_the_same_sale() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, routes) = both_kinds(&upstream);
    for route in routes {
        let before = upstream.total();
        let call = Call::post(&format!("{route}/a"), "order");
        let token = gateway.buy(&call);
        let keyed = |key: &str| call.clone().header("Idempotency-Key", key).with(&token);
        let original = gateway.send(&keyed("k1")).expect(200);
        assert_replayed(&original, &gateway.send(&keyed("k1")));
        let second = gateway.send(&keyed("k2")).expect(200);
        assert!(second.find("farebox-replayed").is_none());
        assert_replayed(&original, &gateway.send(&keyed("k1")));
        assert_eq!(upstream.total(), before + 2);
        account_when(&gateway, &token, |account| account["balance_msat"] == 3000);
    }
}

#[test]
fn the_same_idempotency_key_with_another_request_is_a_conflict() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, routes) = both_kinds(&upstream);
    for route in routes {
        let before = upstream.total();
        let call = |path: &str, body: &str| Call::post(&format!("{route}{path}"), body);
        let token = gateway.buy(&call("/a", "order"));
        let keyed = |call: Call| call.header("Idempotency-Key", "k1").with(&token);
        gateway.send(&keyed(call("/a", "order"))).expect(200);
        for other in [
            call("/a", "other"),
            call("/b", "order"),
            call("/a?x", "order"),
        ] {
            let reply = gateway.send(&keyed(other)).expect(409);
            assert!(reply.all("www-authenticate").is_empty());
        }
        assert_eq!(upstream.total(), before + 1);
        account_when(&gateway, &token, |account| account["balance_msat"] == 4000);
    }
}

#[test]
fn all_lines_of_an_idempotency_key_count() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(5));
    let call = Call::post("/calls/a", "order").header("Idempotency-Key", "k1");
    let token = gateway.buy(&call);
    let both = call.clone().header("Idempotency-Key", "k2");
    for keyed in [call, both] {
        let original = gateway.send(&keyed.clone().with(&token)).expect(200);
        assert_replayed(&original, &gateway.send(&keyed.with(&token)));
    }
    assert_eq!(upstream.total(), 2);
}

#[test]
fn an_idempotency_key_belongs_to_its_token() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, _) = both_kinds(&upstream);
    let call = Call::post("/calls/a", "order").header("Idempotency-Key", "k1");
    for _ in 0..2 {
        let token = gateway.buy(&call);
        let reply = gateway.send(&call.clone().with(&token)).expect(200);
        assert!(reply.find("farebox-replayed").is_none());
    }
    assert_eq!(upstream.total(), 2);
}

#[test]
fn a_keyed_retry_in_flight_is_told_to_wait() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, routes) = both_kinds(&upstream);
    for route in routes {
        let gate = route.trim_matches('/');
        let path = format!("{route}/gate/{gate}");
        let call = Call::get(&path).header("Idempotency-Key", "k1");
        let token = gateway.buy(&call);
        let mut first = Connection::open(gateway.address).unwrap();
        first.send(&call.clone().with(&token)).unwrap();
        upstream.wait_for(&path, 1);
        let waits = gateway.send(&call.clone().with(&token)).expect(409);
        assert!(waits.find("retry-after").is_some(), "{waits:?}");
        upstream.open_gate(gate);
        let original = first.read_reply("GET").unwrap();
        assert_replayed(&original, &gateway.send(&call.with(&token)));
    }
}

#[test]
fn without_a_key_each_request_is_a_sale() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, routes) = both_kinds(&upstream);
    for route in routes {
        let before = upstream.total();
        let call = Call::post(&format!("{route}/a"), "order");
        let token = gateway.buy(&call);
        for _ in 0..5 {
            let reply = gateway.send(&call.clone().with(&token)).expect(200);
            assert!(reply.find("farebox-replayed").is_none());
        }
        gateway.send(&call.with(&token)).expect(402);
        assert_eq!(upstream.total(), before + 5);
    }
}

#[test]
fn a_retry_of_a_used_up_token_still_finds_its_answer() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/calls", &upstream).msat(1000).calls(2));
    let call = Call::get("/calls/a").header("Idempotency-Key", "k1");
    let token = gateway.buy(&call);
    let original = gateway.send(&call.clone().with(&token)).expect(200);
    gateway
        .send(&Call::get("/calls/a").with(&token))
        .expect(200);
    gateway
        .send(&Call::get("/calls/a").with(&token))
        .expect(402);
    assert_replayed(&original, &gateway.send(&call.with(&token)));
}

#[test]
fn a_retry_of_a_voided_attempt_is_served_anew() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(2000));
    let call = Call::get("/paid/stream/later");
    let token = gateway.buy(&call);
    let failed = gateway.send(&call.clone().with(&token)).expect(404);
    assert_eq!(failed.find("farebox-charge-msat"), Some("0"));
    books_when(&gateway, &Books::settled(2000, 0));
    let stream = upstream.stream("later");
    assert!(stream.send("now it is there"));
    stream.finish();
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(reply.text(), "now it is there");
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn money_that_is_merely_held_is_429_and_never_a_challenge() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, routes) = both_kinds(&upstream);
    for route in routes {
        let gate = route.trim_matches('/');
        let path = format!("{route}/gate/{gate}");
        let call = Call::get(&path);
        let token = gateway.buy(&call);
        let mut held: Vec<_> = (0..5)
            .map(|_| Connection::open(gateway.address).unwrap())
            .collect();
        for connection in &mut held {
            connection.send(&call.clone().with(&token)).unwrap();
        }
        upstream.wait_for(&path, 5);
        let waits = gateway.send(&call.clone().with(&token)).expect(429);
        assert!(waits.find("retry-after").is_some());
        assert!(waits.all("www-authenticate").is_empty());
        upstream.open_gate(gate);
        for connection in &mut held {
            connection.read_reply("GET").unwrap().expect(200);
        }
        account_when(&gateway, &token, |account| account["balance_msat"] == 0);
        gateway.send(&call.with(&token)).expect(402);
    }
}

#[test]
fn after_a_restart_a_retry_is_recognised_and_its_answer_gone() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = start(Route::at("/paid", &upstream).msat(2000));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    gateway.send(&call.clone().with(&token)).expect(200);
    gateway.restart();
    assert_gone(&gateway.send(&call.with(&token)), 2000);
    assert_eq!(upstream.total(), 1);
}
