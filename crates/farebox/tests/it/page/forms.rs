//! The form for a preimage, which leads to what was paid for and nowhere else.

use farebox_testkit::ScriptedUpstream;

use super::{BROWSER, PRICE, Visitor, shop, start};
use crate::harness::{Call, Challenge, Reply, Route, Setup, TestGateway, Token, with_upstream};

fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| {
            if keep(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn form(token: &Token, back: &str) -> Call {
    let body = format!(
        "macaroon={}&preimage={}&back={}",
        encoded(&token.macaroon),
        encoded(&token.preimage),
        encoded(back)
    );
    Call::post("/.farebox/claim", body)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Accept", BROWSER)
        .header("Sec-Fetch-Site", "same-origin")
        .header("Origin", "http://gateway.test")
}

/// A token somebody paid for on a page of `target`.
fn bought(gateway: &TestGateway, visitor: &Visitor, target: &str) -> Token {
    let challenge = Challenge::of(&visitor.get(gateway, target).expect(402));
    let preimage = gateway.pay(&challenge.invoice);
    challenge.paid_with(preimage)
}

#[track_caller]
fn refused(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(reply.find("location").is_none() && reply.all("set-cookie").is_empty());
    assert_eq!(reply.find("content-type"), Some("text/html; charset=utf-8"));
}

#[test]
fn a_preimage_typed_in_leads_to_the_answer() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let token = bought(&gateway, &visitor, "/paid/a?b=c");
    let someone = Visitor::new();
    let reply = someone
        .send(&gateway, &form(&token, "/paid/a?b=c"))
        .expect(303);
    assert_eq!(reply.find("location"), Some("/paid/a?b=c"));
    assert_eq!(reply.find("cache-control"), Some("no-store"));
    let cookie = someone.claim();
    assert!(!cookie.value.contains(&token.preimage));
    assert!(cookie.attributes.contains("HttpOnly") && cookie.attributes.contains("Strict"));
    let answer = someone.get(&gateway, "/paid/a?b=c").expect(200);
    assert_eq!(answer.json()["query"], "b=c");
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_proof_outlives_the_nodes_memory() {
    let upstream = ScriptedUpstream::start().unwrap();
    let mut gateway = start(Route::at("/paid", &upstream).msat(PRICE).calls(2));
    let visitor = Visitor::new();
    let token = bought(&gateway, &visitor, "/paid/a");
    visitor.send(&gateway, &form(&token, "/paid/b")).expect(303);
    gateway.restart();
    visitor.get(&gateway, "/paid/c").expect(200);
}

#[test]
fn a_form_leads_nowhere_else() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().section(crate::rules::MANY_CHALLENGES);
    let setup = setup.route(shop(&upstream));
    let gateway = TestGateway::start(setup.route(Route::at("/other", &upstream).msat(PRICE)));
    let token = bought(&gateway, &Visitor::new(), "/paid/a");
    for back in [
        "",
        "paid/a",
        "//evil.example/paid/a",
        "/\\evil.example",
        "https://evil.example/paid/a",
        "/paid/b",
        "/paid/a?x",
        "/other/a",
        "/nowhere",
        "/.farebox/claim",
        "/paid/a\r\nSet-Cookie: x=y",
        "/paid/a b",
        "javascript:alert(1)",
        // Another resource than what was bought.
        "//paid//a",
    ] {
        let reply = gateway.send(&form(&token, back));
        refused(&reply, 400);
    }
    let reply = gateway.send(&form(&token, "/x/../paid/a")).expect(303);
    assert_eq!(reply.find("location"), Some("/paid/a"));
}

#[test]
fn a_wrong_preimage_proves_nothing() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    let token = bought(&gateway, &visitor, "/paid/a");
    let other = bought(&gateway, &Visitor::new(), "/paid/a");
    for preimage in ["", "x", &"0".repeat(64), &other.preimage, "\u{e4}"] {
        let wrong = Token {
            preimage: preimage.to_owned(),
            ..token.clone()
        };
        refused(&gateway.send(&form(&wrong, "/paid/a")), 400);
    }
    for macaroon in ["", "AAAA", &other.macaroon] {
        let wrong = Token {
            macaroon: macaroon.to_owned(),
            ..token.clone()
        };
        refused(&gateway.send(&form(&wrong, "/paid/a")), 400);
    }
}

#[test]
fn a_page_of_somebody_else_cannot_send_the_form() {
    let (_upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let token = bought(&gateway, &Visitor::new(), "/paid/a");
    let good = form(&token, "/paid/a");
    let with = |name: &str, value: &str| {
        let mut call = good.clone();
        call.headers.retain(|(field, _)| field != name);
        call.header(name, value)
    };
    let old_browser = |origin: &str| {
        let mut call = with("Origin", origin);
        call.headers.retain(|(field, _)| field != "Sec-Fetch-Site");
        call
    };
    for call in [
        with("Sec-Fetch-Site", "cross-site"),
        with("Sec-Fetch-Site", "same-site"),
        old_browser("https://evil.example"),
    ] {
        refused(&gateway.send(&call), 403);
    }
    // What browsers send from our own page, which asks for no referrer.
    for call in [
        with("Origin", "null"),
        old_browser("null"),
        old_browser("http://gateway.test"),
    ] {
        gateway.send(&call).expect(303);
    }
    refused(&gateway.send(&with("Content-Type", "text/plain")), 400);
    let get = Call {
        method: "GET".to_owned(),
        body: Vec::new(),
        ..good.clone()
    };
    assert_eq!(gateway.send(&get).status, 405);
    let large = Call {
        body: vec![b'a'; 100_000],
        ..good.clone()
    };
    assert_eq!(gateway.send(&large).status, 413);
    gateway.send(&good).expect(303);
}
