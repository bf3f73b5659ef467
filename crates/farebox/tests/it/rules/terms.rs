//! What a token says is what was sold: price and kind may change, holders may narrow, nothing else.

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;

use super::{Books, MANY_CHALLENGES, books_when, eventually};
use crate::harness::{Call, Route, Setup, TestClock, TestGateway, Token};

/// Puts `route` in the place of whatever was sold and waits until it counts. Each `version` is good
/// for one reload.
fn reload(
    gateway: &mut TestGateway,
    upstream: &ScriptedUpstream,
    version: &str,
    route: Option<Route>,
) {
    let marker = format!("/version/{version}");
    let setup = Setup::new().section(MANY_CHALLENGES);
    let setup = setup.route(Route::at(&marker, upstream).free());
    gateway.reconfigure(route.into_iter().fold(setup, Setup::route));
    gateway.signal(Signal::HUP);
    let call = Call::get(&marker);
    let status = eventually(|| gateway.send(&call).status, |status| *status == 200);
    assert_eq!(status, 200, "the reload did not happen");
}

fn start(route: Route) -> TestGateway {
    TestGateway::start(Setup::new().section(MANY_CHALLENGES).route(route))
}

/// The `farebox-charge-msat` of each of `calls` calls.
#[track_caller]
fn charges(gateway: &TestGateway, token: &Token, calls: usize) -> Vec<String> {
    let call = Call::get("/sold/a").with(token);
    let charge = |_| {
        let reply = gateway.send(&call).expect(200);
        reply.find("farebox-charge-msat").unwrap().to_owned()
    };
    (0..calls).map(charge).collect()
}

#[test]
fn a_token_sold_before_the_price_rose_buys_what_it_said() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sold = || Route::at("/sold", &upstream);
    let mut gateway = start(sold().msat(2000).calls(5));
    let call = Call::get("/sold/a");
    let token = gateway.buy(&call);
    assert_eq!(charges(&gateway, &token, 2), ["2000"; 2]);
    reload(
        &mut gateway,
        &upstream,
        "dear",
        Some(sold().msat(9000).calls(2)),
    );
    assert_eq!(
        gateway.send(&call).expect(402).json()["amount_msat"],
        18_000
    );
    assert_eq!(charges(&gateway, &token, 3), ["2000"; 3]);
    gateway.send(&call.with(&token)).expect(402);
    books_when(&gateway, &Books::settled(10_000, 10_000));
}

#[test]
fn a_token_paid_before_and_first_used_after_a_price_change_buys_what_it_said() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sold = || Route::at("/sold", &upstream);
    let mut gateway = start(sold().msat(1).calls(3));
    let token = gateway.buy(&Call::get("/sold/a"));
    reload(&mut gateway, &upstream, "single", Some(sold().msat(50_000)));
    assert_eq!(charges(&gateway, &token, 3), ["1"; 3]);
    gateway.send(&Call::get("/sold/a").with(&token)).expect(402);
}

#[test]
fn a_token_keeps_its_kind_when_the_route_sells_another() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sold = || Route::at("/sold", &upstream);
    let call = Call::get("/sold/a");
    let mut gateway = start(sold().msat(2000));
    let single = gateway.buy(&call);
    reload(
        &mut gateway,
        &upstream,
        "calls",
        Some(sold().msat(2000).calls(2)),
    );
    let calls = gateway.buy(&call);
    reload(
        &mut gateway,
        &upstream,
        "pass",
        Some(sold().msat(5000).line("pass = \"1h\"")),
    );
    let pass = gateway.buy(&call);
    reload(&mut gateway, &upstream, "free", Some(sold().free()));
    reload(
        &mut gateway,
        &upstream,
        "balance",
        Some(sold().msat(700).line("balance = { msat = 70000 }")),
    );
    assert_eq!(charges(&gateway, &single, 1), ["2000"]);
    let other = Call::get("/sold/b");
    gateway.send(&other.clone().with(&single)).expect(402);
    assert_eq!(charges(&gateway, &calls, 2), ["2000"; 2]);
    gateway.send(&other.clone().with(&calls)).expect(402);
    for _ in 0..3 {
        let reply = gateway.send(&other.clone().with(&pass)).expect(200);
        assert!(reply.find("farebox-expires").is_some());
    }
    books_when(&gateway, &Books::settled(11_000, 11_000));
}

#[test]
fn a_token_for_a_route_that_became_free_is_kept_for_later() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sold = || Route::at("/sold", &upstream);
    let mut gateway = start(sold().msat(2000).calls(2));
    let call = Call::get("/sold/a");
    let token = gateway.buy(&call);
    assert_eq!(charges(&gateway, &token, 1), ["2000"]);
    reload(&mut gateway, &upstream, "free", Some(sold().free()));
    let reply = gateway.send(&call.clone().with(&token)).expect(200);
    assert!(reply.find("farebox-charge-msat").is_none());
    assert!(
        upstream
            .requests()
            .iter()
            .all(|seen| seen.all("authorization").is_empty())
    );
    reload(&mut gateway, &upstream, "gone", None);
    gateway.send(&call.clone().with(&token)).expect(404);
    reload(
        &mut gateway,
        &upstream,
        "back",
        Some(sold().msat(3000).calls(2)),
    );
    assert_eq!(charges(&gateway, &token, 1), ["2000"]);
    gateway.send(&call.with(&token)).expect(402);
}

