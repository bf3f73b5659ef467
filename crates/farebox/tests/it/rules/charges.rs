//! What is charged: answers that are worth something, and nothing that went wrong.

use farebox_testkit::ScriptedUpstream;

use super::{Books, MANY_CHALLENGES, account_when, books_when};
use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway, Token};
use crate::parts::free_port;

/// A route of calls, which show what is charged without a new token for each.
fn calls(upstream: &ScriptedUpstream, calls: u32) -> Route {
    Route::at("/calls", upstream).msat(1000).calls(calls)
}

fn start(route: Route) -> (TestGateway, Token) {
    let gateway = TestGateway::start(Setup::new().section(MANY_CHALLENGES).route(route));
    let token = gateway.buy(&Call::get("/calls/a"));
    (gateway, token)
}

#[track_caller]
fn assert_uncharged(gateway: &TestGateway, token: &Token) {
    // What the upstream fails at counts against nobody.
    let unchanged = |account: &serde_json::Value| {
        account["calls_used"] == 0 && account["held_msat"] == 0 && account["voids"] == 0
    };
    account_when(gateway, token, unchanged);
}

/// What `farebox-charge-msat` and `farebox-calls-left` say.
fn told(reply: &Reply) -> (Option<&str>, Option<&str>) {
    (
        reply.find("farebox-charge-msat"),
        reply.find("farebox-calls-left"),
    )
}

#[test]
fn answers_with_2xx_and_3xx_are_charged_and_others_are_not() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = start(calls(&upstream, 20));
    let mut used = 0;
    for (status, charged) in [
        (200, true),
        (201, true),
        (204, true),
        (206, true),
        // To another place of the upstream's own, and nothing new: the call is still good.
        (301, false),
        (304, false),
        (400, false),
        (404, false),
        (408, false),
        (409, false),
        (418, false),
        (429, false),
        (451, false),
        (500, false),
        (501, false),
        (503, false),
        (504, false),
    ] {
        let call = Call::get(&format!("/calls/status/{status}")).with(&token);
        let reply = gateway.send(&call).expect(status);
        used += i32::from(charged);
        let charge = if charged { "1000" } else { "0" };
        assert_eq!(reply.find("farebox-charge-msat"), Some(charge), "{status}");
        account_when(&gateway, &token, |account| {
            account["calls_used"] == used && account["held_msat"] == 0
        });
    }
    let charged = i64::from(used) * 1000;
    books_when(&gateway, &Books::settled(20_000, charged));
    assert_eq!(
        gateway.metric("farebox_charged_msat_total", &[]),
        Some(charged)
    );
}

#[test]
fn charge_on_success_and_client_error_charges_4xx_as_well() {
    let upstream = ScriptedUpstream::start().unwrap();
    let switch = "charge_on = \"success-and-client-error\"";
    let (gateway, token) = start(calls(&upstream, 20).line(switch));
    let mut used = 0;
    for (status, charged) in [
        (200, true),
        (404, true),
        (410, true),
        (429, true),
        (500, false),
    ] {
        let call = Call::get(&format!("/calls/status/{status}")).with(&token);
        gateway.send(&call).expect(status);
        used += i32::from(charged);
        account_when(&gateway, &token, |account| {
            account["calls_used"] == used && account["held_msat"] == 0
        });
    }
    for status in [401, 402, 403, 407] {
        let call = Call::get(&format!("/calls/challenge/{status}")).with(&token);
        gateway.send(&call).expect(502);
    }
    account_when(&gateway, &token, |account| {
        account["calls_used"] == used && account["voids"] == 0
    });
}

#[test]
fn what_an_upstream_says_about_its_own_payment_is_hidden_and_uncharged() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = start(calls(&upstream, 2));
    for status in [401, 402, 403, 407] {
        let call = Call::get(&format!("/calls/challenge/{status}")).with(&token);
        let reply = gateway.send(&call).expect(502);
        let seen = format!("{:?}{}", reply.headers, reply.text());
        for secret in [
            "upstream-secret",
            "lnbcupstream",
            "upstream-receipt",
            "creqA",
        ] {
            assert!(!seen.contains(secret), "{status}: {seen}");
        }
        for name in [
            "www-authenticate",
            "proxy-authenticate",
            "x-cashu",
            "payment-receipt",
        ] {
            assert!(reply.all(name).is_empty(), "{status}: {seen}");
        }
        assert_uncharged(&gateway, &token);
    }
    gateway
        .send(&Call::get("/calls/a").with(&token))
        .expect(200);
}

#[test]
fn a_dead_upstream_costs_nothing() {
    let dead = format!("http://127.0.0.1:{}", free_port());
    let (gateway, token) = start(Route::to("/calls", &dead).msat(1000).calls(2));
    for _ in 0..3 {
        let reply = gateway
            .send(&Call::get("/calls/a").with(&token))
            .expect(502);
        assert!(reply.all("www-authenticate").is_empty());
    }
    assert_uncharged(&gateway, &token);
    books_when(&gateway, &Books::settled(2000, 0));
}

