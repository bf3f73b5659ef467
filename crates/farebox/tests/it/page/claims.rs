//! From the page to the answer, by cookie and by header, without a script.

use farebox_testkit::ScriptedUpstream;

use super::{PRICE, Visitor, invoices, shop, start};
use crate::harness::{Call, Challenge, HOUR, Route, Setup, TestClock, TestGateway, with_upstream};
use crate::rules::{Books, MANY_CHALLENGES, books_when, eventually};

/// A gateway that goes by `clock`.
fn start_by(clock: &TestClock, route: Route) -> TestGateway {
    let setup = Setup::new().section(MANY_CHALLENGES).route(route);
    let (name, file) = clock.environment();
    TestGateway::start_with(setup, &[(name, &file)])
}

#[test]
fn asking_again_shows_the_same_invoice_and_then_the_answer() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let first = Challenge::of(&visitor.get(&gateway, "/paid/a?b=c").expect(402));
    for _ in 0..5 {
        let again = Challenge::of(&visitor.get(&gateway, "/paid/a?b=c").expect(402));
        assert_eq!(again, first);
    }
    assert_eq!(invoices(&gateway), 1);
    gateway.pay(&first.invoice);
    // That nobody had paid was a good answer for a second.
    let ask = || visitor.get(&gateway, "/paid/a?b=c");
    let reply = eventually(ask, |reply| reply.status == 200);
    assert_eq!(reply.json()["query"], "b=c");
    books_when(&gateway, &Books::settled(2000, 2000));
    assert_eq!(upstream.total(), 1);
}

#[test]
fn a_page_that_does_not_run_scripts_comes_to_its_answer_by_refreshing() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let page = visitor.get(&gateway, "/paid/a").expect(402);
    assert!(
        page.text()
            .contains("<noscript><meta http-equiv=\"refresh\"")
    );
    gateway.pay(&Challenge::of(&page).invoice);
    let reply = visitor.get(&gateway, "/paid/a").expect(200);
    assert_eq!(reply.json()["path"], "/paid/a");
}

#[test]
fn a_program_brings_its_claim_in_a_header_and_never_sees_a_preimage() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let unpaid = gateway.send(&Call::get("/paid/a")).expect(402);
    let claim = unpaid.find("farebox-claim").unwrap().to_owned();
    let with_claim = Call::get("/paid/a").header("Farebox-Claim", &claim);
    let waiting = gateway.send(&with_claim).expect(402);
    assert_eq!(waiting.json()["reason"], "not_paid_yet");
    assert!(
        waiting.all("www-authenticate").is_empty(),
        "a second invoice"
    );
    assert_eq!(invoices(&gateway), 1);
    let preimage = gateway.pay(&Challenge::of(&unpaid).invoice);
    let reply = eventually(|| gateway.send(&with_claim), |reply| reply.status == 200);
    let shown = format!("{:?}{}", reply.headers, reply.text());
    assert!(!shown.contains(&preimage));
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn no_claim_reaches_the_upstream_and_other_cookies_do() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().route(shop(&upstream));
    let gateway = TestGateway::start(setup.route(Route::at("/free", &upstream).free()));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    let claim = visitor.claim();
    let theirs = format!("session=1; {}={}; theme=dark", claim.name, claim.value);
    for target in ["/paid/a", "/free/a"] {
        let call = Call::get(target)
            .header("Cookie", &theirs)
            .header("Cookie", "farebox-returning=1; last=2")
            .header("Farebox-Claim", "x.y.z");
        // The header is malformed, the cookies alone are not.
        let call = match target {
            "/paid/a" => Call {
                headers: call.headers[..2].to_vec(),
                ..call
            },
            _ => call,
        };
        let seen = gateway.send(&call).expect(200).json();
        let seen: Vec<(String, String)> = serde_json::from_value(seen["headers"].clone()).unwrap();
        assert!(!seen.iter().any(|(name, _)| name.starts_with("farebox")));
        let cookies: Vec<&str> = seen
            .iter()
            .filter(|(name, _)| name == "cookie")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(cookies.join("; "), "session=1; theme=dark; last=2");
    }
}

#[test]
fn one_payment_for_several_calls_serves_the_whole_route() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(PRICE).calls(3));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    assert_eq!(visitor.claim().path, "/paid");
    for (target, left) in [("/paid/a", "2"), ("/paid/b/c?d", "1"), ("/paid", "0")] {
        let reply = visitor.get(&gateway, target).expect(200);
        assert_eq!(reply.find("farebox-calls-left"), Some(left), "{target}");
        // The browser keeps it for as long as the calls can be used.
        assert!(visitor.claim().max_age() > 20 * 24 * 60 * 60);
    }
    let used_up = visitor.get(&gateway, "/paid/a").expect(402);
    assert!(used_up.text().contains("One payment buys 3 requests."));
    gateway.pay(&Challenge::of(&used_up).invoice);
    visitor.get(&gateway, "/paid/a").expect(200);
}

#[test]
fn a_pass_is_good_for_every_page_of_its_route() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(
        Route::at("/paid", &upstream)
            .msat(PRICE)
            .line("pass = \"2d\""),
    );
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/1");
    for target in ["/paid/1", "/paid/2", "/paid/2"] {
        visitor.get(&gateway, target).expect(200);
    }
    assert_eq!(visitor.claim().max_age(), 2 * 24 * 60 * 60);
}

#[test]
fn an_expired_invoice_makes_way_for_a_new_one() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let gateway = start_by(&clock, shop(&upstream));
    let visitor = Visitor::new();
    let first = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    clock.shift(HOUR);
    let second = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    assert_ne!(first.invoice, second.invoice);
    gateway.pay(&second.invoice);
    visitor.get(&gateway, "/paid/a").expect(200);
    assert_eq!(visitor.claims().len(), 1, "the old claim is gone");
}

#[test]
fn what_was_paid_in_time_is_served_after_the_invoice_has_expired() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let gateway = start_by(&clock, shop(&upstream));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    clock.shift(3 * HOUR);
    visitor.get(&gateway, "/paid/a").expect(200);
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn a_page_survives_a_restart() {
    let (_upstream, mut gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let first = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    gateway.kill();
    gateway.start_again(&[]);
    let again = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    assert_eq!(again, first);
    // Counted since the restart.
    assert_eq!(invoices(&gateway), 0);
}

#[test]
fn what_the_ledger_has_seen_once_needs_no_node() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = start(Route::at("/paid", &upstream).msat(PRICE).calls(3));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    visitor.get(&gateway, "/paid/a").expect(200);
    // The mock node forgets what was paid.
    gateway.restart();
    let reply = visitor.get(&gateway, "/paid/a").expect(200);
    assert_eq!(reply.find("farebox-calls-left"), Some("1"));
}

#[test]
fn neither_the_page_nor_a_log_has_the_claim() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let page = visitor.get(&gateway, "/paid/a").expect(402);
    let cookie = visitor.claim();
    let seal = cookie.value.rsplit('.').next().unwrap();
    assert!(!page.text().contains(seal), "scripts could read the claim");
    let seen: Vec<&(String, String)> = page
        .headers
        .iter()
        .filter(|(name, value)| name != "set-cookie" && value.contains(seal))
        .collect();
    assert!(seen.is_empty(), "{seen:?}");
    gateway.pay(&Challenge::of(&page).invoice);
    visitor.get(&gateway, "/paid/a").expect(200);
    let log = gateway.log();
    assert!(!log.contains(seal) && !log.contains(&cookie.value), "{log}");
}
