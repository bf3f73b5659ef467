//! The payment page with real money: whoever pays on another node finds the answer in its place.

#[path = "../it/page/chromium.rs"]
mod chromium;
#[path = "../it/page/jar.rs"]
#[expect(dead_code, reason = "shared with tests that look at more cookies")]
mod jar;

use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use crate::address::Address;
use crate::harness::{Call, Challenge, Connection, Reply, Route, Setup, TestGateway};
use crate::stage::{PRICE, Stage, alone, paid, shared, upstream};
use crate::stand_in::phoenixd::{WEBHOOK_SECRET, webhook};
use crate::stand_in::{SECRET, StandIn};
use crate::wire::Wire;
use chromium::Buyer;
use jar::Visitor;

/// What browsers say they want when somebody goes to an address.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Refreshes as a page without scripts does, until the answer is there.
#[track_caller]
fn refresh(visitor: &Visitor, gateway: &TestGateway, target: &str) -> Reply {
    let give_up_at = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = visitor.get(gateway, target);
        if reply.status == 200 {
            return reply;
        }
        assert!(Instant::now() < give_up_at, "{}", reply.text());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn charged(stage: &Stage, gateway: &TestGateway, challenge: &Challenge) -> u64 {
    let hash = stage.hash_of(challenge);
    let account = gateway.admin(Call::get(&format!("/admin/v1/tokens/{hash}")));
    let account = account.expect(200).json();
    account["amount_msat"].as_u64().unwrap() - account["balance_msat"].as_u64().unwrap()
}

#[test]
fn a_page_is_paid_on_another_node_and_shows_the_answer_without_a_reload() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let before = stage.balances();
    let wish = json!({ "url": gateway.url("/paid/weather"), "wait_for": "/paid/weather\"" });
    let Some(buyer) = Buyer::goes(&wish) else {
        return;
    };
    let code = buyer.shown["qr"].as_str().unwrap().to_owned();
    let scanned = code.strip_prefix("LIGHTNING:").unwrap().to_lowercase();
    assert_eq!(scanned, buyer.invoice());
    stage.bob().pay(&scanned).unwrap();
    let end = buyer.sees_the_answer("paid");
    assert_eq!(end["not_reloaded"], true, "{end}");
    assert_eq!(end["navigations"], 0, "{end}");
    assert_eq!(end["complaints"], json!([]), "{end}");
    assert_eq!(upstream.total(), 1);
    stage.assert_paid(before, 2000);
}

#[test]
fn a_page_without_scripts_is_paid_on_another_node() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let wish = json!({
        "url": gateway.url("/paid/weather"),
        "wait_for": "/paid/weather\"",
        "javascript": false,
    });
    let Some(buyer) = Buyer::goes(&wish) else {
        return;
    };
    stage.bob().pay(buyer.invoice()).unwrap();
    buyer.sees_the_answer("paid");
    assert_eq!(upstream.total(), 1);
}

#[test]
fn restarts_before_and_after_the_payment_lose_neither_page_nor_answer() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let mut gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let before = stage.balances();
    let visitor = Visitor::new();
    let page = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    gateway.kill();
    gateway.start_again(&[]);
    let again = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    assert_eq!(page, again);
    gateway.kill();
    stage.bob().pay(&page.invoice).unwrap();
    gateway.start_again(&[]);
    refresh(&visitor, &gateway, "/paid/a");
    refresh(&visitor, &gateway, "/paid/a");
    assert_eq!(charged(&stage, &gateway, &page), PRICE);
    assert_eq!(upstream.total(), 1);
    stage.assert_paid(before, 2000);
}

#[test]
fn a_question_that_waits_hears_of_the_payment_from_the_node() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let visitor = Visitor::new();
    let page = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    let ask = Call::get("/paid/a").header("Farebox-Claim-Status", "wait");
    let mut waiting = Connection::open(gateway.address).unwrap();
    waiting.send(&visitor.with_cookies(&ask)).unwrap();
    stage.bob().pay(&page.invoice).unwrap();
    let told = waiting.read_reply("GET").unwrap().expect(200).json();
    assert_eq!(told["state"], "paid");
    assert_eq!(upstream.total(), 0);
    refresh(&visitor, &gateway, "/paid/a");
}

