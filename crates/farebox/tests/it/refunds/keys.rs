//! What is left on a prepaid key goes back to whoever holds it, and to nobody who spends for it.

use std::time::Duration;

use serde_json::json;

use super::key_shop::Key;
use super::lnd::OnSend;
use super::provider::{Provider, Trick};
use super::shop::{CALL, PRICE, Shop, assert_problem};
use crate::harness::{Call, Route, Setup, TestGateway};

/// What a refund may cost on its way, at most.
const FEE: u64 = 5_000;

#[test]
fn a_key_is_paid_back_by_the_key_alone_and_the_rest_is_still_spent() {
    let shop = Shop::open();
    let key = shop.used_key();
    let standing = shop.standing_of(&key);
    assert_eq!(standing["refundable_msat"], PRICE - CALL, "{standing}");
    assert_eq!(
        (&standing["id"], &standing["enabled"]),
        (&json!(key.id), &json!(true))
    );
    let wish = json!({ "invoice": shop.lnd.invoice(50_000) });
    let first = shop.refund_key(&key, &wish).expect(200).json();
    assert_eq!(first["refund"]["state"], "paid");
    // Paid twice it is never: the same invoice is the same refund.
    assert_eq!(shop.refund_key(&key, &wish).expect(200).json(), first);
    assert_eq!(shop.lnd.paid_out(), (1, 50_000));
    assert_eq!(shop.balance_of(&key), PRICE - CALL - 50_000);
    shop.call(&key).expect(200);
    // In the other header, too.
    let call = Call::get("/.farebox/keys/refund").header("x-api-key", &key.key);
    let standing = shop.gateway.send(&call).expect(200).json();
    assert_eq!(standing["refunds"][0], first["refund"]);
    assert_eq!(standing["refundable_msat"], PRICE - 2 * CALL - 50_000);
    shop.assert_books(PRICE);
    assert!(!shop.gateway.log().contains(&key.key));
}

#[test]
fn all_of_a_key_goes_to_an_address_and_a_top_up_makes_it_good_again() {
    let mut shop = Shop::open();
    let provider = Provider::start(&shop.lnd.payee, Trick::Honest);
    shop.rewrite(&format!("allow_hosts = [\"{}\"]", provider.address));
    shop.gateway.restart();
    let key = shop.buy_key();
    let wish = json!({ "address": provider.me() });
    let paid = shop.refund_key(&key, &wish).expect(200).json();
    assert_eq!(paid["refund"]["amount_msat"], PRICE - FEE, "{paid}");
    let wish = json!({ "invoice": shop.lnd.invoice(FEE) });
    shop.refund_key(&key, &wish).expect(200);
    shop.call(&key).expect(402);
    let nothing = json!({ "invoice": shop.lnd.invoice(1_000) });
    assert_problem(shop.refund_key(&key, &nothing), 409, "nothing-to-refund");

    let top_up = json!({ "id": key.id, "amount_msat": 20_000 });
    let top_up = shop.order(&top_up, "/.farebox/keys/top-up");
    shop.pay(&top_up);
    assert_eq!(shop.standing_of(&key)["refundable_msat"], 20_000);
    shop.call(&key).expect(200);
    let wish = json!({ "invoice": shop.lnd.invoice(20_000 - CALL) });
    shop.refund_key(&key, &wish).expect(200);
    assert_eq!(shop.balance_of(&key), 0);
    shop.assert_books(PRICE + 20_000);
}

#[test]
fn a_child_is_refused_and_its_parent_is_not() {
    let shop = Shop::open();
    let key = shop.used_key();
    let call = key.bearer(Call::post("/.farebox/keys/children", "{}"));
    let told = shop.gateway.send(&call).expect(201).json();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    let child = Key {
        key: text("key"),
        id: text("id"),
    };
    let wish = json!({ "invoice": shop.lnd.invoice(10_000) });
    let look = child.bearer(Call::get("/.farebox/keys/refund"));
    for reply in [shop.refund_key(&child, &wish), shop.gateway.send(&look)] {
        assert_eq!(
            assert_problem(reply, 403, "forbidden")["reason"],
            "child_key"
        );
    }
    let path = format!("/admin/v1/keys/{}/refund", child.id);
    let operator = Call::post(&path, json!({ "to": wish["invoice"] }).to_string());
    let operator = operator.header("Content-Type", "application/json");
    shop.gateway.admin(operator).expect(403);
    assert_eq!(shop.lnd.sent(), Vec::<String>::new());
    // What is given back to the parent is gone for the child.
    let all = json!({ "invoice": shop.lnd.invoice(PRICE - CALL) });
    shop.refund_key(&key, &all).expect(200);
    shop.call(&child).expect(402);
}

