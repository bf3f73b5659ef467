//! The operator's limits on what goes out.

use rustix::process::Signal;

use super::lnd::OnSend;
use super::shop::{PRICE, Shop, assert_problem};
use crate::harness::Call;

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
fn the_total_of_a_day_holds_for_all_tokens_and_a_reload_raises_it() {
    let mut shop = Shop::open_with("daily_total = { msat = 50000 }", &[]);
    let (one, other) = (shop.buy("/balance/a"), shop.buy("/balance/a"));
    shop.refund_to(&one, &shop.lnd.invoice(40_000)).expect(200);
    let reply = shop.refund_to(&other, &shop.lnd.invoice(10_001));
    assert_problem(reply, 429, "refund-limit-reached");
    shop.refund_to(&other, &shop.lnd.invoice(10_000))
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
