//! What is no invoice for us to pay, and requests that say too little or too much.

use serde_json::json;

use super::lnd::{invoice_of, mock_node};
use super::shop::{PRICE, Shop, ask, assert_problem};
use crate::harness::Call;

#[test]
fn an_invoice_that_cannot_be_paid_costs_nothing() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    let dying = invoice_of(&shop.lnd.payee, 50_000, 30).bolt11;
    let own = shop.challenge("/single/a").invoice;
    for invoice in ["lnbc1", "hello", "", &dying, &own, &format!("{own}x")] {
        let reply = shop.refund_to(&token, invoice);
        assert_problem(reply, 422, "refund-destination");
    }
    assert_eq!(shop.lnd.sent(), [""; 0]);
    assert_eq!(shop.refundable(&token), PRICE);
}

#[test]
fn one_invoice_is_one_refund_of_one_token() {
    let shop = Shop::open();
    let (one, other) = (shop.buy("/balance/a"), shop.buy("/balance/a"));
    let invoice = shop.lnd.invoice(50_000);
    shop.refund_to(&one, &invoice).expect(200);
    let reply = shop.refund_to(&other, &invoice);
    let problem = assert_problem(reply, 422, "refund-destination");
    assert!(problem["refund"].is_null(), "{problem}");
    assert_eq!(shop.lnd.paid_out(), (1, 50_000));
    assert_eq!(shop.refundable(&other), PRICE);
}

#[test]
fn more_than_is_left_is_not_begun() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    let reply = shop.refund_to(&token, &shop.lnd.invoice(PRICE + 1));
    assert_problem(reply, 409, "nothing-to-refund");
    let wish = json!({ "invoice": shop.lnd.invoice(50_000), "amount_msat": 49_999 });
    assert_problem(shop.refund(&token, &wish), 422, "refund-destination");
    assert_eq!(shop.lnd.sent(), [""; 0]);
    let wish = json!({ "invoice": shop.lnd.invoice(50_000), "amount_msat": 50_000 });
    shop.refund(&token, &wish).expect(200);
}

#[test]
fn a_payee_without_a_way_leaves_the_money_where_it_was() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    let stranger = invoice_of(&mock_node(), 50_000, 3600).bolt11;
    for _ in 0..2 {
        let reply = shop.refund_to(&token, &stranger);
        let problem = assert_problem(reply, 502, "refund-failed");
        assert_eq!(problem["refund"]["state"], "failed");
    }
    assert_eq!(
        shop.lnd.sent().len(),
        1,
        "an invoice that failed is not tried again"
    );
    assert_eq!(shop.refundable(&token), PRICE);
    shop.refund_to(&token, &shop.lnd.invoice(50_000))
        .expect(200);
    shop.assert_books(PRICE);
}

#[test]
fn a_request_that_says_too_little_or_too_much_is_told_so() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    let invoice = shop.lnd.invoice(50_000);
    for wish in [
        json!({}),
        json!({ "invoice": invoice, "address": "me@example.com" }),
        json!({ "invoice": invoice, "amount": 1 }),
        json!({ "invoice": invoice, "amount_msat": 0 }),
        json!({ "invoice": invoice, "amount_msat": -1 }),
        json!({ "invoice": 7 }),
        json!("text"),
    ] {
        assert_problem(shop.refund(&token, &wish), 400, "bad-request");
    }
    let long = json!({ "invoice": "l".repeat(20_000) });
    let too_long = shop.gateway.send(&ask(&token, &long));
    assert_eq!(too_long.status, 413, "{}", too_long.text());
    assert_eq!(shop.lnd.sent(), [""; 0]);
}

#[test]
fn other_methods_are_refused() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    let call = Call::new("DELETE", "/.farebox/refund").with(&token);
    let reply = shop.gateway.send(&call).expect(405);
    assert_eq!(reply.find("allow"), Some("GET, POST"));
}
