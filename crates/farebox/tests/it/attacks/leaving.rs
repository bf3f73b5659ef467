//! Answers on their way out: who does not read them, who is still sending when they come, and who
//! keeps a connection for longer than was paid.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use crate::harness::{Call, Connection, Http2, Reply, Route, Setup, TestGateway, with_upstream};
use crate::keys;
use crate::rules::{Books, MANY_CHALLENGES, books_when, eventually};

const MIB: usize = 1024 * 1024;
/// Far more than the sockets on the way can hold.
const LONG: usize = 20 * MIB;
const UPLOADS: usize = 30;

/// The answers that a client sees which writes all of its request before it reads.
fn answers(gateway: &TestGateway, call: &Call) -> Vec<Reply> {
    let sent = (0..UPLOADS).map(|_| {
        let mut client = Connection::open(gateway.address).unwrap();
        client.send(call).expect("all of it can be written");
        client.read_reply(&call.method).expect("the answer is read")
    });
    sent.collect()
}

#[track_caller]
fn assert_all_seen(gateway: &TestGateway, call: &Call, status: u16) {
    for reply in answers(gateway, call) {
        assert_eq!(reply.status, status, "{}", reply.text());
    }
}

#[test]
fn who_writes_all_of_a_long_body_before_reading_sees_the_402() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(2000).bound_to_route();
    let route = route.line("max_body = \"64MiB\"");
    let gateway = TestGateway::start(Setup::new().section(MANY_CHALLENGES).route(route));
    assert_all_seen(&gateway, &Call::post("/paid/a", vec![7; LONG]), 402);
    assert_eq!(upstream.total(), 0);
}

#[test]
fn who_writes_all_of_what_is_too_long_before_reading_sees_why_it_is_refused() {
    let (upstream, gateway) = with_upstream(|upstream| {
        let route = Route::at("/free", upstream).free();
        TestGateway::start(Setup::new().route(route.line("max_body = \"1MiB\"")))
    });
    let body = vec![7; LONG];
    assert_all_seen(&gateway, &Call::post("/free/a", body.clone()), 413);
    assert_all_seen(&gateway, &Call::post("/nowhere", body), 404);
    let head = Call::get("/free/a").header("X-Filler", &"x".repeat(LONG));
    assert_all_seen(&gateway, &head, 431);
    assert_eq!(upstream.total(), 0);
}

/// An upstream that reads the head of each request, answers, and hangs up.
fn hasty_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::from("-");
            while line.trim_end() != "" {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            let answer = b"HTTP/1.1 507 Full\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull";
            stream.get_mut().write_all(answer).unwrap();
        }
    });
    address
}

#[test]
fn what_an_upstream_answers_before_it_has_read_the_body_reaches_the_client() {
    let upstream = hasty_upstream();
    let route = Route::to("/free", &format!("http://{upstream}")).free();
    let gateway = TestGateway::start(Setup::new().route(route.line("max_body = \"64MiB\"")));
    assert_all_seen(&gateway, &Call::post("/free/a", vec![7; LONG]), 507);
}

/// What a metered call costs, in msat.
const COST: i64 = 3000;
const DEPOSIT: i64 = 100_000;
/// The path of a metered call.
const METERED: &str = "/v1/report";

/// Sells reports of a million bytes by what their upstream says that they cost. Of the eight that it
/// has room for, one payer may have two.
fn metered_shop(upstream: &ScriptedUpstream, setup: Setup) -> TestGateway {
    let pad = "x".repeat(1_000_000);
    let report = format!("{{\"cost\":{COST},\"pad\":\"{pad}\"}}");
    upstream.will_tell(METERED, "application/json", report);
    let route = Route::at("/v1", upstream)
        .line("price = { upstream_json = \"/cost\", unit = \"msat\", at_most = { msat = 5000 } }")
        .line(&format!("balance = {{ msat = {DEPOSIT} }}"));
    let setup = setup
        .section(MANY_CHALLENGES)
        .server("body_budget = \"8MiB\"");
    TestGateway::start(setup.route(route))
}

#[test]
fn who_does_not_read_what_he_bought_keeps_nobody_else_from_buying() {
    let (upstream, gateway) = with_upstream(|it| metered_shop(it, Setup::new()));
    let call = Call::get(METERED);
    let (bought, honest) = (gateway.buy(&call), gateway.buy(&call));
    let mut client = Http2::without_window(gateway.address).unwrap();
    let calls = vec![call.clone().with(&bought); 10];
    let (statuses, _unread) = client.start(&calls).heads();
    let sold = statuses.iter().filter(|&&status| status == 200).count();
    assert!(sold > 0, "{statuses:?}");
    gateway.send(&call.with(&honest)).expect(200);
    let sold = i64::try_from(sold).unwrap() + 1;
    books_when(&gateway, &Books::settled(2 * DEPOSIT, sold * COST));
    drop(upstream);
}

#[test]
fn who_does_not_read_is_refused_before_the_upstream_is_asked_until_his_answers_are_let_go() {
    let brief = Setup::new().server("write_timeout = \"2s\"");
    let (upstream, gateway) = with_upstream(|it| metered_shop(it, brief));
    let call = Call::get(METERED);
    let call = call.clone().with(&gateway.buy(&call));
    let mut client = Http2::without_window(gateway.address).unwrap();
    let (first, _unread) = client.start(std::slice::from_ref(&call)).heads();
    let refused = gateway.send(&call);
    assert_eq!((first[0], refused.status), (200, 503), "{}", refused.text());
    assert_eq!(refused.all("retry-after").len(), 1);
    assert_eq!(upstream.count(METERED), 1);
    let again = eventually(|| gateway.send(&call), |reply| reply.status == 200);
    assert_eq!(again.expect(200).json()["cost"], COST);
    assert_eq!(upstream.count(METERED), 2);
    books_when(&gateway, &Books::settled(DEPOSIT, 2 * COST));
}

