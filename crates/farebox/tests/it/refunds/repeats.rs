//! A refund to an address whose answer was lost is asked for again, under the same
//! `Idempotency-Key`, and never paid twice.

use serde_json::{Value, json};

use super::key_shop::Key;
use super::provider::{Provider, Trick};
use super::shop::{PRICE, Shop, ask, assert_problem};
use crate::harness::{Call, Reply, Token};

const PART: u64 = 12_000;

fn shop_and_provider() -> (Shop, Provider) {
    let mut shop = Shop::open();
    let provider = Provider::start(&shop.lnd.payee, Trick::Honest);
    shop.rewrite(&format!("allow_hosts = [\"{}\"]", provider.address));
    shop.gateway.restart();
    (shop, provider)
}

/// Whoever may ask.
enum Holder {
    Token(Token),
    Key(Key),
}

impl Holder {
    fn ask(&self, wish: &Value, key: &str) -> Call {
        let call = match self {
            Self::Token(token) => ask(token, wish),
            Self::Key(holder) => holder.ask(wish),
        };
        call.header("Idempotency-Key", key)
    }
}

fn id(reply: Reply) -> String {
    let told = reply.expect(200).json();
    assert_eq!(told["refund"]["state"], "paid", "{told}");
    told["refund"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_same_wish_under_the_same_key_is_the_same_refund_for_ever() {
    let (mut shop, provider) = shop_and_provider();
    let holders = [
        Holder::Token(shop.buy("/balance/a")),
        Holder::Key(shop.buy_key()),
    ];
    let wish = json!({ "address": provider.me(), "amount_msat": PART });
    let first = holders
        .each_ref()
        .map(|holder| id(shop.gateway.send(&holder.ask(&wish, "one"))));
    assert_eq!(shop.lnd.paid_out(), (2, 2 * PART));
    shop.gateway.restart();
    let again = holders
        .each_ref()
        .map(|holder| id(shop.gateway.send(&holder.ask(&wish, "one"))));
    assert_eq!(first, again);
    assert_ne!(first[0], first[1]);
    assert_eq!(shop.lnd.paid_out(), (2, 2 * PART));
    for holder in &holders {
        let other = json!({ "address": provider.me(), "amount_msat": PART + 1_000 });
        let reply = shop.gateway.send(&holder.ask(&other, "one"));
        assert_problem(reply, 409, "idempotency-conflict");
        let invoice = json!({ "invoice": shop.lnd.invoice(PART) });
        let reply = shop.gateway.send(&holder.ask(&invoice, "one"));
        assert_problem(reply, 409, "idempotency-conflict");
        // Another key is another wish.
        id(shop.gateway.send(&holder.ask(&wish, "two")));
    }
    assert_eq!(shop.lnd.paid_out(), (4, 4 * PART));
    shop.assert_books(2 * PRICE);
}

#[test]
fn the_same_wish_at_the_same_time_is_one_refund() {
    let (shop, provider) = shop_and_provider();
    let holder = Holder::Key(shop.buy_key());
    let wish = json!({ "address": provider.me(), "amount_msat": PART });
    let call = holder.ask(&wish, "one");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reply = shop.gateway.send(&call);
                assert!(
                    [200, 202, 409, 429].contains(&reply.status),
                    "{}",
                    reply.text()
                );
            });
        }
    });
    id(shop.gateway.send(&call));
    assert_eq!(shop.lnd.paid_out(), (1, PART));
    shop.assert_books(PRICE);
}