#[test]
fn only_a_key_may_ask_and_only_for_what_is_there() {
    let shop = Shop::open();
    let invoice = shop.lnd.invoice(10_000);
    let wish = json!({ "invoice": invoice });
    let bare = Call::post("/.farebox/keys/refund", wish.to_string());
    assert_problem(shop.gateway.send(&bare), 401, "credential-required");
    let unknown = Key {
        key: format!("sk-farebox-{}", "a".repeat(64)),
        id: String::new(),
    };
    assert_problem(shop.refund_key(&unknown, &wish), 401, "credential-invalid");
    let token = shop.buy("/balance/a");
    let with_token = bare.with(&token);
    assert_problem(shop.gateway.send(&with_token), 401, "credential-required");
    let told = shop.order(&json!({ "amount_msat": PRICE }), "/.farebox/keys");
    let unpaid = Key {
        key: told["key"].as_str().unwrap().to_owned(),
        id: told["id"].as_str().unwrap().to_owned(),
    };
    assert_problem(shop.refund_key(&unpaid, &wish), 409, "nothing-to-refund");
    let key = shop.buy_key();
    let much = json!({ "invoice": shop.lnd.invoice(PRICE + 1) });
    assert_problem(shop.refund_key(&key, &much), 409, "nothing-to-refund");
    let little = json!({ "invoice": shop.lnd.invoice(999) });
    assert_problem(shop.refund_key(&key, &little), 422, "refund-too-small");
    for wrong in [
        json!({}),
        json!({ "invoice": invoice, "address": "a@b.example" }),
    ] {
        assert_problem(shop.refund_key(&key, &wrong), 400, "bad-request");
    }
    shop.gateway
        .send(&key.bearer(Call::new("DELETE", "/.farebox/keys/refund")))
        .expect(405);
    assert_eq!(shop.lnd.paid_out(), (0, 0));
}

#[test]
fn what_calls_in_flight_hold_is_not_paid_back() {
    let shop = Shop::open();
    let key = shop.used_key();
    let gate = key.bearer(Call::get("/balance/gate/one"));
    let to = shop.gateway.address;
    let calling = std::thread::spawn(move || gate.send(to));
    shop.upstream.wait_for("/balance/gate/one", 1);
    let standing = shop.standing_of(&key);
    let free = PRICE - 2 * CALL;
    assert_eq!(standing["held_msat"], CALL, "{standing}");
    assert_eq!(standing["refundable_msat"], free, "{standing}");
    let over = json!({ "invoice": shop.lnd.invoice(free + 1) });
    assert_problem(shop.refund_key(&key, &over), 409, "nothing-to-refund");
    let all = json!({ "invoice": shop.lnd.invoice(free) });
    shop.refund_key(&key, &all).expect(200);
    let more = json!({ "invoice": shop.lnd.invoice(1_000) });
    assert_problem(shop.refund_key(&key, &more), 429, "value-reserved");
    shop.upstream.open_gate("one");
    assert_eq!(calling.join().unwrap().status, 200);
    shop.gateway.wait_for_metric("farebox_holds_open", &[], 0);
    assert_eq!(shop.balance_of(&key), 0);
    shop.assert_books(PRICE);
}

#[test]
fn a_refund_without_an_end_holds_its_money_and_lets_no_call_have_it() {
    let shop = Shop::open();
    let key = shop.used_key();
    shop.lnd.on_send(OnSend::CutAfter);
    shop.lnd.be_deaf(true);
    let (call, to) = (
        key.ask(&json!({ "invoice": shop.lnd.invoice(PRICE - CALL) })),
        shop.gateway.address,
    );
    let asking = std::thread::spawn(move || call.try_send(to).map(|reply| reply.status).ok());
    shop.lnd.wait_for_sent(1);
    assert_problem(shop.call(&key), 429, "value-reserved");
    let other = json!({ "invoice": shop.lnd.invoice(1_000) });
    let refused = shop.refund_key(&key, &other);
    assert!([409, 429].contains(&refused.status), "{}", refused.text());
    shop.lnd.be_deaf(false);
    shop.lnd.on_send(OnSend::Obey);
    assert_eq!(shop.wait_for_end_of(("key", &key.id))["state"], "paid");
    assert!([Some(200), Some(202)].contains(&asking.join().unwrap()));
    assert_eq!(shop.lnd.paid_out(), (1, PRICE - CALL));
    shop.assert_books(PRICE);
}