#[test]
fn nobody_is_served_on_a_guess_while_the_node_cannot_be_asked() {
    let Some(stage) = shared() else { return };
    let wire = Wire::to(stage.alice().rest.trim_start_matches("https://"));
    let upstream = upstream();
    let setup = stage.setup(paid(&upstream));
    let gateway = TestGateway::start(setup.lightning(&stage.lightning_at(&wire.url())));
    let visitor = Visitor::new();
    let page = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    wire.cut();
    stage.bob().pay(&page.invoice).unwrap();
    let told = visitor.get(&gateway, "/paid/a").expect(503);
    assert!(told.find("retry-after").is_some());
    assert!(
        told.text().contains("<meta http-equiv=\"refresh\""),
        "it asks again by itself"
    );
    assert_eq!(upstream.total(), 0);
    assert_eq!(visitor.claims().len(), 1, "the claim is kept");
    wire.mend();
    refresh(&visitor, &gateway, "/paid/a");
    assert_eq!(charged(&stage, &gateway, &page), PRICE);
}

/// A route whose calls run while their payment is held.
fn held(upstream: &ScriptedUpstream) -> Route {
    paid(upstream).line("on_failure = \"cancel\"")
}

#[test]
fn a_page_for_a_held_call_turns_into_the_answer_too() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(held(&upstream)));
    let before = stage.balances();
    let visitor = Visitor::new();
    let page = Challenge::of(&visitor.get(&gateway, "/paid/gate/slow").expect(402));
    let paying = stage.start_paying(&page);
    upstream.wait_for("/paid/gate/slow", 1);
    // Paid, but not taken yet: the page waits.
    let waiting = Challenge::of(&visitor.get(&gateway, "/paid/gate/slow").expect(402));
    assert_eq!(waiting, page);
    upstream.open_gate("slow");
    paying.outcome().unwrap();
    let reply = refresh(&visitor, &gateway, "/paid/gate/slow");
    assert_eq!(reply.text(), "the gate is open");
    assert_eq!(upstream.total(), 1);
    stage.assert_paid(before, 2000);
}

#[test]
fn a_held_call_that_fails_leaves_a_page_with_a_new_invoice() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(held(&upstream)));
    let before = stage.balances();
    let visitor = Visitor::new();
    let target = "/paid/status/500";
    let page = Challenge::of(&visitor.get(&gateway, target).expect(402));
    let ask = Call::get(target).header("Farebox-Claim-Status", "wait");
    let outcome = stage.start_paying(&page).outcome();
    assert!(outcome.is_err(), "{outcome:?}");
    let told = visitor.send(&gateway, &ask).expect(200).json();
    assert_eq!(told["state"], "canceled");
    let next = Challenge::of(&visitor.get(&gateway, target).expect(402));
    assert_ne!(next.invoice, page.invoice);
    stage.assert_paid(before, 0);
}

/// A gateway that sells for a Lightning Address whose provider does not tell what was paid.
fn address_shop(stage: &Stage, upstream: &ScriptedUpstream) -> (Address, TestGateway) {
    let address = Address::of(stage.alice());
    let lightning = format!(
        "backend = \"lightning-address\"\nnetwork = \"regtest\"\naddress = \"{address}\"\n\
         allow_hosts = [\"{}\"]",
        address.host()
    );
    let setup = stage.setup(paid(upstream)).lightning(&lightning);
    (address, TestGateway::start(setup))
}

