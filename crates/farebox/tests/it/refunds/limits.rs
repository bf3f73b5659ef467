//! The operator's limits on what goes out.

use rustix::process::Signal;
use serde_json::json;

use super::lnd::OnSend;
use super::shop::{PRICE, Shop, ask, assert_problem};
use crate::harness::{Call, Token};

#[test]
fn less_than_the_least_amount_is_not_paid_back() {
    let shop = Shop::open_with("least = { msat = 20000 }", &[]);
    let token = shop.buy("/balance/a");
    let reply = shop.refund_to(&token, &shop.lnd.invoice(19_999));
    assert_problem(reply, 422, "refund-too-small");
    shop.refund_to(&token, &shop.lnd.invoice(20_000))
        .expect(200);
}

#[test]
fn a_token_is_paid_back_only_so_often_in_a_day() {
    let shop = Shop::open_with("per_token_per_day = 2", &[]);
    let (token, other) = (shop.buy("/balance/a"), shop.buy("/balance/a"));
    for _ in 0..2 {
        shop.refund_to(&token, &shop.lnd.invoice(10_000))
            .expect(200);
    }
    let reply = shop.refund_to(&token, &shop.lnd.invoice(10_000));
    assert!(reply.find("retry-after").is_some());
    assert_problem(reply, 429, "refund-limit-reached");
    shop.refund_to(&other, &shop.lnd.invoice(10_000))
        .expect(200);
}

#[test]
fn the_total_of_a_day_is_shared_by_all_tokens_and_a_reload_raises_it() {
    let mut shop = Shop::open_with("daily_total = { msat = 200000 }", &[]);
    let (one, other) = (shop.buy("/balance/a"), shop.buy("/balance/a"));
    shop.refund_to(&one, &shop.lnd.invoice(40_000)).expect(200);
    // A quarter of what the others left.
    let reply = shop.refund_to(&other, &shop.lnd.invoice(40_001));
    let problem = assert_problem(reply, 429, "refund-limit-reached");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("40000 msat more"), "{detail}");
    shop.refund_to(&other, &shop.lnd.invoice(40_000))
        .expect(200);
    shop.rewrite("daily_total = { msat = 500000 }");
    shop.gateway.signal(Signal::HUP);
    shop.gateway.wait_for_log("configuration");
    let paid = (0..50).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        shop.gateway.admin(Call::get("/health")).status == 200
            && shop.refund_to(&other, &shop.lnd.invoice(1_000)).status == 200
    });
    assert!(paid, "the reload did not count");
}

#[test]
fn only_so_many_payments_are_open_at_once() {
    let shop = Shop::open_with("max_open = 1", &[]);
    let (one, other) = (shop.buy("/balance/a"), shop.buy("/balance/a"));
    shop.lnd.on_send(OnSend::CutAfter);
    shop.lnd.be_deaf(true);
    let invoice = shop.lnd.invoice(10_000);
    let asking = shop.refund_in_background(&one, &invoice);
    shop.lnd.wait_for_sent(1);
    let reply = shop.refund_to(&other, &shop.lnd.invoice(10_000));
    assert_problem(reply, 429, "refund-limit-reached");
    shop.lnd.be_deaf(false);
    shop.lnd.on_send(OnSend::Obey);
    assert_eq!(shop.wait_for_end(&one)["state"], "paid");
    asking.join().unwrap();
    shop.refund_to(&other, &shop.lnd.invoice(10_000))
        .expect(200);
    shop.assert_books(2 * PRICE);
}

#[test]
fn one_buyer_with_many_tokens_leaves_something_of_the_daily_total() {
    let shop = Shop::open_with("daily_total = { msat = 200000 }", &[]);
    for network in 0..8 {
        let (token, from) = (shop.buy("/balance/a"), format!("192.0.{network}.1"));
        // As much as there is: what is refused is asked for in smaller parts.
        for part in [90_000, 40_000, 10_000, 2_000] {
            let wish = json!({ "invoice": shop.lnd.invoice(part) });
            let call = ask(&token, &wish).header("X-Forwarded-For", &from);
            shop.gateway.send(&call);
        }
    }
    let other = shop.used_balance();
    shop.refund_to(&other, &shop.lnd.invoice(4_000)).expect(200);
}

#[test]
fn payees_who_never_take_the_money_keep_nobody_elses_money_back() {
    let shop = Shop::open_with("max_open = 16", &[]);
    let from = |address: &str, token: &Token| {
        let wish = json!({ "invoice": shop.lnd.invoice(10_000) });
        let call = ask(token, &wish).header("X-Forwarded-For", address);
        shop.gateway.send(&call)
    };
    let tokens: Vec<_> = (0..16).map(|_| shop.buy("/balance/a")).collect();
    let other = shop.used_balance();
    shop.lnd.on_send(OnSend::CutAfter);
    shop.lnd.be_deaf(true);
    let begun = tokens
        .iter()
        .filter(|token| from("192.0.2.1", token).status == 202)
        .count();
    shop.lnd.on_send(OnSend::Obey);
    from("198.51.100.1", &other).expect(200);
    assert!((1..=4).contains(&begun), "{begun}");
    shop.lnd.be_deaf(false);
    for token in &tokens[..begun] {
        assert_eq!(shop.wait_for_end(token)["state"], "paid");
    }
    // What is over leaves its place.
    from("192.0.2.1", &tokens[15]).expect(200);
}

#[test]
fn asking_without_end_is_slowed_down() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    let call = Call::get("/.farebox/refund").with(&token);
    let statuses: Vec<_> = (0..40).map(|_| shop.gateway.send(&call).status).collect();
    assert!(
        statuses.contains(&200) && statuses.contains(&429),
        "{statuses:?}"
    );
    let reply = shop.gateway.send(&call);
    assert!(reply.find("retry-after").is_some(), "{}", reply.text());
    assert_problem(reply, 429, "rate-limited");
}
