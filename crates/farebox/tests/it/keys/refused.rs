//! Keys that are none, too many, or too late.

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use super::{balance, bearer, buy, shop};
use crate::harness::{Call, TestGateway};

fn refuse(gateway: &TestGateway, call: &Call, reason: &str) {
    let reply = gateway.send(call).expect(401);
    let lines = reply.all("www-authenticate");
    assert!(
        lines.iter().all(|line| !line.contains("invoice")),
        "{lines:?}"
    );
    assert_eq!(reply.json()["reason"], reason);
    assert!(!reply.text().contains("sk-farebox-a"), "{}", reply.text());
}

#[test]
fn a_key_that_is_malformed_unknown_or_one_of_two_is_401_without_an_invoice() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let bought = buy(&gateway, 100_000);
    let unknown = format!("sk-farebox-{}", "a".repeat(64));
    let call = || Call::get("/paid/echo");
    refuse(&gateway, &bearer(call(), &unknown), "unknown_key");
    refuse(&gateway, &bearer(call(), "sk-farebox-abc"), "malformed");
    refuse(
        &gateway,
        &call().header("x-api-key", "sk-farebox-"),
        "malformed",
    );
    let two = bearer(call(), &bought.key).header("x-api-key", &unknown);
    refuse(&gateway, &two, "ambiguous");
    let token = gateway.buy(&call());
    let beside = call().with(&token).header("x-api-key", &bought.key);
    refuse(&gateway, &beside, "ambiguous");
    let cashu = bearer(call(), &bought.key).header("X-Cashu", "cashuBo2");
    refuse(&gateway, &cashu, "ambiguous");
    assert_eq!(upstream.total(), 0);
    let same = bearer(call(), &bought.key).header("x-api-key", &bought.key);
    gateway.send(&same).expect(200);
}

#[test]
fn the_keys_of_others_are_no_payment_and_reach_a_free_upstream() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = super::setup(&upstream).route(crate::harness::Route::at("/free", &upstream).free());
    let gateway = TestGateway::start(setup);
    let foreign = Call::get("/free/echo").header("x-api-key", "sk-ant-1");
    assert!(
        gateway
            .send(&foreign)
            .expect(200)
            .text()
            .contains("sk-ant-1")
    );
    let own = bearer(Call::get("/free/echo"), "sk-farebox-1");
    assert!(!gateway.send(&own).expect(200).text().contains("sk-farebox"));
    let unpaid = bearer(Call::get("/paid/echo"), "sk-proj-1");
    gateway.challenge(&unpaid);
}

#[test]
fn a_key_that_the_operator_revoked_pays_for_nothing() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&upstream);
    let bought = buy(&gateway, 100_000);
    assert_eq!(balance(&gateway, &bought.key), 100_000);
    let revoke = format!("/admin/v1/keys/{}/revoke", bought.id);
    let told = gateway.admin(Call::post(&revoke, "")).expect(200).json();
    assert_eq!(told["state"], "revoked");
    refuse(
        &gateway,
        &bearer(Call::get("/paid/echo"), &bought.key),
        "revoked",
    );
    assert_eq!(balance(&gateway, &bought.key), 100_000);
    assert!(!gateway.log().contains(&bought.key));
}

#[test]
fn keys_are_not_sold_where_the_seller_does_not_want_that() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = super::setup(&upstream).section("[keys]\nenabled = false");
    let gateway = TestGateway::start(setup);
    let order = super::post("/.farebox/keys", &json!({ "amount_sat": 5 }));
    assert_eq!(
        gateway.send(&order).expect(404).json()["reason"],
        "not_sold"
    );
}
