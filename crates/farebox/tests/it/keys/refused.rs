//! Keys that are none, too many, or too late.

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use super::{balance, bearer, buy, chat, order, post, shop};
use crate::harness::{Call, Reply, TestGateway, with_upstream};

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
    let (upstream, gateway) = with_upstream(shop);
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
    // The answer for ecash, by NUT-24: another token would pay.
    let refused = gateway.send(&cashu).expect(400);
    assert_eq!(refused.json()["reason"], "ambiguous");
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
    let (_upstream, gateway) = with_upstream(shop);
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

/// The `error` of a refusal, after checking that it has what the providers' own errors have.
#[track_caller]
fn error_of(reply: &Reply, status: u16, spoken: &str) -> serde_json::Value {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.find("x-reason"), Some(spoken));
    let problem = reply.json();
    let error = &problem["error"];
    assert_eq!(error["message"], problem["detail"]);
    assert!(!error["message"].as_str().unwrap().is_empty());
    let code = error["code"].as_str().unwrap();
    assert!(problem["type"].as_str().unwrap().ends_with(code));
    error.clone()
}

#[test]
fn a_refused_key_on_a_route_of_models_reads_as_an_error_of_the_providers() {
    let (upstream, gateway) = with_upstream(shop);
    let poor = buy(&gateway, 1_000);
    let unpaid = order(&gateway, 1_000);
    let unknown = format!("sk-farebox-{}", "a".repeat(64));
    let ask = |key: &str| gateway.send(&bearer(chat(json!({})), key));

    let error = error_of(&ask(&poor.key), 402, "quota exhausted");
    assert_eq!(error["type"], "insufficient_quota");
    assert_eq!(error["code"], "credential-exhausted");
    assert!(error["message"].as_str().unwrap().contains("top-up"));
    let error = error_of(&ask(&unpaid.key), 402, "not funded");
    assert_eq!(error["type"], "insufficient_quota");
    let error = error_of(&ask(&unknown), 401, "unknown key");
    assert_eq!(error["type"], "authentication_error");
    let error = error_of(&ask("sk-farebox-abc"), 401, "malformed");
    assert_eq!(error["code"], "credential-malformed");

    let body = json!({ "model": "small", "max_tokens": 50, "messages": [
        { "role": "user", "content": "one two three" }] });
    let message = post("/v1/messages", &body).header("x-api-key", &poor.key);
    let error = error_of(&gateway.send(&message), 402, "quota exhausted");
    assert_eq!(error["type"], "billing_error");

    let elsewhere = gateway.send(&bearer(Call::get("/paid/echo"), &unknown));
    let problem = elsewhere.expect(401).json();
    assert!(problem["error"].is_null(), "{problem}");
    assert_eq!(upstream.total(), 0);
}
