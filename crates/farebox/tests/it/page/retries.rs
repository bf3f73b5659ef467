//! Asking again once it was served: never a second charge, and a way to buy again.

use std::collections::BTreeMap;

use farebox_testkit::ScriptedUpstream;

use super::{BROWSER, Visitor, shop, start};
use crate::harness::{Call, Challenge, Connection, with_upstream};
use crate::rules::{Books, books_when};

#[test]
fn a_refresh_shows_the_same_answer_again() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/cacheable");
    let first = visitor.get(&gateway, "/paid/cacheable").expect(200);
    for _ in 0..3 {
        let again = visitor.get(&gateway, "/paid/cacheable").expect(200);
        assert_eq!(again.find("farebox-replayed"), Some("true"));
        assert_eq!(again.text(), first.text());
    }
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn fifty_refreshes_at_once_are_one_sale() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    let call = visitor.with_cookies(&Call::get("/paid/a").header("Accept", BROWSER));
    let mut connections: Vec<_> = (0..50)
        .map(|_| Connection::open(gateway.address).unwrap())
        .collect();
    for connection in &mut connections {
        connection.send(&call).unwrap();
    }
    let mut tally = BTreeMap::new();
    for connection in &mut connections {
        let reply = connection.read_reply("GET").unwrap();
        *tally.entry(reply.status).or_insert(0) += 1;
    }
    assert!(tally[&200] >= 1, "{tally:?}");
    assert!(
        tally.keys().all(|status| matches!(status, 200 | 409)),
        "{tally:?}"
    );
    assert_eq!(upstream.total(), 1);
    books_when(&gateway, &Books::settled(2000, 2000));
}

#[test]
fn an_answer_that_is_gone_leaves_a_receipt_and_can_be_bought_again() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(shop(&upstream).line("replay = false"));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    visitor.get(&gateway, "/paid/a").expect(200);
    books_when(&gateway, &Books::settled(2000, 2000));
    let gone = visitor.get(&gateway, "/paid/a").expect(410);
    assert_eq!(gone.find("content-type"), Some("text/html; charset=utf-8"));
    let page = gone.text();
    assert!(page.contains("2000 msat were charged"), "{page}");
    assert!(page.contains("Buy it again"), "{page}");
    assert!(visitor.claims().is_empty());
    let offer = visitor.get(&gateway, "/paid/a").expect(402);
    gateway.pay(&Challenge::of(&offer).invoice);
    visitor.get(&gateway, "/paid/a").expect(200);
    books_when(&gateway, &Books::settled(4000, 4000));
}

#[test]
fn an_upstream_that_fails_costs_nothing_and_the_claim_stays_good() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/refuse");
    let failed = visitor.get(&gateway, "/paid/refuse").expect(502);
    assert!(
        failed
            .text()
            .contains("<h1>The service behind this gateway failed</h1>")
    );
    books_when(&gateway, &Books::settled(2000, 0));
    assert_eq!(visitor.claims().len(), 1);
    visitor.get(&gateway, "/paid/refuse").expect(502);
    assert_eq!(upstream.count("/paid/refuse"), 2);
}

#[test]
fn whoever_refreshes_while_it_is_served_is_told_to_wait() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/gate/slow");
    let call = visitor.with_cookies(&Call::get("/paid/gate/slow").header("Accept", BROWSER));
    let mut first = Connection::open(gateway.address).unwrap();
    first.send(&call).unwrap();
    upstream.wait_for("/paid/gate/slow", 1);
    let told = visitor.get(&gateway, "/paid/gate/slow").expect(409);
    assert!(
        told.text()
            .contains("<meta http-equiv=\"refresh\" content=\"1\">")
    );
    upstream.open_gate("slow");
    assert_eq!(first.read_reply("GET").unwrap().status, 200);
    assert_eq!(upstream.total(), 1);
}
