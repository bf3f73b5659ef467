//! The node's answer is lost, late or a refusal: what is unknown stays unknown until the node says.

use std::time::Duration;

use farebox_lightning::PaymentFailure;
use farebox_testkit::mock_node::PayFault;

use super::lnd::OnSend;
use super::shop::{PRICE, Shop, assert_problem};

#[test]
fn a_payment_whose_answer_was_lost_is_booked_once_and_never_made_again() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    shop.lnd.on_send(OnSend::CutAfter);
    let invoice = shop.lnd.invoice(50_000);
    let reply = shop.refund_to(&token, &invoice);
    assert!([200, 202].contains(&reply.status), "{}", reply.text());
    assert_eq!(shop.wait_for_end(&token)["state"], "paid");
    shop.refund_to(&token, &invoice).expect(200);
    assert_eq!(shop.lnd.sent(), [invoice]);
    assert_eq!(shop.lnd.paid_out(), (1, 50_000));
    assert_eq!(shop.refundable(&token), PRICE - 50_000);
    shop.assert_books(PRICE);
}

#[test]
fn what_never_reached_the_node_is_sent_again_as_it_was() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    shop.lnd.on_send(OnSend::CutBefore);
    let invoice = shop.lnd.invoice(50_000);
    let asking = shop.refund_in_background(&token, &invoice);
    shop.lnd.wait_for_sent(2);
    shop.lnd.on_send(OnSend::Obey);
    assert_eq!(shop.wait_for_end(&token)["state"], "paid");
    asking.join().unwrap();
    assert!(shop.lnd.sent().iter().all(|sent| *sent == invoice));
    assert_eq!(shop.lnd.paid_out(), (1, 50_000));
    shop.assert_books(PRICE);
}

#[test]
fn while_the_outcome_is_unknown_the_money_is_reserved() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    shop.lnd.on_send(OnSend::CutAfter);
    shop.lnd.be_deaf(true);
    let invoice = shop.lnd.invoice(60_000);
    let asking = shop.refund_in_background(&token, &invoice);
    shop.lnd.wait_for_sent(1);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(shop.refundable(&token), PRICE - 60_000 - 5_000);
    let other = shop.refund_to(&token, &shop.lnd.invoice(10_000));
    assert_problem(other, 409, "refund-under-way");
    assert_eq!(shop.gateway.metric("farebox_payouts_open", &[]), Some(1));
    shop.lnd.be_deaf(false);
    assert_eq!(shop.wait_for_end(&token)["state"], "paid");
    asking.join().unwrap();
    assert_eq!(shop.refundable(&token), PRICE - 60_000);
    assert_eq!(shop.lnd.paid_out(), (1, 60_000));
    shop.assert_books(PRICE);
}

#[test]
fn a_slow_payment_is_answered_as_under_way_and_ends_by_itself() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    shop.lnd
        .fail_payments(PayFault::Slow(Duration::from_secs(25)));
    let reply = shop
        .refund_to(&token, &shop.lnd.invoice(50_000))
        .expect(202);
    assert_eq!(reply.find("location"), Some("/.farebox/refund"));
    assert_eq!(reply.json()["refund"]["state"], "open");
    assert_eq!(shop.wait_for_end(&token)["state"], "paid");
    assert_eq!(shop.lnd.paid_out(), (1, 50_000));
    shop.assert_books(PRICE);
}

#[test]
fn a_payment_that_failed_gives_the_money_back() {
    let shop = Shop::open();
    let token = shop.buy("/single/a");
    shop.lnd
        .fail_payments(PayFault::Fail(PaymentFailure::NoRoute));
    let reply = shop.refund_to(&token, &shop.lnd.invoice(PRICE));
    assert_problem(reply, 502, "refund-failed");
    assert_eq!(shop.refundable(&token), PRICE);
    shop.spend(&token, "/single/a").expect(200);
    shop.assert_books(PRICE);
}

#[test]
fn a_node_that_does_not_let_us_pay_ends_the_refund_at_once() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    shop.lnd.on_send(OnSend::Forbid);
    let reply = shop.refund_to(&token, &shop.lnd.invoice(50_000));
    assert_problem(reply, 502, "refund-failed");
    assert_eq!(shop.refundable(&token), PRICE);
    shop.assert_books(PRICE);
}

#[test]
fn nothing_is_begun_while_the_node_is_away() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    shop.lnd.be_away(true);
    let reply = shop.refund_to(&token, &shop.lnd.invoice(50_000));
    assert!(reply.find("retry-after").is_some());
    assert_problem(reply, 503, "payment-unavailable");
    shop.lnd.be_away(false);
    shop.refund_to(&token, &shop.lnd.invoice(50_000))
        .expect(200);
}

#[test]
fn a_gateway_stopped_in_the_middle_finds_its_payment_again() {
    let mut shop = Shop::open();
    let token = shop.buy("/balance/a");
    shop.lnd.on_send(OnSend::SilentAfter);
    let invoice = shop.lnd.invoice(50_000);
    let asking = shop.refund_in_background(&token, &invoice);
    shop.lnd.wait_for_sent(1);
    shop.gateway.restart();
    asking.join().unwrap();
    assert_eq!(shop.wait_for_end(&token)["state"], "paid");
    assert_eq!(shop.lnd.paid_out(), (1, 50_000));
    assert_eq!(shop.lnd.sent(), [invoice]);
    shop.assert_books(PRICE);
}
