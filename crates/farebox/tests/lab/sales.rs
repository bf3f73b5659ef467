//! Sales over a real channel: one call, several calls, a balance, and what costs less than a node
//! takes.

use crate::harness::{Call, TestGateway};
use crate::stage::{PRICE, alone, paid, shared, upstream};

#[test]
fn a_call_is_bought_over_a_real_channel() {
    let Some(stage) = alone() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream)));
    let before = stage.balances();
    let token = stage.buy_one_call(&gateway);
    assert_eq!(upstream.total(), 1);
    stage.assert_paid(before, 2000);
    let hash = token.payment_hash();
    assert_eq!(stage.alice().received_for(&hash).unwrap(), PRICE);
}

#[test]
fn one_payment_buys_five_calls() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let gateway = TestGateway::start(stage.setup(paid(&upstream).calls(5)));
    let call = Call::get("/paid/a");
    let token = stage.buy(&gateway, &call);
    let hash = token.payment_hash();
    assert_eq!(stage.alice().received_for(&hash).unwrap(), 5 * PRICE);
    let call = call.with(&token);
    for left in ["4", "3", "2", "1", "0"] {
        let reply = gateway.send(&call).expect(200);
        assert_eq!(reply.find("farebox-calls-left"), Some(left));
    }
    assert_eq!(gateway.charged(&token), 5 * PRICE);
    gateway.send(&call).expect(402);
    assert_eq!(upstream.total(), 5);
}

#[test]
fn a_balance_is_bought_and_drawn_from() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let route = paid(&upstream).line("balance = { msat = 5000 }");
    let gateway = TestGateway::start(stage.setup(route));
    let call = Call::get("/paid/a");
    let token = stage.buy(&gateway, &call);
    assert_eq!(
        stage.alice().received_for(&token.payment_hash()).unwrap(),
        5000
    );
    let call = call.with(&token);
    gateway.send(&call).expect(200);
    gateway.send(&call).expect(200);
    assert_eq!(gateway.charged(&token), 2 * PRICE);
    gateway.send(&call).expect(402);
    assert_eq!(gateway.find_account(&token).unwrap()["balance_msat"], 1000);
}

#[test]
fn what_costs_less_than_a_node_takes_is_sold_as_a_balance() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let route = crate::harness::Route::at("/paid", &upstream).msat(300);
    let gateway = TestGateway::start(stage.setup(route));
    let call = Call::get("/paid/a");
    let told = gateway.send(&call).expect(402).json();
    assert_eq!(told["bundle"]["price_msat"], 300);
    assert_eq!(told["bundle"]["amount_msat"], 1000);
    let token = stage.buy(&gateway, &call);
    let call = call.with(&token);
    for _ in 0..3 {
        gateway.send(&call).expect(200);
    }
    gateway.send(&call).expect(402);
    assert_eq!(gateway.charged(&token), 900);
}

#[test]
fn a_node_that_takes_one_millisatoshi_is_paid_one_millisatoshi() {
    let Some(stage) = shared() else { return };
    let upstream = upstream();
    let route = crate::harness::Route::at("/paid", &upstream).msat(1);
    let lightning = format!("{}\nmin_amount = {{ msat = 1 }}", stage.lightning());
    let setup = stage.setup(route).lightning(&lightning);
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/a");
    let token = stage.buy(&gateway, &call);
    gateway.send(&call.with(&token)).expect(200);
    assert_eq!(gateway.charged(&token), 1);
    assert_eq!(
        stage.alice().received_for(&token.payment_hash()).unwrap(),
        1
    );
}
