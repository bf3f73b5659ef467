//! What a holder gets back, and what is left then.

use serde_json::json;

use super::shop::{CALL, PRICE, Shop, ask, assert_problem};
use crate::harness::{Call, Route, Setup, TestGateway};

#[test]
fn a_token_never_used_is_paid_back_whole_to_an_invoice() {
    let shop = Shop::open();
    let token = shop.buy("/single/a");
    assert_eq!(shop.refundable(&token), PRICE);
    let reply = shop.refund_to(&token, &shop.lnd.invoice(PRICE)).expect(200);
    let refund = &reply.json()["refund"];
    assert_eq!(
        (
            &refund["state"],
            &refund["amount_msat"],
            &refund["fee_msat"]
        ),
        (&json!("paid"), &json!(PRICE), &json!(0))
    );
    assert_eq!(shop.lnd.paid_out(), (1, PRICE));
    assert_eq!(shop.refundable(&token), 0);
    assert_eq!(shop.spend(&token, "/single/a").status, 402, "it is used up");
    assert_eq!(shop.upstream.count("/single/a"), 0);
    shop.assert_books(PRICE);
    assert_eq!(shop.gateway.trial_balance()["payers_msat"], 0);
}

#[test]
fn what_is_left_of_a_balance_goes_back_and_the_rest_can_be_spent() {
    let shop = Shop::open();
    let token = shop.used_balance();
    assert_eq!(shop.refundable(&token), PRICE - CALL);
    shop.refund_to(&token, &shop.lnd.invoice(40_000))
        .expect(200);
    assert_eq!(shop.refundable(&token), PRICE - CALL - 40_000);
    shop.spend(&token, "/balance/a").expect(200);
    shop.gateway.wait_for_metric("farebox_holds_open", &[], 0);
    assert_eq!(shop.refundable(&token), PRICE - 2 * CALL - 40_000);
    shop.assert_books(PRICE);
}

#[test]
fn the_unused_calls_of_a_token_go_back_together() {
    let shop = Shop::open();
    let token = shop.buy("/calls/a");
    shop.spend(&token, "/calls/a").expect(200);
    assert_eq!(shop.gateway.charged(&token), PRICE / 5);
    let left = PRICE / 5 * 4;
    assert_eq!(shop.refundable(&token), left);
    shop.refund_to(&token, &shop.lnd.invoice(left - 5_000))
        .expect(200);
    assert_eq!(shop.spend(&token, "/calls/a").status, 402);
    assert_eq!(shop.refundable(&token), 5_000, "what the fee left over");
    shop.assert_books(PRICE);
}

#[test]
fn the_fee_comes_out_of_the_refund() {
    let shop = Shop::open();
    shop.lnd.node.set_fee(super::lnd::msat(1_234));
    let token = shop.buy("/balance/a");
    let reply = shop
        .refund_to(&token, &shop.lnd.invoice(60_000))
        .expect(200);
    assert_eq!(reply.json()["refund"]["fee_msat"], 1_234);
    assert_eq!(shop.refundable(&token), PRICE - 60_000 - 1_234);
    assert_eq!(shop.lnd.paid_out(), (1, 61_234));
    shop.assert_books(PRICE);
}

#[test]
fn a_pass_has_nothing_to_give_back_once_it_was_used() {
    let shop = Shop::open();
    let token = shop.buy("/pass/a");
    shop.spend(&token, "/pass/a").expect(200);
    let reply = shop.refund_to(&token, &shop.lnd.invoice(PRICE / 2));
    assert_problem(reply, 409, "nothing-to-refund");
    assert_eq!(shop.lnd.sent(), [""; 0]);
}

#[test]
fn asking_again_with_the_same_invoice_tells_what_became_of_it() {
    let shop = Shop::open();
    let token = shop.buy("/balance/a");
    let invoice = shop.lnd.invoice(30_000);
    let first = shop.refund_to(&token, &invoice).expect(200).json();
    for _ in 0..3 {
        let again = shop.refund_to(&token, &invoice).expect(200).json();
        assert_eq!(again["refund"]["id"], first["refund"]["id"]);
    }
    assert_eq!(shop.lnd.paid_out(), (1, 30_000));
    assert_eq!(shop.refundable(&token), PRICE - 30_000);
    let shown = shop.standing(&token);
    assert_eq!(shown["refunds"].as_array().unwrap().len(), 1);
    assert_eq!(shown["refunds"][0]["id"], first["refund"]["id"]);
}

