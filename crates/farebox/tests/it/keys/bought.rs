//! How money gets onto a key.

use farebox_testkit::ScriptedUpstream;
use serde_json::json;

use super::{PRICE, balance, bearer, buy, order, post, shop, standing, wait_until_paid};
use crate::backends::node::Node;
use crate::harness::{Call, TestGateway, with_upstream};

#[test]
fn a_key_opens_nothing_before_its_invoice_is_paid_and_everything_after() {
    let (upstream, gateway) = with_upstream(shop);
    let bought = order(&gateway, 50_000);
    let call = bearer(Call::get("/paid/echo"), &bought.key);
    let problem = gateway.send(&call).expect(402);
    assert!(problem.all("www-authenticate").is_empty());
    assert_eq!(problem.json()["reason"], "not_funded");
    assert_eq!(upstream.total(), 0);
    let told = standing(&gateway, &bought.key);
    assert_eq!(told["state"], "not_funded");
    assert_eq!(told["deposits_waiting"][0]["amount_msat"], 50_000);

    gateway.pay(&bought.invoice);
    // What the node said a moment ago counts for a second.
    wait_until_paid(&gateway, &bought.key);
    gateway.send(&call).expect(200);
    assert_eq!(balance(&gateway, &bought.key), 50_000 - PRICE);
    let told = standing(&gateway, &bought.key);
    assert_eq!(told["deposits_waiting"], json!([]));
    assert_eq!(
        (&told["calls"], &told["spent_msat"]),
        (&json!(1), &json!(PRICE))
    );
}

#[test]
fn what_was_paid_while_the_gateway_was_dead_is_on_the_key() {
    let (upstream, node) = (ScriptedUpstream::start().unwrap(), Node::start());
    let setup = super::setup(&upstream).lightning(&node.toml());
    let mut gateway = TestGateway::start(setup);
    let bought = order(&gateway, 50_000);
    gateway.kill();
    node.pay(&bought.invoice, 700);
    gateway.start_again(&[]);
    let call = bearer(Call::get("/paid/echo"), &bought.key);
    gateway.send(&call).expect(200);
    assert_eq!(balance(&gateway, &bought.key), 50_700 - PRICE);
    gateway.kill();
    gateway.start_again(&[]);
    gateway.send(&call).expect(200);
    assert_eq!(balance(&gateway, &bought.key), 50_700 - 2 * PRICE);
}

#[test]
fn a_settlement_that_the_node_tells_is_credited_though_nobody_asks() {
    let (upstream, node) = (ScriptedUpstream::start().unwrap(), Node::start());
    let setup = super::setup(&upstream).lightning(&node.toml());
    let gateway = TestGateway::start(setup);
    let bought = order(&gateway, 50_000);
    node.pay(&bought.invoice, 700);
    gateway.wait_for_log("a prepaid key was paid for");
    let path = format!("/admin/v1/keys/{}", bought.id);
    let told = gateway.admin(Call::get(&path)).expect(200).json();
    assert_eq!(told["balance_msat"], 50_700);
}

/// The node tells of the payment at about the moment at which the key is used for the first time.
#[test]
fn a_key_is_good_from_the_moment_at_which_its_payment_is_made() {
    const KEYS: usize = 50;
    let (upstream, node) = (ScriptedUpstream::start().unwrap(), Node::start());
    let limits = "[server.challenges]\nper_client = \"1000/1s\"\ntotal = \"1000/1s\"";
    let setup = super::setup(&upstream).section(limits);
    let gateway = TestGateway::start(setup.lightning(&node.toml()));
    for _ in 0..KEYS {
        let bought = order(&gateway, 50_000);
        node.pay(&bought.invoice, 0);
        let call = bearer(Call::get("/paid/echo"), &bought.key);
        gateway.send(&call).expect(200);
    }
}

#[test]
fn a_stranger_may_pay_for_a_key_and_learns_nothing_of_it() {
    let (_upstream, gateway) = with_upstream(shop);
    let bought = buy(&gateway, 10_000);
    let call = post(
        "/.farebox/keys/top-up",
        &json!({ "id": bought.id, "amount_sat": 5 }),
    );
    let reply = gateway.send(&call).expect(201);
    assert!(!reply.text().contains("sk-farebox"), "{}", reply.text());
    assert!(reply.json()["key"].is_null() && reply.json()["balance_msat"].is_null());
    gateway.pay(reply.json()["invoice"].as_str().unwrap());
    assert_eq!(balance(&gateway, &bought.key), 15_000);
    let nobody = json!({ "id": "fk_0000000000000000", "amount_sat": 5 });
    gateway
        .send(&post("/.farebox/keys/top-up", &nobody))
        .expect(404);
}

