//! Claims that somebody made up, took from elsewhere or tries in another place.

use farebox_testkit::ScriptedUpstream;

use super::{BROWSER, PRICE, Visitor, invoices, shop, start};
use crate::harness::{Call, Challenge, Reply, Route, Setup, TestGateway, with_upstream};

/// The parts of a claim.
fn parts(claim: &str) -> [String; 3] {
    let parts: Vec<String> = claim.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// Sends a claim in a header.
fn claimed(gateway: &TestGateway, target: &str, claim: &str) -> Reply {
    gateway.send(&Call::get(target).header("Farebox-Claim", claim))
}

/// A paid claim from a header, for `/paid/a`.
fn paid_claim(gateway: &TestGateway, target: &str) -> String {
    let reply = gateway.send(&Call::get(target)).expect(402);
    gateway.pay(&Challenge::of(&reply).invoice);
    reply.find("farebox-claim").unwrap().to_owned()
}

#[test]
fn nobody_can_make_a_claim_from_what_the_payer_sees() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let claim = paid_claim(&gateway, "/paid/a");
    let [macaroon, note, seal] = parts(&claim);
    let other = gateway.send(&Call::get("/paid/a")).expect(402);
    let [other_macaroon, _, other_seal] = parts(other.find("farebox-claim").unwrap());
    let flipped = format!(
        "{}{}",
        if seal.starts_with('0') { "1" } else { "0" },
        &seal[1..]
    );
    for forged in [
        format!("{macaroon}.{note}.{flipped}"),
        format!("{macaroon}.{note}.{other_seal}"),
        format!("{other_macaroon}.{note}.{seal}"),
        format!("{macaroon}.{note}.{}", "0".repeat(64)),
        // Without the node: only we say that a preimage was shown.
        format!("{macaroon}.paid.{seal}"),
        format!("{macaroon}.lnbc1.{seal}"),
    ] {
        let reply = claimed(&gateway, "/paid/a", &forged).expect(401);
        assert_eq!(reply.json()["reason"], "unproven", "{forged}");
    }
    for malformed in [
        "",
        "x",
        &macaroon,
        &format!("{macaroon}.{seal}"),
        &format!("{claim}.x"),
    ] {
        let reply = claimed(&gateway, "/paid/a", malformed).expect(401);
        assert_eq!(reply.json()["reason"], "malformed", "{malformed}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_cookie_that_proves_nothing_is_nothing() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let honest = Visitor::new();
    honest.pay_for(&gateway, "/paid/a");
    let claim = honest.claim();
    let [macaroon, invoice, seal] = parts(&claim.value);
    for forged in [
        String::new(),
        "x".repeat(3000),
        format!("{macaroon}.{invoice}.{}", "0".repeat(64)),
        format!("{macaroon}..{seal}"),
        format!("{macaroon}.paid.{seal}"),
        format!("{macaroon}.{invoice}a.{seal}"),
    ] {
        let cheat = Visitor::new();
        cheat.plant(&claim.name, &forged, "/paid/a");
        let before = invoices(&gateway);
        let reply = cheat.get(&gateway, "/paid/a").expect(402);
        assert_ne!(Challenge::of(&reply).invoice, invoice);
        assert_eq!(invoices(&gateway), before + 1, "{forged}");
    }
    assert_eq!(upstream.total(), 0);
}

#[test]
fn a_claim_is_for_one_address_only() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().section(crate::rules::MANY_CHALLENGES);
    let setup = setup.route(shop(&upstream));
    let gateway = TestGateway::start(setup.route(Route::at("/other", &upstream).msat(PRICE)));
    let claim = paid_claim(&gateway, "/paid/a");
    for (target, reason) in [
        ("/paid/b", "wrong_request"),
        ("/paid/a?x", "wrong_request"),
        ("/paid/a/b", "wrong_request"),
        ("/other/a", "wrong_route"),
    ] {
        let reply = claimed(&gateway, target, &claim).expect(402);
        assert_eq!(reply.json()["reason"], reason, "{target}");
    }
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    let cookie = visitor.claim();
    for target in ["/paid/b", "/paid/a?x", "/other/a"] {
        let cheat = Visitor::new();
        cheat.plant(&cookie.name, &cookie.value, "/");
        cheat.get(&gateway, target).expect(402);
    }
    assert_eq!(upstream.total(), 0);
    claimed(&gateway, "/paid/a", &claim).expect(200);
}

#[test]
fn a_claim_never_does_anything_but_get() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = start(Route::at("/paid", &upstream).msat(PRICE).calls(9));
    let claim = paid_claim(&gateway, "/paid/a");
    let grpc = Call::new("POST", "/paid/a").header("Content-Type", "application/grpc");
    for call in [
        Call::post("/paid/a", "x"),
        Call::new("DELETE", "/paid/a"),
        Call::new("HEAD", "/paid/a"),
        Call::new("OPTIONS", "/paid/a"),
        Call::websocket("/paid/a"),
        grpc,
    ] {
        let reply = gateway.send(&call.header("Farebox-Claim", &claim));
        assert!(
            matches!(reply.status, 402) || reply.find("grpc-status").is_some(),
            "{reply:?}"
        );
    }
    assert_eq!(upstream.total(), 0);
    claimed(&gateway, "/paid/a", &claim).expect(200);
}

#[test]
fn a_credential_sent_on_purpose_wins_over_a_cookie() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    let token = gateway.buy(&Call::get("/paid/a"));
    let call = Call::get("/paid/a").header("Accept", BROWSER);
    visitor
        .send(&gateway, &call.clone().with(&token))
        .expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
    // The cookie's own payment is still there.
    let reply = visitor.send(&gateway, &call).expect(200);
    assert!(reply.find("farebox-replayed").is_none());
    let bad = call.header("Authorization", "L402 bad");
    visitor.send(&gateway, &bad).expect(401);
    assert_eq!(upstream.total(), 2);
}

#[test]
fn two_credentials_sent_on_purpose_are_one_too_many() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let claim = paid_claim(&gateway, "/paid/a");
    let token = gateway.buy(&Call::get("/paid/a"));
    let call = Call::get("/paid/a").header("Farebox-Claim", &claim);
    let reply = gateway.send(&call.with(&token)).expect(401);
    assert!(
        reply.json()["type"]
            .as_str()
            .unwrap()
            .ends_with("credential-ambiguous")
    );
    assert_eq!(upstream.total(), 0);
}

#[test]
fn an_authorization_that_pays_for_nothing_stays_the_upstreams_own() {
    let (upstream, gateway) = with_upstream(|upstream| start(shop(upstream)));
    let visitor = Visitor::new();
    visitor.pay_for(&gateway, "/paid/a");
    let call = Call::get("/paid/a").header("Authorization", "Basic dXNlcjpwYXNz");
    visitor.send(&gateway, &call).expect(200);
    assert_eq!(
        upstream.requests()[0].all("authorization"),
        ["Basic dXNlcjpwYXNz"]
    );
}
