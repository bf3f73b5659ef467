//! Pages of other sites: what they can make a visitor's browser do here.

use farebox_testkit::ScriptedUpstream;

use super::{BROWSER, Visitor, invoices, shop, start};
use crate::harness::{Call, with_upstream};

fn from_elsewhere(target: &str, mode: &str) -> Call {
    Call::get(target)
        .header("Accept", BROWSER)
        .header("Sec-Fetch-Site", "cross-site")
        .header("Sec-Fetch-Mode", mode)
}

#[test]
fn a_foreign_page_cannot_spend_a_visitors_claim() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    for mode in ["no-cors", "cors", "navigate"] {
        let call = visitor.with_cookies(&from_elsewhere("/paid/a", mode));
        gateway.send(&call).expect(402);
    }
    assert_eq!(upstream.total(), 0);
    visitor.get(&gateway, "/paid/a").expect(200);
}

#[test]
fn whoever_comes_by_a_link_is_asked_to_come_again_before_an_invoice_is_made() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    let claim = visitor.claim();
    let made = invoices(&gateway);
    // The browser keeps strict cookies back.
    let reply = gateway
        .send(&from_elsewhere("/paid/a", "navigate"))
        .expect(402);
    assert!(
        reply
            .text()
            .contains("<meta http-equiv=\"refresh\" content=\"0\">")
    );
    assert!(reply.all("www-authenticate").is_empty());
    assert_eq!(invoices(&gateway), made);
    visitor.keep(&reply);
    assert_eq!(
        visitor.claim().value,
        claim.value,
        "the paid claim was replaced"
    );
    visitor.get(&gateway, "/paid/a").expect(200);
}

#[test]
fn a_browser_that_always_seems_to_come_from_elsewhere_gets_its_page_at_the_second_time() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let call = from_elsewhere("/paid/a", "navigate");
    let first = visitor.send(&gateway, &call).expect(402);
    assert!(first.all("www-authenticate").is_empty());
    let returning = visitor.cookies();
    assert_eq!(returning[0].name, "farebox-returning");
    assert!(returning[0].max_age() <= 10);
    let second = visitor.send(&gateway, &call).expect(402);
    assert!(second.text().contains("<svg class=\"qr\""));
}

#[test]
fn other_sites_cannot_read_a_claim_or_its_state() {
    let upstream = ScriptedUpstream::start().unwrap();
    let cors = "cors = { origins = [\"https://shop.example\"] }";
    let gateway = start(shop(&upstream).line(cors));
    let reply = gateway.send(&Call::get("/paid/a").header("Origin", "https://shop.example"));
    let exposed = reply.find("access-control-expose-headers").unwrap();
    assert!(exposed.contains("Farebox-Claim"), "a shop's own page may");
    let reply = gateway.send(&Call::get("/paid/a").header("Origin", "https://evil.example"));
    assert!(reply.find("access-control-allow-origin").is_none());
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    let ask = Call::get("/paid/a")
        .header("Farebox-Claim-Status", "now")
        .header("Sec-Fetch-Site", "cross-site")
        .header("Sec-Fetch-Mode", "cors");
    gateway.send(&visitor.with_cookies(&ask)).expect(404);
}