#[test]
fn an_upstream_too_slow_for_its_headers_costs_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = start(calls(&upstream, 2).line("timeout = \"100ms\""));
    gateway
        .send(&Call::get("/calls/hang").with(&token))
        .expect(504);
    assert_uncharged(&gateway, &token);
    gateway
        .send(&Call::get("/calls/a").with(&token))
        .expect(200);
}

#[test]
fn an_upstream_that_hangs_up_before_its_answer_costs_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = start(calls(&upstream, 2));
    gateway
        .send(&Call::get("/calls/refuse").with(&token))
        .expect(502);
    account_when(&gateway, &token, |account| {
        account["calls_used"] == 0 && account["held_msat"] == 0
    });
    gateway
        .send(&Call::get("/calls/a").with(&token))
        .expect(200);
}

#[test]
fn a_body_that_the_upstream_cut_costs_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = start(calls(&upstream, 2));
    let cuts = [
        "cut/0/1000",
        "cut/999/1000",
        "cut/100000/200000",
        "cut-chunked/0",
        "cut-chunked/70000",
    ];
    for cut in cuts {
        let call = Call::get(&format!("/calls/{cut}")).with(&token);
        let answer = call.try_send(gateway.address);
        assert!(answer.is_err(), "{cut} looked whole: {answer:?}");
        assert_uncharged(&gateway, &token);
    }
    let reply = gateway
        .send(&Call::get("/calls/a").with(&token))
        .expect(200);
    assert_eq!(told(&reply), (Some("1000"), Some("1")));
}

#[test]
fn an_upstream_silent_in_the_middle_of_its_body_costs_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = start(calls(&upstream, 2).line("idle_timeout = \"100ms\""));
    let stream = upstream.stream("s");
    assert!(stream.send("one"));
    let call = Call::get("/calls/stream/s").with(&token);
    let answer = call.try_send(gateway.address);
    assert!(answer.is_err(), "{answer:?}");
    assert_uncharged(&gateway, &token);
}

#[test]
fn a_single_use_token_survives_a_cut_and_buys_the_whole_answer_later() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(Setup::new().route(Route::at("/paid", &upstream).msat(2000)));
    let call = Call::get("/paid/stream/s");
    let token = gateway.buy(&call);
    let paid = call.with(&token);
    let stream = upstream.stream("s");
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&paid).unwrap();
    assert!(stream.send("half an ans"));
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(client.read_chunk().unwrap().unwrap(), b"half an ans");
    stream.cut();
    assert!(client.read_chunk().is_err(), "half an answer looked whole");
    books_when(&gateway, &Books::settled(2000, 0));
    let stream = upstream.stream("s");
    assert!(stream.send("a whole answer"));
    stream.finish();
    assert_eq!(gateway.send(&paid).expect(200).text(), "a whole answer");
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn the_shares_of_all_calls_sum_to_what_was_paid() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/calls", &upstream).msat(3).calls(7);
    let gateway = TestGateway::start(Setup::new().route(route));
    let token = gateway.buy(&Call::get("/calls/a"));
    for call in [
        "a",
        "status/500",
        "b",
        "status/404",
        "c",
        "d",
        "cut/1/2",
        "e",
        "f",
        "g",
    ] {
        let call = Call::get(&format!("/calls/{call}")).with(&token);
        drop(call.try_send(gateway.address));
    }
    books_when(&gateway, &Books::settled(21, 21));
    gateway
        .send(&Call::get("/calls/a").with(&token))
        .expect(402);
}

#[test]
fn range_and_conditional_requests_are_priced_and_an_answer_without_news_is_not_charged() {
    let upstream = ScriptedUpstream::start().unwrap();
    let (gateway, token) = start(calls(&upstream, 2));
    let ranged = Call::get("/calls/a").header("Range", "bytes=0-3");
    let conditional = Call::get("/calls/status/304").header("If-None-Match", "\"v1\"");
    for call in [&ranged, &conditional] {
        assert_eq!(gateway.send(call).status, 402);
    }
    gateway.send(&ranged.with(&token)).expect(200);
    assert_eq!(upstream.requests()[0].all("range"), ["bytes=0-3"]);
    let reply = gateway.send(&conditional.with(&token)).expect(304);
    assert_eq!(reply.find("farebox-charge-msat"), Some("0"));
    assert_eq!(gateway.charged(&token), 1000);
}

#[test]
fn a_free_route_charges_nobody() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/free", &upstream).free();
    let gateway = TestGateway::start(Setup::new().route(route));
    for target in ["/free/a", "/free/status/404"] {
        let reply = gateway.send(&Call::get(target));
        assert!(
            reply
                .headers
                .iter()
                .all(|(name, _)| !name.starts_with("farebox-"))
        );
    }
    // Without a seller's secret on the route, an upstream's own answers are its own.
    let told = gateway.send(&Call::get("/free/challenge/401")).expect(401);
    assert!(told.all("www-authenticate").is_empty());
    books_when(&gateway, &Books::settled(0, 0));
}
