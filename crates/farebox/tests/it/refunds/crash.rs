//! The process is killed at every named point of a refund, and by hand while the node works on it.
//! The next start pays once, books once, and asks nobody to trust it.

use std::os::unix::process::ExitStatusExt;

use super::lnd::OnSend;
use super::provider::{Provider, Trick};
use super::shop::{CALL, PRICE, Shop, ask};
use crate::harness::Token;
use serde_json::json;

const SIGKILL: i32 = 9;
const PART: u64 = 50_000;

/// In the ledger, around the writing down of a refund and of its end, and in between.
fn points() -> impl Iterator<Item = &'static str> {
    farebox_ledger::PAYOUT_CRASH_POINTS
        .into_iter()
        .chain(farebox_paywall::payout::CRASH_POINTS)
}

/// A shop whose gateway died at `point` in the middle of a refund of an unused or a used token, and
/// was started again.
fn survivor(point: &str, used: bool) -> (Shop, Token, String) {
    let mut shop = Shop::open();
    let token = if used {
        shop.used_balance()
    } else {
        shop.buy("/balance/a")
    };
    shop.gateway.stop();
    shop.gateway.start_again(&[("FAREBOX_CRASH_AT", point)]);
    let invoice = shop.lnd.invoice(PART);
    let wish = json!({ "invoice": invoice });
    // It may arrive or not: what counts is what the next start finds.
    drop(ask(&token, &wish).try_send(shop.gateway.address));
    let status = shop.gateway.wait_for_exit();
    assert_eq!(status.signal(), Some(SIGKILL), "at {point}: {status}");
    shop.gateway.start_again(&[]);
    (shop, token, invoice)
}

#[track_caller]
fn assert_paid_once(shop: &Shop, token: &Token, invoice: &str, at: &str) {
    // Whoever got no answer asks again, with the same invoice.
    let reply = shop.refund_to(token, invoice);
    assert!([200, 202].contains(&reply.status), "{at}: {}", reply.text());
    assert_eq!(shop.wait_for_end(token)["state"], "paid", "{at}");
    assert_eq!(shop.lnd.paid_out(), (1, PART), "{at}");
    assert!(shop.lnd.sent().iter().all(|sent| sent == invoice), "{at}");
    let account = shop.gateway.find_account(token).unwrap();
    assert_eq!(account["held_msat"], 0, "{at}");
    shop.assert_books(PRICE);
}

#[test]
fn a_refund_survives_a_kill_at_every_point() {
    for point in points() {
        let (shop, token, invoice) = survivor(point, true);
        assert_paid_once(&shop, &token, &invoice, point);
    }
}

#[test]
fn a_refund_that_is_also_the_first_use_survives_a_kill_at_every_point() {
    for point in points() {
        let (shop, token, invoice) = survivor(point, false);
        assert_paid_once(&shop, &token, &invoice, point);
    }
}

#[test]
fn killed_while_the_node_pays_it_is_paid_once() {
    for on_send in [OnSend::SilentAfter, OnSend::CutBefore] {
        let mut shop = Shop::open();
        let token = shop.used_balance();
        shop.lnd.on_send(on_send);
        let invoice = shop.lnd.invoice(PART);
        let asking = shop.refund_in_background(&token, &invoice);
        shop.lnd.wait_for_sent(1);
        shop.gateway.kill();
        asking.join().unwrap();
        shop.lnd.on_send(OnSend::Obey);
        shop.gateway.start_again(&[]);
        assert_paid_once(&shop, &token, &invoice, "in flight");
    }
}

#[test]
fn killed_again_and_again_it_is_still_paid_once() {
    let mut shop = Shop::open();
    let token = shop.used_balance();
    shop.lnd.on_send(OnSend::CutAfter);
    shop.lnd.be_deaf(true);
    let invoice = shop.lnd.invoice(PART);
    let asking = shop.refund_in_background(&token, &invoice);
    shop.lnd.wait_for_sent(1);
    for _ in 0..3 {
        shop.gateway.kill();
        shop.gateway.start_again(&[]);
    }
    asking.join().unwrap();
    shop.lnd.be_deaf(false);
    shop.lnd.on_send(OnSend::Obey);
    assert_paid_once(&shop, &token, &invoice, "several times");
    assert_eq!(shop.lnd.sent().len(), 1);
}

#[test]
fn a_refund_of_a_key_survives_a_kill_at_every_point() {
    for point in points() {
        let mut shop = Shop::open();
        let key = shop.used_key();
        shop.gateway.stop();
        shop.gateway.start_again(&[("FAREBOX_CRASH_AT", point)]);
        let invoice = shop.lnd.invoice(PART);
        let ask = key.ask(&json!({ "invoice": invoice }));
        drop(ask.try_send(shop.gateway.address));
        let status = shop.gateway.wait_for_exit();
        assert_eq!(status.signal(), Some(SIGKILL), "at {point}: {status}");
        shop.gateway.start_again(&[]);
        let reply = shop.gateway.send(&ask);
        assert!(
            [200, 202].contains(&reply.status),
            "{point}: {}",
            reply.text()
        );
        let ended = shop.wait_for_end_of(("key", &key.id));
        assert_eq!(ended["state"], "paid", "{point}");
        assert_eq!(shop.lnd.paid_out(), (1, PART), "{point}");
        assert!(
            shop.lnd.sent().iter().all(|sent| *sent == invoice),
            "{point}"
        );
        assert_eq!(shop.balance_of(&key), PRICE - CALL - PART, "{point}");
        shop.assert_books(PRICE);
    }
}

#[test]
fn a_refund_to_an_address_that_is_asked_for_again_survives_a_kill_at_every_point() {
    for point in points() {
        let mut shop = Shop::open();
        let provider = Provider::start(&shop.lnd.payee, Trick::Honest);
        shop.rewrite(&format!("allow_hosts = [\"{}\"]", provider.address));
        let key = shop.used_key();
        shop.gateway.stop();
        shop.gateway.start_again(&[("FAREBOX_CRASH_AT", point)]);
        let wish = json!({ "address": provider.me(), "amount_msat": PART });
        let ask = key.ask(&wish).header("Idempotency-Key", "one");
        drop(ask.try_send(shop.gateway.address));
        let status = shop.gateway.wait_for_exit();
        assert_eq!(status.signal(), Some(SIGKILL), "at {point}: {status}");
        shop.gateway.start_again(&[]);
        let reply = shop.gateway.send(&ask);
        assert!(
            [200, 202].contains(&reply.status),
            "{point}: {}",
            reply.text()
        );
        let ended = shop.wait_for_end_of(("key", &key.id));
        assert_eq!(ended["state"], "paid", "{point}");
        assert_eq!(shop.lnd.paid_out(), (1, PART), "{point}");
        assert_eq!(shop.balance_of(&key), PRICE - CALL - PART, "{point}");
        shop.assert_books(PRICE);
    }
}
