//! What became of an invoice: for whoever has its claim, and nobody else.

use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;

use super::{BROWSER, Visitor, invoices, shop, start};
use crate::harness::{
    Call, Challenge, Connection, HOUR, Reply, Setup, TestClock, TestGateway, with_upstream,
};
use crate::rules::{Books, books_when};

fn ask(word: &str) -> Call {
    Call::get("/paid/a").header("Farebox-Claim-Status", word)
}

fn state(reply: Reply) -> String {
    assert_eq!(reply.find("cache-control"), Some("no-store"));
    let report = reply.expect(200).json();
    report["state"].as_str().unwrap().to_owned()
}

#[test]
fn the_state_is_told_to_the_holder_of_the_claim_and_costs_nothing() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let challenge = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    assert_eq!(state(visitor.send(&gateway, &ask("now"))), "open");
    gateway.pay(&challenge.invoice);
    for _ in 0..3 {
        assert_eq!(state(visitor.send(&gateway, &ask("wait"))), "paid");
    }
    assert_eq!((upstream.total(), invoices(&gateway)), (0, 1));
    visitor.get(&gateway, "/paid/a").expect(200);
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn a_question_that_waits_is_answered_when_the_payment_comes() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let challenge = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    let asked = Instant::now();
    let mut waiting = Connection::open(gateway.address).unwrap();
    waiting.send(&visitor.with_cookies(&ask("wait"))).unwrap();
    gateway.pay(&challenge.invoice);
    assert_eq!(state(waiting.read_reply("GET").unwrap()), "paid");
    assert!(
        asked.elapsed() < Duration::from_secs(15),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn a_question_that_waits_does_not_hold_up_the_end_of_the_process() {
    let (_upstream, mut gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.get(&gateway, "/paid/a").expect(402);
    let mut waiting = Connection::open(gateway.address).unwrap();
    waiting.send(&visitor.with_cookies(&ask("wait"))).unwrap();
    // Until the question has arrived.
    visitor.send(&gateway, &ask("now")).expect(200);
    let asked = Instant::now();
    gateway.stop();
    assert!(
        asked.elapsed() < Duration::from_secs(15),
        "{:?}",
        asked.elapsed()
    );
    gateway.start_again(&[]);
}

#[test]
fn an_expired_invoice_is_said_to_be_expired() {
    let upstream = ScriptedUpstream::start().unwrap();
    let clock = TestClock::new();
    let (name, file) = clock.environment();
    let gateway = TestGateway::start_with(Setup::new().route(shop(&upstream)), &[(name, &file)]);
    let visitor = Visitor::new();
    visitor.get(&gateway, "/paid/a").expect(402);
    clock.shift(HOUR);
    assert_eq!(state(visitor.send(&gateway, &ask("wait"))), "expired");
}

#[test]
fn a_stranger_learns_nothing_not_even_whether_there_is_an_invoice() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let page = visitor.get(&gateway, "/paid/a").expect(402);
    let challenge = Challenge::of(&page);
    let preimage = gateway.pay(&challenge.invoice);
    let cookie = visitor.claim();
    let [macaroon, invoice, _] = cookie.value.split('.').collect::<Vec<_>>()[..] else {
        panic!("{cookie:?}");
    };
    // All that a payer's wallet, a router on the way or a shoulder surfer gets to know.
    let zeros = "0".repeat(64);
    let guesses = [
        String::new(),
        format!("{macaroon}.{invoice}.{zeros}"),
        format!("{macaroon}..{zeros}"),
        format!("{macaroon}.paid.{preimage}"),
        challenge.invoice.clone(),
        challenge.macaroon,
    ];
    let told = |call: &Call| {
        let reply = gateway.send(call).expect(404);
        let mut problem = reply.json();
        problem["request_id"] = serde_json::Value::Null;
        problem.to_string()
    };
    let nothing = told(&Call::get("/paid/never-asked-for").header("Farebox-Claim-Status", "wait"));
    for guess in &guesses {
        assert_eq!(
            told(&ask("wait").header("Farebox-Claim", guess)),
            nothing,
            "{guess}"
        );
        let cookie = format!("{}={guess}", cookie.name);
        assert_eq!(
            told(&ask("wait").header("Cookie", &cookie)),
            nothing,
            "{guess}"
        );
    }
    assert_eq!(told(&ask("wait")), nothing);
    assert!(!nothing.contains(&preimage));
}

#[test]
fn nowhere_is_a_preimage_given_out() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let page = visitor.get(&gateway, "/paid/a").expect(402);
    let preimage = gateway.pay(&Challenge::of(&page).invoice);
    let replies = [
        page,
        visitor.send(&gateway, &ask("now")),
        visitor.send(&gateway, &ask("wait")),
        visitor.get(&gateway, "/paid/a"),
        visitor.get(&gateway, "/paid/a"),
        gateway.send(&Call::get("/paid/a").header("Accept", BROWSER)),
    ];
    for reply in replies {
        let shown = format!("{:?}{}", reply.headers, reply.text());
        assert!(!shown.contains(&preimage), "{shown}");
    }
    assert!(!gateway.log().contains(&preimage));
}