#[test]
fn an_order_that_cannot_be_read_makes_no_key() {
    let (_upstream, gateway) = with_upstream(shop);
    for body in [
        json!({}),
        json!({ "amount_sat": 0 }),
        json!({ "amount_sat": 1, "amount_msat": 1000 }),
        json!({ "amount_sat": 1, "limit": 2 }),
        json!({ "amount_sat": 1, "note": "n".repeat(257) }),
    ] {
        gateway.send(&post("/.farebox/keys", &body)).expect(400);
    }
    gateway.send(&Call::get("/.farebox/keys")).expect(405);
    let listed = gateway.admin(Call::get("/admin/v1/keys")).expect(200);
    assert_eq!(listed.json()["keys"], json!([]));
}

#[test]
fn an_order_whose_answer_was_lost_leaves_nothing_behind_that_anybody_could_pay_or_fetch() {
    let (_upstream, gateway) = with_upstream(shop);
    let lost = order(&gateway, 50_000);
    // Whoever saw the invoice, and even paid it, has its hash and its preimage and no key.
    let preimage = gateway.pay(&lost.invoice);
    let hash = invoice_hash(&lost.invoice);
    for guess in [&preimage, &hash, &lost.id, &lost.invoice] {
        for key in [guess.clone(), format!("sk-farebox-{guess}")] {
            let call = bearer(Call::get("/.farebox/keys/self"), &key);
            gateway.send(&call).expect(401);
        }
    }
    for path in ["/.farebox/claim", "/.farebox/refund"] {
        let call = Call::get(path).header("Authorization", &format!("Bearer {preimage}"));
        assert!(!gateway.send(&call).text().contains("sk-farebox"), "{path}");
    }
    // The buyer asks again: another key, and another invoice.
    let again = buy(&gateway, 50_000);
    assert_ne!((&again.key, &again.invoice), (&lost.key, &lost.invoice));
    assert_eq!(balance(&gateway, &again.key), 50_000);
    assert_eq!(again.key.len(), "sk-farebox-".len() + 64);
}

#[test]
fn invoices_for_keys_fall_under_the_limits_of_challenges() {
    let upstream = ScriptedUpstream::start().unwrap();
    let limits = "[server.challenges]\nper_client = \"3/1h\"\ntotal = \"1000/1s\"";
    let gateway = TestGateway::start(super::setup(&upstream).section(limits));
    let known = order(&gateway, 5_000);
    gateway.challenge(&Call::get("/paid/echo"));
    order(&gateway, 5_000);
    let top_up = json!({ "id": known.id, "amount_sat": 5 });
    for call in [
        post("/.farebox/keys", &json!({ "amount_sat": 5 })),
        post("/.farebox/keys/top-up", &top_up),
    ] {
        let refused = gateway.send(&call).expect(429);
        assert_eq!(refused.json()["reason"], "too_often");
        assert!(refused.find("retry-after").is_some());
        assert!(refused.json()["invoice"].is_null() && refused.json()["key"].is_null());
    }
}

#[test]
fn a_stranger_cannot_keep_the_holder_from_paying_and_what_he_pays_counts() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = super::setup(&upstream)
        .server("trusted_proxies = [\"127.0.0.1/32\"]")
        .section(crate::rules::MANY_CHALLENGES);
    let gateway = TestGateway::start(setup);
    let bought = buy(&gateway, 10_000);
    assert_eq!(balance(&gateway, &bought.key), 10_000);
    let ask = |client: u8| {
        let body = json!({ "id": bought.id, "amount_sat": 1 });
        let from = format!("203.0.{client}.9");
        post("/.farebox/keys/top-up", &body).header("X-Forwarded-For", &from)
    };
    let mut invoices = Vec::new();
    for stranger in 0..4 {
        for _ in 0..6 {
            let told = gateway.send(&ask(stranger)).expect(201).json();
            invoices.push(told["invoice"].as_str().unwrap().to_owned());
        }
        let refused = gateway.send(&ask(stranger));
        let reason = refused.expect(429).json()["reason"].clone();
        assert_eq!(reason, "too_often");
    }
    let full = gateway.send(&ask(100)).expect(429);
    assert_eq!(full.json()["reason"], "full");
    // Another key does not help, and the key itself does, from wherever.
    let other = order(&gateway, 5_000);
    gateway.send(&bearer(ask(101), &other.key)).expect(429);
    for _ in 0..8 {
        gateway.send(&bearer(ask(0), &bought.key)).expect(201);
    }
    gateway.pay(&invoices[0]);
    gateway.pay(&invoices[23]);
    assert_eq!(balance(&gateway, &bought.key), 12_000);
    // What was paid makes room.
    gateway.send(&bearer(ask(0), &bought.key)).expect(201);
}

fn invoice_hash(invoice: &str) -> String {
    let read = farebox_lightning::parse_invoice(invoice).unwrap();
    read.payment_hash.to_string()
}