#[test]
fn a_token_outlives_a_restart_with_another_price() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sold = || Route::at("/sold", &upstream);
    let mut gateway = start(sold().msat(2000).calls(3));
    let token = gateway.buy(&Call::get("/sold/a"));
    assert_eq!(charges(&gateway, &token, 1), ["2000"]);
    gateway.reconfigure(Setup::new().route(sold().msat(9000)));
    gateway.restart();
    assert_eq!(charges(&gateway, &token, 2), ["2000"; 2]);
    gateway.send(&Call::get("/sold/a").with(&token)).expect(402);
}

#[test]
fn a_narrowed_count_limits_the_token_as_it_says() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/sold", &upstream).msat(1000).calls(5));
    let token = gateway.buy(&Call::get("/sold/a"));
    let two = token.attenuated("count=2");
    charges(&gateway, &two, 2);
    let call = Call::get("/sold/a");
    gateway.send(&call.clone().with(&two)).expect(402);
    gateway
        .send(&call.clone().with(&two.attenuated("count=1")))
        .expect(402);
    gateway
        .send(&call.clone().with(&token.attenuated("count=0")))
        .expect(402);
    // The rest is the parent's.
    charges(&gateway, &token.attenuated("count=3"), 1);
    charges(&gateway, &token, 2);
    gateway.send(&call.with(&token)).expect(402);
    assert_eq!(upstream.total(), 5);
}

#[test]
fn a_narrowed_amount_limits_the_token_as_it_says() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/sold", &upstream).msat(3000);
    let gateway = start(route.line("balance = { msat = 30000 }"));
    let token = gateway.buy(&Call::get("/sold/a"));
    let seven = token.attenuated("amount_msat=7000");
    charges(&gateway, &seven, 2);
    gateway.send(&Call::get("/sold/a").with(&seven)).expect(402);
    charges(&gateway, &token, 8);
    gateway.send(&Call::get("/sold/a").with(&token)).expect(402);
}

#[test]
fn narrowed_methods_limit_the_token_as_they_say() {
    let upstream = ScriptedUpstream::start().unwrap();
    let route = Route::at("/sold", &upstream).msat(1000).calls(5);
    let gateway = start(route.line("http_scope = \"any\""));
    let token = gateway.buy(&Call::get("/sold/a"));
    let reading = token.attenuated("methods=read");
    let (get, post) = (Call::get("/sold/a"), Call::post("/sold/a", "x"));
    gateway.send(&post.clone().with(&reading)).expect(402);
    gateway.send(&get.clone().with(&reading)).expect(200);
    let writing = token.attenuated("methods=write");
    gateway.send(&get.clone().with(&writing)).expect(402);
    gateway.send(&post.clone().with(&writing)).expect(200);
    gateway
        .send(&get.with(&reading.attenuated("methods=write")))
        .expect(401);
    gateway.send(&post.with(&token)).expect(200);
    assert_eq!(upstream.total(), 3);
}

#[test]
fn a_narrowed_request_limits_the_token_as_it_says() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/sold", &upstream).msat(1000).calls(5));
    let token = gateway.buy(&Call::get("/sold/a"));
    let nothing = <sha2::Sha256 as sha2::Digest>::digest(b"");
    let digest = farebox_core::RequestDigest::of_request("GET", "/sold/a", None, &nothing.into());
    let request = format!("request={}", hex::encode(digest.as_bytes()));
    let narrowed = token.attenuated(&request);
    gateway
        .send(&Call::get("/sold/b").with(&narrowed))
        .expect(402);
    gateway
        .send(&Call::get("/sold/a").with(&narrowed))
        .expect(200);
    gateway.send(&Call::get("/sold/b").with(&token)).expect(200);
}

#[test]
fn a_narrowed_end_limits_the_token_as_it_says() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let (name, file) = clock.environment();
    let route = Route::at("/sold", &upstream).msat(1000).calls(5);
    let gateway = TestGateway::start_with(Setup::new().route(route), &[(name, &file)]);
    let token = gateway.buy(&Call::get("/sold/a"));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let until = |end: u64| token.attenuated(&format!("valid_until={end}"));
    let call = Call::get("/sold/a");
    for past in [0, 1, now - 1] {
        let reply = gateway.send(&call.clone().with(&until(past))).expect(402);
        assert_eq!(reply.json()["reason"], "expired");
    }
    let an_hour = until(now + 3600);
    gateway.send(&call.clone().with(&an_hour)).expect(200);
    clock.shift(2 * crate::harness::HOUR);
    gateway.send(&call.clone().with(&an_hour)).expect(402);
    gateway.send(&call.with(&token)).expect(200);
}

#[test]
fn a_pass_cannot_be_narrowed_to_a_count_that_nobody_keeps() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(
        Route::at("/sold", &upstream)
            .msat(1000)
            .line("pass = \"1h\""),
    );
    let token = gateway.buy(&Call::get("/sold/a"));
    for kept_by_nobody in ["count=2", "amount_msat=500"] {
        let call = Call::get("/sold/a").with(&token.attenuated(kept_by_nobody));
        assert_eq!(gateway.send(&call).status, 401, "{kept_by_nobody}");
    }
    gateway.send(&Call::get("/sold/a").with(&token)).expect(200);
}