#[test]
fn where_the_provider_cannot_tell_the_page_takes_the_preimage() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let (_address, gateway) = address_shop(&stage, &upstream);
    let visitor = Visitor::new();
    visitor.get(&gateway, "/paid/a?b=c").expect(402);
    // It is known by now that nobody will tell: what is typed in must not vanish in a refresh.
    let page = visitor.get(&gateway, "/paid/a?b=c").expect(402);
    let challenge = Challenge::of(&page);
    let html = page.text();
    assert!(html.contains("<details id=\"by-hand\" open>"), "{html}");
    assert!(!html.contains("http-equiv=\"refresh\""), "{html}");
    let ask = Call::get("/paid/a?b=c").header("Farebox-Claim-Status", "wait");
    let told = visitor.send(&gateway, &ask).expect(200).json();
    assert_eq!(told["state"], "untold");

    let paid = stage.bob().pay(&challenge.invoice).unwrap();
    visitor.get(&gateway, "/paid/a?b=c").expect(402);
    let macaroon = challenge.macaroon.replace('+', "%2B");
    let form = format!(
        "macaroon={macaroon}&preimage={}&back=%2Fpaid%2Fa%3Fb%3Dc",
        paid.preimage
    );
    let form = Call::post("/.farebox/claim", form)
        .header("Content-Type", "application/x-www-form-urlencoded");
    let led = visitor.send(&gateway, &form).expect(303);
    assert_eq!(led.find("location"), Some("/paid/a?b=c"));
    let answer = visitor.get(&gateway, "/paid/a?b=c").expect(200);
    assert_eq!(answer.json()["query"], "b=c");
    assert_eq!(charged(&stage, &gateway, &challenge), PRICE);
}

#[test]
fn a_person_types_the_preimage_into_the_page() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let (_address, gateway) = address_shop(&stage, &upstream);
    for javascript in [true, false] {
        let target = format!("/paid/{javascript}");
        let wish = json!({
            "url": gateway.url(&target),
            "wait_for": format!("{target}\""),
            "javascript": javascript,
        });
        let Some(buyer) = Buyer::goes(&wish) else {
            return;
        };
        let paid = stage.bob().pay(buyer.invoice()).unwrap();
        buyer.sees_the_answer(&paid.preimage);
    }
    assert_eq!(upstream.total(), 2);
}

#[test]
fn a_page_becomes_the_answer_when_phoenixds_webhook_tells_of_its_payment() {
    let Some(stage) = shared() else { return };
    let (stand_in, upstream) = (StandIn::phoenixd(stage.alice()), upstream());
    let folder = tempfile::tempdir().unwrap();
    let keep = |name: &str, secret: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, secret).unwrap();
        format!("{name} = {{ file = {file:?} }}")
    };
    let lightning = format!(
        "backend = \"phoenixd\"\nnetwork = \"regtest\"\nurl = \"{}\"\n{}\n{}",
        stand_in.url(),
        keep("password", SECRET),
        keep("webhook_secret", WEBHOOK_SECRET),
    );
    let gateway = TestGateway::start(Setup::new().lightning(&lightning).route(paid(&upstream)));
    gateway.wait_for_metric("farebox_lightning_following", &["backend=\"phoenixd\""], 1);
    let visitor = Visitor::new();
    let challenge = Challenge::of(&visitor.get(&gateway, "/paid/a").expect(402));
    // Once the webhook was heard, phoenixd is asked every ten seconds, unless it calls.
    let before = stand_in.asked("/payments/incoming?");
    gateway.send(&webhook(&"ab".repeat(32))).expect(204);
    let give_up_at = Instant::now() + Duration::from_secs(30);
    while stand_in.asked("/payments/incoming?") < before + 2 {
        assert!(Instant::now() < give_up_at, "it was not asked");
        std::thread::sleep(Duration::from_millis(20));
    }

    let ask = Call::get("/paid/a").header("Farebox-Claim-Status", "wait");
    let asked = Instant::now();
    let mut waiting = Connection::open(gateway.address).unwrap();
    waiting.send(&visitor.with_cookies(&ask)).unwrap();
    let hash = stage.hash_of(&challenge);
    stage.bob().pay(&challenge.invoice).unwrap();
    gateway.send(&webhook(&hash)).expect(204);
    let told = waiting.read_reply("GET").unwrap().expect(200).json();
    assert_eq!(told["state"], "paid", "{told}");
    // The page itself would have had the node asked after eight seconds.
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
    visitor.get(&gateway, "/paid/a").expect(200);
    assert_eq!(charged(&stage, &gateway, &challenge), PRICE);
    assert_eq!(upstream.total(), 1);
}
