//! Refunds to Lightning Addresses: a holder names whom the gateway calls, so nothing inside is ever
//! called, whatever the name, its addresses, a redirect or the provider's answer say.

use serde_json::json;

use super::lnd::Lnd;
use super::provider::{Provider, Trick};
use super::shop::{PRICE, Shop, assert_problem};
use crate::harness::Token;

/// A shop that exempts `provider`, which the operator wrote down.
fn shop_allowing(provider: impl FnOnce(&Lnd) -> Provider) -> (Shop, Provider) {
    let mut shop = Shop::open();
    let provider = provider(&shop.lnd);
    shop.rewrite(&format!("allow_hosts = [\"{}\"]", provider.address));
    shop.gateway.restart();
    (shop, provider)
}

fn refund_to_address(shop: &Shop, token: &Token, address: &str) -> crate::harness::Reply {
    shop.refund(token, &json!({ "address": address }))
}

#[test]
fn a_token_is_paid_back_to_a_lightning_address() {
    let (shop, provider) = shop_allowing(|lnd| Provider::start(&lnd.payee, Trick::Honest));
    let token = shop.buy("/single/a");
    let reply = refund_to_address(&shop, &token, &provider.me()).expect(200);
    // 5,000 msat are kept back for the fee, and what it does not cost is still the holder's.
    assert_eq!(reply.json()["refund"]["amount_msat"], PRICE - 5_000);
    assert_eq!(shop.lnd.paid_out(), (1, PRICE - 5_000));
    assert_eq!(shop.refundable(&token), 5_000);
    let reply = refund_to_address(&shop, &token, &provider.me()).expect(200);
    assert_eq!(reply.json()["refund"]["amount_msat"], 2_000);
    shop.assert_books(PRICE);
}

#[test]
fn a_part_goes_to_an_address_too() {
    let (shop, provider) = shop_allowing(|lnd| Provider::start(&lnd.payee, Trick::Honest));
    let token = shop.buy("/balance/a");
    let wish = json!({ "address": provider.me(), "amount_msat": 12_345 });
    let reply = shop.refund(&token, &wish).expect(200);
    assert_eq!(reply.json()["refund"]["amount_msat"], 12_345);
    assert_eq!(shop.refundable(&token), PRICE - 12_345);
}

#[test]
fn what_an_address_takes_is_respected() {
    let (shop, provider) =
        shop_allowing(|lnd| Provider::start(&lnd.payee, Trick::Limits(10_000, 40_500)));
    let token = shop.buy("/balance/a");
    let reply = refund_to_address(&shop, &token, &provider.me()).expect(200);
    assert_eq!(reply.json()["refund"]["amount_msat"], 40_000);
    let wish = json!({ "address": provider.me(), "amount_msat": 9_999 });
    assert_problem(shop.refund(&token, &wish), 422, "refund-destination");
    assert_eq!(shop.lnd.paid_out(), (1, 40_000));
}

#[test]
fn an_address_of_whole_satoshis_says_so_and_gets_whole_ones() {
    let (shop, provider) = shop_allowing(|lnd| Provider::start(&lnd.payee, Trick::WholeSats));
    let token = shop.buy("/balance/a");
    let wish = |msat: u64| json!({ "address": provider.me(), "amount_msat": msat });
    let refused = shop.refund(&token, &wish(12_345));
    let problem = assert_problem(refused, 422, "refund-destination");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("amount must be whole sats"), "{detail}");
    shop.refund(&token, &wish(12_000)).expect(200);
    assert_eq!(shop.lnd.paid_out(), (1, 12_000));
    assert_eq!(shop.refundable(&token), PRICE - 12_000);
}

#[test]
fn an_address_that_overcharges_gets_nothing() {
    let (shop, provider) = shop_allowing(|lnd| Provider::start(&lnd.payee, Trick::Overcharge));
    let token = shop.buy("/balance/a");
    let reply = refund_to_address(&shop, &token, &provider.me());
    assert_problem(reply, 422, "refund-destination");
    assert_eq!(shop.lnd.sent(), [""; 0]);
    assert_eq!(shop.refundable(&token), PRICE);
}

#[test]
fn nothing_inside_is_called_for_a_stranger() {
    let shop = Shop::open_with("per_token_per_day = 100", &[]);
    let inside = Provider::start(&shop.lnd.payee, Trick::Honest);
    let port = inside.address.port();
    for (index, host) in [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "127.1",
        "2130706433",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "[::]",
    ]
    .into_iter()
    .enumerate()
    {
        let token = shop.buy(&format!("/single/{index}"));
        let address = format!("me@{host}:{port}");
        let reply = refund_to_address(&shop, &token, &address);
        let problem = assert_problem(reply, 422, "refund-destination");
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.contains("public"), "{detail} maps our network");
    }
    assert_eq!(inside.seen(), [""; 0], "something was called");
}

#[test]
fn a_provider_cannot_send_the_gateway_inside() {
    let victims = Shop::open();
    let victim = Provider::start(&victims.lnd.payee, Trick::Honest);
    let plain = format!("http://{}/cb", victim.address);
    let tls = format!("https://{}/cb", victim.address);
    let name = format!("https://localhost:{}/cb", victim.address.port());
    let mapped = format!("https://[::ffff:127.0.0.1]:{}/cb", victim.address.port());
    for trick in [
        Trick::RedirectParameters(plain.clone()),
        Trick::RedirectCallback(plain.clone()),
        Trick::Callback(plain),
        Trick::Callback(tls),
        Trick::Callback(name),
        Trick::Callback(mapped),
        Trick::Callback("file:///etc/passwd".to_owned()),
    ] {
        let (shop, provider) = shop_allowing(|lnd| Provider::start(&lnd.payee, trick.clone()));
        let token = shop.buy("/single/a");
        let reply = refund_to_address(&shop, &token, &provider.me());
        assert_problem(reply, 422, "refund-destination");
        assert_eq!(victim.seen(), [""; 0], "{trick:?}");
        assert_eq!(shop.refundable(&token), PRICE);
        assert_eq!(shop.lnd.sent(), [""; 0]);
    }
}

#[test]
fn what_could_change_the_url_is_no_address() {
    let shop = Shop::open();
    let token = shop.buy("/single/a");
    for address in [
        "me",
        "@host",
        "me@",
        "a/b@host",
        "me@host/x",
        "me@host?x",
        "me@a@b",
    ] {
        let reply = refund_to_address(&shop, &token, address);
        assert_problem(reply, 422, "refund-destination");
    }
}