/// Whoever comes back for a stored answer again and again, and reads none of it, has his share of it
/// in memory until he is given up.
#[track_caller]
fn assert_shared(gateway: &TestGateway, retry: &Call) {
    let mut client = Http2::without_window(gateway.address).unwrap();
    let mut unread = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let (status, body) = client.start(std::slice::from_ref(retry)).heads();
        statuses.extend(status);
        unread.push(body);
    }
    assert_eq!(statuses, [200, 200, 503, 503, 503, 503, 503, 503]);
    eventually(|| gateway.send(retry), |reply| reply.status == 200).expect(200);
}

/// A shop of answers of 100,000 bytes, of which one payer may have two on their way.
fn answers_shop(upstream: &ScriptedUpstream, line: &str) -> TestGateway {
    let route = Route::at("/paid", upstream).msat(2000).line(line);
    let setup = Setup::new()
        .server("body_budget = \"1MiB\"")
        .server("write_timeout = \"2s\"");
    TestGateway::start(setup.route(route.line("max_body = \"64KiB\"")))
}

#[test]
fn answers_kept_for_a_retry_leave_on_the_share_of_who_bought_them() {
    let (upstream, gateway) = with_upstream(|it| answers_shop(it, "replay = true"));
    let call = Call::get("/paid/large/100000");
    let call = call.clone().with(&gateway.buy(&call));
    gateway.send(&call).expect(200);
    assert_shared(&gateway, &call);
    assert_eq!(upstream.total(), 1);
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn answers_of_held_calls_leave_on_the_share_of_who_bought_them() {
    let (upstream, gateway) = with_upstream(|it| answers_shop(it, "on_failure = \"cancel\""));
    let call = Call::get("/paid/large/100000");
    let token = gateway.buy(&call);
    gateway.wait_for_metric("farebox_held_calls_total", &["end=\"paid\""], 1);
    assert_shared(&gateway, &call.with(&token));
    assert_eq!(upstream.total(), 1);
    books_when(&gateway, &Books::settled(2000, 2000));
}

/// A shop whose streams and sockets end soon after what pays for them.
fn punctual_shop(upstream: &ScriptedUpstream) -> TestGateway {
    let pass = Route::at("/pass", upstream)
        .msat(2000)
        .line("pass = \"2s\"");
    let calls = Route::at("/calls", upstream).msat(2000).calls(5);
    let setup = Setup::new().server("overtime = \"300ms\"");
    TestGateway::start(setup.route(pass).route(calls))
}

#[test]
fn what_a_pass_pays_for_ends_soon_after_the_pass() {
    let (upstream, gateway) = with_upstream(punctual_shop);
    let stream = upstream.stream("one");
    let call = Call::get("/pass/stream/one");
    let token = gateway.buy(&call);
    let mut reader = Connection::open(gateway.address).unwrap();
    reader.send(&call.with(&token)).unwrap();
    reader.read_head().unwrap().expect(200);
    let mut socket = Connection::open(gateway.address).unwrap();
    let upgrade = Call::websocket("/pass/upgrade").with(&token);
    socket.send(&upgrade).unwrap();
    assert_eq!(socket.read_head().unwrap().status, 101);
    let goes_on = eventually(|| stream.send("data: more\n\n"), |goes_on| !goes_on);
    assert!(!goes_on, "the stream outlasts its pass");
    let line = gateway.wait_for_log("\"reason\":\"payment_over\"");
    assert!(line.contains("/pass/stream/one"), "{line}");
    // Written when the socket has ended.
    gateway.wait_for_log("\"/pass/upgrade\",\"route\":\"pass\",\"status\":101");
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn what_a_key_pays_for_ends_soon_after_the_key_is_revoked() {
    let (upstream, gateway) = with_upstream(punctual_shop);
    let stream = upstream.stream("two");
    let parent = keys::buy(&gateway, 100_000);
    let child = keys::child(&gateway, &parent.key, &json!({}));
    let bearer = format!("Bearer {}", child.key);
    let call = Call::get("/calls/stream/two").header("Authorization", &bearer);
    let mut client = Http2::open(gateway.address).unwrap();
    let (statuses, _unread) = client.start(std::slice::from_ref(&call)).heads();
    assert_eq!(statuses, [200]);
    let mut socket = Connection::open(gateway.address).unwrap();
    let upgrade = Call::websocket("/calls/upgrade").header("Authorization", &bearer);
    socket.send(&upgrade).unwrap();
    assert_eq!(socket.read_head().unwrap().status, 101);
    let children = format!("/.farebox/keys/children/{}", child.id);
    let revoke = Call::new("DELETE", &children);
    let revoke = revoke.header("Authorization", &format!("Bearer {}", parent.key));
    assert!(gateway.send(&revoke).status < 300);
    let writer = std::thread::spawn(move || {
        while stream.send("data: more\n\n") {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    client.drive_until(|| writer.is_finished());
    writer.join().unwrap();
    gateway.wait_for_log("\"reason\":\"payment_over\"");
    gateway.wait_for_log("\"/calls/upgrade\",\"route\":\"calls\",\"status\":101");
    books_when(&gateway, &Books::settled(100_000, 4000));
}
