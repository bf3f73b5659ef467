//! The operator makes, lists, limits and revokes keys from the command line.

use serde_json::{Value, json};

use super::{PRICE, balance, bearer, buy, post, shop};
use crate::harness::{Call, TestGateway, with_upstream};

fn admin(gateway: &TestGateway, arguments: &[&str]) -> Value {
    let words = [&["admin", "keys"][..], arguments, &["--json"]].concat();
    let output = gateway.command(&words);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_key_made_by_the_operator_is_paid_for_limited_and_revoked() {
    let (_upstream, gateway) = with_upstream(shop);
    let made = admin(&gateway, &["make", "--note", "demo"]);
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(made["state"], "not_funded");
    let top_up = post(
        "/.farebox/keys/top-up",
        &json!({ "id": id, "amount_sat": 100 }),
    );
    let told = gateway.send(&top_up).expect(201).json();
    gateway.pay(told["invoice"].as_str().unwrap());
    let call = bearer(Call::get("/paid/echo"), key);
    gateway.send(&call).expect(200);

    let total = PRICE.to_string();
    let limited = admin(&gateway, &["limit", id, "--total", &total]);
    assert_eq!(limited["limits"]["total_msat"], PRICE);
    assert_eq!(
        gateway.send(&call).expect(429).json()["reason"],
        "total_limit"
    );
    admin(&gateway, &["limit", id]);
    gateway.send(&call).expect(200);
    let revoked = admin(&gateway, &["revoke", id]);
    assert_eq!(revoked["state"], "revoked");
    gateway.send(&call).expect(401);
    let listed = admin(&gateway, &["list"]);
    assert_eq!(listed["keys"][0]["note"], "demo");
    assert!(!listed.to_string().contains("sk-farebox"));
    assert_eq!(balance(&gateway, key), 100_000 - 2 * PRICE);
}

#[test]
fn the_operator_makes_children_and_never_needs_a_secret() {
    let (_upstream, gateway) = with_upstream(shop);
    let parent = buy(&gateway, 100_000);
    assert_eq!(balance(&gateway, &parent.key), 100_000);
    let made = admin(
        &gateway,
        &["make", "--parent", &parent.id, "--routes", "paid"],
    );
    let call = bearer(Call::get("/paid/echo"), made["key"].as_str().unwrap());
    gateway.send(&call).expect(200);
    assert_eq!(balance(&gateway, &parent.key), 100_000 - PRICE);
    let shown = admin(&gateway, &["show", made["id"].as_str().unwrap()]);
    assert_eq!(shown["spent_msat"], PRICE);
    let wrong = gateway.command(&["admin", "keys", "show", &parent.key]);
    assert!(!wrong.status.success());
    assert!(!String::from_utf8_lossy(&wrong.stderr).contains(&parent.key));
}