#[test]
fn fifty_requests_at_once_pay_once() {
    let shop = Shop::open();
    let token = shop.buy("/single/a");
    let calls: Vec<_> = (0..50)
        .map(|_| ask(&token, &json!({ "invoice": shop.lnd.invoice(PRICE) })))
        .collect();
    let address = shop.gateway.address;
    let asking: Vec<_> = calls
        .into_iter()
        .map(|call| std::thread::spawn(move || call.send(address).status))
        .collect();
    let statuses: Vec<_> = asking
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let paid = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(paid, 1, "{statuses:?}");
    let refused = |status: &&u16| ![409, 429].contains(*status);
    assert_eq!(statuses.iter().filter(refused).count(), 1, "{statuses:?}");
    assert_eq!(shop.lnd.paid_out(), (1, PRICE));
    shop.assert_books(PRICE);
}

#[test]
fn fifty_requests_at_once_for_parts_never_pay_more_than_there_is() {
    let shop = Shop::open_with("per_token_per_day = 50", &[]);
    let tokens: Vec<_> = (0..3).map(|_| shop.buy("/balance/a")).collect();
    let wishes = (0..50).map(|number| {
        let wish = json!({ "invoice": shop.lnd.invoice(45_000) });
        ask(&tokens[number % tokens.len()], &wish)
    });
    let address = shop.gateway.address;
    let asking: Vec<_> = wishes
        .map(|call| std::thread::spawn(move || drop(call.send(address))))
        .collect();
    for thread in asking {
        thread.join().unwrap();
    }
    for token in &tokens {
        let account = shop.gateway.find_account(token);
        let left = account.map_or(PRICE, |account| account["balance_msat"].as_u64().unwrap());
        assert!(
            left >= 10_000 && (PRICE - left).is_multiple_of(45_000),
            "{left}"
        );
    }
    let (count, total) = shop.lnd.paid_out();
    assert!(count >= 3, "{count}");
    assert_eq!(total, 45_000 * u64::try_from(count).unwrap());
}

#[test]
fn a_refund_waits_for_requests_in_flight() {
    let shop = Shop::open();
    let token = shop.buy("/single/gate/one");
    let mut buyer = crate::harness::Connection::open(shop.gateway.address).unwrap();
    buyer
        .send(&Call::get("/single/gate/one").with(&token))
        .unwrap();
    shop.upstream.wait_for("/single/gate/one", 1);
    let reply = shop.refund_to(&token, &shop.lnd.invoice(PRICE));
    assert_problem(reply, 429, "value-reserved");
    shop.upstream.open_gate("one");
    buyer.read_reply("GET").unwrap().expect(200);
    shop.gateway.wait_for_metric("farebox_holds_open", &[], 0);
    let reply = shop.refund_to(&token, &shop.lnd.invoice(PRICE));
    assert_problem(reply, 409, "nothing-to-refund");
    assert_eq!(shop.lnd.paid_out().0, 0);
}

#[test]
fn a_call_that_failed_leaves_its_price_to_be_paid_back() {
    let shop = Shop::open();
    let token = shop.buy("/single/status/500");
    let failed = shop.spend(&token, "/single/status/500");
    assert!(failed.status >= 500, "{}", failed.status);
    shop.gateway.wait_for_metric("farebox_holds_open", &[], 0);
    shop.refund_to(&token, &shop.lnd.invoice(PRICE)).expect(200);
    shop.assert_books(PRICE);
}

#[test]
fn test_money_is_paid_back_too() {
    let upstream = farebox_testkit::ScriptedUpstream::start().unwrap();
    let route = Route::at("/paid", &upstream).msat(PRICE);
    let gateway = TestGateway::start(Setup::new().route(route));
    let token = gateway.buy(&Call::get("/paid/a"));
    // The only node there is: the invoice of a challenge that nobody paid.
    let to = gateway.challenge(&Call::get("/paid/b")).invoice;
    gateway
        .send(&ask(&token, &json!({ "invoice": to })))
        .expect(200);
    assert_eq!(gateway.trial_balance()["payers_msat"], 0);
    assert_eq!(gateway.trial_balance()["house_msat"]["lightning"], 0);
}