#[test]
fn expiry_stops_spending_and_not_owning_and_a_revoked_key_is_the_operators() {
    let shop = Shop::open();
    let key = shop.used_key();
    shop.admin_key(&["keys", "limit", &key.id, "--expires-at", "1"]);
    shop.call(&key).expect(401);
    let wish = json!({ "invoice": shop.lnd.invoice(10_000) });
    shop.refund_key(&key, &wish).expect(200);
    shop.admin_key(&["keys", "revoke", &key.id]);
    let wish = json!({ "invoice": shop.lnd.invoice(20_000) });
    assert_problem(shop.refund_key(&key, &wish), 403, "refund-revoked");
    let invoice = wish["invoice"].as_str().unwrap();
    let paid = shop.admin_key(&["refund", &key.id, "--to", invoice, "--wait"]);
    assert_eq!(
        (&paid["state"], &paid["asked_by"], &paid["key"]),
        (&json!("paid"), &json!("operator"), &json!(key.id))
    );
    assert_eq!(shop.lnd.paid_out(), (2, 30_000));
    let wrong = shop
        .gateway
        .command(&["admin", "refund", &key.key, "--to", invoice]);
    assert!(!wrong.status.success());
    assert!(!String::from_utf8_lossy(&wrong.stderr).contains(&key.key));
    shop.assert_books(PRICE);
}

#[test]
fn an_invoice_that_would_top_up_a_key_is_not_paid_from_one() {
    let upstream = farebox_testkit::ScriptedUpstream::start().unwrap();
    // Test money looks nothing up before it pays: the ledger alone knows.
    let setup = Setup::new()
        .section("[refunds]\nenabled = true")
        .route(Route::at("/paid", &upstream).msat(CALL));
    let gateway = TestGateway::start(setup);
    let buy = || {
        let call = Call::post(
            "/.farebox/keys",
            json!({ "amount_msat": PRICE }).to_string(),
        );
        gateway.send(&call).expect(201).json()
    };
    let (mine, other) = (buy(), buy());
    gateway.pay(mine["invoice"].as_str().unwrap());
    let key = Key {
        key: mine["key"].as_str().unwrap().to_owned(),
        id: String::new(),
    };
    let wish = json!({ "invoice": other["invoice"] });
    let reply = gateway.send(&key.ask(&wish));
    let problem = assert_problem(reply, 422, "refund-destination");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("this server's own"), "{detail}");
    assert_eq!(gateway.trial_balance()["sound"], true);
}

#[test]
fn a_key_is_paid_back_no_more_often_and_no_more_than_the_rules_say() {
    let shop = Shop::open_with("per_token_per_day = 1\ndaily_total = { msat = 24000 }", &[]);
    let (one, other) = (shop.buy_key(), shop.buy_key());
    let wish = |amount| json!({ "invoice": shop.lnd.invoice(amount) });
    shop.refund_key(&one, &wish(6_000)).expect(200);
    let again = shop.refund_key(&one, &wish(1_000));
    assert_problem(again, 429, "refund-limit-reached");
    let above = shop.refund_key(&other, &wish(4_501));
    assert_problem(above, 429, "refund-limit-reached");
    shop.refund_key(&other, &wish(4_500)).expect(200);
    shop.assert_books(2 * PRICE);
    let off = Shop::open_with("enabled = false", &[]);
    let key = off.buy_key();
    let wish = json!({ "invoice": off.lnd.invoice(10_000) });
    assert_problem(off.refund_key(&key, &wish), 404, "refunds-unavailable");
    assert_eq!(off.standing_of(&key)["enabled"], false);
}

#[test]
fn what_was_paid_late_is_paid_back_too() {
    let shop = Shop::open();
    let told = shop.order(&json!({ "amount_msat": PRICE }), "/.farebox/keys");
    let key = Key {
        key: told["key"].as_str().unwrap().to_owned(),
        id: told["id"].as_str().unwrap().to_owned(),
    };
    assert_eq!(shop.standing_of(&key)["refundable_msat"], 0);
    shop.pay(&told);
    // What the node said a moment ago counts for a second.
    let give_up_at = std::time::Instant::now() + Duration::from_secs(20);
    while shop.balance_of(&key) == 0 {
        assert!(std::time::Instant::now() < give_up_at, "never credited");
        std::thread::sleep(Duration::from_millis(100));
    }
    let wish = json!({ "invoice": shop.lnd.invoice(PRICE) });
    shop.refund_key(&key, &wish).expect(200);
    shop.assert_books(PRICE);
}
