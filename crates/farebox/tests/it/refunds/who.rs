//! Who may ask: the holder of the token as it was sold, whose payment the node has.

use serde_json::json;

use super::shop::{PRICE, Shop, ask, assert_problem};
use crate::harness::{Call, Route, Setup, TestClock, Token};

#[test]
fn nobody_without_a_token_gets_anything() {
    let shop = Shop::open();
    let wish = json!({ "invoice": shop.lnd.invoice(PRICE) }).to_string();
    for call in [
        Call::post("/.farebox/refund", wish),
        Call::get("/.farebox/refund"),
    ] {
        let reply = shop.gateway.send(&call).expect(401);
        assert!(reply.find("www-authenticate").is_some());
        assert_problem(reply, 401, "credential-required");
    }
    let token = shop.buy("/single/a");
    let unproven = Token {
        preimage: "00".repeat(32),
        ..token
    };
    let reply = shop.refund_to(&unproven, &shop.lnd.invoice(PRICE));
    assert_problem(reply, 401, "credential-invalid");
    assert_eq!(shop.lnd.sent(), [""; 0]);
}

#[test]
fn who_was_given_a_part_has_no_say_over_the_rest() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    for caveat in [
        "amount_msat=5000",
        &format!("amount_msat={PRICE}"),
        "valid_until=4000000000",
        "methods=read",
        "route=balance",
    ] {
        let part = token.attenuated(caveat);
        let reply = shop.refund_to(&part, &shop.lnd.invoice(4_000));
        assert_problem(reply, 403, "credential-attenuated");
        let call = Call::get("/.farebox/refund").with(&part);
        assert_eq!(shop.gateway.send(&call).status, 403, "{caveat}");
    }
    assert_eq!(shop.lnd.sent(), [""; 0]);
    let carried = token.attenuated(&format!("preimage={}", token.preimage));
    shop.refund_to(&carried, &shop.lnd.invoice(4_000))
        .expect(200);
}

#[test]
fn a_preimage_alone_moves_nothing_that_the_node_does_not_have() {
    let shop = Shop::open();
    let challenge = shop.challenge("/single/a");
    let token = {
        let preimage = shop.lnd.node.pay(&challenge.invoice).unwrap();
        challenge.paid_with(hex::encode(preimage.reveal()))
    };
    shop.lnd.forget_payments();
    let reply = shop.refund_to(&token, &shop.lnd.invoice(PRICE));
    assert_problem(reply, 409, "payment-not-settled");
    assert_eq!(shop.lnd.sent(), [""; 0]);
}

#[test]
fn a_token_is_paid_back_when_its_route_is_long_gone() {
    let mut shop = Shop::open();
    let (used, unused) = (shop.used_balance(), shop.buy("/single/a"));
    let only = Setup::new()
        .lightning(&shop.lnd.toml())
        .route(Route::at("/other", &shop.upstream).msat(1_000));
    shop.gateway.reconfigure(only);
    shop.gateway.restart();
    for token in [&used, &unused] {
        shop.refund_to(token, &shop.lnd.invoice(50_000)).expect(200);
    }
    shop.assert_books(2 * PRICE);
}

#[test]
fn expiry_stops_spending_and_not_owning() {
    let clock = TestClock::new();
    let (name, value) = clock.environment();
    let shop = Shop::open_with("", &[(name, &value)]);
    let token = shop.used_balance();
    clock.shift(400 * 24 * crate::harness::HOUR);
    assert_ne!(shop.spend(&token, "/balance/a").status, 200);
    let payee = super::lnd::invoice_of(&shop.lnd.payee, 50_000, 500 * 24 * 3600);
    shop.refund_to(&token, &payee.bolt11).expect(200);
    assert_eq!(shop.lnd.paid_out(), (1, 50_000));
}

#[test]
fn a_revoked_token_is_for_the_operator_to_pay_back() {
    let shop = Shop::open();
    let token = shop.used_balance();
    let revoke = format!("/admin/v1/tokens/{}/revoke", token.payment_hash());
    shop.gateway.admin(Call::post(&revoke, "{}")).expect(200);
    let reply = shop.refund_to(&token, &shop.lnd.invoice(50_000));
    assert_problem(reply, 403, "refund-revoked");
    assert_eq!(shop.standing(&token)["revoked"], true);
    let refund = format!("/admin/v1/tokens/{}/refund", token.payment_hash());
    let wish = json!({ "to": shop.lnd.invoice(50_000) }).to_string();
    let call = Call::post(&refund, wish).header("Content-Type", "application/json");
    assert_eq!(shop.gateway.admin(call).expect(200).json()["state"], "paid");
}

#[test]
fn of_a_key_that_leaked_only_used_tokens_are_paid_back() {
    let shop = Shop::open();
    let (used, unused) = (shop.used_balance(), shop.buy("/single/a"));
    let rotate = Call::post("/admin/v1/keys/rotate", "{\"emergency\": true}")
        .header("Content-Type", "application/json");
    shop.gateway.admin(rotate).expect(200);
    let reply = shop.refund_to(&unused, &shop.lnd.invoice(PRICE));
    assert_problem(reply, 403, "refund-revoked");
    assert_eq!(shop.refundable(&unused), 0);
    shop.refund_to(&used, &shop.lnd.invoice(50_000)).expect(200);
    assert_eq!(shop.lnd.paid_out(), (1, 50_000));
}

#[test]
fn where_it_is_switched_off_nobody_but_the_operator_pays_back() {
    let shop = Shop::open_with("enabled = false", &[]);
    let token = shop.used_balance();
    let reply = shop.refund_to(&token, &shop.lnd.invoice(50_000));
    let problem = assert_problem(reply, 404, "refunds-unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("operator"), "{detail}");
    assert_eq!(shop.standing(&token)["enabled"], false);
    let refund = format!("/admin/v1/tokens/{}/refund", token.payment_hash());
    let wish = json!({ "to": shop.lnd.invoice(50_000) }).to_string();
    let call = Call::post(&refund, wish).header("Content-Type", "application/json");
    shop.gateway.admin(call).expect(200);
}

#[test]
fn nothing_of_a_refund_is_in_the_log_but_its_figures() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    let invoice = shop.lnd.invoice(50_000);
    shop.gateway
        .send(&ask(&token, &json!({ "invoice": invoice })))
        .expect(200);
    shop.gateway.wait_for_log("a refund was paid");
    let reply = shop.refund(&token, &json!({ "address": "somebody@127.0.0.1:1" }));
    assert_problem(reply, 422, "refund-destination");
    let log = shop.gateway.log();
    for secret in [
        invoice.as_str(),
        &token.preimage,
        &token.macaroon,
        "somebody",
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
